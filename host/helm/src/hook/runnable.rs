//! Whether a hook can be run as a Job of its own, or why not.

use serde_json::Value;

use super::find::cut;
use crate::limits::{MAX_DOCUMENTS, MAX_HOOKS, MAX_LISTED_BYTES};
use crate::name::is_dns_label;
use crate::text::quote;
use crate::workload::at;
use crate::yaml::YamlError;

/// Why a hook cannot be run, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRunnable {
    /// Neither a Job nor a Pod.
    #[error(
        "it is a {} ({}); only a Job (batch/v1) or a Pod (v1) can be run. Name the Job that uses it",
        cut(.kind), cut(.api_version)
    )]
    Kind {
        /// What it is.
        kind: String,
        /// Of which API.
        api_version: String,
    },
    /// The manifest names what can be no namespace.
    #[error(
        "its metadata.namespace is {}, and no namespace can be called that: Helm cannot create it either. Correct the chart's \
         template",
        quote(.namespace)
    )]
    NoNamespace {
        /// What it names.
        namespace: String,
    },
    /// spec.parallelism is 0, and there is something to complete.
    #[error(
        "its spec.parallelism is 0, so it never starts a pod and never ends: Helm waits for it in vain, too, until its timeout. \
         Set it to 1 or more in the chart"
    )]
    ParallelismZero,
    /// spec.managedBy names another controller than Kubernetes' own.
    #[error(
        "its spec.managedBy gives it to {}, not to Kubernetes' own Job controller. Remove managedBy from the chart",
        quote(.controller)
    )]
    ManagedByOther {
        /// The controller named there.
        controller: String,
    },
    /// There is nothing to run.
    #[error("its {field} is missing, empty or not {expected}. Correct the chart's template")]
    NoContainers {
        /// Path in the manifest, for example "spec.template.spec.containers".
        field: &'static str,
        /// What Kubernetes wants there.
        expected: &'static str,
    },
    /// Neither metadata.name nor metadata.generateName.
    #[error("it has no metadata.name. Give it a name in the chart")]
    NoName,
    /// The text is not YAML that Helm would read, or larger than a hook may be.
    #[error(
        "its manifest {}. Correct the chart's template",
        if .0.problem.is_bound() { "is larger than hookhost reads" } else { "cannot be read" }
    )]
    Unreadable(#[source] YamlError),
    /// Objects of one stored hook, or the rest of them, beyond what a release's hooks may hold.
    #[error(
        "it holds objects that are not listed: of a release hookhost lists {MAX_HOOKS} objects of its hooks, in \
         {MAX_DOCUMENTS} documents, with {MAX_LISTED_BYTES} bytes of names and events. Give the chart fewer hooks"
    )]
    TooMany,
    /// YAML, but not a Kubernetes object.
    #[error("its manifest is not a Kubernetes object: {missing}. Correct the chart's template")]
    NotAnObject {
        /// What is wrong, for example "it has no kind".
        missing: &'static str,
    },
}

impl NotRunnable {
    /// The same in a few words, for tables; [`Display`](std::fmt::Display) says what to do about it.
    pub fn summary(&self) -> &'static str {
        match self {
            NotRunnable::Kind { .. } => "not a Job or Pod",
            NotRunnable::NoNamespace { .. } => "namespace invalid",
            NotRunnable::ParallelismZero => "parallelism is 0",
            NotRunnable::ManagedByOther { .. } => "managed by another controller",
            NotRunnable::NoContainers { .. } => "no containers",
            NotRunnable::NoName => "no name",
            NotRunnable::Unreadable(_) => "manifest unreadable",
            NotRunnable::TooMany => "too many objects",
            NotRunnable::NotAnObject { .. } => "not a Kubernetes object",
        }
    }

    /// Whether Helm would not complete it either: Kubernetes does not create it, or it never ends.
    pub fn fails_with_helm(&self) -> bool {
        matches!(
            self,
            NotRunnable::NoNamespace { .. }
                | NotRunnable::ParallelismZero
                | NotRunnable::NoContainers { .. }
                | NotRunnable::NoName
        )
    }
}

/// Whether this is a kind that can be run.
pub(super) fn is_job_or_pod(api_version: &str, kind: &str) -> bool {
    matches!((api_version, kind), ("batch/v1", "Job") | ("v1", "Pod"))
}

/// The manager that means Kubernetes' own Job controller (KEP-4368); the same as none.
pub const JOB_CONTROLLER: &str = "kubernetes.io/job-controller";

/// Whether this object, a hook of a release, can be run as a Job.
pub fn check(manifest: &Value) -> Result<(), NotRunnable> {
    let text = |path: &str| at(manifest, path).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if !manifest.is_object() {
        return Err(NotRunnable::NotAnObject { missing: "it is not a mapping" });
    }
    if kind.is_empty() {
        return Err(NotRunnable::NotAnObject { missing: "it has no kind" });
    }
    if api_version.is_empty() {
        return Err(NotRunnable::NotAnObject { missing: "it has no apiVersion" });
    }
    if !is_job_or_pod(api_version, kind) {
        return Err(NotRunnable::Kind { kind: kind.to_owned(), api_version: api_version.to_owned() });
    }
    // The run's Job is named after the Operation, and the template's path tells the hook from others.
    if text("metadata.name").is_empty() && text("metadata.generateName").is_empty() {
        return Err(NotRunnable::NoName);
    }
    let namespace = text("metadata.namespace");
    if !namespace.is_empty() && !is_dns_label(namespace) {
        return Err(NotRunnable::NoNamespace { namespace: namespace.to_owned() });
    }
    if kind == "Pod" {
        return containers(at(manifest, "spec.containers"), "spec.containers");
    }
    let is_zero = |path: &str| at(manifest, path).and_then(Value::as_i64) == Some(0);
    // With nothing to complete Kubernetes completes it at once, without a pod.
    if is_zero("spec.parallelism") && !is_zero("spec.completions") {
        return Err(NotRunnable::ParallelismZero);
    }
    let controller = text("spec.managedBy");
    if !controller.is_empty() && controller != JOB_CONTROLLER {
        return Err(NotRunnable::ManagedByOther { controller: controller.to_owned() });
    }
    if !at(manifest, "spec.template").is_some_and(Value::is_object) {
        return Err(NotRunnable::NoContainers { field: "spec.template", expected: "a pod template" });
    }
    containers(at(manifest, "spec.template.spec.containers"), "spec.template.spec.containers")
}

fn containers(list: Option<&Value>, field: &'static str) -> Result<(), NotRunnable> {
    match list.and_then(Value::as_array) {
        Some(list) if !list.is_empty() && list.iter().all(Value::is_object) => Ok(()),
        _ => Err(NotRunnable::NoContainers { field, expected: "a list of containers" }),
    }
}
