//! Reading a status.

use jiff::Timestamp;
use serde_json::Value;

use crate::api::{
    BLOCKED, CANCELLED, CANCELLED_BY_USER, FAILED, HOOK_AVAILABLE, JOB_SUSPENDED, OVERWRITTEN, PENDING,
    RUNNING, SUCCEEDED,
};
use crate::reason::Reason;

/// A Job, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRef {
    /// metadata.namespace; empty where the status does not tell.
    pub namespace: String,
    /// metadata.name.
    pub name: String,
}

/// Whether the Operation has ended, however its phase reads: finishedAt is set, or Succeeded, Failed or Cancelled is True.
pub fn is_finished(status: &Value) -> bool {
    let ends = |condition: &Value| {
        let of_type = text(condition, "type");
        of_type.is_some_and(|of_type| [SUCCEEDED, FAILED, CANCELLED].contains(&of_type))
            && text(condition, "status") == Some("True")
    };
    text(status, "finishedAt").is_some()
        || status.get("conditions").and_then(Value::as_array).is_some_and(|all| all.iter().any(ends))
}

/// status.phase.
pub fn phase(status: &Value) -> Option<&str> {
    text(status, "phase")
}

/// The Job that the Operation has run as, from engineRef, else from outputs.jobName.
pub fn job_ref(status: &Value) -> Option<JobRef> {
    let engine = status.get("engineRef").filter(|engine| text(engine, "kind") == Some("Job"));
    if let Some(engine) = engine
        && let Some(name) = text(engine, "name")
    {
        let namespace = text(engine, "namespace").unwrap_or_default();
        return Some(JobRef { namespace: namespace.to_owned(), name: name.to_owned() });
    }
    let name = text(status.get("outputs")?, "jobName")?;
    Some(JobRef { namespace: String::new(), name: name.to_owned() })
}

/// Whether it says of a run that it has begun, or which Job it has.
pub fn has_started(status: &Value) -> bool {
    text(status, "startedAt").is_some() || phase(status) == Some("Running") || job_ref(status).is_some()
}

/// When its run began, as it says.
pub fn started_at(status: &Value) -> Option<Timestamp> {
    text(status, "startedAt")?.parse().ok()
}

/// Since when it says that nothing of its run is at work.
pub fn not_running_since(status: &Value) -> Option<Timestamp> {
    let running = condition(status, RUNNING).filter(|running| text(running, "status") == Some("False"))?;
    text(running, "lastTransitionTime")?.parse().ok()
}

/// Whether it says that the Job has a pod: other controllers overwrite the phase.
pub fn is_running(status: &Value) -> bool {
    condition(status, RUNNING).and_then(|running| text(running, "status")) == Some("True")
}

/// Whether it says that another controller overwrites it.
pub fn is_overwritten(status: &Value) -> bool {
    condition(status, OVERWRITTEN).and_then(|overwritten| text(overwritten, "status")) == Some("True")
}

/// Whether it says that somebody has suspended the Job.
pub fn is_suspended(status: &Value) -> bool {
    condition(status, RUNNING).and_then(reason_of) == Some(JOB_SUSPENDED)
}

/// Whether it says that hookhost has begun to cancel the Operation, which has not ended.
pub fn is_cancelling(status: &Value) -> bool {
    !is_finished(status) && condition(status, RUNNING).and_then(reason_of) == Some(CANCELLED_BY_USER)
}

/// Why the Operation is blocked; none where it is not.
pub fn blocked_reason(status: &Value) -> Option<&str> {
    condition(status, BLOCKED).filter(|blocked| text(blocked, "status") == Some("True")).and_then(reason_of)
}

/// Whether the Operation has failed because its chart lacks the hook, and its status does not say that the chart has it now. Its result
/// tells: what blocks it other controllers overwrite.
pub fn lacks_hook(status: &Value) -> bool {
    let says = |of_type, is: &str, reason: &str| {
        let condition = condition(status, of_type);
        condition.is_some_and(|it| text(it, "status") == Some(is) && reason_of(it) == Some(reason))
    };
    says(FAILED, "True", Reason::HookNotFound.as_str()) && !says(BLOCKED, "False", HOOK_AVAILABLE)
}

/// The word that says why the Operation is in its phase: the reason of the condition of that name, and of one that is
/// pending, of what blocks it.
pub fn reason(status: &Value) -> Option<&str> {
    reason_of(telling(status)?)
}

/// The sentence beside that word.
pub fn message(status: &Value) -> Option<&str> {
    text(telling(status)?, "message")
}

/// The condition that says why the Operation is in its phase.
fn telling(status: &Value) -> Option<&Value> {
    match phase(status)? {
        PENDING => condition(status, BLOCKED)
            .filter(|blocked| text(blocked, "status") == Some("True"))
            .or_else(|| condition(status, RUNNING)),
        phase => condition(status, phase),
    }
}

fn condition<'v>(status: &'v Value, of_type: &str) -> Option<&'v Value> {
    let mut all = status.get("conditions")?.as_array()?.iter();
    all.find(|condition| text(condition, "type") == Some(of_type))
}

fn reason_of(condition: &Value) -> Option<&str> {
    text(condition, "reason")
}

/// A field that is a text and not empty.
pub(super) fn text<'v>(of: &'v Value, field: &str) -> Option<&'v str> {
    of.get(field).and_then(Value::as_str).filter(|text| !text.is_empty())
}
