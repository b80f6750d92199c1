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
    for event in DESTRUCTIVE {
        let (reason, message) = denial(request().events([event]), json!({}));
        assert_eq!(reason, "DestructiveHook");
        assert!(message.contains(&format!("this run is for {event}")), "{message}");
    }
    assert_eq!(denial(request().events(DESTRUCTIVE), json!({})).0, "DestructiveHook");
}

const DESTRUCTIVE: [&str; 4] = ["pre-delete", "post-delete", "pre-rollback", "post-rollback"];

#[test]
fn a_migration_that_has_a_destructive_event_too_runs_unless_it_is_asked_for_that() {
    for event in DESTRUCTIVE {
        let migration = || request().events(["post-upgrade", event]);
        assert_eq!(decide(migration(), json!({})), Decision::allow(), "{event}");
        let asked =
            |event: Value| decide(migration().parameters(json!({"event": event, "more": 1})), json!({}));
        assert_eq!(asked(json!("post-upgrade")), Decision::allow(), "{event}");
        assert_eq!(asked(Value::Null), Decision::allow(), "{event}");
        // As the host reads it: whatever its case.
        for event in [event.to_owned(), event.to_uppercase()] {
            assert!(matches!(asked(json!(event)), Decision::Deny(_)), "{event}");
        }
        // What cannot be read may ask for anything.
        assert!(matches!(asked(json!([event])), Decision::Deny(_)), "{event}");
        let (reason, message) = denial(migration(), json!({"anyDestructiveEvent": true}));
        assert_eq!(reason, "DestructiveHook");
        assert!(message.contains(&format!("this run is for {event}")), "{message}");
        let allowed = json!({"anyDestructiveEvent": true, "allow": [{"destructive": true}]});
        assert_eq!(decide(migration(), allowed), Decision::allow());
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
        "hook \"shop-migrate\" (pre-upgrade) of chart \"shop\" for organisation \"acme\" fits nothing that the policy allows; it allows: \
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
        // All but the verbs that are looked for elsewhere.
        ("Role", vec![rbac_rule([""], ["*"], ["get", "create", "update", "patch", "delete"])]),
        ("Role", vec![rbac_rule(["rbac.authorization.k8s.io"], ["roles"], ["escalate"])]),
    ] {
        let (reason, message) = denial(request().needs(kind, "wide", rules.clone()), json!({}));
        assert_eq!(reason, "ObjectNotAllowed", "{kind} {rules:?}");
        assert!(message.contains(&format!("needs {kind} \"wide\"")), "{message}");
    }
    for rules in [
        // As the hooks of many public charts have them, to make and keep a certificate.
        rbac_rule([""], ["secrets"], ["get", "create", "update", "patch"]),
        rbac_rule([""], ["configmaps"], ["get", "list", "watch", "create", "update", "patch", "delete"]),
        rbac_rule([""], ["pods"], ["get", "list", "watch", "delete"]),
        rbac_rule(["apps"], ["deployments"], ["get", "list", "watch"]),
        rbac_rule(["apps"], ["deployments/scale"], ["get", "patch"]),
        rbac_rule(["cert-manager.io"], ["certificaterequests"], ["create"]),
        // The figures of pods, not pods.
        rbac_rule(["metrics.k8s.io"], ["pods"], ["get", "list", "create"]),
    ] {
        let request = request().needs("Role", "narrow", vec![rules.clone()]);
        assert!(decide(request, json!({})).is_allow(), "{rules:?}");
    }
    let harmless = request().needs("ServiceAccount", "shop", vec![]).needs("ConfigMap", "shop", vec![]);
    assert!(decide(harmless, json!({})).is_allow());
}

#[test]
fn every_equivalent_of_full_rights_is_refused_by_default_with_its_reason_until_it_is_permitted() {
    for (name, group, resource, verb) in [
        ("everything", "apps", "*", "get"),
        ("everything", "*", "*", "delete"),
        ("read-secrets", "", "secrets", "list"),
        ("read-secrets", "*", "secrets", "*"),
        ("enter-pods", "", "pods/exec", "create"),
        // By WebSocket, Kubernetes up to 1.34 takes it for reading.
        ("enter-pods", "", "pods/exec", "get"),
        ("enter-pods", "", "*/exec", "create"),
        ("enter-pods", "", "pods/attach", "create"),
        ("enter-pods", "", "pods/portforward", "create"),
        ("enter-pods", "", "pods/ephemeralcontainers", "patch"),
        ("enter-pods", "", "services/proxy", "get"),
        ("make-pods", "", "pods", "create"),
        ("make-pods", "", "pods", "*"),
        ("make-pods", "batch", "jobs", "create"),
        ("make-pods", "batch", "cronjobs", "patch"),
        ("make-pods", "apps", "deployments", "update"),
        ("make-pods", "*", "daemonsets", "patch"),
        ("deploy", "helm.toolkit.fluxcd.io", "helmreleases", "create"),
        ("deploy", "kustomize.toolkit.fluxcd.io", "kustomizations", "patch"),
        ("deploy", "argoproj.io", "applications", "create"),
        ("tokens", "", "serviceaccounts/token", "create"),
        ("tokens", "", "*/token", "create"),
        ("every-verb", "", "configmaps", "*"),
        ("impersonate", "", "serviceaccounts", "impersonate"),
        ("impersonate", "", "users", "impersonate"),
        ("escalate", "rbac.authorization.k8s.io", "roles", "bind"),
        ("escalate", "rbac.authorization.k8s.io", "roles", "escalate"),
        ("write-rbac", "rbac.authorization.k8s.io", "rolebindings", "create"),
        ("certificates", "certificates.k8s.io", "certificatesigningrequests/approval", "update"),
        ("certificates", "certificates.k8s.io", "signers", "sign"),
        ("nodes", "", "nodes/proxy", "get"),
        ("volumes", "", "persistentvolumes", "create"),
        ("namespaces", "", "namespaces", "patch"),
        ("admission", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "create"),
        ("admission", "admissionregistration.k8s.io", "validatingwebhookconfigurations", "update"),
        ("admission", "policy.vworkspace.io", "hookpolicies", "delete"),
        ("extend-api", "apiregistration.k8s.io", "apiservices", "create"),
        ("extend-api", "apiextensions.k8s.io", "customresourcedefinitions", "patch"),
    ] {
        let needs = |kind: &str| request().needs(kind, "r", vec![rbac_rule([group], [resource], [verb])]);
        let (_, message) = denial(needs("Role"), json!({}));
        assert!(message.contains(&format!("which grants {verb} on {resource}: ")), "{message}");
        assert!(message.contains("permit: ["), "{message}");
        // Where cluster roles are permitted, what they may grant is not.
        let (_, message) = denial(needs("ClusterRole"), json!({"permit": ["cluster-wide"]}));
        assert!(message.contains(&format!("which grants {verb} on {resource}: ")), "{message}");
        // Unless another row forbids it too.
        if !["*", "*/exec", "*/token"].contains(&resource) && (verb != "*" || name == "every-verb") {
            assert!(message.contains(&format!("(settings may say permit: [{name}])")), "{name}: {message}");
            assert!(decide(needs("Role"), json!({"permit": [name]})).is_allow(), "{name}");
        }
    }
    let mut paths = rbac_rule([], [], ["get"]);
    paths.non_resource_urls.push("*".into());
    let needs = |rule| request().needs("ClusterRole", "r", vec![rule]);
    let (_, message) = denial(needs(paths.clone()), json!({"permit": ["cluster-wide"]}));
    assert!(message.contains("which grants get on *: "), "{message}");
    assert!(decide(needs(paths.clone()), json!({"permit": ["cluster-wide", "every-path"]})).is_allow());
    paths.non_resource_urls = vec!["/healthz".into()];
    assert!(decide(needs(paths), json!({"permit": ["cluster-wide"]})).is_allow());
}

#[test]
fn the_readme_has_the_table() {
    let readme = include_str!("../README.md");
    let (_, table) = readme.split_once("| `permit` | what | why |\n|---|---|---|\n").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let expected: Vec<String> = super::table::TABLE.iter().map(ToString::to_string).collect();
    assert_eq!(table.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_permitted_row_has_the_name_that_the_table_shows() {
    for row in &super::table::TABLE {
        let name = row.name.to_string();
        assert!(testing::validate::<HookAllowlist>(json!({"permit": [name]})).is_ok(), "{name}");
    }
    assert!(testing::validate::<HookAllowlist>(json!({"permit": ["all"]})).is_err());
    let errors = testing::validate::<HookAllowlist>(json!({"permit": ["tokens"], "forbid": []})).unwrap_err();
    assert_eq!(errors[0].path, "permit");
}

#[test]
fn an_account_without_a_namespace_is_of_the_bindings() {
    let unnamed = || subject("ServiceAccount", "shop", "");
    let role = ("Role", "r");
    let request = || request().needs("Role", "r", vec![]);
    assert!(decide(request().binds("RoleBinding", "b", role, [unnamed()]), json!({})).is_allow());
    let settings = json!({"forbid": [{"binds": {"toOthers": true}}]});
    let cluster_wide = request().binds("ClusterRoleBinding", "b", ("ClusterRole", "r"), [unnamed()]);
    assert!(!decide(cluster_wide, settings.clone()).is_allow());
    let mut request = request().binds("RoleBinding", "b", role, [unnamed()]).build();
    request.hook.closure[1].namespace = "elsewhere".into();
    assert!(!testing::evaluate::<HookAllowlist>(&request, settings).is_allow());
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
            message.contains(&format!("needs RoleBinding \"b\", which grants ClusterRole {role:?}: ")),
            "{message}"
        );
        // A role of the chart's own with that name and no rules hides nothing: the cluster's is the one that counts.
        assert_eq!(denial(bound.needs("ClusterRole", role, vec![]), json!({})).0, "ObjectNotAllowed");
    }
    let existing = json!({"existingRoles": ["ClusterRole/*", "Role/edit"]});
    for role in [("ClusterRole", "view"), ("ClusterRole", "shop-migrate"), ("Role", "edit")] {
        let bound = request().binds("RoleBinding", "b", role, [own()]);
        assert!(decide(bound, existing.clone()).is_allow(), "{role:?}");
    }
    let bound = request().binds("RoleBinding", "b", ("ClusterRole", "admin"), [own()]);
    assert_eq!(denial(bound, existing).0, "ObjectNotAllowed", "naming it is not to permit powerful-roles");
}

#[test]
fn by_default_a_role_that_nobody_sees_is_not_bound_unless_settings_name_it() {
    let bound = |role| request().binds("RoleBinding", "b", role, [own()]);
    for role in [("ClusterRole", "acme-operator"), ("ClusterRole", "view"), ("Role", "shop-everything")] {
        let (kind, name) = role;
        let (reason, message) = denial(bound(role), json!({}));
        assert_eq!(reason, "ObjectNotAllowed");
        let found = format!(
            "needs RoleBinding \"b\", which grants {kind} {name:?}: what that role grants is not shown"
        );
        assert!(message.contains(&found), "{message}");
        assert!(message.contains("existingRoles, or say permit: [existing-roles]"), "{message}");
        assert!(decide(bound(role), json!({"existingRoles": [format!("{kind}/{name}")]})).is_allow());
        assert!(decide(bound(role), json!({"permit": ["existing-roles"]})).is_allow());
        let other = json!({"existingRoles": [format!("{kind}/other"), name]});
        assert!(!decide(bound(role), other).is_allow());
    }
    // What the hook needs is shown, and judged by what it grants.
    let role = ("Role", "shop-migrate");
    assert!(decide(bound(role).needs("Role", "shop-migrate", vec![]), json!({})).is_allow());
    let powerful = vec![rbac_rule(["*"], ["*"], ["*"])];
    assert!(!decide(bound(role).needs("Role", "shop-migrate", powerful), json!({})).is_allow());
    // One of another kind, name or namespace is not the one that is bound.
    for (kind, name) in [("ClusterRole", "shop-migrate"), ("Role", "shop")] {
        let needs = bound(role).needs(kind, name, vec![]);
        assert!(!decide(needs, json!({"permit": ["cluster-wide"]})).is_allow(), "{kind} {name}");
    }
    let mut elsewhere = bound(role).needs("Role", "shop-migrate", vec![]).build();
    elsewhere.hook.closure[1].namespace = "other".into();
    let decision = testing::evaluate::<HookAllowlist>(&elsewhere, json!({"permit": ["elsewhere"]}));
    assert!(!decision.is_allow());
    let errors = testing::validate::<HookAllowlist>(json!({"existingRoles": ["Role/r"], "forbid": []}));
    assert_eq!(errors.unwrap_err()[0].path, "existingRoles");
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
        let found =
            format!("needs RoleBinding \"b\", which grants ClusterRole \"view\" to {kind} {name:?}: ");
        let allowed = "; allowed are bindings of service accounts of the release's namespace alone";
        assert!(message.contains(&found) && message.ends_with(allowed), "{message}");
    }
    let accounts = [
        own(),
        subject("ServiceAccount", "worker", "acme-shop"),
        subject("User", "system:serviceaccount:acme-shop:default", ""),
    ];
    let bound = request().binds("RoleBinding", "b", role, accounts);
    assert!(decide(bound, json!({"existingRoles": ["ClusterRole/view"]})).is_allow());
}

#[test]
fn by_default_nothing_is_needed_in_another_namespace_than_the_release() {
    let request = request().binds("RoleBinding", "b", ("Role", "r"), [own()]).needs("Role", "r", vec![]);
    let mut request = request.build();
    assert!(testing::evaluate::<HookAllowlist>(&request, json!({})).is_allow());
    request.hook.closure[0].namespace = "kube-system".into();
    let Decision::Deny(Denial { message, .. }) = testing::evaluate::<HookAllowlist>(&request, json!({}))
    else {
        panic!("not denied");
    };
    let found = "needs RoleBinding \"b\" in the namespace \"kube-system\", which is not allowed: ";
    let allowed = "; allowed are objects in the release's namespace";
    assert!(message.contains(found) && message.ends_with(allowed), "{message}");
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
