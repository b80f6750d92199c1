//! What a Job says of itself.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::Value;

use super::WORDS_BYTES;
use crate::json::entry;
use crate::keys::{DECISION, DECISION_BYTES, SOURCE_HOOK};
use hookhost_helm::text::clean;

/// Whether the Job has ended for good: Complete or Failed is True.
pub fn is_finished(job: &Value) -> bool {
    condition(job, "Complete").is_some() || condition(job, "Failed").is_some()
}

/// Whether the object is being deleted. Finalizers may still hold it.
pub fn is_deleting(object: &Value) -> bool {
    text(object, "/metadata/deletionTimestamp").is_some()
}

/// When the object was deleted, if it was.
pub(super) fn deleted_at(object: &Value) -> Option<Timestamp> {
    time(object, "/metadata/deletionTimestamp")
}

/// Whether `finalizer` holds the object.
pub fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    list(object, "/metadata/finalizers").iter().any(|held| held.as_str() == Some(finalizer))
}

/// The name in the chart of the hook that a Job says it runs: by its annotation, where it is no label value; by its label; else by
/// its decision, for anybody may take a label off.
pub(crate) fn source_hook(job: &Value) -> Option<Cow<'_, str>> {
    let named = entry(job, "annotations", SOURCE_HOOK).or_else(|| entry(job, "labels", SOURCE_HOOK));
    named.map(Cow::Borrowed).or_else(|| {
        let decision = entry(job, "annotations", DECISION).filter(|text| text.len() <= DECISION_BYTES)?;
        let decision: Value = serde_json::from_str(decision).ok()?;
        text(&decision, "/hook/name").map(|name| Cow::Owned(name.to_owned()))
    })
}

/// The owner reference of what controls the object.
pub(super) fn controller(object: &Value) -> Option<&Value> {
    let is_controller = |owner: &&Value| owner.get("controller").and_then(Value::as_bool) == Some(true);
    list(object, "/metadata/ownerReferences").iter().find(is_controller)
}

/// The Job's or pod's condition of this type, if it is True.
pub(super) fn condition<'v>(object: &'v Value, of_type: &str) -> Option<&'v Value> {
    any_condition(object, of_type)
        .filter(|condition| condition.get("status").and_then(Value::as_str) == Some("True"))
}

/// The condition of this type, whatever its status.
pub(super) fn any_condition<'v>(object: &'v Value, of_type: &str) -> Option<&'v Value> {
    list(object, "/status/conditions")
        .iter()
        .find(|condition| condition.get("type").and_then(Value::as_str) == Some(of_type))
}

/// "Reason: message" of a condition, a container's state or a pod's status; `otherwise` where it has neither.
pub(super) fn words(of: &Value, otherwise: &str) -> String {
    let field = |pointer| text(of, pointer).map(|text| clean(text, WORDS_BYTES)).unwrap_or_default();
    match (field("/reason"), field("/message")) {
        (reason, message) if reason.is_empty() && message.is_empty() => otherwise.to_owned(),
        (reason, message) if message.is_empty() => reason,
        (reason, message) if reason.is_empty() => message,
        (reason, message) => format!("{reason}: {message}"),
    }
}

/// Whether the Job has ever had a pod, as far as it counts them itself.
pub(super) fn has_had_pods(job: &Value) -> bool {
    let counted = ["active", "succeeded", "failed", "terminating"]
        .iter()
        .any(|count| number(job, &format!("/status/{count}")).is_some_and(|count| count > 0));
    counted
        || ["succeeded", "failed"]
            .iter()
            .any(|ended| !list(job, &format!("/status/uncountedTerminatedPods/{ended}")).is_empty())
}

/// Whether the Job has an index for each of its pods.
pub(super) fn is_indexed(job: &Value) -> bool {
    text(job, "/spec/completionMode") == Some("Indexed")
}

/// Why the Job is suspended, if it is. Its controller says so a moment after somebody has set spec.suspend.
pub(super) fn suspended(job: &Value) -> Option<String> {
    /// The words of the Job's controller.
    const SUSPENDED: &str = "JobSuspended: Job suspended";
    match condition(job, "Suspended") {
        Some(condition) => Some(words(condition, SUSPENDED)),
        None => (job.pointer("/spec/suspend") == Some(&Value::Bool(true))).then(|| SUSPENDED.to_owned()),
    }
}

/// Whether the Job may have several pods that are no tries of the same: at once, or one for each index.
pub(crate) fn is_parallel(job: &Value) -> bool {
    is_indexed(job) || number(job, "/spec/parallelism").is_some_and(|parallelism| parallelism > 1)
}

/// How many pods the Job's controller has counted as succeeded, those included that it is about to add; of an Indexed Job, how many
/// indexes.
pub(super) fn succeeded(job: &Value) -> usize {
    let counted = number(job, "/status/succeeded").and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
    match is_indexed(job) {
        true => counted.max(text(job, "/status/completedIndexes").map_or(0, indexes)),
        false => counted.saturating_add(list(job, "/status/uncountedTerminatedPods/succeeded").len()),
    }
}

/// How many indexes a text like "0,2-4" names.
fn indexes(text: &str) -> usize {
    let count = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    text.split(',').filter_map(count).fold(0, usize::saturating_add)
}

/// Whether the Job's controller had said that the Job has succeeded; where it did so only after the Job was deleted, that counts
/// unless a pod is known that succeeded after that.
pub(super) fn criteria_were_met(job: &Value, by_a_later_pod: bool) -> bool {
    let Some(condition) = condition(job, "SuccessCriteriaMet") else { return false };
    let is_later =
        time(condition, "/lastTransitionTime").zip(deleted_at(job)).is_some_and(|(at, deleted)| at > deleted);
    !(is_later && by_a_later_pod)
}

/// A text that is not empty.
pub(super) fn text<'v>(of: &'v Value, pointer: &str) -> Option<&'v str> {
    of.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}

pub(super) fn number(of: &Value, pointer: &str) -> Option<i64> {
    of.pointer(pointer).and_then(Value::as_i64)
}

pub(super) fn time(of: &Value, pointer: &str) -> Option<Timestamp> {
    text(of, pointer).and_then(|text| text.parse().ok())
}

/// A list; an absent one is empty.
pub(super) fn list<'v>(of: &'v Value, pointer: &str) -> &'v [Value] {
    of.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
