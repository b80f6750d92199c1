//! A Job.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::json::{cost, cut, each, each_of_list, exact, kept, plain, shown};
use super::{MESSAGE_BYTES, NAME_BYTES, WORD_BYTES};
use crate::claim::{CLAIM_BYTES, Claim};
use crate::keys::CLAIM;
use crate::keys::{CLOSURE, UNATTENDED};
use crate::keys::{DECISION, DECISION_BYTES, FINALIZER, OPENED, OPERATION, SOURCE_HOOK, STEP};
use crate::loan::MAX_LOANS;
use crate::operation::KIND;
use hookhost_helm::limits::MAX_RUN_BYTES;

/// Bytes of what a Job says to borrow: as many objects as there may be, each with the longest names.
pub const CLOSURE_BYTES: usize = MAX_LOANS * 512;

/// What a Job's spec may take once it is parsed, counted as a hook's manifest is: the largest hook that is run, and half as much
/// again for what the API server fills in. What takes more is not compared with a claim, and so is nobody's.
pub const SPEC_BYTES: usize = MAX_RUN_BYTES + MAX_RUN_BYTES / 2;

/// Bytes of memory that a spec takes which counts for so many (tests/memory.rs has the same of manifests).
pub const COMPARED_BYTES: usize = 2 * SPEC_BYTES;

/// Bytes of an annotation that names a hook, or one of hookhost's that says little.
const ENTRY_BYTES: usize = 1024;

/// Operations that a Job says own it: one, of those that hookhost makes.
const OWNERS: usize = 4;

/// Finalizers that are asked for: hookhost's, and the two by which Kubernetes deletes a Job after its pods or without them.
const FINALIZERS: [&str; 3] = [FINALIZER, "foregroundDeletion", "orphan"];

/// Pods that have ended and that the Job's controller is about to count: it takes 500 at once.
const UNCOUNTED: usize = 1000;

/// A Job's conditions that are read.
const CONDITIONS: [&str; 5] = ["Complete", "Failed", "FailureTarget", "SuccessCriteriaMet", "Suspended"];

/// A Job, cut down.
#[derive(Clone, Debug)]
pub struct StoredJob {
    /// The Job: metadata, spec without what it runs, status.
    pub object: Value,
    /// What it claims, of the whole of it.
    pub claim: Option<Claim>,
}

impl StoredJob {
    /// Cuts a Job down; none if the text is not that of an object of Kubernetes.
    pub fn read(text: &str) -> Option<StoredJob> {
        let [mut metadata, mut spec, mut status] = [None; 3];
        let is_object = each(text, |key, value| match key {
            "metadata" => metadata = Some(value),
            "spec" => spec = Some(value),
            "status" => status = Some(value),
            _ => {}
        });
        let metadata = metadata.filter(|_| is_object).and_then(read_metadata)?;
        let mut object = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata});
        let claim = spec.filter(|spec| cost(spec.get()) <= SPEC_BYTES).and_then(|spec| {
            let spec: Value = serde_json::from_str(spec.get()).ok()?;
            Claim::of_job(&object, &spec)
        });
        if let Some(spec) = spec.and_then(read_spec) {
            object["spec"] = spec.into();
        }
        if let Some(status) = status.and_then(read_status) {
            object["status"] = status.into();
        }
        Some(StoredJob { object, claim })
    }

    /// All of a Job, if it takes no more once it is parsed than what one of hookhost's may take.
    pub fn whole(text: &str) -> Option<Value> {
        (cost(text) <= SPEC_BYTES).then(|| serde_json::from_str(text).ok()).flatten()
    }
}

fn read_metadata(json: &RawValue) -> Option<Map<String, Value>> {
    kept(json, |key, value| match key {
        "name" => cut(value, NAME_BYTES),
        "namespace" | "uid" | "resourceVersion" | "creationTimestamp" | "deletionTimestamp" => {
            cut(value, WORD_BYTES)
        }
        "generation" => plain(value),
        "labels" => Some(kept(value, label)?.into()),
        "annotations" => Some(kept(value, annotation)?.into()),
        "finalizers" => {
            let mut found = Vec::new();
            each_of_list(value, |one| {
                let one = exact(one, WORD_BYTES);
                let is_known = |one: &Value| one.as_str().is_some_and(|one| FINALIZERS.contains(&one));
                found.extend(one.filter(|one| is_known(one) && !found.contains(one)));
            });
            Some(found.into())
        }
        "ownerReferences" => {
            let mut owners: Vec<Value> = Vec::new();
            each_of_list(value, |one| {
                let owner = kept(one, |key, value| match key {
                    "kind" | "uid" => cut(value, WORD_BYTES),
                    "name" => cut(value, NAME_BYTES),
                    "controller" => plain(value),
                    _ => None,
                });
                let owner =
                    owner.filter(|owner| owners.len() < OWNERS && owner.get("kind") == Some(&KIND.into()));
                owners.extend(owner.map(Value::from));
            });
            Some(owners.into())
        }
        _ => None,
    })
}

/// hookhost's own labels, of those that are read back.
fn label(key: &str, value: &RawValue) -> Option<Value> {
    [OPERATION, SOURCE_HOOK].contains(&key).then(|| exact(value, WORD_BYTES)).flatten()
}

/// hookhost's own annotations, of those that are read back. One that is too long is not hookhost's.
fn annotation(key: &str, value: &RawValue) -> Option<Value> {
    let most = match key {
        DECISION => DECISION_BYTES,
        CLOSURE => CLOSURE_BYTES,
        CLAIM => CLAIM_BYTES,
        SOURCE_HOOK | OPERATION | STEP | OPENED | UNATTENDED => ENTRY_BYTES,
        _ => return None,
    };
    exact(value, most)
}

fn read_spec(json: &RawValue) -> Option<Map<String, Value>> {
    kept(json, |key, value| match key {
        "suspend" | "completions" | "parallelism" | "activeDeadlineSeconds" | "backoffLimit" => plain(value),
        "completionMode" => cut(value, WORD_BYTES),
        _ => None,
    })
}

fn read_status(json: &RawValue) -> Option<Map<String, Value>> {
    kept(json, |key, value| match key {
        "active" | "succeeded" | "failed" | "terminating" => plain(value),
        "startTime" | "completionTime" => cut(value, WORD_BYTES),
        // Cut off, it names fewer: what is shown of the one is shorter still, and of the other the controller tells the number, too.
        "failedIndexes" | "completedIndexes" => shown(value, MESSAGE_BYTES),
        "uncountedTerminatedPods" => Some(kept(value, |_, pods| Some(counted(pods)))?.into()),
        "conditions" => Some(conditions(value, &CONDITIONS)),
        _ => None,
    })
}

/// Of a list only how many entries it has.
fn counted(json: &RawValue) -> Value {
    let mut count = 0;
    each_of_list(json, |_| count += 1);
    vec![true; count.min(UNCOUNTED)].into()
}

/// The first condition of each of these types.
pub(super) fn conditions(json: &RawValue, types: &[&str]) -> Value {
    let mut found: Vec<Value> = Vec::new();
    each_of_list(json, |one| {
        let condition = kept(one, |key, value| match key {
            "type" | "status" | "lastTransitionTime" => cut(value, WORD_BYTES),
            "reason" | "message" => shown(value, MESSAGE_BYTES),
            _ => None,
        });
        let is_first = |condition: &Map<String, Value>| {
            let of_type = condition.get("type").unwrap_or(&Value::Null);
            of_type.as_str().is_some_and(|of_type| types.contains(&of_type))
                && found.iter().all(|before| before["type"] != *of_type)
        };
        let condition = condition.filter(is_first).map(Value::from);
        found.extend(condition);
    });
    found.into()
}
