//! The *text* of an object is its JSON, as the API server has it.

use std::sync::Arc;

use kube::core::DynamicObject;
use serde_json::Value;

/// An object as JSON.
pub fn to_json(object: &DynamicObject) -> Value {
    // Metadata are made of strings, numbers and times: there is nothing in them that JSON cannot say.
    serde_json::to_value(object).unwrap_or_default()
}

/// An object, kept as the text of its JSON: parsed, it takes ten times the room. Clones share it.
#[derive(Clone, Debug)]
pub struct Text(Arc<[u8]>);

impl Text {
    /// Of what is JSON anyway.
    pub fn of(object: &Value) -> Text {
        Text(object.to_string().into_bytes().into())
    }

    /// How many bytes it takes.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// The object.
    pub fn parse(&self) -> Value {
        // It was written from one.
        serde_json::from_slice(&self.0).unwrap_or_default()
    }
}

/// The resourceVersion as a number, for telling the newer of two forms of one object. Kubernetes makes them of etcd's
/// revision; one that is no number counts as the oldest.
pub fn version(object: &DynamicObject) -> u64 {
    object.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}
