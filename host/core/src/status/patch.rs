//! A *patch* makes one status of another: a JSON merge patch (RFC 7386) with what has changed, and a null for what is gone.

use serde_json::{Map, Value};

/// What makes `next` of `current`. A merge patch leaves alone what it does not name, so that sending `next` itself would keep
/// what it has left out, at any depth.
pub fn patch(current: &Value, next: &Value) -> Value {
    let (Value::Object(current), Value::Object(next)) = (current, next) else { return next.clone() };
    let mut patch = Map::new();
    for (key, new) in next {
        match current.get(key) {
            Some(old) if old == new => {}
            Some(old) => drop(patch.insert(key.clone(), self::patch(old, new))),
            // As good as absent.
            None if new.is_null() => {}
            None => drop(patch.insert(key.clone(), new.clone())),
        }
    }
    for gone in current.keys().filter(|key| !next.contains_key(*key)) {
        patch.insert(gone.clone(), Value::Null);
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing::any_json;

    /// As the API server merges.
    fn merge(target: &Value, patch: &Value) -> Value {
        let Value::Object(patch) = patch else { return patch.clone() };
        let mut merged = target.as_object().cloned().unwrap_or_default();
        for (key, value) in patch {
            if value.is_null() {
                merged.remove(key);
            } else {
                let old = merged.get(key).cloned().unwrap_or_default();
                merged.insert(key.clone(), merge(&old, value));
            }
        }
        Value::Object(merged)
    }

    /// As it keeps an object: a key with a null is none.
    fn kept(value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let entries = map.iter().filter(|(_, value)| !value.is_null());
                entries.map(|(key, value)| (key.clone(), kept(value))).collect::<Map<_, _>>().into()
            }
            other => other.clone(),
        }
    }

    #[test]
    fn what_is_gone_is_null_and_what_is_the_same_is_left_out() {
        let current =
            json!({"phase": "Running", "outputs": {"decision": {"a": {"b": 1, "c": 2}}, "step": "1/2"}});
        let next = json!({"phase": "Running", "outputs": {"decision": {"a": {"b": 1}}, "step": "2/2"}});
        let patch = patch(&current, &next);
        assert_eq!(patch, json!({"outputs": {"decision": {"a": {"c": null}}, "step": "2/2"}}));
    }

    proptest! {
        #[test]
        fn the_patch_makes_one_status_of_the_other(
            current in any_json(".{0,4}", "[a-c]"), next in any_json(".{0,4}", "[a-c]"),
        ) {
            let (current, next) = (kept(&json!({"status": current})), json!({"status": next}));
            prop_assert_eq!(merge(&current, &patch(&current, &next)), kept(&next));
        }
    }
}
