use hook_policy::testing::{self, request};
use hook_policy::{Decision, Request};
use serde_json::{Value, json};

use super::{OWNED_KEYS, OrgLabels};

fn decide(request: Request, settings: Value) -> Decision {
    testing::evaluate::<OrgLabels>(&request, settings)
}

fn labels(labels: Value) -> Value {
    json!({"rules": [{"labels": labels}]})
}

fn errors(settings: Value) -> Vec<(String, String)> {
    let errors = testing::validate::<OrgLabels>(settings).err().unwrap_or_default();
    errors.into_iter().map(|error| (error.path, error.message)).collect()
}

#[test]
fn values_of_the_request_are_filled_in() {
    let request = request().operation_label("team", "db").organisation("acme").build();
    let settings = json!({"rules": [{
        "labels": {"example.com/org": "${organisation}", "who": "${operation.labels[team]}-${release.revision}"},
        "annotations": {"example.com/from": "${release.chart} ${release.chartVersion}, $${kept} ${hook.name}"},
    }]});
    let expected = Decision::allow()
        .label("example.com/org", "acme")
        .label("who", "db-3")
        .annotation("example.com/from", "shop 1.4.0, ${kept} shop-migrate");
    assert_eq!(decide(request, settings), expected);
}

#[test]
fn all_rules_that_fit_apply_and_of_one_key_the_later_counts() {
    let settings = json!({"rules": [
        {"labels": {"tier": "bronze", "a": "1"}},
        {"match": {"organisations": ["acme"]}, "labels": {"tier": "gold"}},
        {"match": {"organisations": ["other"]}, "labels": {"tier": "lead"}},
    ]});
    assert_eq!(decide(request().build(), settings), Decision::allow().label("tier", "gold").label("a", "1"));
}

#[test]
fn a_value_that_cannot_be_a_label_is_made_one_or_denied() {
    let mut request = request().build();
    request.operation.approved_by = Some("Zoë <zoe@example.com>".into());
    let settings = labels(json!({"approver": "${operation.approvedBy}"}));
    assert_eq!(
        decide(request.clone(), settings.clone()),
        Decision::allow().label("approver", "Zo---zoe-example.com")
    );

    let mut strict = settings;
    strict["illegalValues"] = json!("deny");
    let Decision::Deny(denial) = decide(request.clone(), strict.clone()) else { panic!("not denied") };
    assert_eq!(denial.reason, "LabelValueIllegal");
    assert!(denial.message.contains("for example \"Zo---zoe-example.com\""), "{}", denial.message);

    request.operation.approved_by = Some("x".repeat(64));
    assert!(!decide(request, strict).is_allow());
}

#[test]
fn what_has_no_value_is_left_out_or_denied() {
    let mut settings = labels(json!({"team": "${operation.labels[team]}", "org": "${organisation}"}));
    assert_eq!(decide(request().build(), settings.clone()), Decision::allow().label("org", "acme"));
    settings["missingValues"] = json!("deny");
    let Decision::Deny(denial) = decide(request().build(), settings) else { panic!("not denied") };
    assert!(denial.message.contains("${operation.labels[team]}"), "{}", denial.message);
}

#[test]
fn a_long_annotation_is_cut_between_characters() {
    let mut request = request().operation_annotation("note", &"é".repeat(4000)).build();
    request.cluster_id = "c".into();
    let settings =
        json!({"rules": [{"annotations": {"note": "${clusterId}${operation.annotations[note]}"}}]});
    let expected = Decision::allow().annotation("note", format!("c{}", "é".repeat(2047)));
    assert_eq!(decide(request, settings), expected);
}

#[test]
fn settings_that_could_never_work_are_refused_with_the_place() {
    let (path, message) = &errors(labels(json!({"a": "${org}"})))[0];
    assert_eq!(path, "rules[0].labels.a");
    assert!(message.contains("no placeholder ${org}; there are organisation, clusterId"), "{message}");
    assert!(errors(labels(json!({"a": "${organisation"})))[0].1.contains("without"));
    assert!(errors(labels(json!({"a": "not ok"})))[0].1.contains("\"not-ok\" could"));
    for key in ["app.vworkspace.io/managed-by", "job-name", "batch.kubernetes.io/job-name"] {
        assert!(errors(labels(json!({key: "x"})))[0].1.contains("belongs to"), "{key}");
    }
    for key in ["", "/a", "a/", "a b", "-a", "UPPER.example/a", "a..b/c", "a/b/c", "-x.com/a", "x-.com/a"] {
        assert!(errors(labels(json!({key: "x"})))[0].1.contains("not a key"), "{key}");
    }
    for key in ["a", "A_b.c-9", "example.com/Name", "a-b.c0/x"] {
        assert_eq!(errors(labels(json!({key: "x"}))), [], "{key}");
    }
    assert_eq!(errors(json!({})), [(String::new(), "missing field `rules`".into())]);
    let many: serde_json::Map<_, _> = (0..65).map(|n| (format!("k{n}"), json!("v"))).collect();
    assert_eq!(errors(labels(Value::Object(many)))[0].1, "65 different labels; a run can be given 64");
}

#[test]
fn the_checked_in_schema_is_that_of_the_settings() {
    testing::assert_settings_schema::<OrgLabels>(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/settings.schema.json"
    ));
}

#[test]
fn the_keys_that_are_not_a_policys_are_those_of_the_contract() {
    let wit = include_str!("../../../wit/hook-policy.wit");
    let said: Vec<&str> = wit.lines().map(|line| line.trim().trim_start_matches("///").trim()).collect();
    let (domains, keys): (Vec<&str>, Vec<&str>) = OWNED_KEYS.iter().partition(|key| key.ends_with('/'));
    let domains: Vec<&str> = domains.iter().map(|domain| domain.trim_end_matches('/')).collect();
    let (last, domains) = domains.split_last().unwrap();
    let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    let sentence = format!("{}, and keys in the domains {} and {last}.", keys.join(", "), domains.join(", "));
    assert!(said.join(" ").contains(&sentence), "{sentence}");
}
