//! The vWorkspace operator's ApplicationInstance. hookhost reads of it which release it has and whether that is ready;
//! all else is there so that its CRD can be installed where its owner is not. Unknown fields of spec and status are kept.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::schema;

/// Which application, and how it is installed.
#[derive(Clone, CustomResource, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "apps.vworkspace.io",
    version = "v1alpha1",
    kind = "ApplicationInstance",
    doc = "An application of the catalogue, installed once as a Helm release.",
    derive = "PartialEq",
    namespaced,
    status = "ApplicationInstanceStatus",
    shortname = "appinst",
    category = "vworkspace",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(name = "Chart", type_ = "string", json_path = ".spec.chart.name"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.chart.version"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct ApplicationInstanceSpec {
    /// Which application it is.
    pub app_ref: AppRef,
    /// managed (also if it is not given): it has a Helm release. placeholder: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["managed", "placeholder"]))]
    pub mode: Option<String>,
    /// The chart that is installed; none in placeholder mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chart: Option<Chart>,
    /// The Helm release that it is; none in placeholder mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<Release>,
    /// Where the chart's values come from; none in placeholder mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Values>,
}

/// Which application it is.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AppRef {
    /// Its id in the catalogue.
    #[schemars(length(min = 1))]
    pub catalog_id: String,
}

/// Which chart, and from where.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Chart {
    /// How it is fetched.
    #[schemars(extend("enum" = ["oci", "helm"]))]
    pub source_type: String,
    /// The registry's or repository's URL.
    #[schemars(length(min = 1))]
    pub url: String,
    /// The chart's name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// The chart's version.
    #[schemars(length(min = 1))]
    pub version: String,
}

/// Name and namespace of a Helm release.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// Its name.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Where its objects are.
    #[schemars(length(min = 1))]
    pub namespace: String,
}

/// Where a chart's values come from.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct Values {
    /// Which of the following it is.
    #[schemars(extend("enum" = ["inline", "secretRef", "configMapRef"]))]
    pub source: String,
    /// The values themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::open_object")]
    pub inline: Option<Map<String, Value>>,
    /// A key of a Secret that has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<KeyRef>,
    /// A key of a ConfigMap that has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<KeyRef>,
}

/// A key of a Secret or ConfigMap in the same namespace.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// The object's name.
    pub name: String,
    /// The key in it.
    pub key: String,
}

/// What became of an ApplicationInstance.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct ApplicationInstanceStatus {
    /// The HelmRelease that the operator made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helm_release_ref: Option<HelmReleaseRef>,
    /// How it is: Ready, Reconciling, Degraded, Suspended, Blocked, Deleting.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// The metadata.generation that this was found for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Name and namespace of a HelmRelease.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HelmReleaseRef {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}
