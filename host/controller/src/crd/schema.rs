//! Parts of schemas that the derives cannot give, and what must be taken from those that they give.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

/// An object that is kept as it is, whatever it holds.
pub(super) fn open_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

/// Parameters of an engine: any, but not any number of them. (Bytes the API server cannot count; hookhost does.)
pub(super) fn parameters(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = open_object(generator);
    schema.insert("maxProperties".to_owned(), 64.into());
    schema
}

/// Helm's events, in the spelling in which release records are read.
const EVENTS: [&str; 9] = [
    "pre-install",
    "post-install",
    "pre-upgrade",
    "post-upgrade",
    "pre-rollback",
    "post-rollback",
    "pre-delete",
    "post-delete",
    "test",
];

/// A list of Helm's events, each once.
pub(super) fn events(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": EVENTS.len(),
        "x-kubernetes-list-type": "set",
        "items": { "type": "string", "enum": EVENTS },
    })
}

/// Kubernetes' conditions: a list with each type once, bounded as `metav1.Condition` is.
pub(super) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {
                    "description": "What the condition is about.",
                    "type": "string",
                    "maxLength": 316,
                    "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
                },
                "status": {
                    "description": "Whether it is so.",
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                },
                "reason": {
                    "description": "Why, in one word for programs.",
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "message": {
                    "description": "Why, in words for people.",
                    "type": "string",
                    "maxLength": 32768,
                },
                "lastTransitionTime": {
                    "description": "Since when the status is what it is.",
                    "type": "string",
                    "format": "date-time",
                },
                "observedGeneration": {
                    "description": "The metadata.generation that this was found for.",
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                },
            },
        },
    })
}

/// A label selector, with what Kubernetes checks of one in code as rules.
pub(super) fn label_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "matchLabels": {
                "description": "Labels that must be there with these values.",
                "type": "object",
                "maxProperties": 32,
                "additionalProperties": { "type": "string", "maxLength": 63 },
            },
            "matchExpressions": {
                "description": "Requirements that must all hold.",
                "type": "array",
                "maxItems": 32,
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {
                            "description": "The label's key.",
                            "type": "string",
                            "minLength": 1,
                            "maxLength": 317,
                        },
                        "operator": {
                            "description": "How the label's value relates to `values`.",
                            "type": "string",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": {
                            "description": "For In and NotIn: at least one. For the others: none.",
                            "type": "array",
                            "maxItems": 64,
                            "x-kubernetes-list-type": "atomic",
                            "items": { "type": "string", "maxLength": 63 },
                        },
                    },
                    "x-kubernetes-validations": [{
                        "rule": "self.operator in ['In', 'NotIn'] == (has(self.values) && size(self.values) > 0)",
                        "message": "In and NotIn need values; Exists and DoesNotExist have none",
                    }],
                },
            },
        },
    })
}

/// Makes a CRD what people and `kubectl explain` expect: descriptions are paragraphs, nothing is nullable (so that the
/// API server drops a field that is null, as if it were not there), no titles.
pub(super) fn tidy(definition: &mut Value) {
    let versions = definition.pointer_mut("/spec/versions").and_then(Value::as_array_mut);
    for version in versions.into_iter().flatten() {
        if let Some(schema) = version.pointer_mut("/schema/openAPIV3Schema").and_then(Value::as_object_mut) {
            tidy_schema(schema);
        }
    }
}

fn tidy_schema(schema: &mut Map<String, Value>) {
    schema.remove("nullable");
    schema.remove("title");
    // The type of Kubernetes has it as a float: 0.0.
    if let Some(minimum) = schema.get_mut("minimum") {
        *minimum = minimum.as_f64().map_or(Value::Null, |number| Value::from(number as i64));
    }
    if let Some(Value::String(description)) = schema.get_mut("description") {
        let paragraphs =
            description.split("\n\n").map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
        *description = paragraphs.collect::<Vec<_>>().join("\n");
    }
    for part in ["items", "additionalProperties"] {
        if let Some(Value::Object(schema)) = schema.get_mut(part) {
            tidy_schema(schema);
        }
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().filter_map(Value::as_object_mut).for_each(tidy_schema);
    }
}
