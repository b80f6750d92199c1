//! The vWorkspace operator's Operation.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::schema;

/// What is to be done.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "ops.vworkspace.io",
    version = "v1alpha1",
    kind = "Operation",
    doc = "The wish to do something to an application once: back it up, migrate it, run a hook of its chart.",
    derive = "PartialEq",
    namespaced,
    status = "OperationStatus",
    shortname = "op",
    category = "vworkspace",
    printcolumn(
        name = "Hook",
        type_ = "string",
        json_path = ".spec.parameters['hookName','hookPath','event']"
    ),
    printcolumn(name = "Target", type_ = "string", json_path = ".spec.targetRef.name"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.status=='True')].reason"
    ),
    printcolumn(name = "Target-Kind", type_ = "string", json_path = ".spec.targetRef.kind", priority = 1),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type", priority = 1),
    printcolumn(name = "Engine", type_ = "string", json_path = ".spec.engine", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "has(self.parameters) == has(oldSelf.parameters) && \
         (!has(self.parameters) || self.parameters == oldSelf.parameters)"
    ).message("parameters cannot be changed; make a new Operation").field_path(".parameters")
)]
pub struct OperationSpec {
    /// What it is to be done to, in the Operation's own namespace. Cannot be changed.
    #[x_kube(validation = Rule::new("self == oldSelf").message("targetRef cannot be changed; make a new Operation"))]
    pub target_ref: TargetRef,
    /// What is to be done. Cannot be changed.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["Backup", "Restore", "Upgrade", "Migration", "RunCommand", "Runbook"]))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("type cannot be changed; make a new Operation"))]
    pub type_: String,
    /// Who is to do it; hookhost is helmHookJob. Cannot be changed.
    #[schemars(extend("enum" = ["velero", "workflow", "job", "helm", "volsync", "helmHookJob"]))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("engine cannot be changed; make a new Operation"))]
    pub engine: String,
    /// What the engine needs to know. For helmHookJob one of hookName (the hook's metadata.name in the rendered release), hookPath
    /// (its template, where the name changes with each revision) and event (all hooks of it, one after the other); optionally
    /// hookKind, hookNamespace (where the chart has hooks of one name in several namespaces), activeDeadlineSeconds, backoffLimit, ttlSecondsAfterFinished, waitForHook, closure (have made for the run
    /// what the hook needs and Helm has deleted), and waitTimeout (how long it may wait, such as 30m or 7d, from its creation until
    /// its Job is made, and with an event from the end of each hook until the next starts). For an event activeDeadlineSeconds is the time of all its hooks together, from the start of the first: each
    /// has what is left when it starts, or the chart's own deadline where that is shorter. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::parameters")]
    pub parameters: Option<Map<String, Value>>,
    /// Whether and by whom it is approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approvals: Option<Approvals>,
}

/// What an Operation is to be done to.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    /// For example apps.vworkspace.io/v1alpha1.
    #[schemars(length(min = 1, max = 317))]
    pub api_version: String,
    /// For example ApplicationInstance.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Whether and by whom an Operation is approved.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Approvals {
    /// Whether it waits for approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// The signed approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub claim: Option<String>,
    /// Who approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub approved_by: Option<String>,
    /// When it was approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub approved_at: Option<String>,
}

/// How far an Operation is.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationStatus {
    /// How far it is, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Pending", "Running", "Succeeded", "Failed", "Cancelled"]))]
    pub phase: Option<String>,
    /// When its workload was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
    /// How far it is, and why: Accepted, Blocked, Running, Succeeded, Failed, Cancelled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// What came out of it: the hook, release and revision, the Job, the decision that allowed it, what was made for it and taken
    /// back (closure), where all hooks of an event are run a row for each (hooks), completionTime and exitCode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::open_object")]
    pub outputs: Option<Map<String, Value>>,
    /// Where its logs are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs_ref: Option<LogsRef>,
    /// The workload that was made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_ref: Option<EngineRef>,
}

/// Where logs are.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogsRef {
    /// The kind of the object that has them: Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Where they can be read, if somewhere else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// The workload that was made for an Operation.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineRef {
    /// Its kind: Job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}
