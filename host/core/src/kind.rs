//! A *kind* is one of those that a hook's pod can need: what it refers to by name, what gives its service account rights, and
//! what lets its pod reach others.

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a pod can need, in the order in which Helm makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // the words are Kubernetes' own
pub enum Kind {
    NetworkPolicy,
    ServiceAccount,
    Secret,
    ConfigMap,
    PersistentVolumeClaim,
    ClusterRole,
    ClusterRoleBinding,
    Role,
    RoleBinding,
}

const RBAC: &str = "rbac.authorization.k8s.io";
const NETWORKING: &str = "networking.k8s.io";

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 9] = [
        Kind::NetworkPolicy,
        Kind::ServiceAccount,
        Kind::Secret,
        Kind::ConfigMap,
        Kind::PersistentVolumeClaim,
        Kind::ClusterRole,
        Kind::ClusterRoleBinding,
        Kind::Role,
        Kind::RoleBinding,
    ];

    /// The kind of an object; none if it is not one that a pod can need.
    pub fn of(api_version: &str, kind: &str) -> Option<Kind> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        Kind::named(kind).filter(|known| known.group() == group)
    }

    /// By its word in the API; none if it is not one that a pod can need.
    pub fn named(word: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|known| known.as_str() == word)
    }

    /// As in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::NetworkPolicy => "NetworkPolicy",
            Kind::ServiceAccount => "ServiceAccount",
            Kind::Secret => "Secret",
            Kind::ConfigMap => "ConfigMap",
            Kind::PersistentVolumeClaim => "PersistentVolumeClaim",
            Kind::ClusterRole => "ClusterRole",
            Kind::ClusterRoleBinding => "ClusterRoleBinding",
            Kind::Role => "Role",
            Kind::RoleBinding => "RoleBinding",
        }
    }

    /// Its resource in the API: the word in paths and rights.
    pub fn plural(self) -> String {
        let word = self.as_str().to_ascii_lowercase();
        match word.strip_suffix('y') {
            Some(stem) => format!("{stem}ies"),
            None => word + "s",
        }
    }

    /// Its API group; "" is the core group.
    pub fn group(self) -> &'static str {
        match self {
            Kind::NetworkPolicy => NETWORKING,
            kind if kind.is_rbac() => RBAC,
            _ => "",
        }
    }

    /// Whether it gives somebody a role.
    pub fn is_binding(self) -> bool {
        matches!(self, Kind::RoleBinding | Kind::ClusterRoleBinding)
    }

    /// Whether it gives rights.
    pub fn is_rbac(self) -> bool {
        matches!(self, Kind::ClusterRole | Kind::ClusterRoleBinding | Kind::Role | Kind::RoleBinding)
    }

    /// Whether it opens what is closed otherwise: it gives rights, or lets pods reach others and be reached.
    pub fn opens(self) -> bool {
        self.is_rbac() || self == Kind::NetworkPolicy
    }

    /// Whether its objects are in a namespace.
    pub fn is_namespaced(self) -> bool {
        !matches!(self, Kind::ClusterRole | Kind::ClusterRoleBinding)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
        let text = String::deserialize(deserializer)?;
        Kind::named(&text).ok_or_else(|| D::Error::custom("not a kind that a pod can need"))
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_found_by_its_word_and_has_its_resource() {
        for kind in Kind::ALL {
            assert_eq!(Kind::named(kind.as_str()), Some(kind));
        }
        assert_eq!(Kind::NetworkPolicy.plural(), "networkpolicies");
        assert_eq!(Kind::ServiceAccount.plural(), "serviceaccounts");
        assert_eq!(Kind::of("networking.k8s.io/v1", "NetworkPolicy"), Some(Kind::NetworkPolicy));
        assert_eq!(Kind::of("crd.projectcalico.org/v1", "NetworkPolicy"), None, "it only has the same word");
    }
}
