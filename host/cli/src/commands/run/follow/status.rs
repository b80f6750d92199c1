//! What an Operation's status says to the person who waits.

use hookhost_core::Reason;
use hookhost_core::keys::FIELD_MANAGER;
use hookhost_core::operation::CANCEL;
use hookhost_core::status::{self, has_started, is_finished, job_ref};
use hookhost_helm::text::quote;
use serde_json::Value;

use crate::exit::Outcome;

/// What a failure's message puts before the end of the container's log.
const LOG_IN_MESSAGE: &str = "\nIts last log lines:\n";

/// What was told of the status so far.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The Job of which it was told that it is accepted; an event has one for each hook.
    job: Option<String>,
    /// What the Operation is at: "Blocked", "Pending" or "Running".
    at: &'static str,
    /// The lines that were told of that.
    lines: Vec<String>,
}

/// The status of an Operation without the conditions that another controller has written over hookhost's; and the field manager of
/// one that has.
pub(super) fn of_hookhost(operation: &Value) -> (Value, Option<String>) {
    let mut status = operation.get("status").cloned().unwrap_or_default();
    let mut other = None;
    if let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) {
        conditions.retain(|condition| {
            let of_type = condition["type"].as_str().unwrap_or_default();
            let writer = status::writer(operation, of_type).filter(|writer| *writer != FIELD_MANAGER);
            // A result counts, whoever reports it.
            if writer.is_none() || !["Accepted", "Blocked", "Running"].contains(&of_type) {
                return true;
            }
            other = writer.map(str::to_owned);
            false
        });
    }
    if is_finished(&status) {
        // Another controller may have overwritten the phase.
        let is_true = |of_type: &&&str| condition(&status, of_type, "True").is_some();
        if let Some(phase) = ["Failed", "Succeeded", "Cancelled"].iter().find(is_true) {
            status["phase"] = (*phase).into();
        }
    } else if other.is_some() {
        let is_known = status["conditions"].as_array().is_some_and(|conditions| !conditions.is_empty());
        let phase = if condition(&status, "Running", "True").is_some() { "Running" } else { "Pending" };
        status["phase"] = if is_known { phase.into() } else { Value::Null };
    }
    (status, other)
}

/// hookhost's last word on whether an Operation is blocked. Another controller writes over it within milliseconds, and hookhost
/// says it again only after a pause that grows; meanwhile it holds.
#[derive(Debug, Default)]
pub(super) struct Word(Option<Value>);

impl Word {
    /// A status as [`of_hookhost`] gives it, with the last word where another controller has written over that.
    pub(super) fn in_place(&mut self, mut status: Value, is_overwritten: bool) -> Value {
        let all = status.get("conditions").and_then(Value::as_array);
        let said = all.into_iter().flatten().find(|condition| condition["type"] == "Blocked");
        if said.is_some() || !is_overwritten {
            self.0 = said.cloned();
        } else if !has_started(&status)
            && let (Some(word), Some(all)) = (&self.0, status["conditions"].as_array_mut())
        {
            all.push(word.clone());
            status["phase"] = "Pending".into();
        }
        status
    }
}

/// Who reports the result of an Operation, if that is not hookhost.
pub(super) fn other_result(operation: &Value) -> Option<&str> {
    let status = operation.get("status")?;
    let of_type = ["Succeeded", "Failed", "Cancelled"]
        .into_iter()
        .find(|of_type| condition(status, of_type, "True").is_some())?;
    status::writer(operation, of_type).filter(|writer| *writer != FIELD_MANAGER)
}

/// A condition that has this status: its reason and message.
fn condition<'v>(status: &'v Value, type_of: &str, is: &str) -> Option<(&'v str, &'v str)> {
    let text = |of: &'v Value, field: &str| of.get(field).and_then(Value::as_str).unwrap_or_default();
    let all = status.get("conditions").and_then(Value::as_array)?;
    let found = all.iter().find(|condition| text(condition, "type") == type_of)?;
    (text(found, "status") == is).then(|| (text(found, "reason"), text(found, "message")))
}

/// That the Operation is being cancelled, and by what: known before hookhost has reconciled it.
pub(super) fn cancellation(operation: &Value) -> Option<String> {
    let metadata = operation.get("metadata")?;
    let how = if metadata.get("deletionTimestamp").is_some() {
        "it was deleted".to_owned()
    } else {
        let value = metadata.get("annotations")?.get(CANCEL)?.as_str().filter(|value| *value != "false")?;
        format!("annotation {CANCEL}={}", quote(value))
    };
    Some(format!(
        "The Operation is being cancelled ({how}): its Job is deleted, and its pod has its grace period to end."
    ))
}

/// Why the Operation does not run now.
pub(super) fn blocked(status: &Value) -> Option<(&str, &str)> {
    condition(status, "Blocked", "True").filter(|_| !is_finished(status))
}

/// What is new since the last time, in lines. Its end is not: that is the result.
pub(super) fn news(status: &Value, told: &mut Told) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some((_, message)) = condition(status, "Accepted", "True") {
        let job = job_ref(status).map(|job| job.name);
        if told.job.is_none() || job.is_some() && told.job != job {
            *told = Told { job: Some(job.unwrap_or_default()), ..Told::default() };
            lines.push(format!("Accepted: {message}"));
        }
    }
    if is_finished(status) {
        return lines;
    }
    let (at, reason, message) = if let Some((reason, message)) = blocked(status) {
        ("Blocked", reason, message)
    } else if let Some((_, message)) = condition(status, "Running", "True") {
        ("Running", "", message)
    } else if let Some((_, message)) = condition(status, "Running", "False") {
        ("Pending", "", message)
    } else {
        return lines;
    };
    if told.at != at {
        (told.at, told.lines) = (at, Vec::new());
    }
    let label = if reason.is_empty() { at.to_owned() } else { format!("{at} ({reason})") };
    let all: Vec<String> = message.lines().map(|line| format!("{label}: {line}")).collect();
    // While it runs the first line only comes to name the newest pod, which is told when its log begins.
    let known = if at == "Running" { usize::from(!told.lines.is_empty()) } else { 0 };
    lines.extend(all.iter().skip(known).filter(|line| !told.lines.contains(line)).cloned());
    told.lines = all;
    lines
}

/// Why the Operation ended as it did: reason and message. The end of the log is left out where the log was shown.
pub(super) fn conclusion(status: &Value, log_is_shown: bool) -> (&str, &str) {
    let ends = ["Succeeded", "Failed", "Cancelled"].map(|type_of| condition(status, type_of, "True"));
    let (reason, message) = ends.into_iter().flatten().next().unwrap_or_default();
    let message = match message.split_once(LOG_IN_MESSAGE) {
        Some((message, _)) if log_is_shown => message,
        _ => message,
    };
    (reason, message)
}

/// How each hook of an event went, a line each; nothing where one hook was run.
pub(super) fn steps(status: &Value) -> String {
    let rows = status.pointer("/outputs/hooks").and_then(Value::as_array).into_iter().flatten();
    let text =
        |row: &Value, field: &str| row.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    rows.map(|row| format!("\n  {:<9}  {}", text(row, "phase"), text(row, "hook"))).collect()
}

/// Reason and message of how the Operation is: why it ended as it did, or why it does not run; for programs.
pub(in super::super) fn reason(status: &Value) -> Option<(&str, &str)> {
    if is_finished(status) { Some(conclusion(status, false)) } else { blocked(status) }
}

/// How an Operation that has ended did so, for the exit code.
pub(super) fn outcome(status: &Value) -> Outcome {
    // Not by the phase, which another controller may overwrite.
    if condition(status, "Succeeded", "True").is_some() {
        return Outcome::Done;
    }
    let (reason, _) = conclusion(status, false);
    let is = |reasons: &[Reason]| reasons.iter().any(|known| known.as_str() == reason);
    if is(&[Reason::PolicyDenied, Reason::PolicyConflict, Reason::DecisionTooLarge]) {
        Outcome::Denied
    } else if is(&[Reason::HookNotFound, Reason::HookRequiresRelease, Reason::TargetNotFound]) {
        Outcome::NotFound
    } else if is(&[Reason::WaitTimeout]) {
        Outcome::TimedOut
    } else {
        Outcome::Failed
    }
}
