//! What policies are told of one object of a closure, copied from its manifest within bounds.

use serde_json::Value;

use super::{ClosureError, Member, text};
use super::{ClosureObject, RbacRule, RoleRef, Subject};
use crate::decision::limits::REQUEST_BYTES;
use crate::kind::Kind;

/// Rules, words of rules and subjects of one closure. Large operators' roles have some two thousand; more than this is
/// no longer something a policy could judge.
pub const MAX_ITEMS: usize = 16 * 1024;

/// How much more of a closure may be copied.
pub(super) struct Room {
    items: usize,
    bytes: usize,
}

impl Room {
    /// Room for one whole closure. A request may have no more text than this, whatever else is in it.
    pub(super) fn new() -> Room {
        Room { items: MAX_ITEMS, bytes: REQUEST_BYTES }
    }

    /// An object as policies are told of it.
    pub(super) fn object(&mut self, member: &Member<'_>) -> Result<ClosureObject, ClosureError> {
        let Member { kind, namespace, hook } = *member;
        let mut object = ClosureObject {
            api_version: hook.api_version.clone(),
            kind: hook.kind.clone(),
            name: hook.name.clone(),
            namespace: self.text(namespace)?,
            ..ClosureObject::default()
        };
        match kind {
            Kind::Role | Kind::ClusterRole => object.rules = self.rules(&hook.manifest)?,
            Kind::RoleBinding | Kind::ClusterRoleBinding => {
                object.role_ref = self.role_ref(&hook.manifest)?;
                object.subjects = self.subjects(&hook.manifest, namespace)?;
            }
            _ => {}
        }
        Ok(object)
    }

    fn rules(&mut self, role: &Value) -> Result<Vec<RbacRule>, ClosureError> {
        let mut rules = self.written_rules(role)?;
        if collects(role) {
            self.item()?;
            rules.push(everything());
        }
        Ok(rules)
    }

    fn written_rules(&mut self, role: &Value) -> Result<Vec<RbacRule>, ClosureError> {
        list(role, "rules")
            .map(|rule| {
                self.item()?;
                Ok(RbacRule {
                    api_groups: self.words(rule, "apiGroups")?,
                    resources: self.words(rule, "resources")?,
                    verbs: self.words(rule, "verbs")?,
                    resource_names: self.words(rule, "resourceNames")?,
                    non_resource_urls: self.words(rule, "nonResourceURLs")?,
                })
            })
            .collect()
    }

    fn words(&mut self, rule: &Value, field: &str) -> Result<Vec<String>, ClosureError> {
        list(rule, field)
            .filter_map(Value::as_str)
            .map(|word| {
                self.item()?;
                self.text(word)
            })
            .collect()
    }

    fn role_ref(&mut self, binding: &Value) -> Result<Option<RoleRef>, ClosureError> {
        let Some(role_ref) = binding.get("roleRef").filter(|role_ref| !role_ref.is_null()) else {
            return Ok(None);
        };
        let (kind, name) = (self.field(role_ref, "kind")?, self.field(role_ref, "name")?);
        Ok(Some(RoleRef { kind, name }))
    }

    /// As Kubernetes reads them: a service account without a namespace is of the binding's, and of nobody else's subject
    /// a namespace counts.
    fn subjects(&mut self, binding: &Value, of: &str) -> Result<Vec<Subject>, ClosureError> {
        list(binding, "subjects")
            .map(|subject| {
                self.item()?;
                let namespace = match text(subject, "kind") {
                    Some("ServiceAccount") => text(subject, "namespace").unwrap_or(of),
                    _ => "",
                };
                Ok(Subject {
                    kind: self.field(subject, "kind")?,
                    name: self.field(subject, "name")?,
                    namespace: self.text(namespace)?,
                })
            })
            .collect()
    }

    /// The text of a field, empty where there is none.
    fn field(&mut self, value: &Value, field: &str) -> Result<String, ClosureError> {
        self.text(text(value, field).unwrap_or_default())
    }

    fn text(&mut self, text: &str) -> Result<String, ClosureError> {
        self.bytes = self.bytes.checked_sub(text.len()).ok_or(ClosureError::Rbac)?;
        Ok(text.to_owned())
    }

    fn item(&mut self) -> Result<(), ClosureError> {
        self.items = self.items.checked_sub(1).ok_or(ClosureError::Rbac)?;
        Ok(())
    }
}

/// Whether Kubernetes fills in the role's rules from other roles of the cluster. The chart has only some of those, or none.
fn collects(role: &Value) -> bool {
    let rule = role.get("aggregationRule").unwrap_or(&Value::Null);
    list(rule, "clusterRoleSelectors").next().is_some()
}

/// What a role that [`collects`] has to be taken to grant: it may be all of this, and who judges it must not think that it
/// is nothing.
fn everything() -> RbacRule {
    let all = || vec!["*".to_owned()];
    RbacRule { api_groups: all(), resources: all(), verbs: all(), ..RbacRule::default() }
}

/// The entries of a list; none where it is not one.
fn list<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}
