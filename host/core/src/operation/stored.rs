//! An Operation *as stored* is the text that the API server has of it. Whoever may create Operations decides how large it
//! is, up to etcd's 1.5 MiB, and parsed it takes up to ninety times as much memory.
//!
//! So it is cut down before anything is made of it: parts are measured as text, what is never read is passed over, and of
//! the rest only what can be valid is kept. An Operation with a part that is too large is known by all its other parts, so
//! that it can be found, rejected and cancelled like any other.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::read::{LAST_APPLIED, METADATA};
use super::{API_VERSION, CANCEL, KIND, limits};
use crate::foreign::{CONDITIONS, Foreign};
use crate::json::{Pairs, bytes, conditions, each_entry, each_item, pairs, scalar, scalars};
use crate::keys::CLUSTER_ID;
use crate::keys::FIELD_MANAGER;
use crate::reason::Reason;
use crate::refusal::Refusal;
use hookhost_helm::text::clean;

/// Fields of spec that are not known, at most: a plan names them.
const UNKNOWN_FIELDS: usize = limits::PROBLEMS;

/// Bytes of a message of a condition, where all conditions together are too large.
const SHORT_MESSAGE_BYTES: usize = 1024;

/// An Operation, cut down to what is read of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The object: apiVersion, kind, metadata, spec and status. A part that is too large is left out.
    pub object: Value,
    /// The first part that is too large, of those that make an Operation fail.
    pub too_large: Option<TooLarge>,
    /// The field manager that wrote the status last, besides hookhost: the name by which the API server knows it.
    pub other_writer: Option<String>,
    /// Which of its conditions are not hookhost's.
    pub foreign: Foreign,
}

/// A part of an Operation that is larger than is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// Which part, for example "spec.parameters".
    pub part: &'static str,
    /// Its size in bytes of text.
    pub found: usize,
    /// The most that it may have.
    pub allowed: usize,
}

impl TooLarge {
    /// The Operation fails.
    pub fn refusal(&self) -> Refusal {
        let TooLarge { part, found, allowed } = self;
        let message = format!(
            "the Operation is too large: {part} has {found} bytes, and at most {allowed} are allowed. Make a new Operation with \
             less"
        );
        Refusal::fail(Reason::OperationTooLarge, message)
    }
}

impl Stored {
    /// Cuts an Operation down; none if the text is not that of an object of Kubernetes. The work and the memory that it
    /// takes grow with the text alone, whatever is in it.
    pub fn read(text: &str) -> Option<Stored> {
        let Pairs(top) = serde_json::from_str(text).ok()?;
        let part = |name: &str| top.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
        let mut too_large = None;
        let mut writers = Writers::default();
        let metadata = metadata(part("metadata")?, &mut too_large, &mut writers)?;
        let mut object = json!({"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata});
        if let Some(spec) = part("spec").and_then(|spec| spec_of(spec, &mut too_large)) {
            object["spec"] = spec;
        }
        if let Some(status) = part("status").and_then(status) {
            object["status"] = status;
        }
        let Writers { other, foreign } = writers;
        Some(Stored { object, too_large, other_writer: other, foreign })
    }
}

/// Who has written the status, by metadata.managedFields.
#[derive(Default)]
struct Writers {
    other: Option<String>,
    foreign: Foreign,
}

/// A part that makes the Operation fail where it is too large.
fn bounded(
    part: &'static str,
    json: &RawValue,
    allowed: usize,
    too_large: &mut Option<TooLarge>,
) -> Option<Value> {
    let found = bytes(json);
    if found > allowed {
        too_large.get_or_insert(TooLarge { part, found, allowed });
        return None;
    }
    Some(scalars(json))
}

fn metadata(json: &RawValue, too_large: &mut Option<TooLarge>, writers: &mut Writers) -> Option<Value> {
    const KEPT: [&str; 7] = [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
    ];
    let Pairs(all) = pairs(json)?;
    let mut kept = Map::new();
    let (mut parts, mut found) = (Vec::new(), 0);
    let is_read = |key: &str| key != LAST_APPLIED;
    for (key, value) in all {
        if KEPT.contains(&&*key) && bytes(value) <= limits::TEXT_BYTES {
            kept.insert(key.into_owned(), scalar(value));
        } else if key == "labels" || key == "annotations" {
            let is_map = each_entry(value, |key, value| {
                found += if is_read(&key) { key.len() + bytes(value) } else { 0 };
            });
            parts.push((key, is_map.then_some(value)?));
        } else if key == "managedFields" {
            *writers = Writers { other: other_writer(value), foreign: Foreign::read(value) };
        }
    }
    let is_too_large = found > limits::METADATA_BYTES;
    if is_too_large {
        let allowed = limits::METADATA_BYTES;
        too_large.get_or_insert(TooLarge { part: METADATA, found, allowed });
    }
    for (part, pairs) in parts {
        // Whose Operation it is, and whether it is cancelled, counts whatever its size.
        let is_wanted = |key: &str, value: &RawValue| {
            if is_too_large {
                [CLUSTER_ID, CANCEL].contains(&key) && bytes(value) <= limits::TEXT_BYTES
            } else {
                is_read(key)
            }
        };
        let mut wanted = Map::new();
        each_entry(pairs, |key, value| {
            if is_wanted(&key, value) {
                wanted.insert(key.into_owned(), scalar(value));
            }
        });
        if !wanted.is_empty() {
            kept.insert(part.into_owned(), wanted.into());
        }
    }
    Some(kept.into())
}

/// An entry of metadata.managedFields, without the fields themselves.
#[derive(Deserialize)]
struct Managed<'j> {
    #[serde(borrow)]
    manager: Option<Cow<'j, str>>,
    #[serde(borrow)]
    subresource: Option<Cow<'j, str>>,
    #[serde(borrow)]
    time: Option<Cow<'j, str>>,
}

/// The manager, besides hookhost, of the newest entry of metadata.managedFields that is about the status.
fn other_writer(managed: &RawValue) -> Option<String> {
    let mut newest: Option<Managed<'_>> = None;
    each_item(managed, |one| {
        let Ok(one) = serde_json::from_str::<Managed<'_>>(one.get()) else { return };
        let is_others = one.manager.as_deref().is_some_and(|manager| manager != FIELD_MANAGER);
        // Times are in whole seconds, in UTC.
        let is_newer = newest.as_ref().is_none_or(|newest| one.time >= newest.time);
        if one.subresource.as_deref() == Some("status") && is_others && is_newer {
            newest = Some(one);
        }
    });
    Some(clean(&newest?.manager?, limits::TEXT_BYTES))
}

fn spec_of(json: &RawValue, too_large: &mut Option<TooLarge>) -> Option<Value> {
    let Pairs(all) = pairs(json)?;
    let mut spec = Map::new();
    let mut unknown = 0;
    for (key, value) in all {
        let part = match &*key {
            "parameters" => bounded("spec.parameters", value, limits::PARAMETERS_BYTES, too_large),
            "approvals" => bounded("spec.approvals", value, limits::SPEC_PART_BYTES, too_large),
            "targetRef" => bounded("spec.targetRef", value, limits::SPEC_PART_BYTES, too_large),
            "type" => bounded("spec.type", value, limits::TEXT_BYTES, too_large),
            "engine" => bounded("spec.engine", value, limits::TEXT_BYTES, too_large),
            _ if unknown < UNKNOWN_FIELDS && key.len() <= limits::TEXT_BYTES => {
                unknown += 1;
                Some(Value::Null)
            }
            _ => None,
        };
        if let Some(part) = part {
            spec.insert(key.into_owned(), part);
        }
    }
    Some(spec.into())
}

/// The fields of a status that are read. Who may write one may be anybody, so what is too large in it is left out: the
/// Operation's phase is still known, and a patch leaves alone what it does not name.
fn status(json: &RawValue) -> Option<Value> {
    let Pairs(all) = pairs(json)?;
    let mut status = Map::new();
    for (key, value) in all {
        let part = match &*key {
            "phase" | "startedAt" | "finishedAt" if bytes(value) <= limits::TEXT_BYTES => scalar(value),
            "engineRef" | "logsRef" if bytes(value) <= limits::SPEC_PART_BYTES => scalars(value),
            "outputs"
                if bytes(value) <= limits::OUTPUTS_BYTES && values(value.get()) <= limits::OUTPUTS_VALUES =>
            {
                serde_json::from_str(value.get()).unwrap_or_default()
            }
            "conditions" => conditions_of(value),
            _ => continue,
        };
        status.insert(key.into_owned(), part);
    }
    Some(status.into())
}

fn conditions_of(json: &RawValue) -> Value {
    let is_too_large = bytes(json) > limits::CONDITIONS_BYTES;
    let longest = if is_too_large { SHORT_MESSAGE_BYTES } else { usize::MAX };
    conditions(json, longest, |type_, kept| {
        !is_too_large || (CONDITIONS.contains(&type_) && kept.len() < CONDITIONS.len())
    })
}

/// How many values there are in a JSON text, at most: its own, and those in lists and mappings.
fn values(json: &str) -> usize {
    let (mut values, mut is_text, mut is_escaped) = (1, false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => is_text = !is_text,
            b',' | b'[' | b'{' if !is_text => values += 1,
            _ => {}
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::operation::Operation;
    use crate::status;
    use crate::testing::{any_json, spec_operation};

    fn stored(object: &Value) -> Stored {
        Stored::read(&object.to_string()).unwrap()
    }

    fn with(pointer: &str, key: &str, value: Value) -> Value {
        let mut operation = spec_operation();
        operation.pointer_mut(pointer).unwrap()[key] = value;
        operation
    }

    #[test]
    fn an_operation_of_a_usual_size_says_the_same_cut_down() {
        let mut operation = spec_operation();
        operation["metadata"]["labels"] = json!({"app": "shop"});
        operation["metadata"]["annotations"] = json!({"note": "x", LAST_APPLIED: "{}"});
        operation["metadata"]["managedFields"] = json!([{"manager": "kubectl"}]);
        let cut_down = stored(&operation);
        assert_eq!(cut_down.too_large, None);
        assert_eq!(Operation::from_json(cut_down.object.clone()), Operation::from_json(operation));
        assert!(cut_down.object["metadata"].get("managedFields").is_none());
        assert_eq!(cut_down.object["metadata"]["annotations"], json!({"note": "x"}));
    }

    #[test]
    fn a_part_that_is_too_large_is_left_out_and_told_with_its_size() {
        let list = json!(vec![json!({"a": 1}); 128 * 1024]);
        let parameters = stored(&with("/spec/parameters", "x", list));
        let too_large = parameters.too_large.unwrap();
        assert_eq!((too_large.part, too_large.allowed), ("spec.parameters", limits::PARAMETERS_BYTES));
        assert!(too_large.found > 1 << 20);
        assert!(parameters.object["spec"].get("parameters").is_none());
        assert_eq!(parameters.object["spec"]["targetRef"], spec_operation()["spec"]["targetRef"]);
        let refusal = too_large.refusal();
        assert!(refusal.is_final() && refusal.reason == Reason::OperationTooLarge);
        assert!(refusal.message.contains("and at most 65536 are allowed"), "{}", refusal.message);

        let annotations: Map<_, _> = (0..20_000).map(|n| (format!("a{n}"), json!(""))).collect();
        let mut operation = with("/metadata", "annotations", annotations.into());
        operation["metadata"]["annotations"][CANCEL] = "true".into();
        operation["metadata"]["labels"] = json!({CLUSTER_ID: "here", "other": "x"});
        let annotated = stored(&operation);
        assert_eq!(annotated.too_large.unwrap().part, METADATA);
        assert_eq!(annotated.object["metadata"]["annotations"], json!({CANCEL: "true"}));
        assert_eq!(annotated.object["metadata"]["labels"], json!({CLUSTER_ID: "here"}));
    }

    #[test]
    fn what_cannot_be_valid_is_known_to_be_wrong_still() {
        let list = json!([{"a": [1, 2, {"b": "c"}]}]);
        let cut_down = stored(&with("/spec/parameters", "hookName", list));
        assert_eq!(cut_down.object["spec"]["parameters"]["hookName"], json!([]));
        let error = Operation::from_json(cut_down.object).unwrap_err();
        assert_eq!(error.problems[0].to_string(), "spec.parameters.hookName: found a list, expected a text");
    }

    #[test]
    fn a_status_that_somebody_has_blown_up_still_says_that_the_operation_is_finished() {
        let condition = |of_type: &str, message: &str| {
            json!({"type": of_type, "status": "True", "reason": "R", "message": message,
                   "lastTransitionTime": "2026-05-28T14:00:00Z"})
        };
        let mut conditions: Vec<Value> = (0..9000).map(|n| condition(&format!("Other{n}"), "x")).collect();
        conditions.push(condition("Succeeded", &"y".repeat(30_000)));
        let blown_up = json!({"phase": "Succeeded", "conditions": conditions, "outputs": vec![json!({"a": 1}); 100_000]});
        let mut operation = spec_operation();
        operation["status"] = blown_up;
        let cut_down = stored(&operation);
        assert_eq!(cut_down.too_large, None, "it must not fail for what others write into its status");
        let status = &cut_down.object["status"];
        assert!(status::is_finished(status) && status.get("outputs").is_none());
        assert!(status.to_string().len() < 2048, "{}", status.to_string().len());
    }

    proptest! {
        #[test]
        fn any_object_is_cut_down_to_the_same_operation(
            spec in any_json(".{0,6}", "[a-z]{1,4}|type|engine|parameters|approvals|targetRef"),
            parameters in any_json(".{0,6}", "[a-z]{1,3}|hookName|event|closure"),
        ) {
            let mut operation = spec_operation();
            operation["spec"]["parameters"] = parameters;
            let of = |object: Value| Operation::from_json(object);
            prop_assert_eq!(of(stored(&operation).object), of(operation.clone()));
            operation["spec"] = spec;
            let cut_down = stored(&operation);
            prop_assert_eq!(of(cut_down.object).is_ok(), of(operation).is_ok());
        }

        #[test]
        fn any_text_is_cut_down_or_is_no_object(text in any::<String>(), object in any_json(".{0,6}", "[a-z]{1,8}")) {
            let _ = Stored::read(&text);
            let _ = Stored::read(&object.to_string());
            let _ = Stored::read(&json!({"metadata": object, "spec": object, "status": object}).to_string());
        }

        #[test]
        fn the_values_of_a_text_are_never_undercounted(object in any_json(".{0,6}", "[a-z]{1,8}")) {
            fn count(value: &Value) -> usize {
                1 + match value {
                    Value::Array(list) => list.iter().map(count).sum(),
                    Value::Object(map) => map.values().map(count).sum(),
                    _ => 0,
                }
            }
            prop_assert!(values(&object.to_string()) >= count(&object));
        }
    }
}
