use serde_json::json;

use super::*;
use crate::testing;

fn hook(manifest: Value, weight: i32) -> Hook {
    Hook { weight, ..testing::hook(manifest, "shop") }
}

fn named(api_version: &str, kind: &str, name: &str) -> Hook {
    hook(json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}}), 0)
}

fn rbac(kind: &str, metadata: Value, rest: Value) -> Hook {
    let mut manifest =
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata});
    for (key, value) in rest.as_object().unwrap() {
        manifest[key] = value.clone();
    }
    hook(manifest, 0)
}

fn reached(pod_spec: Value, hooks: &[Hook]) -> Vec<String> {
    let job = json!({"kind": "Job", "spec": {"template": {"spec": pod_spec}}});
    let objects = closure_of(Workload::of(&job), hooks).unwrap();
    objects.into_iter().map(|object| format!("{}/{}", object.kind, object.name)).collect()
}

#[test]
fn everything_that_the_pod_names_is_found() {
    let hooks: Vec<Hook> = ["env", "env-from", "volume", "projected", "pull", "account-pull", "unused"]
        .iter()
        .map(|name| named("v1", "Secret", name))
        .chain(
            ["env", "env-from", "volume", "projected", "unused"]
                .iter()
                .map(|name| named("v1", "ConfigMap", name)),
        )
        .chain([named("v1", "PersistentVolumeClaim", "claim"), named("v1", "Service", "volume")])
        .chain([hook(
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "migrate"},
                "imagePullSecrets": [{"name": "account-pull"}]}),
            -5,
        )])
        .collect();
    let pod = json!({
        "serviceAccountName": "migrate",
        "imagePullSecrets": [{"name": "pull"}],
        "initContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "env"}}},
            {"valueFrom": {"configMapKeyRef": {"name": "env"}}}]}],
        "containers": [{"envFrom": [{"secretRef": {"name": "env-from"}}, {"configMapRef": {"name": "env-from"}}],
            "volumeMounts": [{"name": "s"}, {"name": "c"}, {"name": "p"}]}],
        "volumes": [{"name": "s", "secret": {"secretName": "volume"}}, {"name": "c", "configMap": {"name": "volume"}},
            {"persistentVolumeClaim": {"claimName": "claim"}}, {"name": "n", "configMap": {"name": "unused"}},
            {"name": "p", "projected": {"sources": [{"secret": {"name": "projected"}}, {"configMap": {"name": "projected"}}]}}],
    });
    let expected = [
        "ServiceAccount/migrate",
        "Secret/account-pull",
        "PersistentVolumeClaim/claim",
        "Secret/env",
        "ConfigMap/env",
        "Secret/env-from",
        "ConfigMap/env-from",
        "Secret/projected",
        "ConfigMap/projected",
        "Secret/pull",
        "Secret/volume",
        "ConfigMap/volume",
    ];
    assert_eq!(reached(pod, &hooks), expected);
}

#[test]
fn a_service_account_brings_its_bindings_and_their_roles() {
    let subject = json!([{"kind": "ServiceAccount", "name": "migrate", "namespace": "shop"}]);
    let rules = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]);
    let role_ref = |kind: &str, name: &str| json!({"kind": kind, "name": name});
    let hooks = [
        rbac(
            "RoleBinding",
            json!({"name": "b1"}),
            json!({"subjects": subject, "roleRef": role_ref("Role", "r1")}),
        ),
        rbac("Role", json!({"name": "r1"}), json!({"rules": rules})),
        rbac(
            "ClusterRoleBinding",
            json!({"name": "b2"}),
            json!({"subjects": subject, "roleRef": role_ref("ClusterRole", "r2")}),
        ),
        rbac("ClusterRole", json!({"name": "r2"}), json!({"rules": rules})),
        rbac("Role", json!({"name": "r2"}), json!({"rules": rules})),
        // A binding in another namespace takes its Role from there.
        rbac(
            "RoleBinding",
            json!({"name": "b3", "namespace": "other"}),
            json!({"subjects": subject, "roleRef": role_ref("Role", "r1")}),
        ),
        rbac("Role", json!({"name": "r1", "namespace": "other"}), json!({"rules": []})),
        // Of another account, of the same name elsewhere, of another API.
        rbac(
            "RoleBinding",
            json!({"name": "no1"}),
            json!({"subjects": [{"kind": "ServiceAccount", "name": "x"}], "roleRef": role_ref("Role", "r1")}),
        ),
        rbac(
            "RoleBinding",
            json!({"name": "no2"}),
            json!({"subjects":
            [{"kind": "ServiceAccount", "name": "migrate", "namespace": "other"}], "roleRef": role_ref("Role", "r1")}),
        ),
        named("iam.example.com/v1", "Role", "r1"),
    ];
    let job = json!({"kind": "Pod", "spec": {"serviceAccountName": "migrate"}});
    let objects = closure_of(Workload::of(&job), &hooks).unwrap();
    let names: Vec<(&str, &str, &str, usize)> = objects
        .iter()
        .map(|object| (&*object.kind, &*object.namespace, &*object.name, object.rules.len()))
        .collect();
    let expected = [
        ("RoleBinding", "shop", "b1", 0),
        ("ClusterRoleBinding", "", "b2", 0),
        ("RoleBinding", "other", "b3", 0),
        ("Role", "shop", "r1", 1),
        ("Role", "other", "r1", 0),
        ("ClusterRole", "", "r2", 1),
    ];
    assert_eq!(names, expected);
    assert_eq!(objects[3].rules[0].resources, ["secrets"]);
}

#[test]
fn roles_given_to_a_group_or_as_a_user_count_too() {
    let binding = |name: &str, subject: Value| {
        rbac(
            "ClusterRoleBinding",
            json!({"name": name}),
            json!({"subjects": [subject], "roleRef": {"kind": "ClusterRole", "name": "r"}}),
        )
    };
    let hooks = [
        binding("all", json!({"kind": "Group", "name": "system:serviceaccounts"})),
        binding("here", json!({"kind": "Group", "name": "system:serviceaccounts:shop"})),
        binding("there", json!({"kind": "Group", "name": "system:serviceaccounts:other"})),
        binding("user", json!({"kind": "User", "name": "system:serviceaccount:shop:default"})),
    ];
    let expected = ["ClusterRoleBinding/all", "ClusterRoleBinding/here", "ClusterRoleBinding/user"];
    assert_eq!(reached(json!({}), &hooks), expected);
}

#[test]
fn a_service_account_without_a_namespace_is_the_bindings() {
    let binding = |kind: &str, metadata: Value, subject: Value| {
        rbac(kind, metadata, json!({"subjects": [subject], "roleRef": {"kind": "ClusterRole", "name": "r"}}))
    };
    let account =
        |namespace: Value| json!({"kind": "ServiceAccount", "name": "default", "namespace": namespace});
    let hooks = [
        binding(
            "RoleBinding",
            json!({"name": "absent"}),
            json!({"kind": "ServiceAccount", "name": "default"}),
        ),
        binding("RoleBinding", json!({"name": "empty"}), account(json!(""))),
        binding("RoleBinding", json!({"name": "null", "namespace": "shop"}), account(Value::Null)),
        // Somebody else's, though it has the same name.
        binding("RoleBinding", json!({"name": "there", "namespace": "other"}), account(json!(""))),
        // Kubernetes refuses it: there is no namespace that could be meant.
        binding("ClusterRoleBinding", json!({"name": "nowhere"}), account(json!(""))),
    ];
    let shown = of_default(&hooks).unwrap();
    let names: Vec<&str> = shown.iter().map(|object| object.name.as_str()).collect();
    assert_eq!(names, ["absent", "empty", "null"]);
    assert!(shown.iter().all(|object| object.subjects[0].namespace == "shop"), "{shown:?}");
}

#[test]
fn what_the_roles_of_every_cluster_collect_by_a_label_is_found() {
    let role = |name: &str, label: &str, value: &str| {
        rbac("ClusterRole", json!({"name": name, "labels": {label: value}}), json!({"rules": []}))
    };
    let of = |bound: &str| {
        let binding = rbac(
            "RoleBinding",
            json!({"name": "b"}),
            json!({
                "subjects": [{"kind": "ServiceAccount", "name": "default"}],
                "roleRef": {"kind": "ClusterRole", "name": bound}
            }),
        );
        let hooks = [
            binding,
            role("to-view", "rbac.authorization.k8s.io/aggregate-to-view", "true"),
            role("to-edit", "rbac.authorization.k8s.io/aggregate-to-edit", "true"),
            role("to-admin", "rbac.authorization.k8s.io/aggregate-to-admin", "true"),
            role("not", "rbac.authorization.k8s.io/aggregate-to-view", "false"),
        ];
        let shown = reached(json!({}), &hooks);
        shown.into_iter().filter(|name| name.starts_with("ClusterRole/")).collect::<Vec<_>>()
    };
    assert_eq!(of("view"), ["ClusterRole/to-view"]);
    assert_eq!(of("edit"), ["ClusterRole/to-edit", "ClusterRole/to-view"]);
    assert_eq!(of("admin"), ["ClusterRole/to-admin", "ClusterRole/to-edit", "ClusterRole/to-view"]);
    assert!(of("another").is_empty());
}

#[test]
fn a_role_that_collects_others_is_taken_to_grant_everything() {
    let granted = |aggregation: Value| {
        let hooks = [
            rbac(
                "RoleBinding",
                json!({"name": "b"}),
                json!({
                    "subjects": [{"kind": "ServiceAccount", "name": "default"}],
                    "roleRef": {"kind": "ClusterRole", "name": "r"}
                }),
            ),
            rbac("ClusterRole", json!({"name": "r"}), json!({"rules": [], "aggregationRule": aggregation})),
        ];
        let shown = of_default(&hooks).unwrap();
        shown[1].rules.clone()
    };
    let collected = granted(json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}));
    assert_eq!(collected.len(), 1);
    assert_eq!(
        (&collected[0].api_groups[..], &collected[0].resources[..], &collected[0].verbs[..]),
        (&["*".to_owned()][..], &["*".to_owned()][..], &["*".to_owned()][..])
    );
    for nothing in [Value::Null, json!({}), json!({"clusterRoleSelectors": []})] {
        assert!(granted(nothing.clone()).is_empty(), "{nothing}");
    }
}

#[test]
fn cluster_roles_that_collect_each_other_end() {
    let role = |name: &str, collects: &str| {
        rbac(
            "ClusterRole",
            json!({"name": name, "labels": {"part": name}}),
            json!({"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"part": collects}}]}}),
        )
    };
    let hooks = [
        rbac(
            "ClusterRoleBinding",
            json!({"name": "b"}),
            json!({
                "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "shop"}],
                "roleRef": {"kind": "ClusterRole", "name": "one"}
            }),
        ),
        role("one", "two"),
        role("two", "one"),
        role("three", "three"),
    ];
    assert_eq!(reached(json!({}), &hooks), ["ClusterRoleBinding/b", "ClusterRole/one", "ClusterRole/two"]);
}

#[test]
fn objects_of_another_namespace_are_not_the_pods() {
    let there = hook(
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "other"}}),
        0,
    );
    let pod = json!({"imagePullSecrets": [{"name": "s"}]});
    assert!(reached(pod.clone(), &[there]).is_empty());
    assert_eq!(reached(pod, &[named("v1", "Secret", "s")]), ["Secret/s"]);
}

#[test]
fn of_a_job_that_names_a_namespace_they_are_what_is_there_and_what_binds_the_account_of_there() {
    let account = |namespace: Value| {
        hook(
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "migrate", "namespace": namespace}}),
            0,
        )
    };
    let binds = |name: &str, metadata: Value, of: &str| {
        let mut metadata = metadata;
        metadata["name"] = json!(name);
        let subject = json!([{"kind": "ServiceAccount", "name": "migrate", "namespace": of}]);
        let role = json!({"kind": "Role", "name": "r"});
        rbac("RoleBinding", metadata, json!({"subjects": subject, "roleRef": role}))
    };
    let hooks = [
        account(json!("far")),
        account(Value::Null),
        binds("near", json!({}), "shop"),
        binds("to-far", json!({}), "far"),
        binds("far", json!({"namespace": "far"}), "far"),
    ];
    let pod = json!({"serviceAccountName": "migrate"});
    let job = |namespace: Value| json!({"kind": "Job", "metadata": {"namespace": namespace}, "spec": {"template": {"spec": pod}}});
    let found = |namespace: Value| -> Vec<(String, String)> {
        let found = closure(Workload::of(&job(namespace)), "shop", &hooks).unwrap();
        found.iter().map(|member| (member.namespace.to_owned(), member.hook.name.clone())).collect()
    };
    let expected = |all: &[(&str, &str)]| -> Vec<(String, String)> {
        all.iter().map(|(namespace, name)| ((*namespace).to_owned(), (*name).to_owned())).collect()
    };
    let far = expected(&[("far", "far"), ("far", "migrate"), ("shop", "to-far")]);
    assert_eq!(found(json!("far")), far);
    let near = expected(&[("shop", "migrate"), ("shop", "near")]);
    assert_eq!((found(Value::Null), found(json!("shop"))), (near.clone(), near));
}

#[test]
fn thousands_of_cluster_roles_that_select_each_other_are_refused_at_once() {
    let selectors: Vec<Value> = (0..40)
        .map(|n| json!({"matchLabels": {"part": format!("p{n}")}}))
        .chain([json!({"matchLabels": {}})])
        .collect();
    let mut hooks: Vec<Hook> = (0..4000)
        .map(|n| {
            rbac(
                "ClusterRole",
                json!({"name": format!("r{n}"), "labels": {"part": "x"}}),
                json!({"aggregationRule": {"clusterRoleSelectors": selectors}}),
            )
        })
        .collect();
    hooks.push(rbac(
        "ClusterRoleBinding",
        json!({"name": "b"}),
        json!({
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "shop"}],
            "roleRef": {"kind": "ClusterRole", "name": "r0"}
        }),
    ));
    let pod = json!({"kind": "Pod", "spec": {}});
    let error = closure_of(Workload::of(&pod), &hooks).unwrap_err();
    // As soon as there are too many; not after all of them were followed.
    assert_eq!(error, ClosureError::Objects { found: MAX_OBJECTS + 1 });
}

#[test]
fn too_large_a_closure_is_refused() {
    let hooks: Vec<Hook> = (0..=MAX_OBJECTS).map(|n| named("v1", "Secret", &format!("s{n}"))).collect();
    let secrets: Vec<Value> = (0..=MAX_OBJECTS).map(|n| json!({"name": format!("s{n}")})).collect();
    let job = json!({"kind": "Pod", "spec": {"imagePullSecrets": secrets}});
    let error = closure_of(Workload::of(&job), &hooks).unwrap_err();
    assert_eq!(error, ClosureError::Objects { found: MAX_OBJECTS + 1 });
    assert_eq!(error.reason(), Reason::RequestTooLarge);
}

/// The closure of a pod with the service account `default` in the namespace `shop`.
fn of_default(hooks: &[Hook]) -> Result<Vec<ClosureObject>, ClosureError> {
    closure_of(Workload::of(&json!({"kind": "Pod", "spec": {}})), hooks)
}

/// What policies are told of a workload's closure in the namespace `shop`.
fn closure_of(workload: Workload<'_>, hooks: &[Hook]) -> Result<Vec<ClosureObject>, ClosureError> {
    describe(&closure(workload, "shop", hooks)?)
}

#[test]
fn a_binding_is_shown_with_its_role_and_everyone_whom_it_is_given_to() {
    let hooks = [
        rbac(
            "RoleBinding",
            json!({"name": "everything"}),
            json!({
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
                "subjects": [
                    {"kind": "ServiceAccount", "name": "default", "namespace": "shop"},
                    {"kind": "ServiceAccount", "name": "other", "namespace": "elsewhere"},
                    {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "mallory", "namespace": "ignored"},
                    7,
                ],
            }),
        ),
        // Without a role it gives nothing; it is shown all the same.
        rbac(
            "ClusterRoleBinding",
            json!({"name": "nothing", "namespace": "ignored"}),
            json!({"subjects": [{"kind": "Group", "name": "system:authenticated"}]}),
        ),
    ];
    let shown = serde_json::to_value(of_default(&hooks).unwrap()).unwrap();
    let expected = json!([
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "name": "everything", "namespace": "shop",
            "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [
                {"kind": "ServiceAccount", "name": "default", "namespace": "shop"},
                {"kind": "ServiceAccount", "name": "other", "namespace": "elsewhere"},
                {"kind": "User", "name": "mallory"},
                {"kind": "", "name": ""},
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "name": "nothing",
            "subjects": [{"kind": "Group", "name": "system:authenticated"}],
        },
    ]);
    assert_eq!(shown, expected);
}

#[test]
fn more_subjects_rules_or_text_than_policies_are_shown_are_refused() {
    let subject = json!({"kind": "ServiceAccount", "name": "default", "namespace": "shop"});
    let bound = |subjects: Vec<Value>, rules: Vec<Value>| {
        let role_ref = json!({"kind": "Role", "name": "r"});
        of_default(&[
            rbac("RoleBinding", json!({"name": "b"}), json!({"roleRef": role_ref, "subjects": subjects})),
            rbac("Role", json!({"name": "r"}), json!({"rules": rules})),
        ])
    };
    // Not even empty ones, which have no text.
    let others = |n: usize| [vec![subject.clone()], vec![json!({}); n - 1]].concat();
    assert_eq!(bound(others(MAX_ITEMS), vec![]).unwrap()[0].subjects.len(), MAX_ITEMS);
    assert_eq!(bound(others(MAX_ITEMS), vec![json!({})]), Err(ClosureError::Rbac));
    assert_eq!(bound(others(MAX_ITEMS + 1), vec![]), Err(ClosureError::Rbac));
    assert_eq!(bound(others(1), vec![json!({"verbs": vec![""; MAX_ITEMS]})]), Err(ClosureError::Rbac));
    let long = json!({"kind": "User", "name": "x".repeat(1 << 20)});
    let error = bound(vec![subject, long], vec![]).unwrap_err();
    assert_eq!((&error, error.reason()), (&ClosureError::Rbac, Reason::RequestTooLarge));
}

#[test]
fn a_network_policy_that_selects_the_pod_is_of_the_closure() {
    let policy = |name: &str, namespace: &str, selector: Value| {
        let mut hook = hook(
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name},
                "spec": {"podSelector": selector, "policyTypes": ["Egress"], "egress": [{}]}}),
            -5,
        );
        if !namespace.is_empty() {
            let mut manifest = Value::clone(&hook.manifest);
            manifest["metadata"]["namespace"] = json!(namespace);
            hook.manifest = manifest.into();
        }
        hook
    };
    let app = |app: &str| json!({"matchLabels": {"app": app}});
    let hooks = [
        policy("own", "", app("migrate")),
        policy("all", "shop", json!({})),
        policy("of-web", "", app("web")),
        policy("elsewhere", "other", json!({})),
        named("crd.projectcalico.org/v1", "NetworkPolicy", "calico"),
    ];
    let template = json!({"metadata": {"labels": {"app": "migrate"}}, "spec": {}});
    let job = json!({"kind": "Job", "spec": {"template": template}});
    let pod = json!({"kind": "Pod", "metadata": template["metadata"], "spec": {}});
    for manifest in [job, pod] {
        let shown = closure_of(Workload::of(&manifest), &hooks).unwrap();
        let names: Vec<&str> = shown.iter().map(|object| object.name.as_str()).collect();
        assert_eq!(names, ["all", "own"]);
        assert!(shown.iter().all(|object| object.kind == "NetworkPolicy" && object.namespace == "shop"));
    }
}

#[test]
fn a_network_policy_that_selects_helms_own_job_by_its_name_misses_the_runs_pods_and_is_no_part_of_the_closure()
 {
    let policy = |name: &str, selector: Value| {
        hook(
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name},
                "spec": {"podSelector": {"matchLabels": selector}}}),
            0,
        )
    };
    let hooks = [
        policy("by-name", json!({"job-name": "migrate"})),
        policy("by-long-name", json!({"batch.kubernetes.io/job-name": "migrate", "app": "migrate"})),
        policy("by-label", json!({"app": "migrate"})),
        policy("of-others", json!({"job-name": "another"})),
    ];
    let job = hook(
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate"},
            "spec": {"template": {"metadata": {"labels": {"app": "migrate"}}}}}),
        0,
    );
    let names: Vec<String> = missed(&job, "shop", &hooks).into_iter().map(|policy| policy.name).collect();
    assert_eq!(names, ["by-long-name", "by-name"]);
    let reached = closure_of(Workload::of(&job.manifest), &hooks).unwrap();
    let reached: Vec<&str> = reached.iter().map(|object| object.name.as_str()).collect();
    assert_eq!(reached, ["by-label"]);
}
