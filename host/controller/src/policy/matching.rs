//! *Matching* is the question whether a policy is asked about an Operation at all.

use std::collections::BTreeMap;

use hookhost_core::{Reason, Request};
use kube::core::{Selector, SelectorExt};
use wildmatch::WildMatch;

use super::problem::Problem;
use crate::crd::Match;

/// The namespaces of a run, as far as matching looks at them.
///
/// A policy protects a namespace only if it is asked about everything that runs there, from wherever that was requested. So a
/// selector matches if it selects one of them: the Operation's, the Job's, or that of the release whose chart it is.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The labels of the Operation's namespace.
    pub namespace_labels: BTreeMap<String, String>,
    /// The labels of the Job's namespace; none where it is the Operation's.
    pub job_namespace_labels: Option<BTreeMap<String, String>>,
    /// The labels of the release's namespace; none where it is one of those two.
    pub release_namespace_labels: Option<BTreeMap<String, String>>,
}

impl Scope {
    /// Of a request, by the labels of each namespace.
    pub fn of(request: &Request, labels: impl Fn(&str) -> BTreeMap<String, String>) -> Scope {
        let (own, release) = (request.operation.namespace.as_str(), request.release.namespace.as_str());
        let job = request.job_namespace();
        Scope {
            namespace_labels: labels(own),
            job_namespace_labels: (own != job).then(|| labels(job)),
            release_namespace_labels: (own != release && job != release).then(|| labels(release)),
        }
    }

    /// The same for what a policy relaxes: only the namespace that the Job is in counts.
    pub(super) fn of_job(&self) -> Scope {
        Scope { namespace_labels: self.job_labels().clone(), ..Scope::default() }
    }

    /// The labels of the namespace that the Job is in.
    fn job_labels(&self) -> &BTreeMap<String, String> {
        self.job_namespace_labels.as_ref().unwrap_or(&self.namespace_labels)
    }
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

    /// The same for whatever namespaces, and the selector that it has of them, if it has one.
    pub(super) fn but_for_namespaces(&self) -> (Matcher, Option<String>) {
        let selector = (!self.namespaces.selects_all()).then(|| self.namespaces.to_string());
        (Matcher { namespaces: Selector::default(), ..self.clone() }, selector)
    }

    /// What of the request made it match, in words, nothing where the policy matches all; none if it does not match.
    pub(super) fn matches(&self, request: &Request, scope: &Scope) -> Option<Vec<String>> {
        let mut by = Vec::new();
        if !self.namespaces.selects_all() {
            let whose = if self.namespaces.matches(&scope.namespace_labels) {
                ""
            } else if self.namespaces.matches(scope.job_labels()) {
                " (the Job's namespace)"
            } else if scope.release_namespace_labels.as_ref().is_some_and(|of| self.namespaces.matches(of)) {
                " (the release's namespace)"
            } else {
                return None;
            };
            by.push(format!("namespaceSelector {}{whose}", self.namespaces));
        }
        let (hook, chart) = (request.hook.name.as_str(), request.release.chart.as_str());
        let mut part = |what, given: &[String], fits: &dyn Fn(&str) -> bool| {
            let fitting = given.iter().find(|entry| fits(entry));
            by.extend(fitting.map(|entry| format!("{what} {entry}")));
            given.is_empty() || fitting.is_some()
        };
        let fits = part("organisation", &self.organisations, &|name| name == request.organisation)
            && part("hook", &self.hooks, &|pattern| glob(pattern, hook))
            && part("event", &self.events, &|event| request.hook.events.iter().any(|its| its == event))
            && part("chart", &self.charts, &|pattern| glob(pattern, chart));
        fits.then_some(by)
    }
}

/// Whether a pattern stands for a whole name, in at most (length of the one) × (length of the other) steps.
fn glob(pattern: &str, name: &str) -> bool {
    WildMatch::new(pattern).matches(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn a_glob_means_here_what_it_means_in_a_policys_settings(
            pattern in "[ab*?é]{0,8}", name in "[abé*?]{0,10}"
        ) {
            prop_assert_eq!(glob(&pattern, &name), hook_policy::glob::matches(&pattern, &name));
        }
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        assert!(!glob(&("*a".repeat(126) + "b"), &"a".repeat(100_000)));
    }

    fn request() -> Request {
        let mut request = Request { organisation: "acme".into(), ..Request::default() };
        request.hook.name = "db-migrate".into();
        request.hook.events = vec!["pre-upgrade".into(), "post-install".into()];
        request.release.chart = "nextcloud".into();
        request
    }

    fn labels(tier: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("tier".to_owned(), tier.to_owned())])
    }

    fn by_in(matches: Value, scope: &Scope) -> Option<Vec<String>> {
        let matcher = Matcher::new(serde_json::from_value(matches).unwrap()).unwrap();
        matcher.matches(&request(), scope)
    }

    fn by(matches: Value) -> Option<Vec<String>> {
        by_in(matches, &Scope { namespace_labels: labels("gold"), ..Scope::default() })
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
    fn a_selector_matches_by_the_operations_namespace_the_jobs_or_the_releases() {
        let across = Scope {
            namespace_labels: labels("tin"),
            job_namespace_labels: Some(labels("gold")),
            release_namespace_labels: Some(labels("iron")),
        };
        let tier = |tier: &str| json!({"namespaceSelector": {"matchLabels": {"tier": tier}}});
        assert_eq!(by_in(tier("tin"), &across), Some(vec!["namespaceSelector tier=tin".to_owned()]));
        let of_job = "namespaceSelector tier=gold (the Job's namespace)".to_owned();
        assert_eq!(by_in(tier("gold"), &across), Some(vec![of_job]));
        let of_release = "namespaceSelector tier=iron (the release's namespace)".to_owned();
        assert_eq!(by_in(tier("iron"), &across), Some(vec![of_release]));
        assert_eq!(by_in(tier("silver"), &across), None);
        // What a policy relaxes it relaxes for the Job's namespace alone.
        assert_eq!(by_in(tier("iron"), &across.of_job()), None);
        assert!(by_in(tier("gold"), &across.of_job()).is_some());
        // A selector that is met by the absence of a label is met by either namespace, too.
        let not_tin = json!({"namespaceSelector": {"matchExpressions": [
            {"key": "tier", "operator": "NotIn", "values": ["tin"]},
        ]}});
        assert!(by_in(not_tin, &across).is_some());
        // What else is given must match all the same.
        let mut other = tier("gold");
        other["hooks"] = json!(["migrate"]);
        assert_eq!(by_in(other, &across), None);
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
