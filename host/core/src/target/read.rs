//! Reading the JSON of a target: what is absent or null is none, what is there must be of its type.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::reason::Reason;
use crate::refusal::Refusal;
use hookhost_helm::name;
use hookhost_helm::text::quote;
use hookhost_helm::workload::{at, entries};

/// A field of a target that is not what its API allows there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {kind} {} has {found} at {path}, expected {expected}", quote(.name))]
pub struct TargetError {
    /// The kind of the object.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Where, for example `status.history[0].version`.
    pub path: String,
    /// What is there, in a few words.
    pub found: String,
    /// What may be there.
    pub expected: &'static str,
}

impl TargetError {
    /// Always [`Reason::ValidationFailed`].
    pub fn reason(&self) -> Reason {
        Reason::ValidationFailed
    }
}

impl From<TargetError> for Refusal {
    fn from(error: TargetError) -> Refusal {
        Refusal::fail(error.reason(), error.to_string())
    }
}

/// A part of an object that is being read, and where it is.
#[derive(Clone, Copy)]
pub(super) struct Fields<'v> {
    kind: &'static str,
    object: &'v Value,
    value: &'v Value,
    base: &'v str,
}

impl<'v> Fields<'v> {
    pub(super) fn of(kind: &'static str, object: &'v Value) -> Fields<'v> {
        Fields { kind, object, value: object, base: "" }
    }

    /// The same object, of which only `value`, at the path `base`, is read.
    pub(super) fn within(self, value: &'v Value, base: &'v str) -> Fields<'v> {
        Fields { value, base, ..self }
    }

    pub(super) fn get(self, path: &str) -> Option<&'v Value> {
        at(self.value, path).filter(|value| !value.is_null())
    }

    pub(super) fn wrong(self, path: &str, expected: &'static str) -> TargetError {
        let found = match self.get(path) {
            None => "nothing".to_owned(),
            Some(Value::String(text)) => quote(text),
            Some(Value::Array(_)) => "a list".to_owned(),
            Some(Value::Object(_)) => "a mapping".to_owned(),
            Some(other) => other.to_string(),
        };
        let path = if self.base.is_empty() { path.to_owned() } else { format!("{}.{path}", self.base) };
        let name = at(self.object, "metadata.name").and_then(Value::as_str).unwrap_or_default().to_owned();
        TargetError { kind: self.kind, name, path, found, expected }
    }

    /// A text that is not empty.
    pub(super) fn text(self, path: &str) -> Result<Option<&'v str>, TargetError> {
        match self.get(path) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(_) => Err(self.wrong(path, "a text")),
        }
    }

    pub(super) fn flag(self, path: &str) -> Result<bool, TargetError> {
        match self.get(path) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(path, "true or false")),
        }
    }

    pub(super) fn number(self, path: &str) -> Result<Option<i64>, TargetError> {
        match self.get(path) {
            None => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or_else(|| self.wrong(path, "a whole number")),
        }
    }

    /// The name of an object. It will be part of a URL, so it must be one.
    pub(super) fn name(self, path: &str) -> Result<Option<String>, TargetError> {
        self.checked(path, name::is_dns_subdomain, name::DNS_SUBDOMAIN_RULE)
    }

    /// The name of a namespace, likewise.
    pub(super) fn namespace(self, path: &str) -> Result<Option<String>, TargetError> {
        self.checked(path, name::is_dns_label, name::DNS_LABEL_RULE)
    }

    /// A field without which nothing can be done.
    pub(super) fn required<T>(
        self,
        path: &str,
        value: Option<T>,
        expected: &'static str,
    ) -> Result<T, TargetError> {
        value.ok_or_else(|| self.wrong(path, expected))
    }

    fn checked(
        self,
        path: &str,
        holds: impl Fn(&str) -> bool,
        rule: &'static str,
    ) -> Result<Option<String>, TargetError> {
        match self.text(path)? {
            None => Ok(None),
            Some(text) if holds(text) => Ok(Some(text.to_owned())),
            Some(_) => Err(self.wrong(path, rule)),
        }
    }
}

/// kubectl's copy of the whole object, which would only make every request larger.
pub(super) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// metadata.annotations, without kubectl's copy of the object.
pub(super) fn annotations(object: &Value) -> BTreeMap<String, String> {
    let mut annotations = entries(object, "metadata.annotations");
    annotations.remove(LAST_APPLIED);
    annotations
}

/// What every object's metadata has, as far as it counts here.
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) generation: i64,
    pub(super) deleting: bool,
}

pub(super) fn metadata(fields: Fields<'_>) -> Result<Metadata, TargetError> {
    Ok(Metadata {
        name: fields.required("metadata.name", fields.name("metadata.name")?, "a name")?,
        namespace: fields.required(
            "metadata.namespace",
            fields.namespace("metadata.namespace")?,
            "a namespace",
        )?,
        uid: fields.text("metadata.uid")?.unwrap_or_default().to_owned(),
        generation: fields.number("metadata.generation")?.unwrap_or_default(),
        deleting: fields.get("metadata.deletionTimestamp").is_some(),
    })
}
