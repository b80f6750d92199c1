//! A *forbidden object* is one that no hook may need: by kind and name, or by what an RBAC rule of it grants.

use hook_policy::glob::Glob;
use hook_policy::{AnyOf, ClosureObject, RbacRule};
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
    /// What one of its RBAC rules grants; only a Role or ClusterRole has any.
    grants: Option<Grants>,
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
    let grants = |grants| Forbidden { grants: Some(grants), ..Forbidden::default() };
    let forbidden_kinds = Forbidden { kinds, ..Forbidden::default() };
    vec![forbidden_kinds, grants(everything), grants(secrets), grants(escalation)]
}

impl Forbidden {
    /// What of a closure is forbidden, in words that also say what would be allowed.
    pub(crate) fn find<'a>(&'a self, closure: &'a [ClosureObject]) -> impl Iterator<Item = String> + 'a {
        closure.iter().filter_map(move |object| {
            let fits = |globs: &Option<AnyOf<Glob>>, text: &str| {
                globs.as_ref().is_none_or(|globs| globs.iter().any(|glob| glob.matches(text)))
            };
            if !fits(&self.kinds, &object.kind) || !fits(&self.names, &object.name) {
                return None;
            }
            let what = format!("{} {:?}", object.kind, object.name);
            let Some(grants) = &self.grants else {
                return Some(format!("{what}, which is not allowed; allowed are {}", self.others()));
            };
            let rule = object.rules.iter().find(|rule| grants.overlap(rule))?;
            Some(format!(
                "{what}, which grants {} on {}: more than is allowed; allowed are roles that do not grant {}",
                rule.verbs.join(", "),
                if rule.resources.is_empty() { &rule.non_resource_urls } else { &rule.resources }.join(", "),
                grants.words()
            ))
        })
    }

    fn others(&self) -> String {
        match (&self.kinds, &self.names) {
            (Some(kinds), None) => format!("objects of other kinds than {kinds}"),
            (None, Some(names)) => format!("objects of other names than {names}"),
            (Some(kinds), Some(names)) => {
                format!("objects of other kinds than {kinds}, or of other names than {names}")
            }
            (None, None) => "only hooks that need no other hook's objects".to_owned(),
        }
    }
}

impl Grants {
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

/// Whether a rule's list grants one of those wanted: by name, by RBAC's wildcard, or as `wider` says.
fn granted(wanted: &Option<AnyOf<String>>, found: &[String], wider: impl Fn(&str, &str) -> bool) -> bool {
    wanted.as_ref().is_none_or(|wanted| {
        wanted
            .iter()
            .any(|wanted| found.iter().any(|found| found == "*" || found == wanted || wider(wanted, found)))
    })
}
