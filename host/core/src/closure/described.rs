//! A *closure object* is what policies see of one object of a closure.

use serde::{Deserialize, Serialize};

/// An object that the hook needs and that is itself a hook of the release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClosureObject {
    /// As in the manifest.
    pub api_version: String,
    /// As in the manifest.
    pub kind: String,
    /// metadata.name.
    pub name: String,
    /// Where it is, empty for kinds that have no namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The rules of a Role or ClusterRole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RbacRule>,
    /// The role that a RoleBinding or ClusterRoleBinding refers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_ref: Option<RoleRef>,
    /// To whom a RoleBinding or ClusterRoleBinding gives that role.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<Subject>,
}

/// The role that a binding refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RoleRef {
    /// Role or ClusterRole.
    pub kind: String,
    /// The role's name.
    pub name: String,
}

/// One of those whom a binding gives its role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Subject {
    /// ServiceAccount, User or Group.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// A service account's namespace: the binding's own where it names none. Empty for others, and where a
    /// ClusterRoleBinding names none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// One rule of a Role or ClusterRole, in Kubernetes' own shape.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RbacRule {
    /// API groups; "" is the core group.
    pub api_groups: Vec<String>,
    /// Resources, "*" for all.
    pub resources: Vec<String>,
    /// Verbs, "*" for all.
    pub verbs: Vec<String>,
    /// Names the rule is limited to.
    pub resource_names: Vec<String>,
    /// Paths that are not resources.
    #[serde(rename = "nonResourceURLs")]
    pub non_resource_urls: Vec<String>,
}
