use hook_policy::testing::{self, RequestBuilder, rbac_rule, request, subject};
use hook_policy::{Decision, Denial, Subject};
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

/// The hook's own service account, in the release's namespace.
fn own() -> Subject {
    subject("ServiceAccount", "default", "acme-shop")
}

#[test]
fn by_default_powerful_roles_of_the_cluster_are_refused_however_they_are_bound() {
    for role in ["cluster-admin", "admin", "edit", "system:node", "system:controller:job-controller"] {
        let bound = request().binds("RoleBinding", "b", ("ClusterRole", role), [own()]);
        let (reason, message) = denial(bound.clone(), json!({}));
        assert_eq!(reason, "ObjectNotAllowed");
        assert!(
            message.contains(&format!("needs RoleBinding \"b\", which grants ClusterRole {role:?};")),
            "{message}"
        );
        // A role of the chart's own with that name and no rules hides nothing: the cluster's is the one that counts.
        assert_eq!(denial(bound.needs("ClusterRole", role, vec![]), json!({})).0, "ObjectNotAllowed");
    }
    for role in [("ClusterRole", "view"), ("ClusterRole", "shop-migrate"), ("Role", "edit")] {
        let bound = request().binds("RoleBinding", "b", role, [own()]);
        assert!(decide(bound, json!({})).is_allow(), "{role:?}");
    }
}

#[test]
fn by_default_a_binding_may_not_grant_somebody_else_something() {
    let role = ("ClusterRole", "view");
    for other in [
        subject("User", "mallory", ""),
        subject("Group", "system:authenticated", ""),
        subject("Group", "system:serviceaccounts:acme-shop", ""),
        subject("ServiceAccount", "default", "kube-system"),
        subject("User", "system:serviceaccount:kube-system:default", ""),
        Subject::default(),
    ] {
        let (kind, name) = (other.kind.clone(), other.name.clone());
        let (_, message) = denial(request().binds("RoleBinding", "b", role, [own(), other]), json!({}));
        assert!(
            message.ends_with(&format!(
                "needs RoleBinding \"b\", which grants ClusterRole \"view\" to {kind} {name:?}; allowed are bindings of \
                 service accounts of the release's namespace alone"
            )),
            "{message}"
        );
    }
    let accounts = [
        own(),
        subject("ServiceAccount", "worker", "acme-shop"),
        subject("User", "system:serviceaccount:acme-shop:default", ""),
    ];
    assert!(decide(request().binds("RoleBinding", "b", role, accounts), json!({})).is_allow());
}

#[test]
fn by_default_nothing_is_needed_in_another_namespace_than_the_release() {
    let mut request = request().binds("RoleBinding", "b", ("Role", "r"), [own()]).build();
    assert!(testing::evaluate::<HookAllowlist>(&request, json!({})).is_allow());
    request.hook.closure[0].namespace = "kube-system".into();
    let Decision::Deny(Denial { message, .. }) = testing::evaluate::<HookAllowlist>(&request, json!({}))
    else {
        panic!("not denied");
    };
    assert!(
        message.ends_with(
            "needs RoleBinding \"b\" in the namespace \"kube-system\", which is not allowed; allowed are objects in the \
             release's namespace"
        ),
        "{message}"
    );
}

#[test]
fn bindings_are_refused_by_the_role_and_by_whom_it_is_granted_to() {
    let binding = |role, subject| request().binds("RoleBinding", "b", role, [own(), subject]);
    let (view, edit) = (("ClusterRole", "view"), ("ClusterRole", "edit"));
    let mallory = || subject("User", "mallory", "");

    let by_name = json!({"forbid": [{"binds": {"kinds": ["ClusterRole"], "names": ["vi*", "list"]}}]});
    assert!(decide(binding(edit, mallory()), by_name.clone()).is_allow());
    assert!(decide(binding(("Role", "view"), own()), by_name.clone()).is_allow());
    let (_, message) = denial(binding(view, own()), by_name);
    assert!(
        message.ends_with(
            "which grants ClusterRole \"view\"; allowed are bindings to other roles than ClusterRole vi*, list"
        ),
        "{message}"
    );

    let edit_for_others = json!({"forbid": [{"binds": {"names": ["edit"], "toOthers": true}}]});
    assert!(decide(binding(edit, own()), edit_for_others.clone()).is_allow());
    assert!(decide(binding(view, mallory()), edit_for_others.clone()).is_allow());
    let (_, message) = denial(binding(edit, mallory()), edit_for_others);
    assert!(
        message.ends_with(
            "which grants ClusterRole \"edit\" to User \"mallory\"; allowed are bindings to other roles than edit, or \
             bindings of service accounts of the release's namespace alone"
        ),
        "{message}"
    );

    let any = json!({"forbid": [{"binds": {}}]});
    assert!(decide(request().needs("Role", "r", vec![]), any.clone()).is_allow());
    assert!(denial(binding(view, own()), any).1.ends_with("allowed are only hooks that need no binding"));
}

#[test]
fn an_object_that_is_role_and_binding_is_a_settings_error() {
    let settings = json!({"forbid": [{"grants": {}}, {"grants": {}, "binds": {}}]});
    let errors = testing::validate::<HookAllowlist>(settings).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].path, "forbid[1]");
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
