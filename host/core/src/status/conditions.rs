//! *Conditions* are a map by type, kept as a list.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::MESSAGE_BYTES;
use super::read::text;
use crate::api::{ACCEPTED, BLOCKED, CANCELLED, FAILED, RUNNING, SUCCEEDED};
use hookhost_helm::text::cut;

/// The conditions of a status, in the order in which it has them; once one is changed, in that of [`ORDER`].
pub(super) struct Conditions(Vec<Map<String, Value>>);

/// Types in the order in which they decide what an Operation is: of those that are true the first one's reason is what
/// `kubectl get operations` shows, which can choose by nothing but their order.
const ORDER: [&str; 6] = [CANCELLED, FAILED, SUCCEEDED, BLOCKED, RUNNING, ACCEPTED];

/// What a condition is to say.
pub(super) struct Condition<'a> {
    pub(super) of_type: &'a str,
    pub(super) is_true: bool,
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
}

impl Conditions {
    /// Those of `status`. What the API server would refuse as a condition, and would refuse the whole status for, is left out:
    /// what is no mapping or has no type, and a second one of a type.
    pub(super) fn of(status: &Value) -> Conditions {
        let mut conditions = Conditions(Vec::new());
        for condition in status.get("conditions").and_then(Value::as_array).into_iter().flatten() {
            let of_type = text(condition, "type");
            if let (Some(of_type), Some(fields)) = (of_type, condition.as_object())
                && conditions.get(of_type).is_none()
            {
                conditions.0.push(fields.clone());
            }
        }
        conditions
    }

    pub(super) fn into_json(self) -> Value {
        Value::Array(self.0.into_iter().map(Value::Object).collect())
    }

    pub(super) fn get(&self, of_type: &str) -> Option<&Map<String, Value>> {
        self.0.iter().find(|condition| field(condition, "type") == of_type)
    }

    pub(super) fn remove(&mut self, of_type: &str) {
        self.0.retain(|condition| field(condition, "type") != of_type);
    }

    pub(super) fn is_true(&self, of_type: &str) -> bool {
        self.status(of_type) == "True"
    }

    /// "True", "False" or "Unknown"; "" where there is none.
    pub(super) fn status(&self, of_type: &str) -> &str {
        self.field(of_type, "status")
    }

    pub(super) fn reason(&self, of_type: &str) -> &str {
        self.field(of_type, "reason")
    }

    pub(super) fn message(&self, of_type: &str) -> &str {
        self.field(of_type, "message")
    }

    fn field(&self, of_type: &str, name: &str) -> &str {
        self.get(of_type).map_or("", |condition| field(condition, name))
    }

    /// Whether the condition says this, whatever its message.
    pub(super) fn says(&self, of_type: &str, is_true: bool, reason: &str) -> bool {
        self.status(of_type) == status(is_true) && self.reason(of_type) == reason
    }

    /// Makes the condition say this. The time of its last transition changes only with its status; one that says it already
    /// stays untouched.
    pub(super) fn set(&mut self, condition: &Condition<'_>, generation: Option<i64>, now: Timestamp) {
        let Condition { of_type, is_true, reason, message } = *condition;
        let message = cut(message, MESSAGE_BYTES);
        let position = self.0.iter().position(|condition| field(condition, "type") == of_type);
        let position = position.unwrap_or_else(|| {
            self.0.push(Map::from_iter([("type".to_owned(), json!(of_type))]));
            self.0.len() - 1
        });
        let fields = &mut self.0[position];
        let same_status = field(fields, "status") == status(is_true);
        let has_time = !field(fields, "lastTransitionTime").is_empty();
        let same_words = field(fields, "reason") == reason
            && fields.get("message").and_then(Value::as_str) == Some(message.as_str());
        if same_status && has_time && same_words {
            return;
        }
        if !(same_status && has_time) {
            fields.insert("lastTransitionTime".to_owned(), json!(time(now)));
        }
        fields.insert("status".to_owned(), json!(status(is_true)));
        fields.insert("reason".to_owned(), json!(reason));
        fields.insert("message".to_owned(), json!(message));
        if let Some(generation) = generation {
            fields.insert("observedGeneration".to_owned(), json!(generation));
        }
        // Only now: an order alone is not worth a write.
        self.sort();
    }

    /// Puts those of [`ORDER`] into it, each at a place where one of them was: those of others stay where they are.
    fn sort(&mut self) {
        let rank = |condition: &Map<String, Value>| {
            ORDER.iter().position(|known| *known == field(condition, "type"))
        };
        let places: Vec<usize> = (0..self.0.len()).filter(|&at| rank(&self.0[at]).is_some()).collect();
        let mut known: Vec<Map<String, Value>> =
            places.iter().map(|&at| std::mem::take(&mut self.0[at])).collect();
        known.sort_by_key(rank);
        for (at, condition) in places.into_iter().zip(known) {
            self.0[at] = condition;
        }
    }
}

/// As Kubernetes writes a time: whole seconds, UTC.
pub(super) fn time(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

fn status(is_true: bool) -> &'static str {
    if is_true { "True" } else { "False" }
}

fn field<'m>(condition: &'m Map<String, Value>, name: &str) -> &'m str {
    condition.get(name).and_then(Value::as_str).unwrap_or_default()
}
