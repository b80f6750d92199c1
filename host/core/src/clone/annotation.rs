//! The decision, kept on the Job: which policies, in which build, made which value what it is.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::CloneError;
use crate::keys::{APPROVED_BY, DECISION_BYTES, NOT_CREATED, UNQUEUED};
use crate::object::ObjectRef;
use crate::request::Request;
use crate::verdict::{Effective, Entry, PolicyUse, Solved};

/// Objects that each of them names: a hook has one or two.
const MAX_NOT_CREATED: usize = 8;

/// Objects that the hook needs, that Helm has deleted, and that hookhost does not create for the run, which starts all the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NotCreated {
    /// Network policies that select the run's pods: a pod starts without them.
    pub without: Vec<ObjectRef>,
    /// Objects in namespaces where hookhost may not look: they may exist.
    pub unseen: Vec<ObjectRef>,
    /// Network policies that select the pods of Helm's own run and not this one's: they do not apply to it.
    pub missed: Vec<ObjectRef>,
}

/// The annotation's value. `unqueued` is the queue that the chart's label names and the Job is not in.
///
/// # Errors
/// It is too long. It is never shortened: it says which hook of which release the Job runs, and hookhost reads that back.
pub(super) fn decision(
    request: &Request,
    solved: &Solved,
    policies: &[PolicyUse],
    not_created: &NotCreated,
    unqueued: Option<&str>,
) -> Result<String, CloneError> {
    let hook = &request.hook;
    let release = &request.release;
    let operation = &request.operation;
    let mut decision = json!({
        "operation": {"namespace": operation.namespace, "name": operation.name},
        "hook": {"kind": hook.kind, "name": hook.name},
        "release": {
            "name": release.name, "revision": release.revision, "chart": release.chart,
            "chartVersion": release.chart_version,
        },
        "policies": policies,
        "values": {
            "activeDeadlineSeconds": number(&solved.active_deadline_seconds),
            "backoffLimit": number(&solved.backoff_limit),
            "ttlSecondsAfterFinished": number(&solved.ttl_seconds_after_finished),
        },
    });
    if let Some(approved_by) = &operation.approved_by {
        // The other hooks of an event go by it, too.
        decision[APPROVED_BY] = json!(approved_by);
    }
    for (what, added) in [("labels", &solved.labels), ("annotations", &solved.annotations)] {
        if !added.is_empty() {
            decision[what] = entries(added);
        }
    }
    if let Some(queue) = unqueued {
        decision[UNQUEUED] = json!(queue);
    }
    let NotCreated { without, unseen, missed } = not_created;
    let [without, missed] =
        [without, missed].map(|objects| objects.iter().map(ObjectRef::kind_and_name).collect::<Vec<_>>());
    let far = |object: &ObjectRef| format!("{}/{}", object.namespace, object.kind_and_name());
    let unseen: Vec<String> = unseen.iter().map(far).collect();
    for (key, named) in NOT_CREATED.into_iter().zip([without, unseen, missed]) {
        if !named.is_empty() {
            decision[key] = named.into_iter().take(MAX_NOT_CREATED).collect();
        }
    }
    let text = decision.to_string();
    if text.len() > DECISION_BYTES {
        return Err(CloneError::DecisionTooLarge { bytes: text.len(), policies: policies.len() });
    }
    Ok(text)
}

fn number(effective: &Effective) -> Value {
    let mut number = json!({"value": effective.value, "source": effective.source});
    if let Some(before) = &effective.instead_of {
        number["insteadOf"] = json!({"value": before.value, "source": before.source});
    }
    number
}

fn entries(entries: &BTreeMap<String, Entry>) -> Value {
    entries.iter().map(|(key, entry)| (key.clone(), json!(entry.policies))).collect()
}
