//! hookhost's own kind: a policy in use, for which Operations, with which settings.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::schema;

/// Which policy, with which settings, for which Operations.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "policy.vworkspace.io",
    version = "v1alpha1",
    kind = "HookPolicy",
    plural = "hookpolicies",
    doc = "A policy in WebAssembly that is asked before a hook of a Helm chart is run by an Operation.",
    derive = "PartialEq",
    status = "HookPolicyStatus",
    shortname = "hookpol",
    category = "vworkspace",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Policy", type_ = "string", json_path = ".status.describe.name"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode"),
    printcolumn(name = "Digest", type_ = "string", json_path = ".status.shortDigest"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct HookPolicySpec {
    /// Where the policy's WebAssembly component is: exactly one of stock, configMap and file.
    pub module: Module,
    /// What the policy is to go by. `hookhost policy inspect` shows what it may be. At most 64 KiB of JSON.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "schema::open_object")]
    pub settings: Map<String, Value>,
    /// Which Operations the policy is asked about. All that is given must match; nothing given matches all.
    #[serde(default, rename = "match", skip_serializing_if = "Match::is_empty")]
    pub matches: Match,
    /// What becomes of an Operation that matches while the policy gives no answer, because it is not ready, failed, or used
    /// up its time or memory: it does not run (Fail), or runs without the policy (Ignore). Ignore is for policies that add
    /// something, such as labels, not for rules: whoever writes the Operation or the chart can make its evaluation too large
    /// or too slow for the policy.
    #[serde(default)]
    pub failure_policy: FailurePolicy,
    /// Whether the policy's answer counts (Enforce) or is only recorded (Audit).
    #[serde(default)]
    pub mode: Mode,
    /// Whether hookhost makes, for a run that matches, what the hook needs and Helm has deleted: even where the Operation does
    /// not ask for it (Allow), or never (Forbid, which counts more). Left out: as the Operation says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closure: Option<Closure>,
    /// Whether a run for which hookhost makes something that grants rights (a role, a binding, a service account, a Secret) may
    /// use a ConfigMap or Secret of the chart's hooks that is in the cluster with other content than the chart has: yes (Allow), or
    /// no (Match, which counts more and is what holds where no HookPolicy says anything). Allow counts only where the policy's
    /// namespaceSelector selects the Job's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closure_existing: Option<ClosureExisting>,
    /// What each evaluation may use.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
}

/// Where a policy's component is.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.stock), has(self.configMap), has(self.file)].exists_one(given, given)")
    .message("give exactly one of stock, configMap and file"))]
pub struct Module {
    /// The name of a policy that comes with hookhost: deadline-cap, hook-allowlist, image-provenance, maintenance-window or
    /// org-labels. A new version of hookhost brings its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub stock: Option<String>,
    /// A key of a ConfigMap's binaryData. hookhost reads it when this HookPolicy changes, in spec or annotations, and
    /// while the module is missing or is not what sha256 says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapKey>,
    /// A file below hookhost's --policy-dir, for example deadline-cap.wasm. Read when a ConfigMap would be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(validation = Rule::new("!self.startsWith('/') && !self.split('/').exists(part, part == '..')")
        .message("the file must be below --policy-dir: no leading / and no .."))]
    pub file: Option<String>,
    /// The component's SHA-256 in lowercase hexadecimal, with or without `sha256:` before it, as `hookhost policy build`
    /// prints it. Any other content is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71), regex(pattern = "^(sha256:)?[0-9a-f]{64}$"))]
    pub sha256: Option<String>,
}

/// A key of a ConfigMap.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKey {
    /// The ConfigMap's namespace.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,
    /// The ConfigMap's name.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
    /// The key in its binaryData.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// Which Operations a policy is asked about. All that is given must match; of a list one entry.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// Labels of the Operation's namespace, the release's or the Job's, which may differ: one that fits is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::label_selector")]
    pub namespace_selector: Option<LabelSelector>,
    /// Names of organisations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub organisations: Vec<String>,
    /// Names of hooks; * stands for any characters, ? for one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub hooks: Vec<String>,
    /// Helm's events; a hook that has one of them matches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::events")]
    pub events: Vec<String>,
    /// Names of charts; * stands for any characters, ? for one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub charts: Vec<String>,
}

impl Match {
    /// Whether nothing is given, so that all Operations match.
    pub fn is_empty(&self) -> bool {
        *self == Match::default()
    }
}

/// What becomes of an Operation while a policy that it matches cannot be asked.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum FailurePolicy {
    /// It waits.
    #[default]
    Fail,
    /// It runs without that policy. Not for rules.
    Ignore,
}

/// Whether a policy's answer counts.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Mode {
    /// It counts.
    #[default]
    Enforce,
    /// It is recorded only.
    Audit,
}

/// Whether hookhost makes what a hook needs and Helm has deleted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Closure {
    /// For every run that matches.
    Allow,
    /// For none, whatever the Operation or another HookPolicy says.
    Forbid,
}

/// What a run that is given rights may use of what is in the cluster already.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ClosureExisting {
    /// Whatever there is, as Kubernetes would: whoever may write ConfigMaps there may then choose what runs with these rights.
    Allow,
    /// What has the content that the chart has.
    Match,
}

/// What each evaluation of a policy may use.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// A quantity, 64Ki to 64Mi; 16Mi if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new(
        "isQuantity(self) && quantity(self).compareTo(quantity('64Ki')) >= 0 && \
         quantity(self).compareTo(quantity('64Mi')) <= 0"
    ).message("memory must be a quantity from 64Ki to 64Mi"))]
    pub memory: Option<String>,
    /// A duration, 10ms to 10s; 50ms if it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$"))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10ms') && duration(self) <= duration('10s')")
        .message("timeout must be a duration from 10ms to 10s"))]
    pub timeout: Option<String>,
}

impl Limits {
    /// Whether nothing is given, so that the defaults count.
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }
}

/// What hookhost found of a HookPolicy.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookPolicyStatus {
    /// Ready: whether the policy can be asked, and why not. Degraded: whether its last evaluation failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The component in use, as sha256:….
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The first twelve digits of it, for tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub short_digest: Option<String>,
    /// What the component says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub describe: Option<Describe>,
    /// The metadata.generation that this was found for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// What a component says of itself.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Describe {
    /// The policy's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it does.
    pub description: String,
}
