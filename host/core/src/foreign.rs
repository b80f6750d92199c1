//! *Foreign* conditions of an Operation are those that another controller has written last. What they say is not hookhost's word.
//!
//! The API server records in metadata.managedFields which field manager has changed which field last. A name of a field manager proves
//! nothing against somebody who may write statuses and takes hookhost's name; it tells apart controllers that each go by their own.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::{ACCEPTED, BLOCKED, CANCELLED, FAILED, OVERWRITTEN, RUNNING, SUCCEEDED};
use crate::json::{Pairs, each_entry, each_item, pairs};
use crate::keys::FIELD_MANAGER;
use crate::reason::Reason;

/// The conditions that hookhost knows.
pub(crate) const CONDITIONS: [&str; 7] =
    [ACCEPTED, BLOCKED, RUNNING, SUCCEEDED, FAILED, CANCELLED, OVERWRITTEN];

/// What a condition says.
const FIELDS: [&str; 3] = ["f:status", "f:reason", "f:message"];

/// Which of the conditions that hookhost knows another controller has written last: their status, reason or message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Foreign(u8);

impl Foreign {
    /// By `metadata.managedFields`. What cannot be read says nothing, and nothing it says makes a condition hookhost's that is not there.
    pub(crate) fn read(managed: &RawValue) -> Foreign {
        let (mut own, mut others) = (0, 0);
        each_item(managed, |entry| {
            let Ok(entry) = serde_json::from_str::<Entry<'_>>(entry.get()) else { return };
            let (Some(manager), Some(fields)) = (entry.manager, entry.fields) else { return };
            let of = if manager == FIELD_MANAGER { &mut own } else { &mut others };
            *of |= written(fields);
        });
        let foreign: u32 = others & !own;
        let is_foreign = |at: &usize| foreign >> (at * FIELDS.len()) & ((1 << FIELDS.len()) - 1) != 0;
        Foreign((0..CONDITIONS.len()).filter(is_foreign).fold(0, |set, at| set | 1 << at))
    }

    /// Those of these types.
    pub fn of(types: &[&str]) -> Foreign {
        let is_one = |at: &usize| types.contains(&CONDITIONS[*at]);
        Foreign((0..CONDITIONS.len()).filter(is_one).fold(0, |set, at| set | 1 << at))
    }

    /// Whether the condition of this type is one.
    pub fn has(self, of_type: &str) -> bool {
        CONDITIONS.iter().position(|known| *known == of_type).is_some_and(|at| self.0 >> at & 1 == 1)
    }

    /// Whether another controller has written whether the Operation runs.
    pub fn has_running(self) -> bool {
        self.has(RUNNING)
    }

    /// Whether another controller has written why the Operation is blocked, or that it is not.
    pub fn has_blocked(self) -> bool {
        self.has(BLOCKED)
    }
}

/// What hookhost knows of an Operation's status besides what it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Whose conditions are not hookhost's.
    pub foreign: Foreign,
    /// For what hookhost has reported last that the Operation waits, by its memory; none after a start.
    pub reported: Option<Reason>,
}

/// An entry of metadata.managedFields.
#[derive(Deserialize)]
struct Entry<'j> {
    #[serde(borrow)]
    manager: Option<Cow<'j, str>>,
    #[serde(borrow, rename = "fieldsV1")]
    fields: Option<&'j RawValue>,
}

/// The fields of conditions in a set of fields: a bit for each of [`FIELDS`], of each of [`CONDITIONS`].
fn written(fields: &RawValue) -> u32 {
    let mut set = 0;
    let Some(conditions) = child(fields, "f:status").and_then(|status| child(status, "f:conditions")) else {
        return set;
    };
    each_entry(conditions, |key, condition| {
        let of_type = key.strip_prefix("k:").and_then(|key| serde_json::from_str::<Key<'_>>(key).ok());
        let at = of_type.and_then(|key| CONDITIONS.iter().position(|known| key.of_type == *known));
        let Some(at) = at else { return };
        each_entry(condition, |field, _| {
            if let Some(n) = FIELDS.iter().position(|known| field == *known) {
                set |= 1 << (at * FIELDS.len() + n);
            }
        });
    });
    set
}

#[derive(Deserialize)]
struct Key<'j> {
    #[serde(borrow, rename = "type")]
    of_type: Cow<'j, str>,
}

fn child<'j>(of: &'j RawValue, name: &str) -> Option<&'j RawValue> {
    let Pairs(all) = pairs(of)?;
    all.into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(managed: &Value) -> Foreign {
        Foreign::read(&serde_json::value::to_raw_value(managed).unwrap())
    }

    fn entry(manager: &str, conditions: Value) -> Value {
        json!({"manager": manager, "operation": "Update", "subresource": "status",
            "fieldsV1": {"f:status": {"f:phase": {}, "f:conditions": conditions}}})
    }

    #[test]
    fn a_condition_is_foreign_where_another_has_changed_any_of_its_words_last() {
        let all = json!({".": {}, "f:status": {}, "f:reason": {}, "f:message": {}, "f:type": {}});
        let own = json!({".": {}, "f:status": {}, "f:reason": {}, "f:type": {}});
        let managed = json!([
            entry("hookhost", json!({"k:{\"type\":\"Running\"}": all, "k:{\"type\":\"Accepted\"}": own})),
            // The same reason with other words, and a condition of its own.
            entry(
                "manager",
                json!({
                    "k:{\"type\":\"Accepted\"}": {"f:message": {}},
                    "k:{\"type\":\"Blocked\"}": all, "k:{\"type\":\"Theirs\"}": all,
                })
            ),
            // Who has only touched a time has said nothing.
            entry("clock", json!({"k:{\"type\":\"Running\"}": {"f:lastTransitionTime": {}}})),
        ]);
        assert_eq!(read(&managed), Foreign::of(&["Accepted", "Blocked"]));
        assert!(
            read(&managed).has_blocked() && !read(&managed).has("Theirs") && !read(&managed).has("Running")
        );
        // What both have applied is hookhost's too.
        let both = json!([
            entry("hookhost", json!({"k:{\"type\":\"Blocked\"}": all})),
            entry("manager", json!({"k:{\"type\":\"Blocked\"}": all}))
        ]);
        assert_eq!(read(&both), Foreign::default());
    }

    #[test]
    fn managed_fields_of_any_shape_are_read() {
        for managed in [
            json!(null),
            json!({}),
            json!([null, {}, {"manager": 1}, {"manager": "a"}, {"manager": "a", "fieldsV1": []}]),
            json!([
                entry("a", json!([])),
                entry("a", json!({"k:": {}, "k:{}": {}, "k:{\"type\":1}": {}, "x": 1}))
            ]),
            json!([entry("a", json!({"k:{\"type\":\"Blocked\"}": "f:reason"}))]),
        ] {
            assert_eq!(read(&managed), Foreign::default(), "{managed}");
        }
    }
}
