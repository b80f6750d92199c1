//! *Matching* is the question whether a policy is asked about an Operation at all.

use std::collections::BTreeMap;

use hookhost_core::{Reason, Request};
use kube::core::{Selector, SelectorExt};

use super::glob;
use super::problem::Problem;
use crate::crd::Match;

/// What matching looks at besides the request.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The labels of the Operation's namespace.
    pub namespace_labels: BTreeMap<String, String>,
}

/// Which requests a policy is asked about.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Matcher {
    namespaces: Selector,
    organisations: Vec<String>,
    hooks: Vec<String>,
    events: Vec<String>,
    charts: Vec<String>,
}

impl Matcher {
    /// A matcher for what a HookPolicy says.
    pub(super) fn new(matches: Match) -> Result<Matcher, Problem> {
        let Match { namespace_selector, organisations, hooks, events, charts } = matches;
        let namespaces = namespace_selector.unwrap_or_default().try_into().map_err(|error| {
            let message = format!("spec.match.namespaceSelector is no label selector: {error}");
            Problem::new(Reason::ValidationFailed, message)
        })?;
        Ok(Matcher { namespaces, organisations, hooks, events, charts })
    }

    /// What of the request made it match, in words, nothing where the policy matches all; none if it does not match.
    pub(super) fn matches(&self, request: &Request, scope: &Scope) -> Option<Vec<String>> {
        let mut by = Vec::new();
        if !self.namespaces.selects_all() {
            if !self.namespaces.matches(&scope.namespace_labels) {
                return None;
            }
            by.push(format!("namespaceSelector {}", self.namespaces));
        }
        let (hook, chart) = (request.hook.name.as_str(), request.release.chart.as_str());
        let mut part = |what, given: &[String], fits: &dyn Fn(&str) -> bool| {
            let fitting = given.iter().find(|entry| fits(entry));
            by.extend(fitting.map(|entry| format!("{what} {entry}")));
            given.is_empty() || fitting.is_some()
        };
        let fits = part("organisation", &self.organisations, &|name| name == request.organisation)
            && part("hook", &self.hooks, &|pattern| glob::matches(pattern, hook))
            && part("event", &self.events, &|event| request.hook.events.iter().any(|its| its == event))
            && part("chart", &self.charts, &|pattern| glob::matches(pattern, chart));
        fits.then_some(by)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request() -> Request {
        let mut request = Request { organisation: "acme".into(), ..Request::default() };
        request.hook.name = "db-migrate".into();
        request.hook.events = vec!["pre-upgrade".into(), "post-install".into()];
        request.release.chart = "nextcloud".into();
        request
    }

    fn by(matches: Value) -> Option<Vec<String>> {
        let labels = BTreeMap::from([("tier".to_owned(), "gold".to_owned())]);
        let matcher = Matcher::new(serde_json::from_value(matches).unwrap()).unwrap();
        matcher.matches(&request(), &Scope { namespace_labels: labels })
    }

    #[test]
    fn nothing_given_matches_everything() {
        assert_eq!(by(json!({})), Some(vec![]));
        assert_eq!(by(json!({"namespaceSelector": {}, "hooks": []})), Some(vec![]));
    }

    #[test]
    fn each_part_matches_by_one_of_its_entries_and_says_which() {
        for (matches, what) in [
            (json!({"organisations": ["other", "acme"]}), "organisation acme"),
            (json!({"hooks": ["x", "db-*"]}), "hook db-*"),
            (json!({"events": ["post-install"]}), "event post-install"),
            (json!({"charts": ["next?loud"]}), "chart next?loud"),
            (json!({"namespaceSelector": {"matchLabels": {"tier": "gold"}}}), "namespaceSelector tier=gold"),
            (
                json!({"namespaceSelector": {"matchExpressions": [{"key": "dev", "operator": "DoesNotExist"}]}}),
                "namespaceSelector !dev",
            ),
        ] {
            assert_eq!(by(matches.clone()), Some(vec![what.to_owned()]), "{matches}");
        }
    }

    #[test]
    fn one_part_that_does_not_match_is_enough_for_no() {
        let all = json!({
            "namespaceSelector": {"matchLabels": {"tier": "gold"}}, "organisations": ["acme"], "hooks": ["*"],
            "events": ["pre-upgrade"], "charts": ["nextcloud"],
        });
        assert_eq!(by(all.clone()).map(|by| by.len()), Some(5));
        for (part, other) in [
            ("namespaceSelector", json!({"matchLabels": {"tier": "tin"}})),
            ("organisations", json!(["ACME", "acm*"])),
            ("hooks", json!(["migrate"])),
            ("events", json!(["pre-install"])),
            ("charts", json!(["next"])),
        ] {
            let mut matches = all.clone();
            matches[part] = other;
            assert_eq!(by(matches), None, "{part}");
        }
    }

    #[test]
    fn a_selector_that_is_none_is_refused() {
        let matches = json!({"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}});
        let problem = Matcher::new(serde_json::from_value(matches).unwrap()).unwrap_err();
        assert!(
            problem.message.starts_with("spec.match.namespaceSelector is no label selector"),
            "{problem}"
        );
    }
}
