//! A *kind* is one of those that a hook's pod can need: what it refers to by name, what gives its service account rights, and
//! what lets its pod reach others.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr};

/// What a pod can need, in the order in which Helm makes it.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Display,
    EnumString,
    IntoStaticStr,
    Serialize,
    Deserialize,
)]
#[cfg_attr(test, derive(strum::VariantArray))]
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
    /// The kind of an object; none if it is not one that a pod can need.
    pub fn of(api_version: &str, kind: &str) -> Option<Kind> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        Kind::named(kind).filter(|known| known.group() == group)
    }

    /// By its word in the API; none if it is not one that a pod can need.
    pub fn named(word: &str) -> Option<Kind> {
        word.parse().ok()
    }

    /// As in the API.
    pub fn as_str(self) -> &'static str {
        self.into()
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

#[cfg(test)]
mod tests {
    use strum::VariantArray;

    use super::*;

    #[test]
    fn each_kind_is_found_by_its_word_and_has_its_resource() {
        for &kind in Kind::VARIANTS {
            assert_eq!(Kind::named(kind.as_str()), Some(kind));
        }
        assert_eq!(Kind::NetworkPolicy.plural(), "networkpolicies");
        assert_eq!(Kind::ServiceAccount.plural(), "serviceaccounts");
        assert_eq!(Kind::of("networking.k8s.io/v1", "NetworkPolicy"), Some(Kind::NetworkPolicy));
        assert_eq!(Kind::of("crd.projectcalico.org/v1", "NetworkPolicy"), None, "it only has the same word");
    }
}
