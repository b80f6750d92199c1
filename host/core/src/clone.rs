//! A *clone* is the Job that runs a hook: the chart's Job (or Pod, made into a Job) under a name, labels and an owner of
//! its own, with the three numbers that the verdict settled.
//!
//! It is made on the JSON of the manifest, so that fields this host has never heard of survive. Of the chart's metadata the
//! labels and annotations are kept, for queues, admission rules and sidecars go by them; of its pod template everything, in
//! meaning byte for byte. What is left out nevertheless is in [`STRIP`], with the reason. Of one key the value of hookhost counts
//! before a policy's, and that before the chart's; on the pods the chart's stays, and a policy's other value is a conflict.
//!
//! Explicit nulls of the Job's spec are left out, as Kubernetes takes them for absent. Within the pod template they
//! stay: there a null may also be an empty text (in a mapping of texts) or a zero (of a quantity), and only the API
//! server knows which. A Job hook whose restartPolicy is absent or Always stays as it is too: neither Helm nor
//! hookhost can run it, the API server says so, and a chart is not repaired silently.

mod annotation;
mod strip;
mod taken;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

pub use annotation::NotCreated;
use serde_json::{Map, Value, json};
pub(crate) use strip::TOO_LARGE;
pub use strip::{CHART_ANNOTATIONS_BYTES, Keys};
pub use taken::{NameTaken, check_name};

use crate::keys::{
    APPLICATION_INSTANCE, CLOSURE, CLUSTER_ID, DECISION, DECISION_BYTES, FINALIZER, MANAGED_BY, MANAGER,
    OPERATION, SOURCE_HOOK, STEP,
};
use crate::operation;
use crate::reason::{HasReason, Reason};
use crate::request::Request;
use crate::step::Step;
use crate::strip::QUEUE_WHY;
use crate::verdict::{PolicyUse, Solved};
use hookhost_helm::hook::{self, NotRunnable};
use hookhost_helm::name;
use hookhost_helm::workload::Workload;

/// A Job made from a hook.
#[derive(Clone, Debug, PartialEq)]
pub struct Cloned {
    /// The Job as JSON.
    pub job: Value,
    /// Labels and annotations that the Job itself has from the chart, unless hookhost or a policy sets them otherwise.
    pub kept: Keys,
    /// What of the chart's manifest is not in it, and why.
    pub stripped: Vec<Stripped>,
}

/// Something of the chart's manifest that is not in the Job.
#[derive(Clone, Debug, PartialEq)]
pub struct Stripped {
    /// Where it was in the manifest.
    pub path: String,
    /// What it was.
    pub value: Value,
    /// Why it is left out.
    pub why: &'static str,
    /// Whether the run's pods have it all the same: the chart's object is a Pod, and its Job only does not have it.
    pub is_on_pods: bool,
}

/// Why no Job can be made from a hook.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloneError {
    /// It is not a hook that can be run.
    #[error("the hook \"{name}\" cannot be run")]
    NotRunnable {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        why: NotRunnable,
    },
    /// Something in the manifest is not what Kubernetes wants there.
    #[error(
        "the hook's {path} is not a mapping, so Kubernetes would refuse it and Helm cannot run it either. Correct the chart"
    )]
    NotAMapping {
        /// Where.
        path: String,
    },
    /// What was decided, and by whom, does not fit into the Job's annotation.
    #[error(
        "the decision of {policies} policies takes {bytes} bytes, more than the {DECISION_BYTES} that the Job can carry: match \
         fewer policies with the run, or let them add fewer labels and annotations"
    )]
    DecisionTooLarge {
        /// Its size.
        bytes: usize,
        /// How many policies took part.
        policies: usize,
    },
}

impl CloneError {
    /// The one word for programs.
    pub fn reason(&self) -> Reason {
        match self {
            CloneError::NotRunnable { why, .. } => why.reason(),
            CloneError::NotAMapping { .. } => Reason::HookManifestInvalid,
            CloneError::DecisionTooLarge { .. } => Reason::DecisionTooLarge,
        }
    }
}

/// The Job that runs the request's hook with the settled values. One that has temporary objects (`borrowed`, as its annotation has
/// them) is suspended until all of them are there, and one that is a step until it is its turn. Its decision names what is
/// `not_created`.
pub fn clone(
    request: &Request,
    solved: &Solved,
    policies: &[PolicyUse],
    borrowed: Option<String>,
    step: Option<Step>,
    not_created: &NotCreated,
) -> Result<Cloned, CloneError> {
    let manifest = &request.hook.manifest;
    hook::check(manifest).map_err(|why| CloneError::NotRunnable { name: request.hook.name.clone(), why })?;
    let mut stripped = Vec::new();
    let workload = Workload::of(manifest);
    let (mut spec, mut template) = if workload.is_pod() {
        (Map::new(), strip::pod_template(manifest, &mut stripped)?)
    } else {
        strip::job_spec(manifest, &mut stripped)?
    };
    let by_policies = solved.annotations.iter().map(|(key, entry)| key.len() + entry.value.len()).sum();
    let is_suspended = borrowed.is_some() || step.is_some();
    let kept =
        strip::object_keys(manifest, is_same_namespace(request), is_suspended, by_policies, &mut stripped)?;
    if workload.is_pod() && !matches!(workload.restart_policy(), Some("Never" | "OnFailure")) {
        // A bare Pod's default, Always, is not allowed in a Job, and Helm waits for the pod to end.
        template.pod_spec.insert("restartPolicy".to_owned(), json!("Never"));
    }

    for (key, entry) in &solved.labels {
        // The chart's own label with this value stays as the chart wrote it; one with another value was a conflict.
        template.labels.entry(key.clone()).or_insert_with(|| json!(entry.value));
    }
    if !request.operation.uid.is_empty() {
        template.labels.insert(OPERATION.to_owned(), json!(name::label_value(&request.operation.uid)));
    }
    spec.insert("template".to_owned(), template.into_json());
    for (field, number) in [
        ("activeDeadlineSeconds", &solved.active_deadline_seconds),
        ("backoffLimit", &solved.backoff_limit),
        ("ttlSecondsAfterFinished", &solved.ttl_seconds_after_finished),
    ] {
        match number.value {
            Some(value) => spec.insert(field.to_owned(), json!(value)),
            None => spec.remove(field),
        };
    }

    if is_suspended {
        spec.insert("suspend".to_owned(), json!(true));
    }
    let unqueued = stripped.iter().find(|gone| gone.why == QUEUE_WHY).and_then(|gone| gone.value.as_str());
    let decision = annotation::decision(request, solved, policies, not_created, unqueued)?;
    let mut job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(request, step, kept.clone(), solved, decision),
        "spec": spec,
    });
    if let Some(borrowed) = borrowed {
        job["metadata"]["annotations"][CLOSURE] = borrowed.into();
    }
    if let Some(step) = step {
        job["metadata"]["annotations"][STEP] = json!(step.to_string());
    }
    Ok(Cloned { job, kept, stripped })
}

/// Labels that hookhost sets on the Job: key, full value, and where the value comes from.
///
/// A value that is no legal label value is made one; then the full value is in an annotation of the same key.
pub fn owned_labels(request: &Request) -> Vec<(&'static str, &str, &'static str)> {
    let mut labels = vec![(MANAGED_BY, MANAGER, "as every workload of vWorkspace")];
    if !request.cluster_id.is_empty() {
        labels.push((CLUSTER_ID, &request.cluster_id, "this host's cluster id"));
    }
    if request.target.kind == "ApplicationInstance" {
        labels.push((APPLICATION_INSTANCE, &request.target.name, "the Operation's target"));
    }
    if !request.operation.uid.is_empty() {
        labels.push((OPERATION, &request.operation.uid, "the Operation's UID, also on the pods"));
    }
    labels.push((SOURCE_HOOK, &request.hook.name, "the hook's name in the chart"));
    labels
}

/// Whether the Operation is in the namespace that the Job runs in, so that it may own the Job: the garbage collector
/// deletes what an owner in another namespace claims.
pub fn is_same_namespace(request: &Request) -> bool {
    request.operation.namespace == request.job_namespace()
}

/// Longest suffix of the pods of an Indexed Job: a dash, and the highest index.
const MAX_SUFFIX: usize = 11;

/// The names that the Job of an Operation can have, by the Operation's name and UID alone: which of them depends on the hook. `step` is
/// the number of a step, from 1.
pub fn job_names(
    operation: &str,
    uid: &str,
    is_same_namespace: bool,
    step: Option<usize>,
) -> BTreeSet<String> {
    let number = step.map(|step| format!("-{step}")).unwrap_or_default();
    let unique = step.is_some() || !is_same_namespace;
    let name = |suffix: usize| {
        let max = name::DNS_LABEL_BYTES.saturating_sub(suffix + number.len());
        name::job_name(operation, uid, max, suffix == 0, unique) + &number
    };
    // No suffix, or a dash and some digits.
    std::iter::once(0).chain(2..=MAX_SUFFIX).map(name).collect()
}

/// Whether a Job of this name can be the Operation's, or one of its steps.
pub fn may_be_job(operation: &str, uid: &str, is_same_namespace: bool, job: &str) -> bool {
    let step = job.rsplit_once('-').and_then(|(_, number)| number.parse().ok());
    let is_among = |step| job_names(operation, uid, is_same_namespace, step).contains(job);
    is_among(None) || (step.is_some() && is_among(step))
}

/// The Job's name: the Operation's where that will do.
///
/// It will not do where pods could not carry it as a label or hostname, nor across namespaces, where two Operations of
/// one name may meet; then the name is cut and ends in a hash of the Operation's UID.
///
/// A step's has its number at the end, which cannot be cut off.
pub fn job_name(request: &Request, step: Option<Step>) -> String {
    let operation = &request.operation;
    let identity = if operation.uid.is_empty() {
        format!("{}/{}", operation.namespace, operation.name)
    } else {
        operation.uid.clone()
    };
    let suffix = Workload::of(&request.hook.manifest).index_suffix();
    let number = step.map(|step| format!("-{}", step.number)).unwrap_or_default();
    let max = name::DNS_LABEL_BYTES - suffix.as_ref().map_or(0, String::len) - number.len();
    // Another Operation may be called as a step would be.
    let unique = step.is_some() || !is_same_namespace(request);
    name::job_name(&operation.name, &identity, max, suffix.is_none(), unique) + &number
}

fn metadata(request: &Request, step: Option<Step>, kept: Keys, solved: &Solved, decision: String) -> Value {
    let Keys { mut labels, mut annotations } = kept;
    for (key, entry) in &solved.labels {
        labels.insert(key.clone(), json!(entry.value));
    }
    for (key, entry) in &solved.annotations {
        annotations.insert(key.clone(), json!(entry.value));
    }
    for (key, full, _) in owned_labels(request) {
        let value = name::label_value(full);
        if value != full {
            annotations.insert(key.to_owned(), json!(full));
        }
        labels.insert(key.to_owned(), json!(value));
    }
    annotations.insert(DECISION.to_owned(), json!(decision));

    let mut metadata = json!({
        "name": job_name(request, step),
        "namespace": request.job_namespace(),
        "labels": labels,
        "annotations": annotations,
    });
    if !request.operation.uid.is_empty() {
        metadata["finalizers"] = json!([FINALIZER]);
    }
    if let Some(owner) = owner_reference(request) {
        metadata["ownerReferences"] = json!([owner]);
    }
    metadata
}

fn owner_reference(request: &Request) -> Option<Value> {
    let operation = &request.operation;
    (is_same_namespace(request) && !operation.uid.is_empty()).then(|| {
        json!({
            "apiVersion": operation::API_VERSION,
            "kind": operation::KIND,
            "name": operation.name,
            "uid": operation.uid,
            "controller": true,
            "blockOwnerDeletion": true,
        })
    })
}
