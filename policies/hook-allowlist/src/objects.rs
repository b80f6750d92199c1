//! A *forbidden object* is one that no hook may need: by kind, name and namespace, by what an RBAC rule of it grants, or
//! by the role that it binds and to whom.

use hook_policy::glob::Glob;
use hook_policy::{AnyOf, ClosureObject, RbacRule, Request, Subject};
use schemars::JsonSchema;
use serde::Deserialize;

/// Objects that a hook may not need: those that fit all that is given.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Forbidden {
    /// The object's kind: one of these.
    pub(crate) kinds: Option<AnyOf<Glob>>,
    /// The object's name: one of these.
    pub(crate) names: Option<AnyOf<Glob>>,
    /// Whether only objects are meant that are in another namespace than the release.
    pub(crate) elsewhere: bool,
    /// What one of its RBAC rules grants; only a Role or ClusterRole has any.
    pub(crate) grants: Option<Grants>,
    /// What role it grants, and to whom; only a RoleBinding or ClusterRoleBinding does.
    pub(crate) binds: Option<Binds>,
    /// Why, for the message.
    pub(crate) why: Option<String>,
}

/// What an RBAC rule grants: at least one of each list that is given, wildcards and all.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Grants {
    /// API groups; "" is the core group.
    pub(crate) api_groups: Option<AnyOf<String>>,
    /// Resources, such as secrets or pods/exec. "*" stands for RBAC's own wildcard: only a rule that says it.
    pub(crate) resources: Option<AnyOf<String>>,
    /// Verbs. "*" stands for RBAC's own wildcard: only a rule that says it.
    pub(crate) verbs: Option<AnyOf<String>>,
    /// Paths that are no resources, such as /metrics. "*" stands for RBAC's own wildcard: only a rule that says it.
    #[serde(rename = "nonResourceURLs")]
    pub(crate) non_resource_urls: Option<AnyOf<String>>,
    /// Whether a rule that is limited to resourceNames is left alone.
    pub(crate) except_named: bool,
}

/// The role that a binding refers to, and whom it is granted to: all that is given must fit.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Binds {
    /// The role's kind, Role or ClusterRole: one of these.
    pub(crate) kinds: Option<AnyOf<Glob>>,
    /// The role's name: one of these. It need not be the chart's own: cluster-admin is every cluster's.
    pub(crate) names: Option<AnyOf<Glob>>,
    /// Whether only bindings are meant that grant the role to others too: to anyone but a service account of the
    /// release's namespace.
    pub(crate) to_others: bool,
    /// Whether only bindings are meant whose role is not among the objects that the hook needs: it is part of the release
    /// proper, or of the cluster, and what it grants is not shown here.
    pub(crate) existing: bool,
    /// Roles that are left alone, each as Kind/name.
    pub(crate) except: Option<AnyOf<Glob>>,
}

impl Forbidden {
    /// Whether there can be such an object at all.
    pub(crate) fn is_possible(&self) -> bool {
        self.grants.is_none() || self.binds.is_none()
    }

    /// The first of the hook's closure that is forbidden, in words that also say what would be allowed.
    pub(crate) fn find(&self, request: &Request) -> Option<String> {
        request.hook.closure.iter().find_map(|object| self.fits(object, request))
    }

    fn fits(&self, object: &ClosureObject, request: &Request) -> Option<String> {
        let namespace = request.release.namespace.as_str();
        let is_elsewhere = !object.namespace.is_empty() && object.namespace != namespace;
        if !fits(&self.kinds, &object.kind)
            || !fits(&self.names, &object.name)
            || (self.elsewhere && !is_elsewhere)
        {
            return None;
        }
        let mut what = format!("{} {:?}", object.kind, object.name);
        if is_elsewhere {
            what.push_str(&format!(" in the namespace {:?}", object.namespace));
        }
        let (found, others) = match (&self.grants, &self.binds) {
            (None, None) => ("is not allowed".to_owned(), self.others()),
            (Some(grants), None) => (grants.fits(object)?, grants.others()),
            (None, Some(binds)) => (binds.fits(object, request)?, binds.others()),
            // No object is a role and a binding; settings that ask for one are refused.
            (Some(_), Some(_)) => return None,
        };
        let why = self.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
        Some(format!("{what}, which {found}{why}; allowed are {others}"))
    }

    fn others(&self) -> String {
        let mut others = Vec::new();
        if let Some(kinds) = &self.kinds {
            others.push(format!("objects of other kinds than {kinds}"));
        }
        if let Some(names) = &self.names {
            let of = if others.is_empty() { "objects of" } else { "of" };
            others.push(format!("{of} other names than {names}"));
        }
        if self.elsewhere {
            let of = if others.is_empty() { "objects in" } else { "in" };
            others.push(format!("{of} the release's namespace"));
        }
        if others.is_empty() {
            return "only hooks that need no other hook's objects".to_owned();
        }
        others.join(", or ")
    }
}

impl Binds {
    /// What of a binding is this, in words.
    fn fits(&self, binding: &ClosureObject, request: &Request) -> Option<String> {
        let namespace = request.release.namespace.as_str();
        let (kind, name) = binding.role_ref.as_ref().map(|role| (role.kind.as_str(), role.name.as_str()))?;
        if !fits(&self.kinds, kind) || !fits(&self.names, name) {
            return None;
        }
        let is_role = |object: &ClosureObject| {
            object.kind == kind
                && object.name == name
                && (kind != "Role" || object.namespace == binding.namespace)
        };
        if self.existing && request.hook.closure.iter().any(is_role) {
            return None;
        }
        let role = format!("{kind}/{name}");
        if self.except.iter().flat_map(AnyOf::iter).any(|glob| glob.matches(&role)) {
            return None;
        }
        // As Kubernetes reads it: without a namespace an account is of the binding's.
        let is_near = |found: &str| {
            found == namespace
                || (found.is_empty() && !namespace.is_empty() && binding.namespace == namespace)
        };
        let is_other =
            |subject: &&Subject| subject.service_account().is_none_or(|(found, _)| !is_near(found));
        let to = match binding.subjects.iter().find(is_other) {
            Some(other) if self.to_others => format!(" to {} {:?}", other.kind, other.name),
            None if self.to_others => return None,
            _ => String::new(),
        };
        Some(format!("grants {kind} {name:?}{to}"))
    }

    fn others(&self) -> String {
        let mut others = Vec::new();
        match (&self.kinds, &self.names) {
            (Some(kinds), Some(names)) => {
                others.push(format!("bindings to other roles than {kinds} {names}"))
            }
            (Some(roles), None) | (None, Some(roles)) => {
                others.push(format!("bindings to other roles than {roles}"));
            }
            (None, None) => {}
        }
        if self.to_others {
            others.push("bindings of service accounts of the release's namespace alone".to_owned());
        }
        if self.existing {
            others.push("bindings to roles that are hooks of the chart themselves".to_owned());
        }
        if let Some(except) = &self.except {
            others.push(format!("bindings to {except}"));
        }
        if others.is_empty() {
            return "only hooks that need no binding".to_owned();
        }
        others.join(", or ")
    }
}

impl Grants {
    /// What of a role is this, in words.
    fn fits(&self, role: &ClosureObject) -> Option<String> {
        let rule = role.rules.iter().find(|rule| self.overlap(rule))?;
        let on = if rule.resources.is_empty() { &rule.non_resource_urls } else { &rule.resources };
        Some(format!("grants {} on {}", rule.verbs.join(", "), on.join(", ")))
    }

    /// Whether a rule grants any of this.
    fn overlap(&self, rule: &RbacRule) -> bool {
        if self.except_named && !rule.resource_names.is_empty() {
            return false;
        }
        // A rule on paths instead of resources has neither groups nor resources that could fit.
        granted(&self.api_groups, &rule.api_groups, |_, _| false)
            && granted(&self.resources, &rule.resources, |wanted, found| {
                // `*/scale` grants that subresource of everything.
                matches!((found.strip_prefix("*/"), wanted.split_once('/')), (Some(a), Some((_, b))) if a == b)
            })
            && granted(&self.verbs, &rule.verbs, |_, _| false)
            && granted(&self.non_resource_urls, &rule.non_resource_urls, |wanted, found| {
                // `/logs/*` grants all below it.
                found.ends_with('*') && wanted.starts_with(found.trim_end_matches('*'))
            })
    }

    fn others(&self) -> String {
        let list = |items: &AnyOf<String>| items.iter().map(String::as_str).collect::<Vec<_>>().join(" or ");
        let verbs = self.verbs.as_ref().map_or("anything".to_owned(), list);
        let on = match (&self.resources, &self.non_resource_urls) {
            (Some(on), _) | (None, Some(on)) => list(on),
            (None, None) => "any resource".to_owned(),
        };
        format!("roles that do not grant {verbs} on {on}")
    }
}

/// Whether a text matches one of the globs, if there are any.
fn fits(globs: &Option<AnyOf<Glob>>, text: &str) -> bool {
    globs.as_ref().is_none_or(|globs| globs.iter().any(|glob| glob.matches(text)))
}

/// Whether a rule's list grants one of those wanted: by name, by RBAC's wildcard, or as `wider` says.
fn granted(wanted: &Option<AnyOf<String>>, found: &[String], wider: impl Fn(&str, &str) -> bool) -> bool {
    wanted.as_ref().is_none_or(|wanted| {
        wanted
            .iter()
            .any(|wanted| found.iter().any(|found| found == "*" || found == wanted || wider(wanted, found)))
    })
}
