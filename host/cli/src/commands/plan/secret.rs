//! The *values of Secrets* that are made for a run: shown to those alone who ask for them.

use serde_json::Value;

/// Replaces the values in an object, if it is a Secret; gives whether there were any. What is put in their place is no base64,
/// so that nobody applies it by mistake.
pub(super) fn hide(object: &mut Value) -> bool {
    if object["kind"] != "Secret" {
        return false;
    }
    let mut found = false;
    for field in ["data", "stringData"] {
        let values = object.get_mut(field).and_then(Value::as_object_mut);
        for value in values.into_iter().flat_map(|map| map.values_mut()) {
            *value = HIDDEN.into();
            found = true;
        }
    }
    // A manifest may have been applied once, with all that was in it.
    let annotations = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    if let Some(applied) = annotations.and_then(|all| all.get_mut(LAST_APPLIED)) {
        *applied = HIDDEN.into();
        found = true;
    }
    found
}

/// Where kubectl keeps what was applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What stands in place of a value.
const HIDDEN: &str = "<hidden; see --show-secrets>";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_of_a_value_is_left_and_nothing_else_is_touched() {
        let mut secret = json!({
            "kind": "Secret", "type": "Opaque", "metadata": {"name": "s", "annotations": {LAST_APPLIED: "{s3cret}", "a": "b"}},
            "data": {"a": "czNjcmV0", "b": null}, "stringData": {"c": "s3cret\n"},
        });
        assert!(hide(&mut secret));
        let text = secret.to_string();
        assert!(!text.contains("s3cret") && !text.contains("czNj"), "{text}");
        assert_eq!(
            (&secret["type"], &secret["metadata"]["annotations"]["a"]),
            (&json!("Opaque"), &json!("b"))
        );
        let mut other = json!({"kind": "ConfigMap", "data": {"a": "b"}});
        assert!(!hide(&mut other));
        assert_eq!(other["data"]["a"], "b");
        assert!(!hide(&mut json!({"kind": "Secret", "data": null})));
    }
}
