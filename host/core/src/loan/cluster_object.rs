//! A *cluster object* is an object without a namespace that whoever installed hookhost has allowed it to lend, to releases and runs of
//! one namespace or of any: "ClusterRole/name", or "NAMESPACE/ClusterRole/name".

use std::fmt;
use std::str::FromStr;

use crate::kind::Kind;
use crate::object::ObjectRef;
use hookhost_helm::name::{is_dns_label, is_object_name};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterObject {
    namespace: Option<String>,
    object: ObjectRef,
}

/// A text that names no such object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected ClusterRole/NAME or ClusterRoleBinding/NAME, with or without NAMESPACE/ before it")]
pub struct NoClusterObject;

impl ClusterObject {
    /// Allows an object for releases anywhere; none if it has a namespace.
    pub fn anywhere(kind: Kind, name: &str) -> Option<ClusterObject> {
        let object = ObjectRef { kind, namespace: String::new(), name: name.to_owned() };
        (!kind.is_namespaced()).then_some(ClusterObject { namespace: None, object })
    }

    /// What may be lent.
    pub fn object(&self) -> &ObjectRef {
        &self.object
    }

    /// Whether an object may be lent to a release, or a run, in a namespace.
    pub fn allows(&self, object: &ObjectRef, namespace: &str) -> bool {
        let is_here = self.namespace.as_deref().is_none_or(|only| only == namespace);
        is_here && (self.object.kind, &self.object.name) == (object.kind, &object.name)
    }
}

impl FromStr for ClusterObject {
    type Err = NoClusterObject;

    fn from_str(text: &str) -> Result<ClusterObject, NoClusterObject> {
        let parts: Vec<&str> = text.split('/').collect();
        let (namespace, kind, name) = match parts[..] {
            [kind, name] => (None, kind, name),
            [namespace, kind, name] if is_dns_label(namespace) => (Some(namespace.to_owned()), kind, name),
            _ => return Err(NoClusterObject),
        };
        let allowed = Kind::named(kind).and_then(|kind| ClusterObject::anywhere(kind, name));
        let allowed = allowed.filter(|_| is_object_name(name)).ok_or(NoClusterObject)?;
        Ok(ClusterObject { namespace, ..allowed })
    }
}

impl fmt::Display for ClusterObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        write!(f, "{}/{}", self.object.kind, self.object.name)
    }
}
