//! Hooks that need what Helm has deleted: a service account, its rights, a ConfigMap that are hooks themselves.

use std::sync::OnceLock;

use e2e::{GATE, Host, PATIENCE, Proxy, Release, WAITS, World, condition, message, ok, says, world};
use kube::api::PropagationPolicy;
use serde_json::{Value, json};
use testbed::Helm;

use crate::installed::Installed;
use crate::policies::module;

/// A gate of its own: the host of these tests lends, which the shared one does not.
const LENDING: &str = "e2e=closure";

/// What the chart gives a hook of its own, all under one name.
const OWN: [&str; 4] = ["serviceaccount", "configmap", "role", "rolebinding"];

/// The host of these tests.
fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        let closure = json!({"enabled": true, "grantAnyRole": true, "clusterObjects": CLUSTER_OBJECTS});
        let organisation = "vworkspace.io/organisation";
        let values = json!({"namespaceGate": LENDING, "organisationLabel": organisation, "closure": closure});
        world().host(values).start()
    })
}

/// Makes a HookPolicy of a stock policy for hooks of a namespace, and waits until it is ready; gives back its name.
pub(crate) fn policy(namespace: &str, stock: &str, mut spec: Value) -> String {
    let world = world();
    let name = format!("{stock}-{}", world.number());
    spec["module"] = module(&name, stock);
    spec["match"]["namespaceSelector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
    let policy = json!({"apiVersion": "policy.vworkspace.io/v1alpha1", "kind": "HookPolicy",
        "metadata": {"name": name}, "spec": spec});
    world.apply("", &policy);
    let is_ready = |it: &Value| says(it, "Ready").starts_with("True");
    world.until_object("", &format!("hookpolicy/{name}"), "Ready", is_ready);
    name
}

/// What of the whole cluster that host lends.
const CLUSTER_OBJECTS: [&str; 2] = ["ClusterRole/shop-wide", "ClusterRoleBinding/shop-wide"];

/// A release in a namespace of its own with the hook "owns", which has everything of its own and waits, and "quick", which
/// does not wait.
pub(crate) fn release(prefix: &str, more: &Value) -> Release {
    host();
    let world = world();
    let namespace = world.namespace(prefix, &[LENDING]);
    let quick = "echo settings of $CHART_OF_SETTINGS";
    let mut values = json!({"hooks": {
        "owns": {"own": {}, "script": WAITS, "spares": 1},
        "quick": {"own": {}, "script": quick},
    }});
    if let (Some(hooks), Some(more)) = (values["hooks"].as_object_mut(), more.as_object()) {
        hooks.extend(more.clone());
    }
    world.release("shop", &namespace, &values)
}

pub(crate) fn borrows() -> Value {
    json!({"closure": true})
}

/// Which of what a hook has of its own are there.
pub(crate) fn there(namespace: &str, hook: &str) -> Vec<&'static str> {
    let is_there = |kind: &&&str| world().get(namespace, &format!("{kind}/shop-{hook}")).is_some();
    OWN.iter().filter(is_there).copied().collect()
}

pub(crate) fn all_gone(world: &World, namespace: &str, hook: &str) {
    for kind in OWN {
        world.until_gone(namespace, &format!("{kind}/shop-{hook}"));
    }
}

/// Whether a hook's own account may.
fn can(namespace: &str, hook: &str, verb: &str, resource: &str) -> bool {
    let account = format!("--as=system:serviceaccount:{namespace}:shop-{hook}");
    may(namespace, &account, verb, resource)
}

/// What `kubectl auth can-i` says. It fails with the answer "no".
fn may(namespace: &str, account: &str, verb: &str, resource: &str) -> bool {
    let args = ["auth", "can-i", verb, resource, "--namespace", namespace, account];
    match world().cluster.kubectl(&args) {
        Ok(answer) => {
            assert!(answer.split_whitespace().next_back() == Some("yes"), "{answer}");
            true
        }
        Err(error) => {
            let error = error.to_string();
            // Of a kind without a namespace it warns instead of saying no.
            let is_no = error.split_whitespace().next_back() == Some("no");
            assert!(is_no || error.contains("is not namespace scoped"), "{error}");
            false
        }
    }
}

/// UIDs of the Jobs that own an object.
fn owners(object: &Value) -> Vec<String> {
    let owners = object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
    let mut uids: Vec<String> =
        owners.iter().filter_map(|owner| owner["uid"].as_str().map(str::to_owned)).collect();
    uids.sort();
    uids
}

#[test]
fn a_hook_has_its_account_and_rights_while_it_runs_and_nobody_has_them_before_or_after() {
    let world = world();
    let release = release("borrows", &json!({}));
    let namespace = &release.namespace;
    assert_eq!(there(namespace, "owns"), [""; 0]);
    assert!(!can(namespace, "owns", "patch", "deployments.apps"));

    let name = world.operation(&release, "owns", borrows());
    let pod = world.started(namespace, &name);
    assert_eq!(there(namespace, "owns"), OWN);
    assert!(can(namespace, "owns", "patch", "deployments.apps"));
    assert!(
        !can(namespace, "owns", "delete", "deployments.apps") && !can(namespace, "owns", "list", "secrets")
    );
    let job = world.get(namespace, &format!("job/{name}")).unwrap();
    for kind in OWN {
        let object = world.get(namespace, &format!("{kind}/shop-owns")).unwrap();
        assert_eq!(owners(&object), [job["metadata"]["uid"].as_str().unwrap()], "{object:#}");
        assert!(object["metadata"]["annotations"].get("helm.sh/hook").is_none(), "{object:#}");
    }
    world.go(namespace, &pod);
    let operation = world.phase(namespace, &name, "Succeeded");
    let told = ["ServiceAccount/shop-owns", "ConfigMap/shop-owns", "Role/shop-owns", "RoleBinding/shop-owns"];
    assert_eq!(operation["status"]["outputs"]["closure"], json!(told));
    let accepted = message(&operation, "Accepted");
    assert!(accepted.contains("takes back: ServiceAccount/shop-owns, ConfigMap/shop-owns"), "{accepted}");
    all_gone(world, namespace, "owns");
    assert!(!can(namespace, "owns", "patch", "deployments.apps"));

    let name = world.operation(&release, "quick", borrows());
    let operation = world.phase(namespace, &name, "Succeeded");
    let log = world.pod_log(namespace, operation["status"]["logsRef"]["name"].as_str().unwrap());
    assert!(log.starts_with("settings of 1.0.0"), "{log}");
    all_gone(world, namespace, "quick");
}

#[test]
fn a_loan_costs_a_write_to_make_it_and_one_to_take_it_back() {
    let world = world();
    let release = release("counted", &json!({"plain": {"script": "echo done"}}));
    let namespace = &release.namespace;
    let writes = |hook: &str, parameters: Value| {
        let before = world.requests(namespace).len();
        let name = world.operation(&release, hook, parameters);
        world.phase(namespace, &name, "Succeeded");
        let is_let_go = || {
            let job = world.get(namespace, &format!("job/{name}"))?;
            job["metadata"]["finalizers"].is_null().then_some(())
        };
        ok(world.cluster.eventually("the Job is let go", PATIENCE, is_let_go));
        let requests = world.requests(namespace).split_off(before);
        // How many notices and Events there are depends on how busy the cluster is; the kill matrix holds their bound.
        let is_of_run = |request: &String| {
            let is_read = request.starts_with("get ") || request.starts_with("list ");
            !is_read && !request.contains(" operations/") && !request.contains(" events/")
        };
        requests.into_iter().filter(is_of_run).collect::<Vec<_>>()
    };
    let (plain, lent) = (writes("plain", json!({})), writes("quick", borrows()));
    let of = |verb: &str, plural: &str| {
        let start = format!("{verb} {plural}/");
        lent.iter().filter(|write| write.starts_with(&start)).count()
    };
    for plural in ["serviceaccounts", "configmaps", "rolebindings"] {
        assert_eq!((of("create", plural), of("delete", plural)), (1, 1), "{plural}: {lent:#?}");
    }
    // A role is rehearsed first, so that nothing is made of a run that cannot have its rights.
    assert_eq!((of("create", "roles"), of("delete", "roles")), (2, 1), "{lent:#?}");
    // And the Job is let start.
    assert_eq!(lent.len(), plain.len() + 2 * OWN.len() + 2, "{plain:#?}\n{lent:#?}");
}

#[test]
fn two_runs_at_once_share_what_they_both_need_until_the_last_of_them_is_over() {
    let world = world();
    let release = release("shares", &json!({}));
    let namespace = &release.namespace;
    let first = world.operation(&release, "owns", borrows());
    let first_pod = world.started(namespace, &first);
    let uid = world.get(namespace, "serviceaccount/shop-owns").unwrap()["metadata"]["uid"].clone();
    let second = world.operation(&release, "owns-spare-1", borrows());
    let second_pod = world.started(namespace, &second);
    let account = world.get(namespace, "serviceaccount/shop-owns").unwrap();
    assert_eq!((owners(&account).len(), &account["metadata"]["uid"]), (2, &uid), "{account:#}");

    world.go(namespace, &first_pod);
    world.phase(namespace, &first, "Succeeded");
    for kind in OWN {
        let object = format!("{kind}/shop-owns");
        world.until_object(namespace, &object, "one run's", |object| owners(object).len() == 1);
    }
    assert!(can(namespace, "owns", "patch", "deployments.apps"), "the second still runs");
    world.go(namespace, &second_pod);
    world.phase(namespace, &second, "Succeeded");
    all_gone(world, namespace, "owns");
}

#[test]
fn an_account_that_was_there_before_is_used_and_left_untouched() {
    let world = world();
    let release = release("before", &json!({}));
    let namespace = &release.namespace;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "shop-quick",
        "labels": {"of": "somebody-else"}}});
    let before = world.apply(namespace, &account);
    let name = world.operation(&release, "quick", borrows());
    world.phase(namespace, &name, "Succeeded");
    for kind in &OWN[1..] {
        world.until_gone(namespace, &format!("{kind}/shop-quick"));
    }
    let after = world.get(namespace, "serviceaccount/shop-quick").unwrap();
    for field in ["uid", "resourceVersion"] {
        assert_eq!(after["metadata"][field], before["metadata"][field], "{after:#}");
    }
}

#[test]
fn rights_are_given_to_the_charts_own_content_only() {
    let world = world();
    let release = release("replaced", &json!({}));
    let namespace = &release.namespace;
    let settings = |value: &str| {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop-quick"},
            "data": {"CHART_OF_SETTINGS": value}});
        world.apply(namespace, &object)
    };
    let said = |operation: &Value| {
        world.pod_log(namespace, operation["status"]["logsRef"]["name"].as_str().unwrap())
    };
    // Flux adds the digest of what it has pulled to the chart's version.
    let name = world.operation(&release, "quick", borrows());
    let log = said(&world.phase(namespace, &name, "Succeeded"));
    let charts = log.trim().strip_prefix("settings of ").unwrap();
    all_gone(world, namespace, "quick");
    // Who may create ConfigMaps puts one of their own where the chart has a hook that Helm has deleted.
    settings("my own words");
    let name = world.operation(&release, "quick", borrows());
    let told = message(&world.blocked(namespace, &name, "ClosureRefused"), "Blocked");
    for word in [
        "ConfigMap \"shop-quick\"",
        "the key \"CHART_OF_SETTINGS\"",
        "Role \"shop-quick\"",
        "closureExisting",
    ] {
        assert!(told.contains(word), "{told}");
    }
    assert!(
        !told.contains("my own words") && !told.contains(charts),
        "keys are told, never what they hold: {told}"
    );
    assert_eq!(there(namespace, "quick"), ["configmap"]);

    // The chart's own is used, whoever has made it, and stays: what has waited for it runs.
    let made = settings(charts);
    world.phase(namespace, &name, "Succeeded");
    let is_alone = || (there(namespace, "quick") == ["configmap"]).then_some(());
    ok(world.cluster.eventually("the rest is taken back", PATIENCE, is_alone));
    let after = world.get(namespace, "configmap/shop-quick").unwrap();
    assert_eq!(after["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);

    // A HookPolicy can let it be, for those who know what they do.
    settings("my own words");
    let spec = json!({"match": {"hooks": ["shop-quick"]}, "closureExisting": "Allow"});
    policy(namespace, "deadline-cap", spec);
    let name = world.operation(&release, "quick", borrows());
    let operation = world.phase(namespace, &name, "Succeeded");
    let log = said(&operation);
    assert!(log.starts_with("settings of my own words"), "{log}");
}

#[test]
fn what_somebody_writes_into_the_charts_content_before_the_pod_may_start_stops_the_run() {
    let world = world();
    let gate = "e2e=closure-held";
    let namespace = world.namespace("held", &[gate]);
    let values = json!({"hooks": {"quick": {"own": {}, "script": "true"}}});
    let release = world.release("shop", &namespace, &values);
    let proxy = Proxy::start(world.cluster);
    let closure = json!({"enabled": true, "grantAnyRole": true});
    let _host = world.host(json!({"namespaceGate": gate, "closure": closure})).through(&proxy).start();
    // All but the last of what is created for the run is there, and the Job is not unsuspended yet.
    proxy.hold("/rolebindings");
    let name = world.operation(&release, "quick", borrows());
    ok(world.cluster.eventually("the binding is held", PATIENCE, || proxy.is_holding().then_some(())));
    let mine = json!({"data": {"CHART_OF_SETTINGS": "my own words"}});
    world.patch(&namespace, "configmap/shop-quick", &mine);
    proxy.release();
    let operation = world.phase(&namespace, &name, "Failed");
    let told = message(&operation, "Failed");
    assert_eq!(says(&operation, "Failed"), "True/ClosureRefused", "{told}");
    assert!(told.contains("ConfigMap \"shop-quick\" differs from the chart's in the key"), "{told}");
    assert!(world.of_operation(&namespace, "pods", &operation).is_empty());
    all_gone(world, &namespace, "quick");
    world.until_gone(&namespace, &format!("job/{name}"));
}

#[test]
fn whoever_cancels_or_deletes_a_run_leaves_nothing_of_what_it_borrowed() {
    let world = world();
    let release = release("cancelled", &json!({}));
    let namespace = &release.namespace;
    let name = world.operation(&release, "owns", borrows());
    world.started(namespace, &name);
    world.cancel(namespace, &name);
    world.phase(namespace, &name, "Cancelled");
    all_gone(world, namespace, "owns");

    let name = world.operation(&release, "owns", borrows());
    world.started(namespace, &name);
    world.delete(namespace, &format!("operation/{name}"), None);
    world.until_gone(namespace, &format!("job/{name}"));
    all_gone(world, namespace, "owns");
}

#[test]
fn what_a_run_had_goes_whatever_somebody_does_to_its_job_and_its_objects() {
    let world = world();
    let release = release("taken-away", &json!({}));
    let namespace = &release.namespace;
    let name = world.operation(&release, "owns", borrows());
    let pod = world.started(namespace, &name);
    world.delete(namespace, &format!("job/{name}"), Some(PropagationPolicy::Orphan));
    world.until_object(namespace, "rolebinding/shop-owns", "without an owner", |it| owners(it).is_empty());
    world.go(namespace, &pod);
    world.phase(namespace, &name, "Failed");
    all_gone(world, namespace, "owns");
    world.until_gone(namespace, &format!("job/{name}"));

    let name = world.operation(&release, "owns", borrows());
    let pod = world.started(namespace, &name);
    world.patch(namespace, &format!("job/{name}"), &json!({"metadata": {"finalizers": null}}));
    world.go(namespace, &pod);
    world.phase(namespace, &name, "Succeeded");
    all_gone(world, namespace, "owns");
    assert!(world.get(namespace, &format!("job/{name}")).is_some(), "only its objects went");

    // Somebody else owns them by then, or has deleted them and keeps them.
    let name = world.operation(&release, "owns", borrows());
    let pod = world.started(namespace, &name);
    let other = world.apply(namespace, &json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "theirs"},
        "spec": {"suspend": true, "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}));
    let owner =
        json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "theirs", "uid": other["metadata"]["uid"]}]);
    world.patch(namespace, "role/shop-owns", &json!({"metadata": {"ownerReferences": owner}}));
    let kept = json!({"metadata": {"finalizers": ["example.com/keep"]}});
    world.patch(namespace, "rolebinding/shop-owns", &kept);
    world.delete(namespace, "rolebinding/shop-owns", None);
    world.go(namespace, &pod);
    world.phase(namespace, &name, "Succeeded");
    all_gone(world, namespace, "owns");

    // The Job is gone, and its objects have no owner.
    let name = world.operation(&release, "owns", borrows());
    let pod = world.started(namespace, &name);
    world.patch(namespace, &format!("job/{name}"), &json!({"metadata": {"finalizers": null}}));
    world.delete(namespace, &format!("job/{name}"), Some(PropagationPolicy::Orphan));
    world.go(namespace, &pod);
    world.phase(namespace, &name, "Failed");
    all_gone(world, namespace, "owns");

    // A role that is being deleted gives its rights until it is gone.
    let name = world.operation(&release, "owns", borrows());
    let pod = world.started(namespace, &name);
    for object in ["role/shop-owns", "rolebinding/shop-owns"] {
        world.patch(namespace, object, &json!({"metadata": {"finalizers": ["example.com/keep"]}}));
    }
    world.go(namespace, &pod);
    world.phase(namespace, &name, "Succeeded");
    all_gone(world, namespace, "owns");
}

#[test]
fn what_is_left_of_a_run_is_created_anew_for_the_next() {
    let world = world();
    let release = release("left-behind", &json!({}));
    let namespace = &release.namespace;
    let first = world.operation(&release, "owns", borrows());
    let pod = world.started(namespace, &first);
    // Somebody keeps what the run was given, and writes into it.
    let settings = json!({"metadata": {"ownerReferences": null}, "data": {"CHART_OF_SETTINGS": "theirs"}});
    world.patch(namespace, "configmap/shop-owns", &settings);
    let kept = world.get(namespace, "configmap/shop-owns").unwrap()["metadata"]["uid"].clone();
    world.go(namespace, &pod);
    world.phase(namespace, &first, "Succeeded");
    all_gone(world, namespace, "owns");
    let second = world.operation(&release, "owns", borrows());
    let pod = world.started(namespace, &second);
    assert_ne!(world.get(namespace, "configmap/shop-owns").unwrap()["metadata"]["uid"], kept);
    world.go(namespace, &pod);
    world.phase(namespace, &second, "Succeeded");
}

#[test]
fn a_namespace_that_is_deleted_while_its_hook_borrows_goes() {
    let world = world();
    let release = release("doomed", &json!({}));
    let name = world.operation(&release, "owns", borrows());
    world.started(&release.namespace, &name);
    // Flux would install it again as long as it can, and its finalizer waits for that.
    world.patch(&release.namespace, "helmrelease/shop", &json!({"metadata": {"finalizers": null}}));
    world.delete("", &format!("namespace/{}", release.namespace), None);
    world.until_gone("", &format!("namespace/{}", release.namespace));
}

#[test]
fn an_upgrade_in_the_middle_has_its_own_and_the_run_touches_none_of_it() {
    let world = world();
    // The same objects are hooks of an upgrade, too, and Helm keeps what it makes of them.
    let own = json!({"policy": "before-hook-creation"});
    let both = json!({"own": own, "script": "sleep 2", "events": "pre-upgrade"});
    let release = release("upgraded", &json!({"both": both}));
    let namespace = &release.namespace;
    let name = world.operation(&release, "both", borrows());
    let made = world.until_object(namespace, "serviceaccount/shop-both", "made", |_| true);
    world.patch(namespace, "helmrelease/shop", &json!({"spec": {"values": {"secret": "another"}}}));
    let is_helms = |it: &Value| it["metadata"]["uid"] != made["metadata"]["uid"];
    world.ready(&release);
    let helms = world.until_object(namespace, "serviceaccount/shop-both", "Helm's", is_helms);
    let operation = world.until(namespace, &name, "over", |it| it["status"]["finishedAt"].is_string());
    assert_eq!(says(&operation, "Succeeded"), "True/HelmHookJobSucceeded", "{operation:#}");
    let let_go = |job: &Value| job["metadata"]["finalizers"].is_null();
    world.until_object(namespace, &format!("job/{name}"), "let go", let_go);
    assert_eq!(there(namespace, "both"), OWN);
    let after = world.get(namespace, "serviceaccount/shop-both").unwrap();
    assert_eq!(after["metadata"]["resourceVersion"], helms["metadata"]["resourceVersion"], "{after:#}");
}

#[test]
fn without_the_opt_ins_a_run_waits_and_says_which_would_help() {
    let world = world();
    let blocked = |release: &Release, hook: &str, parameters: Value| {
        let name = world.operation(release, hook, parameters);
        message(&world.blocked(&release.namespace, &name, "DependencyMissing"), "Blocked")
    };
    let values = json!({"hooks": {"quick": {"own": {}, "script": "true"}}});
    let off = world.release("shop", &world.namespace("off", &[GATE]), &values);
    let message = blocked(&off, "quick", borrows());
    assert!(
        message.contains("ServiceAccount \"shop-quick\"") && message.contains("closure.enabled"),
        "{message}"
    );
    assert!(message.contains("RoleBinding \"shop-quick\""), "{message}");

    let release = release("opts", &json!({}));
    let message = blocked(&release, "quick", json!({}));
    assert!(message.contains("parameters.closure: true"), "{message}");
    assert_eq!(there(&release.namespace, "quick"), [""; 0]);
    // A HookPolicy's word counts for all that it matches; one that forbids counts most.
    let says = |closure: &str| {
        let spec = json!({"match": {"hooks": ["shop-owns"]}, "closure": closure});
        policy(&release.namespace, "deadline-cap", spec)
    };
    says("Allow");
    let name = world.operation(&release, "owns", json!({}));
    let pod = world.started(&release.namespace, &name);
    world.go(&release.namespace, &pod);
    world.phase(&release.namespace, &name, "Succeeded");
    let strict = says("Forbid");
    let message = blocked(&release, "owns", borrows());
    assert!(message.contains(&format!("The HookPolicy \"{strict}\" forbids")), "{message}");
}

#[test]
fn what_would_reach_beyond_the_namespace_is_refused_before_anything_is_made() {
    let world = world();
    let labels = [LENDING, "vworkspace.io/organisation=beyond"];
    let (namespace, other) = (world.namespace("beyond", &labels), world.namespace("beyond-too", &labels));
    let subjects = |hook: &str| json!([{"kind": "ServiceAccount", "name": format!("shop-{hook}"), "namespace": namespace}]);
    let binding = |kind: &str, hook: &str, role: &str, metadata: Value| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": subjects(hook)})
    };
    let own = |more: &[Value]| json!({"own": {"more": more}, "script": WAITS});
    let far = binding("RoleBinding", "far", "view", json!({"name": "shop-far", "namespace": "kube-system"}));
    let near = binding("RoleBinding", "near", "view", json!({"name": "shop-near", "namespace": other}));
    let wide = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]});
    let values = json!({"hooks": {
        "far": own(&[far]),
        "near": own(std::slice::from_ref(&near)),
        "cluster": own(&[binding("ClusterRoleBinding", "cluster", "view", json!({"name": "shop-cluster"}))]),
        "wide": own(&[wide, binding("ClusterRoleBinding", "wide", "shop-wide", json!({"name": "shop-wide"}))]),
    }});
    host();
    let release = world.release("shop", &namespace, &values);
    // Where hookhost may not look, the object may exist: the run starts and names it.
    let name = world.operation(&release, "far", borrows());
    let pod = world.started(&namespace, &name);
    let told = message(&world.get(&namespace, &format!("operation/{name}")).unwrap(), "Accepted");
    assert!(told.contains("may not look: kube-system/RoleBinding/shop-far"), "{told}");
    world.go(&namespace, &pod);
    world.phase(&namespace, &name, "Succeeded");
    // What whoever installed hookhost can allow is waited for.
    let name = world.operation(&release, "cluster", borrows());
    let told = message(&world.blocked(&namespace, &name, "ClosureRefused"), "Blocked");
    assert!(told.contains("closure.clusterObjects"), "{told}");
    all_gone(world, &namespace, "far");
    assert_eq!(there(&namespace, "cluster"), [""; 0]);
    world.cancel(&namespace, &name);
    // Of another namespace of the same organisation it is seen whether it has what the hook needs: nothing is created there.
    for parameters in [borrows(), json!({})] {
        let name = world.operation(&release, "near", parameters);
        let told = message(&world.blocked(&namespace, &name, "DependencyMissing"), "Blocked");
        assert!(
            told.contains(&format!("in the namespace \"{other}\"")) && told.contains("Create it there"),
            "{told}"
        );
        world.cancel(&namespace, &name);
        world.phase(&namespace, &name, "Cancelled");
    }
    let mut created = near;
    created["metadata"]["name"] = json!("shop-near");
    world.apply(&other, &created);
    let name = world.operation(&release, "near", borrows());
    let pod = world.started(&namespace, &name);
    world.go(&namespace, &pod);
    world.phase(&namespace, &name, "Succeeded");
    // The one that the host may make: it acts on the cluster for as long as the run does.
    let name = world.operation(&release, "wide", borrows());
    let pod = world.started(&namespace, &name);
    let account = format!("--as=system:serviceaccount:{namespace}:shop-wide");
    let elsewhere = ["auth", "can-i", "get", "pods", "--namespace", "kube-system", &account];
    assert_eq!(ok(world.cluster.kubectl(&elsewhere)).trim_end(), "yes");
    world.go(&namespace, &pod);
    world.phase(&namespace, &name, "Succeeded");
    for object in CLUSTER_OBJECTS {
        world.until_gone("", object);
    }
    all_gone(world, &namespace, "wide");
}

#[test]
fn rights_on_all_secrets_are_denied_by_the_allowlist() {
    let world = world();
    let rules = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]}]);
    let release = release("greedy", &json!({"greedy": {"own": {"rules": rules}, "script": "true"}}));
    let settings = json!({"allow": [{"destructive": true}]});
    policy(&release.namespace, "hook-allowlist", json!({"settings": settings}));
    let name = world.operation(&release, "greedy", borrows());
    let message = world.refused(&release.namespace, &name, "PolicyDenied");
    assert!(message.contains("Role \"shop-greedy\", which grants * on secrets"), "{message}");
    assert_eq!(there(&release.namespace, "greedy"), [""; 0]);
}

#[test]
fn hookhosts_own_account_makes_no_role_that_it_may_not_and_has_nothing_more_during_and_after_a_run() {
    let world = world();
    let gate = "e2e=closure-in-pods";
    let namespace = world.namespace("closure-in-pods", &[gate]);
    let values = json!({"hooks": {"owns": {"own": {}, "script": WAITS}}});
    let release = world.release("shop", &namespace, &values);
    let installed = Installed::new(Helm::Four, "hookhost-closure", gate, &[&namespace], 1);
    let account = format!("--as=system:serviceaccount:{}:{}", installed.at, installed.name);
    let can_i = |what: &str| {
        let (verb, resource) = what.split_once(' ').unwrap_or_default();
        may(&namespace, &account, verb, resource)
    };
    let table = |granted: &[&str]| {
        let asked = [
            "create roles",
            "escalate roles",
            "bind clusterroles",
            "delete secrets",
            "list secrets",
            "patch deployments.apps",
            "create clusterroles",
            "impersonate serviceaccounts",
        ];
        for what in asked {
            assert_eq!(can_i(what), granted.contains(&what), "{what}, of {granted:?}");
        }
    };
    table(&[]);
    let name = world.operation(&release, "owns", borrows());
    let message = message(&world.blocked(&namespace, &name, "DependencyMissing"), "Blocked");
    assert!(message.contains("closure.enabled"), "{message}");
    world.delete(&namespace, &format!("operation/{name}"), None);

    installed.upgrade(&["closure.enabled=true"]);
    table(&["create roles", "delete secrets"]);
    let name = world.operation(&release, "owns", borrows());
    let operation = world.blocked(&namespace, &name, "AccessForbidden");
    let message = e2e::message(&operation, "Blocked");
    assert!(message.contains("attempting to grant RBAC permissions not currently held"), "{message}");
    assert!(message.contains("Role \"shop-owns\"") && message.contains("closure.grantAnyRole"), "{message}");
    assert_eq!(there(&namespace, "owns"), [""; 0]);
    assert!(world.of_operation(&namespace, "jobs", &operation).is_empty());
    world.delete(&namespace, &format!("operation/{name}"), None);

    installed.upgrade(&["closure.grantAnyRole=true"]);
    let granted = ["create roles", "escalate roles", "bind clusterroles", "delete secrets"];
    table(&granted);
    let name = world.operation(&release, "owns", borrows());
    let pod = world.started(&namespace, &name);
    assert!(can(&namespace, "owns", "patch", "deployments.apps"));
    table(&granted);
    world.go(&namespace, &pod);
    world.phase(&namespace, &name, "Succeeded");
    all_gone(world, &namespace, "owns");
    table(&granted);
}

#[test]
fn what_the_api_server_does_not_let_be_made_leaves_nothing_and_is_not_tried_in_a_loop() {
    let world = world();
    let release = release("full", &json!({}));
    let namespace = &release.namespace;
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"},
        "spec": {"hard": {"count/configmaps": "2"}}});
    world.apply(namespace, &quota);
    let is_counted = |it: &Value| it["status"]["used"]["count/configmaps"].is_string();
    world.until_object(namespace, "resourcequota/full", "counted", is_counted);
    let name = world.operation(&release, "quick", borrows());
    let operation = world.blocked(namespace, &name, "AdmissionDenied");
    let told = message(&operation, "Blocked");
    assert!(told.contains("ConfigMap \"shop-quick\"") && told.contains("exceeded quota"), "{told}");
    assert_eq!(there(namespace, "quick"), [""; 0]);
    world.until_gone(namespace, &format!("job/{name}"));
    let tries = || {
        let requests = world.requests(namespace);
        requests.iter().filter(|request| request.starts_with("create jobs/")).count()
    };
    // By the second try the first pause of five seconds is over; a loop would have tried hundreds of times.
    ok(world.cluster.eventually("another try", PATIENCE, || (tries() >= 2).then_some(())));
    assert!(tries() <= 3, "{} tries", tries());
    world.delete(namespace, "resourcequota/full", None);
    world.phase(namespace, &name, "Succeeded");
    all_gone(world, namespace, "quick");
}

#[test]
fn an_object_that_somebody_makes_their_own_during_a_run_is_theirs_after_it() {
    let world = world();
    let release = release("taken", &json!({}));
    let namespace = &release.namespace;
    let name = world.operation(&release, "owns", borrows());
    let pod = world.started(namespace, &name);
    // As Helm would, whose new revision of the release has the account proper.
    let mark = json!({"metadata": {"annotations": {"meta.helm.sh/release-name": "shop"}}});
    let theirs = world.patch(namespace, "serviceaccount/shop-owns", &mark);
    world.go(namespace, &pod);
    world.phase(namespace, &name, "Succeeded");
    for kind in &OWN[1..] {
        world.until_gone(namespace, &format!("{kind}/shop-owns"));
    }
    let is_free = |it: &Value| owners(it).is_empty();
    let left = world.until_object(namespace, "serviceaccount/shop-owns", "theirs alone", is_free);
    assert_eq!(left["metadata"]["uid"], theirs["metadata"]["uid"]);
}

#[test]
fn a_job_that_somebody_suspends_while_it_runs_is_not_made_again() {
    let world = world();
    let release = release("suspended", &json!({}));
    let namespace = &release.namespace;
    let name = world.operation(&release, "owns", borrows());
    world.started(namespace, &name);
    let uid = world.get(namespace, &format!("job/{name}")).unwrap()["metadata"]["uid"].clone();
    let suspend = |suspend: bool| {
        world.patch(namespace, &format!("job/{name}"), &json!({"spec": {"suspend": suspend}}));
    };
    suspend(true);
    let is_suspended = |job: &Value| condition(job, "Suspended")["status"] == "True";
    world.until_object(namespace, &format!("job/{name}"), "suspended", is_suspended);
    assert_eq!(there(namespace, "owns"), OWN, "it may go on");
    suspend(false);
    let is_at_work = |job: &Value| job["status"]["active"] == 1;
    let job = world.until_object(namespace, &format!("job/{name}"), "at work again", is_at_work);
    assert_eq!(job["metadata"]["uid"], uid);
    world.cancel(namespace, &name);
    world.phase(namespace, &name, "Cancelled");
    all_gone(world, namespace, "owns");
}
