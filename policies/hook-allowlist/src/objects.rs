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
    kinds: Option<AnyOf<Glob>>,
    /// The object's name: one of these.
    names: Option<AnyOf<Glob>>,
    /// Whether only objects are meant that are in another namespace than the release.
    elsewhere: bool,
    /// What one of its RBAC rules grants; only a Role or ClusterRole has any.
    grants: Option<Grants>,
    /// What role it grants, and to whom; only a RoleBinding or ClusterRoleBinding does.
    binds: Option<Binds>,
}

/// What an RBAC rule grants: at least one of each list that is given, wildcards and all.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Grants {
    /// API groups; "" is the core group.
    api_groups: Option<AnyOf<String>>,
    /// Resources, such as secrets or pods/exec. "*" stands for RBAC's own wildcard: only a rule that says it.
    resources: Option<AnyOf<String>>,
    /// Verbs. "*" stands for RBAC's own wildcard: only a rule that says it.
    verbs: Option<AnyOf<String>>,
    /// Whether a rule that is limited to resourceNames is left alone.
    except_named: bool,
}

/// The role that a binding refers to, and whom it is granted to: all that is given must fit.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Binds {
    /// The role's kind, Role or ClusterRole: one of these.
    kinds: Option<AnyOf<Glob>>,
    /// The role's name: one of these. It need not be the chart's own: cluster-admin is every cluster's.
    names: Option<AnyOf<Glob>>,
    /// Whether only bindings are meant that grant the role to others too: to anyone but a service account of the
    /// release's namespace.
    to_others: bool,
}

/// Roles of every cluster that grant everything, everything in a namespace, every Secret of one, or what only the
/// cluster's own parts should have. Whether the chart has a role of that name as well does not matter: what counts is
/// the cluster's.
const POWERFUL: [&str; 4] = ["cluster-admin", "admin", "edit", "system:*"];

/// What is forbidden unless settings say otherwise.
pub(crate) fn dangerous() -> Vec<Forbidden> {
    fn any<const N: usize>(items: [&str; N]) -> Option<AnyOf<String>> {
        Some(AnyOf::from(items.map(String::from)))
    }
    let kinds = Some(AnyOf::from(["ClusterRole", "ClusterRoleBinding"].map(Glob::new)));
    let everything = Grants { resources: any(["*"]), verbs: any(["*"]), ..Grants::default() };
    let (core, reading) = (any([""]), any(["list", "watch"]));
    let secrets =
        Grants { api_groups: core, resources: any(["secrets"]), verbs: reading, ..Grants::default() };
    let escalation = Grants { verbs: any(["escalate", "bind", "impersonate"]), ..Grants::default() };
    let cluster_roles = Some(AnyOf::from(["ClusterRole"].map(Glob::new)));
    let powerful =
        Binds { kinds: cluster_roles, names: Some(AnyOf::from(POWERFUL.map(Glob::new))), to_others: false };
    let others = Binds { to_others: true, ..Binds::default() };
    let grants = |grants| Forbidden { grants: Some(grants), ..Forbidden::default() };
    let binds = |binds| Forbidden { binds: Some(binds), ..Forbidden::default() };
    vec![
        Forbidden { kinds, ..Forbidden::default() },
        Forbidden { elsewhere: true, ..Forbidden::default() },
        grants(everything),
        grants(secrets),
        grants(escalation),
        binds(powerful),
        binds(others),
    ]
}

impl Forbidden {
    /// Whether there can be such an object at all.
    pub(crate) fn is_possible(&self) -> bool {
        self.grants.is_none() || self.binds.is_none()
    }

    /// What of the hook's closure is forbidden, in words that also say what would be allowed.
    pub(crate) fn find<'a>(&'a self, request: &'a Request) -> impl Iterator<Item = String> + 'a {
        request.hook.closure.iter().filter_map(|object| self.fits(object, &request.release.namespace))
    }

    fn fits(&self, object: &ClosureObject, namespace: &str) -> Option<String> {
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
        let why = match (&self.grants, &self.binds) {
            (None, None) => format!("is not allowed; allowed are {}", self.others()),
            (Some(grants), None) => grants.fits(object)?,
            (None, Some(binds)) => binds.fits(object, namespace)?,
            // No object is a role and a binding; settings that ask for one are refused.
            (Some(_), Some(_)) => return None,
        };
        Some(format!("{what}, which {why}"))
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
    fn fits(&self, binding: &ClosureObject, namespace: &str) -> Option<String> {
        let (kind, name) = binding.role_ref.as_ref().map(|role| (role.kind.as_str(), role.name.as_str()))?;
        if !fits(&self.kinds, kind) || !fits(&self.names, name) {
            return None;
        }
        let is_other =
            |subject: &&Subject| subject.service_account().is_none_or(|(found, _)| found != namespace);
        let to = match binding.subjects.iter().find(is_other) {
            Some(other) if self.to_others => format!(" to {} {:?}", other.kind, other.name),
            None if self.to_others => return None,
            _ => String::new(),
        };
        Some(format!("grants {kind} {name:?}{to}; allowed are {}", self.others()))
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
        Some(format!(
            "grants {} on {}: more than is allowed; allowed are roles that do not grant {}",
            rule.verbs.join(", "),
            if rule.resources.is_empty() { &rule.non_resource_urls } else { &rule.resources }.join(", "),
            self.words()
        ))
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
    }

    fn words(&self) -> String {
        let list = |items: &Option<AnyOf<String>>, any: &str| {
            items.as_ref().map_or(any.to_owned(), |items| {
                items.iter().map(String::as_str).collect::<Vec<_>>().join(" or ")
            })
        };
        format!("{} on {}", list(&self.verbs, "anything"), list(&self.resources, "any resource"))
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
