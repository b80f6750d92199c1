//! What an object that a hook needs *grants*, in the words in which people read RBAC: `get, list pods and deployments.apps`.

use hookhost_core::closure::{ClosureObject, RbacRule, RoleRef};
use hookhost_helm::text::{list, quote};

/// Rules of one role that are shown; `-o json` has them all.
const SHOWN_RULES: usize = 20;

/// What is granted: by a role what each of its rules allows, by a binding a role, to whom. At least one line, which may be
/// empty.
pub(super) fn of(object: &ClosureObject) -> Vec<String> {
    if let Some(role) = &object.role_ref {
        return vec![binding(role, object)];
    }
    let mut lines: Vec<String> = object.rules.iter().take(SHOWN_RULES).map(rule).collect();
    match object.rules.len().checked_sub(SHOWN_RULES).filter(|more| *more > 0) {
        Some(more) => lines.push(format!("and by {more} more rules: -o json has them")),
        None if lines.is_empty() => lines.push(String::new()),
        None => {}
    }
    lines
}

fn binding(RoleRef { kind, name }: &RoleRef, object: &ClosureObject) -> String {
    let subjects: Vec<String> = object
        .subjects
        .iter()
        .map(|subject| match subject.namespace.as_str() {
            "" => format!("{} {}", subject.kind, quote(&subject.name)),
            namespace => format!("{} {}", subject.kind, quote(&format!("{namespace}/{}", subject.name))),
        })
        .collect();
    format!("{kind} {} to {}", quote(name), subjects.join(", "))
}

/// One rule. A rule without verbs, or without anything that they are about, allows nothing.
fn rule(rule: &RbacRule) -> String {
    let verbs = if rule.verbs.iter().any(|verb| verb == "*") {
        "do anything to".into()
    } else {
        rule.verbs.join(", ")
    };
    let mut about = resources(rule);
    if !rule.non_resource_urls.is_empty() {
        let urls = &rule.non_resource_urls;
        about.push(if urls.iter().any(|url| url == "*") {
            "all URLs".into()
        } else {
            format!("the URLs {}", list(urls))
        });
    }
    if verbs.is_empty() || about.is_empty() {
        return "nothing".to_owned();
    }
    let mut text = format!("{verbs} {}", list(&about));
    if !rule.resource_names.is_empty() {
        let names: Vec<String> = rule.resource_names.iter().map(|name| quote(name)).collect();
        text.push_str(&format!(" named {}", names.join(" or ")));
    }
    text
}

/// The resources as kubectl names them: those of the core group by their plural, others with their group behind it.
fn resources(rule: &RbacRule) -> Vec<String> {
    let groups = &rule.api_groups;
    let of_all_groups = groups.iter().any(|group| group == "*");
    let all = rule.resources.iter().any(|resource| resource == "*");
    match (all, of_all_groups) {
        (true, true) => vec!["everything".to_owned()],
        (true, false) => groups
            .iter()
            .map(|group| match group.as_str() {
                "" => "everything of the core group".to_owned(),
                group => format!("everything of {group}"),
            })
            .collect(),
        (false, true) => rule.resources.iter().map(|resource| format!("{resource} of any group")).collect(),
        (false, false) => groups
            .iter()
            .flat_map(|group| rule.resources.iter().map(move |resource| qualified(resource, group)))
            .collect(),
    }
}

/// A resource with its group; a subresource stays behind the slash.
fn qualified(resource: &str, group: &str) -> String {
    match (group, resource.split_once('/')) {
        ("", _) => resource.to_owned(),
        (group, Some((resource, sub))) => format!("{resource}.{group}/{sub}"),
        (group, None) => format!("{resource}.{group}"),
    }
}

#[cfg(test)]
mod tests {
    use hookhost_core::closure::Subject;
    use serde_json::json;

    use super::*;

    fn said(of: serde_json::Value) -> String {
        rule(&serde_json::from_value(of).unwrap())
    }

    #[test]
    fn a_rule_reads_as_kubectl_names_things() {
        for (rule, text) in [
            (json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}), "get pods"),
            (
                json!({"apiGroups": ["", "apps"], "resources": ["pods", "deployments/scale"], "verbs": ["get", "list"]}),
                "get, list pods, deployments/scale, pods.apps and deployments.apps/scale",
            ),
            (json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}), "do anything to everything"),
            (
                json!({"apiGroups": [""], "resources": ["pods", "*"], "verbs": ["*"]}),
                "do anything to everything of the core group",
            ),
            (
                json!({"apiGroups": ["batch"], "resources": ["*"], "verbs": ["watch"]}),
                "watch everything of batch",
            ),
            (
                json!({"apiGroups": ["*"], "resources": ["jobs"], "verbs": ["watch"]}),
                "watch jobs of any group",
            ),
            (
                json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a", "b"], "verbs": ["update"]}),
                "update secrets named \"a\" or \"b\"",
            ),
            (
                json!({"nonResourceURLs": ["/metrics", "/healthz"], "verbs": ["get"]}),
                "get the URLs /metrics and /healthz",
            ),
            (json!({"nonResourceURLs": ["*"], "verbs": ["*"]}), "do anything to all URLs"),
            (json!({"apiGroups": [""], "resources": ["pods"]}), "nothing"),
            (json!({"resources": ["pods"], "verbs": ["get"]}), "nothing"),
        ] {
            assert_eq!(said(rule), text);
        }
    }

    #[test]
    fn each_rule_has_a_line_and_many_are_counted() {
        let one = RbacRule {
            verbs: vec!["get".into()],
            resources: vec!["pods".into()],
            api_groups: vec!["".into()],
            ..RbacRule::default()
        };
        let mut role = ClosureObject { rules: vec![one; SHOWN_RULES + 2], ..ClosureObject::default() };
        let lines = of(&role);
        assert_eq!(lines.len(), SHOWN_RULES + 1);
        assert_eq!(lines[SHOWN_RULES], "and by 2 more rules: -o json has them");
        role.rules.clear();
        assert_eq!(of(&role), [""]);
        let subject = Subject { kind: "User".into(), name: "m".into(), namespace: String::new() };
        role.role_ref = Some(RoleRef { kind: "Role".into(), name: "r".into() });
        role.subjects = vec![subject];
        assert_eq!(of(&role), ["Role \"r\" to User \"m\""]);
    }
}
