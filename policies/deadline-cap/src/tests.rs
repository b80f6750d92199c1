use hook_policy::testing::{self, request};
use hook_policy::{Decision, Denial};
use serde_json::{Value, json};

use super::DeadlineCap;

fn paths(settings: Value) -> Vec<String> {
    let errors = testing::validate::<DeadlineCap>(settings).err().unwrap_or_default();
    errors.into_iter().map(|error| error.path).collect()
}

#[test]
fn without_settings_a_run_takes_at_most_an_hour() {
    let decision = testing::evaluate::<DeadlineCap>(&request().build(), json!({}));
    assert_eq!(decision, Decision::allow().deadline_at_most(3600));
}

#[test]
fn all_rules_that_fit_hold_at_once_and_the_default_only_where_none_does() {
    let settings = json!({
        "rules": [
            {"limits": {"backoffLimit": {"atMost": 3}}},
            {"match": {"organisations": ["ac*"]}, "limits": {"deadlineSeconds": {"atMost": 900, "atLeast": 60}}},
            {"match": {"hooks": ["*-migrate"]}, "limits": {"deadlineSeconds": {"atMost": 600}}},
            {"match": {"events": ["test"]}, "limits": {"deadlineSeconds": {"atMost": 10}}},
        ],
    });
    let decision = testing::evaluate::<DeadlineCap>(&request().build(), settings);
    let expected = Decision::allow().deadline_at_most(600).deadline_at_least(60).backoff_at_most(3);
    assert_eq!(decision, expected);
}

#[test]
fn a_run_that_no_rule_fits_gets_the_default() {
    let settings = json!({
        "rules": [{"match": {"organisations": ["other"]}, "limits": {"deadlineSeconds": {"atMost": 1}}}],
        "otherwise": {"ttlSeconds": {"atLeast": 3600}},
    });
    assert_eq!(
        testing::evaluate::<DeadlineCap>(&request().build(), settings),
        Decision::allow().ttl_at_least(3600)
    );
}

#[test]
fn rules_that_contradict_each_other_deny_and_are_named() {
    let settings = json!({
        "rules": [
            {"limits": {"deadlineSeconds": {"atMost": 60}}},
            {"match": {"events": ["test"]}, "limits": {"deadlineSeconds": {"atLeast": 5}}},
            {"match": {"hooks": ["shop-*"]}, "limits": {"deadlineSeconds": {"atLeast": 90}}},
        ],
    });
    let Decision::Deny(Denial { reason, message }) =
        testing::evaluate::<DeadlineCap>(&request().build(), settings)
    else {
        panic!("not denied")
    };
    assert_eq!(reason, "LimitsContradict");
    assert!(message.contains("(rules[0], rules[2]) want deadlineSeconds to be at least 90 and at most 60"));
}

#[test]
fn limits_that_can_never_hold_are_settings_errors() {
    let rule = |limits: Value| json!({"rules": [{"limits": limits}]});
    assert_eq!(
        paths(rule(json!({"deadlineSeconds": {"atMost": 5, "atLeast": 6}}))),
        ["rules[0].limits.deadlineSeconds"]
    );
    assert_eq!(
        paths(rule(json!({"deadlineSeconds": {"atMost": 0}}))),
        ["rules[0].limits.deadlineSeconds.atMost"]
    );
    assert_eq!(paths(rule(json!({"ttlSeconds": {"atMost": 59}}))), ["rules[0].limits.ttlSeconds.atMost"]);
    assert_eq!(
        paths(json!({"otherwise": {"backoffLimit": {"atMost": 4_000_000_000_u32}}})),
        ["otherwise.backoffLimit.atMost"]
    );
    assert_eq!(
        paths(rule(json!({"deadlineSeconds": {"atMost": -1}}))),
        ["rules[0].limits.deadlineSeconds.atMost"]
    );
    assert_eq!(paths(json!({"rules": [{"limit": {}}]})), ["rules[0].limit"]);
    assert_eq!(paths(rule(json!({"backoffLimit": {"atMost": 0, "atLeast": 0}}))), [""; 0]);
}

#[test]
fn the_checked_in_schema_is_that_of_the_settings() {
    testing::assert_settings_schema::<DeadlineCap>(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/settings.schema.json"
    ));
}
