//! A *request* is everything a policy's decision may depend on.
//!
//! The types mirror `wit/hook-policy.wit`, where every field's meaning, unit and bound is written. In JSON and YAML
//! (policy test cases, `policy eval`, decision logs) keys are camelCase, times RFC 3339, and every field may be left
//! out; a field that does not exist is an error, so that a misspelt one is found.

mod build;

use crate::closure::ClosureObject;
pub use hookhost_helm::workload::{Container, Numbers};
use std::collections::BTreeMap;
use std::sync::Arc;

pub use build::{BuildError, Inputs};
use hookhost_helm::workload::Workload;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Everything a decision may depend on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Request {
    /// The Operation that asks for the run.
    pub operation: Operation,
    /// What the Operation's targetRef names.
    pub target: Target,
    /// The organisation that owns the Operation's namespace.
    pub organisation: String,
    /// The id of the cluster, empty where none is set.
    pub cluster_id: String,
    /// The Helm release whose record the hook was found in.
    pub release: Release,
    /// The hook that the Operation names.
    pub hook: Hook,
    /// What the Operation's parameters ask for; of a hook of an event that has begun, as its deadline, what is left of the time for
    /// all of them.
    pub requested: Numbers,
    /// When the decision is asked for.
    pub now: Timestamp,
}

impl Request {
    /// The namespace in which the Job runs: the one that the hook's manifest names, else the release's, as with Helm.
    pub fn job_namespace(&self) -> &str {
        Workload::of(&self.hook.manifest).namespace().unwrap_or(&self.release.namespace)
    }
}

/// The Operation that asks for the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Operation {
    /// metadata.name.
    pub name: String,
    /// metadata.namespace.
    pub namespace: String,
    /// metadata.uid; empty where the Operation has not been created yet.
    pub uid: String,
    /// spec.type.
    #[serde(rename = "type")]
    pub type_of: String,
    /// metadata.labels.
    pub labels: BTreeMap<String, String>,
    /// metadata.annotations, without kubectl's last-applied-configuration.
    pub annotations: BTreeMap<String, String>,
    /// metadata.creationTimestamp, or the time of the request.
    pub created: Timestamp,
    /// spec.parameters.
    pub parameters: Map<String, Value>,
    /// spec.approvals.approvedBy, once verified.
    pub approved_by: Option<String>,
}

/// What the Operation's targetRef names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Target {
    /// Its kind: ApplicationInstance, HelmRelease or Release.
    pub kind: String,
    /// metadata.name.
    pub name: String,
    /// metadata.labels.
    pub labels: BTreeMap<String, String>,
    /// metadata.annotations.
    pub annotations: BTreeMap<String, String>,
}

/// The Helm release whose record the hook was found in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Release {
    /// The release's name.
    pub name: String,
    /// Where the release is installed; the Job runs there unless its manifest names another namespace:
    /// [`Request::job_namespace`].
    pub namespace: String,
    /// Helm's revision, from 1.
    pub revision: u32,
    /// The chart's name.
    pub chart: String,
    /// The chart's version.
    pub chart_version: String,
    /// The version of what the chart installs.
    pub app_version: Option<String>,
    /// When revision 1 was deployed.
    pub first_deployed: Option<Timestamp>,
    /// When this revision was deployed.
    pub last_deployed: Option<Timestamp>,
}

/// The hook that the Operation names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Hook {
    /// metadata.name.
    pub name: String,
    /// "Job" or "Pod".
    pub kind: String,
    /// Helm's events.
    pub events: Vec<String>,
    /// Helm's weight.
    pub weight: i32,
    /// Helm's delete policies as recorded.
    pub delete_policies: Vec<String>,
    /// metadata.labels.
    pub labels: BTreeMap<String, String>,
    /// metadata.annotations.
    pub annotations: BTreeMap<String, String>,
    /// The pod's service account.
    pub service_account: String,
    /// Init containers first.
    pub containers: Vec<Container>,
    /// What the chart's own Job declares.
    pub declared: Numbers,
    /// The hook-only objects that the pod reaches.
    pub closure: Vec<ClosureObject>,
    /// The whole manifest.
    pub manifest: Arc<Value>,
}
