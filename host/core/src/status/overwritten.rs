//! A status is *overwritten* where another controller writes other values to the fields that hookhost has written.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::conditions::{Condition, Conditions};
use crate::api::{ANOTHER_CONTROLLER, OVERWRITTEN};

/// Says on a status, once, that another controller keeps overwriting it: `writer` is its field manager, where that is known. The
/// condition is one that other controllers leave alone.
pub fn note_overwritten(status: &mut Value, writer: Option<&str>, now: Timestamp) {
    let mut conditions = Conditions::of(status);
    if conditions.is_true(OVERWRITTEN) {
        return;
    }
    let writer = writer.map(|writer| format!(" (field manager {writer:?})")).unwrap_or_default();
    let message = format!(
        "Another controller{writer} overwrites the phase and conditions of this Operation. hookhost writes them again, each time \
         after a longer pause, up to two hours. Until then read the result from the conditions Succeeded, Failed and Cancelled, \
         from finishedAt and from outputs. Let only one controller serve Operations of this engine."
    );
    let overwritten =
        Condition { of_type: OVERWRITTEN, is_true: true, reason: ANOTHER_CONTROLLER, message: &message };
    conditions.set(&overwritten, None, now);
    status["conditions"] = conditions.into_json();
}

/// The field manager that wrote the message of an Operation's condition, by metadata.managedFields; none where that cannot be seen.
pub fn writer<'o>(operation: &'o Value, of_type: &str) -> Option<&'o str> {
    let managed = operation.pointer("/metadata/managedFields")?.as_array()?;
    let key = format!("k:{}", json!({"type": of_type}));
    let has_written =
        |entry: &&Value| entry["fieldsV1"]["f:status"]["f:conditions"][&key].get("f:message").is_some();
    managed.iter().find(has_written)?["manager"].as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_who_overwrites_a_status_and_other_conditions_stay() {
        let now: Timestamp = "2026-05-28T14:00:00Z".parse().unwrap();
        let mut status = json!({"phase": "Succeeded", "conditions": [
            {"type": "Succeeded", "status": "True", "reason": "HelmHookJobSucceeded", "message": ""}]});
        note_overwritten(&mut status, Some("manager"), now);
        let conditions = status["conditions"].as_array().unwrap().clone();
        assert_eq!((conditions.len(), &conditions[0]["type"]), (2, &json!("Succeeded")));
        assert_eq!(conditions[1]["reason"], "AnotherController");
        let message = conditions[1]["message"].as_str().unwrap();
        assert!(
            message.starts_with("Another controller (field manager \"manager\") overwrites"),
            "{message}"
        );
        note_overwritten(&mut status, Some("another"), now);
        assert_eq!(status["conditions"], Value::Array(conditions));
    }

    #[test]
    fn the_writer_of_a_condition_is_who_changed_it_last() {
        let entry = |manager: &str, fields: Value| json!({"manager": manager, "subresource": "status", "fieldsV1": {"f:status": fields}});
        let managed = [
            entry(
                "hookhost",
                json!({"f:conditions": {"k:{\"type\":\"Running\"}": {"f:message": {}, "f:reason": {}}}}),
            ),
            entry(
                "manager",
                json!({"f:phase": {}, "f:conditions": {"k:{\"type\":\"Blocked\"}": {"f:message": {}}}}),
            ),
        ];
        let operation = json!({"metadata": {"managedFields": managed}});
        assert_eq!(writer(&operation, "Running"), Some("hookhost"));
        assert_eq!(writer(&operation, "Blocked"), Some("manager"));
        assert_eq!((writer(&operation, "Failed"), writer(&json!({}), "Blocked")), (None, None));
    }
}
