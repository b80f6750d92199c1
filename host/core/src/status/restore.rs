//! Putting back what another controller has overwritten.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::conditions::{Condition, Conditions};
use super::message;
use super::read::job_ref;
use crate::api::*;
use crate::foreign::Foreign;
use crate::reason::Reason;

/// Reasons of results that are hookhost's, besides those of [`Reason`]. What another controller says of an Operation that it has ended
/// is its own.
const RESULTS: [&str; 4] = [JOB_SUCCEEDED, JOB_FAILED, EXTERNAL_DELETION, CANCELLED_BY_USER];

/// The status of an Operation that has ended, with phase, Accepted and Blocked as they belong to its result; nothing where
/// nothing is wrong, where the Operation has not ended, where no condition tells how, or where another controller has ended it.
///
/// The result is read from what others leave alone: the condition Succeeded, Failed or Cancelled, engineRef, and the outputs.
/// Since those who overwrite a status do it again, the caller bounds how often it puts things right.
pub fn restore(status: &Value, foreign: Foreign, now: Timestamp) -> Option<Value> {
    let mut conditions = Conditions::of(status);
    let of_type = [FAILED, SUCCEEDED, CANCELLED].into_iter().find(|of_type| conditions.is_true(of_type))?;
    let reason = conditions.reason(of_type).to_owned();
    if foreign.has(of_type) || !(RESULTS.contains(&reason.as_str()) || reason.parse::<Reason>().is_ok()) {
        return None;
    }
    let told = conditions.message(of_type).to_owned();
    let generation = conditions
        .get(of_type)
        .and_then(|condition| condition.get("observedGeneration"))
        .and_then(Value::as_i64);
    let was_accepted = match reason.as_str() {
        JOB_SUCCEEDED | JOB_FAILED | EXTERNAL_DELETION => Some(true),
        CANCELLED_BY_USER => Some(job_ref(status).is_some()),
        // A refusal: of the Operation, or of the next hook of an event that had begun.
        _ if of_type == FAILED => Some(status.pointer("/outputs/step").is_some()),
        _ => None,
    };
    let missed = Reason::HookNotFound.as_str();
    let accepted = message::accepted(status);
    let mut right: Vec<Condition<'_>> = Vec::new();
    if was_accepted == Some(true) && !conditions.is_true(ACCEPTED) {
        right.push(Condition {
            of_type: ACCEPTED,
            is_true: true,
            reason: TEMPLATE_VALIDATED,
            message: &accepted,
        });
    } else if was_accepted == Some(false) && !conditions.says(ACCEPTED, false, &reason) {
        right.push(Condition { of_type: ACCEPTED, is_true: false, reason: &reason, message: &told });
    }
    if of_type == FAILED && reason == missed {
        if !conditions.says(BLOCKED, true, missed) && !conditions.says(BLOCKED, false, HOOK_AVAILABLE) {
            right.push(Condition { of_type: BLOCKED, is_true: true, reason: missed, message: &told });
        }
    } else if conditions.is_true(BLOCKED) {
        right.push(Condition {
            of_type: BLOCKED,
            is_true: false,
            reason: UNBLOCKED,
            message: message::UNBLOCKED,
        });
    }
    let is_external = of_type == CANCELLED && reason == EXTERNAL_DELETION;
    let phase = if is_external { FAILED } else { of_type };
    if right.is_empty() && super::phase(status) == Some(phase) {
        return None;
    }
    for condition in right {
        conditions.set(&condition, generation, now);
    }
    let mut restored = status.clone();
    restored["phase"] = json!(phase);
    restored["conditions"] = conditions.into_json();
    Some(restored)
}
