use hook_policy::testing::{self, RequestBuilder, rbac_rule, request};
use hook_policy::{Decision, Denial};
use serde_json::{Value, json};

use super::HookAllowlist;

fn decide(request: RequestBuilder, settings: Value) -> Decision {
    testing::evaluate::<HookAllowlist>(&request.build(), settings)
}

fn denial(request: RequestBuilder, settings: Value) -> (String, String) {
    match decide(request, settings) {
        Decision::Deny(Denial { reason, message }) => (reason, message),
        other => panic!("not denied: {other:?}"),
    }
}

#[test]
fn without_settings_every_hook_runs_but_not_those_of_destructive_events() {
    assert_eq!(decide(request(), json!({})), Decision::allow());
    for event in ["pre-delete", "post-delete", "pre-rollback", "post-rollback"] {
        let (reason, message) = denial(request().events(["post-upgrade", event]), json!({}));
        assert_eq!(reason, "DestructiveHook");
        assert!(message.contains(&format!("written for {event}")), "{message}");
    }
}

#[test]
fn only_hooks_on_the_list_run_and_the_message_says_which() {
    let settings = json!({"allow": [
        {"match": {"organisations": ["acme"], "hooks": ["*-backup"]}},
        {"match": {"charts": ["nextcloud"], "events": ["test"]}},
    ]});
    assert_eq!(decide(request().hook("db-backup"), settings.clone()), Decision::allow());
    assert_eq!(decide(request().chart("nextcloud").events(["test"]), settings.clone()), Decision::allow());
    let (reason, message) = denial(request(), settings);
    assert_eq!(reason, "HookNotAllowed");
    assert_eq!(
        message,
        "hook \"shop-migrate\" (pre-upgrade) of chart \"shop\" for organisation \"acme\" is not allowed; allowed: \
         hooks *-backup for organisations acme; any hook on test of charts nextcloud"
    );
}

#[test]
fn a_destructive_hook_runs_only_where_an_entry_that_fits_it_says_so() {
    let settings = json!({"allow": [
        {},
        {"match": {"hooks": ["shop-dump"]}, "destructive": true},
    ]});
    assert!(decide(request().hook("shop-dump").events(["pre-delete"]), settings.clone()).is_allow());
    assert_eq!(denial(request().events(["pre-delete"]), settings).0, "DestructiveHook");
}

#[test]
fn by_default_cluster_wide_and_all_powerful_objects_are_refused() {
    for (kind, rules) in [
        ("ClusterRole", vec![]),
        ("ClusterRoleBinding", vec![]),
        ("Role", vec![rbac_rule(["*"], ["*"], ["*"])]),
        (
            "Role",
            vec![
                rbac_rule(["apps"], ["deployments"], ["get"]),
                rbac_rule([""], ["secrets"], ["get", "list"]),
            ],
        ),
        ("Role", vec![rbac_rule([""], ["*"], ["watch"])]),
        ("Role", vec![rbac_rule(["rbac.authorization.k8s.io"], ["roles"], ["escalate"])]),
    ] {
        let (reason, message) = denial(request().needs(kind, "wide", rules.clone()), json!({}));
        assert_eq!(reason, "ObjectNotAllowed", "{kind} {rules:?}");
        assert!(message.contains(&format!("needs {kind} \"wide\"")), "{message}");
    }
    for rules in
        [rbac_rule([""], ["secrets"], ["get"]), rbac_rule(["apps"], ["deployments"], ["list", "patch"])]
    {
        assert!(decide(request().needs("Role", "narrow", vec![rules]), json!({})).is_allow());
    }
    let harmless = request().needs("ServiceAccount", "shop", vec![]).needs("ConfigMap", "shop", vec![]);
    assert!(decide(harmless, json!({})).is_allow());
}

#[test]
fn a_rule_is_refused_for_what_it_grants_by_any_spelling() {
    let settings = json!({"forbid": [{"grants": {"resources": ["pods/exec"], "verbs": ["create"]}}]});
    for (resource, verb, allowed) in [
        ("pods/exec", "create", false),
        ("*", "create", false),
        ("*/exec", "*", false),
        ("pods", "create", true),
        ("pods/exec", "get", true),
        ("*/scale", "create", true),
    ] {
        let request = request().needs("Role", "r", vec![rbac_rule([""], [resource], [verb])]);
        assert_eq!(decide(request, settings.clone()).is_allow(), allowed, "{verb} on {resource}");
    }
}

#[test]
fn a_star_in_settings_is_only_rbacs_own_wildcard() {
    let settings = json!({"forbid": [{"grants": {"resources": ["secrets"], "verbs": ["*"]}}]});
    let secrets = |verb| request().needs("Role", "r", vec![rbac_rule([""], ["secrets"], [verb])]);
    assert!(decide(secrets("get"), settings.clone()).is_allow());
    assert!(!decide(secrets("*"), settings).is_allow());
}

#[test]
fn rules_limited_to_names_can_be_left_alone() {
    let mut rule = rbac_rule([""], ["secrets"], ["get"]);
    rule.resource_names.push("shop-db".into());
    let secrets = |except| json!({"forbid": [{"grants": {"resources": ["secrets"], "exceptNamed": except}}]});
    assert!(!decide(request().needs("Role", "r", vec![rule.clone()]), secrets(false)).is_allow());
    assert!(decide(request().needs("Role", "r", vec![rule]), secrets(true)).is_allow());
}

#[test]
fn objects_are_refused_by_kind_and_name_and_an_empty_list_refuses_none() {
    let settings = json!({"forbid": [{"kinds": ["Secret"], "names": ["root-*"]}]});
    assert!(decide(request().needs("Secret", "shop", vec![]), settings.clone()).is_allow());
    let (_, message) = denial(request().needs("Secret", "root-ca", vec![]), settings);
    assert!(
        message.ends_with("allowed are objects of other kinds than Secret, or of other names than root-*")
    );
    assert!(decide(request().needs("ClusterRole", "x", vec![]), json!({"forbid": []})).is_allow());
}

#[test]
fn an_empty_allow_list_is_a_settings_error() {
    let errors = testing::validate::<HookAllowlist>(json!({"allow": []})).unwrap_err();
    assert_eq!(errors[0].path, "allow");
}

#[test]
fn the_checked_in_schema_is_that_of_the_settings() {
    testing::assert_settings_schema::<HookAllowlist>(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/settings.schema.json"
    ));
}
