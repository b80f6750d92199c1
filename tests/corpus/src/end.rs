//! An *end* is what became of a hook on the cluster, as its Operation tells it.

use serde_json::Value;

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// In which way it ended.
    pub(super) way: Way,
    /// Why, in one word or few; empty if it succeeded.
    pub(super) reason: String,
    /// Why, in full; may be empty.
    pub(super) message: String,
}

/// In which way a hook ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Its pods had all that they were to have.
    Succeeded,
    /// It ran, and something was missing; or the cluster does not take what it needs.
    Failed,
    /// It waits for something that does not come by itself.
    Blocked,
    /// It is not run.
    Refused,
    /// It is not run, and Helm would not complete it either.
    FailsWithHelm,
    /// It did not come to an end in time, though nothing in it takes long.
    Stuck,
}

impl Way {
    /// The one word for programs.
    pub(super) fn word(self) -> &'static str {
        match self {
            Way::Succeeded => "succeeded",
            Way::Failed => "failed",
            Way::Blocked => "blocked",
            Way::Refused => "refused",
            Way::FailsWithHelm => "failsWithHelm",
            Way::Stuck => "stuck",
        }
    }
}

impl End {
    /// An end in this way.
    pub(super) fn new(way: Way, reason: &str, message: &str) -> End {
        End { way, reason: reason.to_owned(), message: message.to_owned() }
    }
}

/// How far an Operation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is over.
    Over(End),
    /// It waits for something, for this reason.
    Blocked(End),
    /// It is on its way.
    Underway,
}

/// Reasons to wait that end by themselves.
const PASSING: [&str; 2] = ["ConflictingOperation", "ReleaseBusy"];

impl Progress {
    /// Of an Operation as it is now.
    pub(super) fn of(operation: &Value) -> Progress {
        let phase = operation.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
        let because = |way, kind| {
            let condition = condition(operation, kind);
            let text = |field| condition.get(field).and_then(Value::as_str).unwrap_or_default();
            End::new(way, text("reason"), text("message"))
        };
        match phase {
            "Succeeded" => Progress::Over(End::new(Way::Succeeded, "", "")),
            "Failed" | "Cancelled" => {
                // What never had a Job was not run.
                let has_job = operation.pointer("/status/engineRef").is_some_and(Value::is_object);
                Progress::Over(because(if has_job { Way::Failed } else { Way::Refused }, phase))
            }
            _ if condition(operation, "Blocked").get("status").and_then(Value::as_str) == Some("True") => {
                Progress::Blocked(because(Way::Blocked, "Blocked"))
            }
            _ => Progress::Underway,
        }
    }
}

impl End {
    /// Whether what it waits for comes without anyone's help.
    pub(super) fn passes(&self) -> bool {
        PASSING.contains(&self.reason.as_str())
    }
}

fn condition<'v>(operation: &'v Value, kind: &str) -> &'v Value {
    let all = operation.pointer("/status/conditions").and_then(Value::as_array);
    all.into_iter().flatten().find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}

/// Why a pod does not run, as far as it says so itself.
pub(super) fn pod_waits(pod: &Value) -> String {
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let status = &pod["status"];
    let lists = ["initContainerStatuses", "containerStatuses"].map(|list| status[list].as_array());
    let waiting = lists.into_iter().flatten().flatten().filter_map(|container| {
        let waiting = container.pointer("/state/waiting")?;
        Some(format!("{}: {} {}", text(container, "name"), text(waiting, "reason"), text(waiting, "message")))
    });
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let not =
        conditions.filter(|condition| condition["status"] == "False" && condition["message"].is_string());
    let not = not.map(|condition| format!("{}: {}", text(condition, "type"), text(condition, "message")));
    let all: Vec<String> = waiting.chain(not).collect();
    format!("pod {} is {}: {}", text(&pod["metadata"], "name"), text(status, "phase"), all.join(", "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_operation_is_over_blocked_or_underway() {
        let operation = |phase: &str, kind: &str, engine: Value| {
            let condition = json!({"type": kind, "status": "True", "reason": "Why", "message": "so"});
            json!({"status": {"phase": phase, "engineRef": engine, "conditions": [condition]}})
        };
        let end = |way| End::new(way, "Why", "so");
        let job = json!({"kind": "Job"});
        for (operation, expected) in [
            (json!({}), Progress::Underway),
            (operation("Running", "Running", job.clone()), Progress::Underway),
            (operation("Pending", "Blocked", Value::Null), Progress::Blocked(end(Way::Blocked))),
            (operation("Failed", "Failed", Value::Null), Progress::Over(end(Way::Refused))),
            (operation("Failed", "Failed", job.clone()), Progress::Over(end(Way::Failed))),
            (operation("Succeeded", "Succeeded", job), Progress::Over(End::new(Way::Succeeded, "", ""))),
        ] {
            assert_eq!(Progress::of(&operation), expected);
        }
    }
}
