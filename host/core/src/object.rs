//! An *object reference* names an object of the cluster by its kind, namespace and name.

use serde::{Deserialize, Serialize};

use crate::kind::Kind;

/// Kind, namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectRef {
    /// What it is.
    pub kind: Kind,
    /// "" for kinds that have none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// metadata.name.
    pub name: String,
}

impl ObjectRef {
    /// Whether it is in another namespace than this, the run's: hookhost creates nothing there.
    pub fn is_outside(&self, namespace: &str) -> bool {
        self.kind.is_namespaced() && self.namespace != namespace
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<ObjectRef>() + self.namespace.len() + self.name.len()
    }

    /// `Role/migrate`: as kubectl takes it, without the namespace.
    pub fn kind_and_name(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

/// `Role "migrate"`
impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind, hookhost_helm::text::quote(&self.name))
    }
}
