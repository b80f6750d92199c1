use hookhost_helm::workload::BACKOFF_DEFAULT;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::decision::{Bounds, Denial, Overrides, Postponement};
use crate::keys;
use crate::refusal::Then;

fn base() -> Base {
    Base {
        active_deadline_seconds: Given::value(1800, Source::Operation),
        backoff_limit: Given::absent(BACKOFF_DEFAULT),
        ttl_seconds_after_finished: Given::value(TTL_DEFAULT, Source::Hookhost),
        chart_labels: BTreeMap::from([("app".to_owned(), "shop".to_owned())]),
    }
}

fn answers(decisions: Value) -> Vec<Answer> {
    let Value::Object(decisions) = decisions else { panic!("a mapping from policy to decision") };
    decisions
        .into_iter()
        .map(|(policy, decision)| Answer {
            digest: format!("sha256:{policy}"),
            decision: serde_json::from_value(decision).unwrap(),
            policy,
        })
        .collect()
}

fn verdict(decisions: Value) -> Verdict {
    solve(&base(), &answers(decisions))
}

fn solved(decisions: Value) -> Solved {
    let verdict = verdict(decisions);
    verdict.solved().unwrap_or_else(|| panic!("{verdict}")).clone()
}

fn conflicts(decisions: Value) -> Vec<String> {
    match verdict(decisions).outcome {
        Outcome::Contradictory(conflicts) => conflicts.iter().map(Conflict::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

fn policies(names: &[&str]) -> Source {
    Source::Policies(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn deny_beats_hold_and_hold_beats_allow() {
    let deny = json!({"deny": {"reason": "No", "message": "never\nhere"}});
    let hold = json!({"hold": {"reason": "Later", "message": "", "retryAfterSeconds": 60}});
    let longer = json!({"hold": {"reason": "MuchLater", "message": "at night", "retryAfterSeconds": 3600}});
    let verdict_of = verdict;
    let denied = verdict_of(json!({"a": {"allow": {}}, "b": hold, "c": deny, "d": deny}));
    assert_eq!(denied.reason(), Some(Reason::PolicyDenied));
    assert_eq!(denied.to_string(), "denied by policy \"c\": No: never here; policy \"d\": No: never here");
    let held = verdict_of(json!({"a": {"allow": {}}, "b": hold, "c": longer}));
    assert_eq!(held.reason(), Some(Reason::PolicyHeld));
    assert_eq!(held.to_string(), "held for 1h by policy \"b\": Later; policy \"c\": MuchLater: at night");
    let allowed = verdict_of(json!({"a": {"allow": {}}, "b": {"allow": {}}}));
    assert_eq!((allowed.reason(), allowed.to_string()), (None, "allowed by a and b".to_owned()));
    assert_eq!(solve(&base(), &[]).to_string(), "allowed: no policy applies");
}

#[test]
fn the_least_ceiling_and_the_greatest_floor_count() {
    let solved = solved(json!({
        "a": {"allow": {"activeDeadlineSeconds": {"atMost": 900}, "backoffLimit": {"atLeast": 2}}},
        "b": {"allow": {"activeDeadlineSeconds": {"atMost": 600}}},
        "c": {"allow": {"activeDeadlineSeconds": {"atMost": 600, "atLeast": 60}}},
    }));
    let deadline = &solved.active_deadline_seconds;
    assert_eq!(deadline.value, Some(600));
    assert_eq!(deadline.source, policies(&["b", "c"]));
    assert_eq!(deadline.instead_of, Some(Given::value(1800, Source::Operation)));
    assert_eq!(deadline.demands.len(), 4);
    assert_eq!(solved.backoff_limit.value, None, "Kubernetes' 6 is above the floor");
    assert_eq!(solved.backoff_limit.source, Source::Kubernetes);
}

#[test]
fn a_value_that_needs_no_change_keeps_its_source() {
    let solved =
        solved(json!({"a": {"allow": {"activeDeadlineSeconds": {"atMost": 1800, "atLeast": 1800}}}}));
    assert_eq!(solved.active_deadline_seconds.source, Source::Operation);
    assert_eq!(solved.active_deadline_seconds.instead_of, None);
}

#[test]
fn a_run_without_a_deadline_takes_a_ceiling_but_no_floor() {
    let mut base = base();
    base.active_deadline_seconds = Given::absent(i64::MAX);
    let deadline = |decisions| match solve(&base, &answers(decisions)).outcome {
        Outcome::Allowed(solved) => solved.active_deadline_seconds,
        other => panic!("{other:?}"),
    };
    assert_eq!(deadline(json!({"a": {"allow": {"activeDeadlineSeconds": {"atLeast": 60}}}})).value, None);
    let capped = deadline(json!({"a": {"allow": {"activeDeadlineSeconds": {"atMost": 60}}}}));
    assert_eq!((capped.value, capped.source), (Some(60), policies(&["a"])));
    assert_eq!(deadline(json!({"a": {"allow": {"activeDeadlineSeconds": {"exactly": 5}}}})).value, Some(5));
}

#[test]
fn an_absent_backoff_limit_counts_as_kubernetes_default() {
    let backoff =
        |bounds: Value| solved(json!({"a": {"allow": {"backoffLimit": bounds}}})).backoff_limit.value;
    assert_eq!(backoff(json!({"atMost": 6})), None);
    assert_eq!(backoff(json!({"atMost": 5})), Some(5));
    assert_eq!(backoff(json!({"atLeast": 6})), None);
    assert_eq!(backoff(json!({"atLeast": 7})), Some(7));
    assert_eq!(backoff(json!({"exactly": 6})), Some(6));
}

#[test]
fn the_host_demands_time_to_read_the_result() {
    let mut base = base();
    base.ttl_seconds_after_finished = Given::value(0, Source::Operation);
    let Outcome::Allowed(solved) = solve(&base, &[]).outcome else { panic!("not allowed") };
    let ttl = solved.ttl_seconds_after_finished;
    assert_eq!((ttl.value, ttl.source), (Some(60), Source::Hookhost));
    assert_eq!(ttl.instead_of, Some(Given::value(0, Source::Operation)));
    let conflicts = conflicts(json!({"a": {"allow": {"ttlSecondsAfterFinished": {"atMost": 30}}}}));
    assert_eq!(
        conflicts,
        ["ttlSecondsAfterFinished: at least 60 (hookhost) against at most 30 (policy \"a\")"]
    );
}

#[test]
fn every_contradiction_names_those_who_disagree() {
    let all = conflicts(json!({
        "a": {"allow": {"activeDeadlineSeconds": {"exactly": 10}, "backoffLimit": {"atLeast": 5},
            "labels": {"team": "x"}, "annotations": {"note": "1"}}},
        "b": {"allow": {"activeDeadlineSeconds": {"exactly": 20}, "backoffLimit": {"atMost": 3},
            "labels": {"team": "y", "ops.vworkspace.io/operation": "mine"}, "annotations": {"note": "2"}}},
        "c": {"allow": {"activeDeadlineSeconds": {"atMost": 15, "atLeast": 12}, "backoffLimit": {"atMost": 4},
            "labels": {"team": "x", "app": "other"}, "annotations": {"helm.sh/hook": "test"}}},
    }));
    let expected = [
        "activeDeadlineSeconds: exactly 10 (policy \"a\") against exactly 20 (policy \"b\")",
        "activeDeadlineSeconds: exactly 10 (policy \"a\") against at least 12 (policy \"c\")",
        "activeDeadlineSeconds: exactly 20 (policy \"b\") against at most 15 (policy \"c\")",
        "annotation helm.sh/hook: the key is not for policies: Helm would take the Job for a hook (hookhost) against \
         the value \"test\" (policy \"c\")",
        "annotation note: the value \"1\" (policy \"a\") against the value \"2\" (policy \"b\")",
        "backoffLimit: at least 5 (policy \"a\") against at most 3 (policy \"b\") against at most 4 (policy \"c\")",
        "label app: the value \"shop\" (the chart) against the value \"other\" (policy \"c\")",
        "label ops.vworkspace.io/operation: the key is not for policies: hookhost finds its Jobs by them (hookhost) \
         against the value \"mine\" (policy \"b\")",
        "label team: the value \"x\" (policy \"a\") against the value \"y\" (policy \"b\") against the value \"x\" \
         (policy \"c\")",
    ];
    assert_eq!(all, expected, "{all:#?}");
    let reason = verdict(json!({"a": {"allow": {"backoffLimit": {"atMost": 1, "atLeast": 2}}}})).reason();
    assert_eq!(reason, Some(Reason::PolicyConflict), "a policy may contradict itself");
}

#[test]
fn agreeing_policies_share_a_label() {
    let solved = solved(json!({
        "b": {"allow": {"labels": {"team": "x", "app": "shop"}}},
        "a": {"allow": {"labels": {"team": "x"}, "annotations": {"team": "y"}}},
    }));
    let entry = |value: &str, policies: &[&str]| Entry {
        value: value.to_owned(),
        policies: policies.iter().map(|name| (*name).to_owned()).collect(),
    };
    assert_eq!(solved.labels["team"], entry("x", &["a", "b"]));
    assert_eq!(solved.labels["app"], entry("shop", &["b"]), "what the chart says too is no conflict");
    assert_eq!(solved.annotations["team"], entry("y", &["a"]));
}

#[test]
fn all_annotations_together_stay_within_what_kubernetes_takes() {
    let many = |letter: &str| -> Value {
        let annotations: BTreeMap<String, String> =
            (0..50).map(|n| (format!("{letter}{n}"), "x".repeat(4000))).collect();
        json!({"allow": {"annotations": annotations}})
    };
    assert!(verdict(json!({"a": many("a").clone(), "b": {"allow": {}}})).reason().is_some());
    let conflicts = conflicts(json!({"a": many("a"), "b": many("b")}));
    assert_eq!(conflicts.len(), 1);
    assert!(conflicts[0].starts_with("annotations: at most 196608 bytes in all (hookhost)"), "{conflicts:?}");
}

#[test]
fn a_contradiction_does_not_hide_behind_a_hold() {
    let held = verdict(json!({
        "a": {"allow": {"backoffLimit": {"atMost": 1, "atLeast": 2}}},
        "b": {"hold": {"reason": "Later", "message": "", "retryAfterSeconds": 5}},
    }));
    assert_eq!(
        held.reason(),
        Some(Reason::PolicyHeld),
        "asked again later, the policies may answer otherwise"
    );
}

/// Bounds that mostly leave room, so that allowed runs of several policies are common.
fn any_bounds() -> impl Strategy<Value = Bounds> {
    let at_most = prop_oneof![20 => 1000..=i64::from(i32::MAX), 1 => 0_i64..1000];
    let at_least = prop_oneof![20 => 0_i64..1000, 1 => 0..=i64::from(i32::MAX)];
    (
        proptest::option::weighted(0.03, 0_i64..2000),
        proptest::option::weighted(0.3, at_most),
        proptest::option::weighted(0.3, at_least),
    )
        .prop_map(|(exactly, at_most, at_least)| Bounds { exactly, at_most, at_least })
}

fn any_entries() -> impl Strategy<Value = BTreeMap<String, String>> {
    let keys = || proptest::sample::select(vec!["a", "b", "c.io/d", "app", "team", "cost"]);
    let owned = proptest::sample::select(vec!["helm.sh/x", "job-name", "ops.vworkspace.io/operation"]);
    let values = prop_oneof![30 => Just("1"), 1 => Just("2")];
    proptest::collection::btree_map(
        prop_oneof![50 => keys(), 1 => owned].prop_map(str::to_owned),
        values.prop_map(str::to_owned),
        0..3,
    )
}

fn any_decision() -> impl Strategy<Value = Decision> {
    let word = || proptest::sample::select(vec!["A", "B"]).prop_map(str::to_owned);
    prop_oneof![
        40 => (any_bounds(), any_bounds(), any_bounds(), any_entries(), any_entries()).prop_map(
            |(active_deadline_seconds, backoff_limit, ttl_seconds_after_finished, labels, annotations)| {
                Decision::Allow(Overrides {
                    active_deadline_seconds, backoff_limit, ttl_seconds_after_finished, labels, annotations,
                })
            }
        ),
        1 => (word(), word())
            .prop_map(|(reason, message)| Decision::Deny(crate::decision::Denial { reason, message })),
        1 => (word(), word(), 1_u32..100).prop_map(|(reason, message, retry_after_seconds)| {
            Decision::Hold(crate::decision::Postponement { reason, message, retry_after_seconds })
        }),
    ]
}

fn any_answers() -> impl Strategy<Value = Vec<Answer>> {
    let names = proptest::sample::select(vec!["p", "q", "r", "s"]);
    proptest::collection::vec((names, any_decision()), 0..6).prop_map(|answers| {
        answers
            .into_iter()
            .map(|(policy, decision)| Answer {
                policy: policy.to_owned(),
                digest: "sha256:0".to_owned(),
                decision,
            })
            .collect()
    })
}

fn any_base() -> impl Strategy<Value = Base> {
    let given = |means: i64| {
        prop_oneof![
            Just(Given::absent(means)),
            (0_i64..10_000).prop_map(|value| Given::value(value, Source::Operation)),
            (0_i64..10_000).prop_map(|value| Given::value(value, Source::Chart)),
        ]
    };
    (given(i64::MAX), given(BACKOFF_DEFAULT), 0_i64..100_000).prop_map(|(deadline, backoff, ttl)| Base {
        active_deadline_seconds: deadline,
        backoff_limit: backoff,
        ttl_seconds_after_finished: Given::value(ttl, Source::Operation),
        chart_labels: BTreeMap::from([("app".to_owned(), "1".to_owned())]),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn no_order_of_the_policies_changes_the_verdict(
        (answers, shuffled) in any_answers().prop_flat_map(|answers| (Just(answers.clone()), Just(answers).prop_shuffle())),
        base in any_base(),
    ) {
        prop_assert_eq!(solve(&base, &answers), solve(&base, &shuffled));
        let doubled: Vec<Answer> = answers.iter().chain(&shuffled).cloned().collect();
        prop_assert_eq!(solve(&base, &answers), solve(&base, &doubled));
    }

    #[test]
    fn an_allowed_run_is_within_every_bound_of_every_policy(answers in any_answers(), base in any_base()) {
        let verdict = solve(&base, &answers);
        let Some(solved) = verdict.solved() else {
            prop_assert!(verdict.reason().is_some());
            return Ok(());
        };
        for answer in &answers {
            let Decision::Allow(overrides) = &answer.decision else {
                return Err(TestCaseError::fail("allowed against a policy's word"));
            };
            for (bounds, effective, means) in [
                (overrides.active_deadline_seconds, &solved.active_deadline_seconds, i64::MAX),
                (overrides.backoff_limit, &solved.backoff_limit, BACKOFF_DEFAULT),
                (overrides.ttl_seconds_after_finished, &solved.ttl_seconds_after_finished, i64::MAX),
            ] {
                let value = effective.value.unwrap_or(means);
                prop_assert!(bounds.exactly.is_none_or(|exactly| value == exactly));
                prop_assert!(bounds.at_most.is_none_or(|at_most| value <= at_most));
                prop_assert!(bounds.at_least.is_none_or(|at_least| value >= at_least));
            }
            for (key, value) in &overrides.labels {
                prop_assert_eq!(&solved.labels[key].value, value);
                prop_assert!(solved.labels[key].policies.contains(&answer.policy));
                prop_assert!(is_host_owned(key).is_none());
            }
            for (key, value) in &overrides.annotations {
                prop_assert_eq!(&solved.annotations[key].value, value);
            }
        }
        prop_assert!(solved.ttl_seconds_after_finished.value.is_some_and(|ttl| ttl >= HOST_TTL_FLOOR));
    }

    #[test]
    fn a_value_is_changed_only_by_one_who_demands_it(answers in any_answers(), base in any_base()) {
        let verdict = solve(&base, &answers);
        let Some(solved) = verdict.solved() else { return Ok(()) };
        for (effective, given) in [
            (&solved.active_deadline_seconds, &base.active_deadline_seconds),
            (&solved.backoff_limit, &base.backoff_limit),
            (&solved.ttl_seconds_after_finished, &base.ttl_seconds_after_finished),
        ] {
            match &effective.instead_of {
                None => prop_assert_eq!((effective.value, &effective.source), (given.value, &given.source)),
                Some(before) => {
                    prop_assert_eq!(before, given);
                    prop_assert_ne!(effective.value, given.value);
                    prop_assert!(matches!(effective.source, Source::Policies(_) | Source::Hookhost));
                    prop_assert!(!effective.demands.is_empty());
                }
            }
        }
    }
}

#[test]
fn the_keys_that_are_not_a_policys_are_those_of_the_contract() {
    let wit = include_str!("../../../../wit/hook-policy.wit");
    let said: Vec<&str> = wit.lines().map(|line| line.trim().trim_start_matches("///").trim()).collect();
    let [first, second] = entries::JOB_CONTROLLER_LABELS;
    let domains: Vec<&str> = OWNED_DOMAINS.iter().map(|(domain, _)| *domain).collect();
    let (last, domains) = domains.split_last().unwrap();
    let sentence =
        format!("`{first}`, `{second}`, and keys in the domains {} and {last}.", domains.join(", "));
    assert!(said.join(" ").contains(&sentence), "{sentence}");
}

#[test]
fn what_hookhost_keeps_on_a_job_is_not_a_policys_to_write() {
    let own =
        [keys::CLAIM, keys::OPENED, keys::STEP, keys::DECISION, keys::CLOSURE, "hookhost.vworkspace.io/x"];
    for key in own {
        for what in ["labels", "annotations"] {
            let said = conflicts(json!({"forger": {"allow": {what: {key: "true"}}}}));
            assert!(said.len() == 1 && said[0].contains(key) && said[0].contains("forger"), "{said:?}");
        }
    }
}

fn of(decision: Decision) -> Verdict {
    let base = Base {
        active_deadline_seconds: Given::absent(0),
        backoff_limit: Given::absent(6),
        ttl_seconds_after_finished: Given::absent(0),
        chart_labels: BTreeMap::default(),
    };
    solve(&base, &[Answer { policy: "office-hours".into(), digest: "sha256:0".into(), decision }])
}

#[test]
fn a_denial_fails_and_a_hold_is_asked_about_again() {
    let denied = of(Decision::Deny(Denial { reason: "NotAllowed".into(), message: "ask the owner".into() }));
    let refusal = denied.refusal().unwrap();
    assert_eq!((refusal.reason, refusal.then), (Reason::PolicyDenied, Then::Fail));
    assert!(refusal.message.contains("office-hours") && refusal.message.contains("ask the owner"));

    let held = of(Decision::Hold(Postponement {
        reason: "Closed".into(),
        message: "opens at 22:00".into(),
        retry_after_seconds: 600,
    }));
    let refusal = held.refusal().unwrap();
    assert_eq!((refusal.reason, refusal.then), (Reason::PolicyHeld, Then::RetryAfter(600)));

    assert_eq!(of(Decision::Allow(Overrides::default())).refusal(), None);
}
