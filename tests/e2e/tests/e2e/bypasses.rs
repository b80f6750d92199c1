//! Ways around a rule: another name for the same release, another namespace for the same hook, an account that Flux was told to
//! take, content of one's own under the chart's name.

use e2e::{GATE, MODULES, PATIENCE, Release, World, hookhost, message, ok, says, world};
use serde_json::{Value, json};

use crate::releases::{helm_release, upgrade};

/// An Operation on a hook by its HelmRelease; gives back its name.
pub(crate) fn by_helm_release(world: &World, release: &Release, hook: &str) -> String {
    let name = format!("{}-{hook}-{}", release.name, world.number());
    let mut operation = world.operation_named(&name, release, hook, json!({}));
    operation["spec"]["targetRef"] = target(release);
    world.apply(&release.namespace, &operation);
    name
}

/// The HelmRelease of a release, as a target.
fn target(release: &Release) -> Value {
    json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": release.name})
}

/// Makes the ApplicationInstance of a release the controller of its HelmRelease, as vWorkspace's operator does.
fn own(world: &World, release: &Release) {
    let instance =
        world.get(&release.namespace, &format!("applicationinstance/{}", release.instance)).unwrap();
    let owner = json!({"apiVersion": "apps.vworkspace.io/v1alpha1", "kind": "ApplicationInstance", "name": release.instance,
        "uid": instance["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true});
    let owned = json!({"metadata": {"ownerReferences": [owner]}});
    world.patch(&release.namespace, &format!("helmrelease/{}", release.name), &owned);
}

/// A release whose HelmRelease belongs to its ApplicationInstance.
fn owned(world: &World, prefix: &str) -> Release {
    let release = world.release("shop", &world.namespace(prefix, &[GATE]), &json!({}));
    own(world, &release);
    release
}

#[test]
fn a_helm_release_that_belongs_to_an_instance_follows_the_instances_rules() {
    let world = world();
    let release = owned(world, "owned");
    let namespace = &release.namespace;
    let instance = format!("applicationinstance/{}", release.instance);
    let capability = |engine: Value| {
        let annotations = json!({"metadata": {"annotations": {"ops.vworkspace.io/migration": engine}}});
        world.patch(namespace, &instance, &annotations);
    };
    capability(Value::Null);
    let name = by_helm_release(world, &release, "ok");
    let told = world.refused(namespace, &name, "CapabilityMissing");
    assert!(told.contains(&format!("ApplicationInstance {namespace}/shop")), "{told}");

    capability(json!("helmHookJob"));
    world.instance_status(&release, false);
    let name = by_helm_release(world, &release, "ok");
    world.blocked(namespace, &name, "TargetNotReady");
    world.instance_status(&release, true);
    world.phase(namespace, &name, "Succeeded");

    // Nor does another instance that names the HelmRelease lead past its owner.
    let other = world.apart(&release);
    let name = world.operation(&other, "ok", json!({}));
    let told = message(&world.blocked(namespace, &name, "TargetNotReady"), "Blocked");
    assert!(
        told.contains("belongs to the ApplicationInstance \"shop\": make the Operation for that one"),
        "{told}"
    );
}

#[test]
fn operations_that_conflict_on_a_release_wait_for_each_other_however_each_names_it() {
    let world = world();
    let release = owned(world, "names");
    let namespace = &release.namespace;
    // vWorkspace's operator at work on the instance: of another engine, so hookhost never resolves its target.
    let upgraded = upgrade(world, &release, "Running");
    let name = by_helm_release(world, &release, "ok");
    let told = message(&world.blocked(namespace, &name, "ConflictingOperation"), "Blocked");
    assert!(told.contains(&upgraded), "{told}");
    world.patch_status(namespace, &format!("operation/{upgraded}"), &json!({"phase": "Succeeded"}));
    world.phase(namespace, &name, "Succeeded");

    // And the other way round: one of this engine that nothing may work beside, by the HelmRelease.
    let backup = format!("shop-backup-{}", world.number());
    let mut operation = world.operation_named(&backup, &release, "slow", json!({}));
    operation["spec"]["targetRef"] = target(&release);
    operation["spec"]["type"] = json!("Backup");
    let capable = json!({"metadata": {"annotations": {"ops.vworkspace.io/backup": "helmHookJob"}}});
    world.patch(namespace, &format!("applicationinstance/{}", release.instance), &capable);
    world.apply(namespace, &operation);
    world.phase(namespace, &backup, "Running");
    let name = world.operation(&release, "ok", json!({}));
    let told = message(&world.blocked(namespace, &name, "ConflictingOperation"), "Blocked");
    assert!(told.contains(&backup), "{told}");
    world.delete(namespace, &format!("operation/{backup}"), None);
    world.phase(namespace, &name, "Succeeded");
}

#[test]
fn where_helm_releases_are_switched_off_as_targets_only_instances_are_served() {
    let world = world();
    let gate = "e2e=no-helm-release-targets";
    let release = world.release("shop", &world.namespace("switched-off", &[gate]), &json!({}));
    let host = world.host(json!({"namespaceGate": gate, "helmReleaseTargets": false})).start();
    let waiting = by_helm_release(world, &release, "ok");
    let told = message(&world.blocked(&release.namespace, &waiting, "TargetKindDisabled"), "Blocked");
    assert!(told.contains("helmReleaseTargets"), "{told}");
    // As its message advises: for the same hook, which does not wait for the first.
    let name = world.operation(&release, "ok", json!({}));
    world.phase(&release.namespace, &name, "Succeeded");
    // Nothing is lost by a setting that comes a minute later.
    drop(host);
    let _host = world.host(json!({"namespaceGate": gate})).start();
    world.phase(&release.namespace, &waiting, "Succeeded");
}

#[test]
fn where_plain_releases_are_not_served_an_operation_waits_until_they_are() {
    let world = world();
    let gate = "e2e=plain-later";
    let namespace = world.namespace("plain-later", &[gate]);
    let hook = crate::charts::job("later", "true", json!({}));
    let release = crate::charts::store(&namespace, "later", &[(hook, 0, false)]);
    let host = world.host(json!({"namespaceGate": gate})).start();
    let name = crate::charts::operation(world, &release, json!({"hookName": "later"}));
    let told = message(&world.blocked(&namespace, &name, "TargetKindDisabled"), "Blocked");
    assert!(
        told.contains("plain Helm releases are not served here") && told.contains("helmReleases.enabled"),
        "{told}"
    );
    drop(host);
    let _host = world.host(json!({"namespaceGate": gate, "helmReleases": {"enabled": true}})).start();
    world.phase(&namespace, &name, "Succeeded");
}

#[test]
fn a_release_of_flux_is_no_plain_one_whatever_its_helm_release_is_called() {
    let world = world();
    let gate = "e2e=plain-releases";
    let namespace = world.namespace("plain", &[gate]);
    // Flux calls the release NAMESPACE-NAME where spec says the namespace, and what spec says where it says a name.
    let (derived, named) = (Release::new(&namespace, "shop"), Release::new(&namespace, "wiki"));
    helm_release(world, &derived, json!({"targetNamespace": namespace}));
    helm_release(world, &named, json!({"releaseName": "pages"}));
    for release in [&derived, &named] {
        world.ready(release);
    }
    let _host = world.host(json!({"namespaceGate": gate, "helmReleases": {"enabled": true}})).start();
    for (release, helm_release) in [(format!("{namespace}-shop"), "shop"), ("pages".to_owned(), "wiki")] {
        let name = format!("around-{helm_release}-{}", world.number());
        let mut operation = world.operation_named(&name, &derived, "ok", json!({}));
        operation["spec"]["targetRef"] =
            json!({"apiVersion": "helm.sh/v3", "kind": "Release", "name": release});
        world.apply(&namespace, &operation);
        let told = world.refused(&namespace, &name, "ValidationFailed");
        let advice = format!("by the HelmRelease {namespace}/{helm_release}, so it is no plain Helm release");
        assert!(told.contains(&advice), "{told}");
    }
    assert!(world.list(&namespace, "jobs", "").is_empty());
}

/// Makes the service account "tenant", as which Flux is to apply; what comes back gives it all verbs on resources of a group.
pub(crate) fn tenant(world: &World, namespace: &str) -> impl Fn(&str, &str, &[&str]) {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "tenant"}});
    world.apply(namespace, &account);
    let rbac = "rbac.authorization.k8s.io";
    move |name: &str, group: &str, resources: &[&str]| {
        let rules = json!([{"apiGroups": [group], "resources": resources, "verbs": ["*"]}]);
        let role = json!({"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": {"name": name}, "rules": rules});
        world.apply(namespace, &role);
        let binding = json!({"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "tenant", "namespace": namespace}]});
        world.apply(namespace, &binding);
    }
}

#[test]
fn what_flux_applies_as_an_account_is_created_only_if_that_account_could_create_it() {
    let world = world();
    let namespace = world.namespace("applied-as", &[GATE]);
    let release = Release::new(&namespace, "shop");
    let role = tenant(world, &namespace);
    role("tenant", "", &["configmaps", "secrets", "serviceaccounts"]);
    // Flux only stores a hook of pre-delete: that it is there does not say that the account may create it.
    let hooks = json!({"ends": {"events": "pre-delete", "script": "echo ended"}});
    helm_release(world, &release, json!({"serviceAccountName": "tenant", "values": {"hooks": hooks}}));
    world.ready(&release);
    let name = by_helm_release(world, &release, "ends");
    let told = message(&world.blocked(&namespace, &name, "ApplierForbidden"), "Blocked");
    for word in [&format!("\"{namespace}/tenant\""), "may not create jobs.batch", "spec.serviceAccountName"] {
        assert!(told.contains(word), "{told}");
    }
    assert!(world.list(&namespace, "jobs", "").is_empty());
    // A person who may not ask what the account may, nor list Operations, is told so.
    role("tenant-plans", "helm.toolkit.fluxcd.io", &["helmreleases"]);
    let token = ok(world.cluster.kubectl(&["create", "token", "tenant", "--namespace", &namespace]));
    let kubeconfig = ok(world.cluster.kubeconfig_of(token.trim(), None)).display().to_string();
    let file = world.cluster.logs().join("applied-as.json");
    let operation = world.get(&namespace, &format!("operation/{name}")).unwrap();
    let planned = json!({
        "apiVersion": operation["apiVersion"], "kind": "Operation",
        "metadata": {"name": "planned", "namespace": namespace}, "spec": operation["spec"],
    });
    std::fs::write(&file, planned.to_string()).unwrap();
    let plan = std::process::Command::new(hookhost())
        .args(["plan", "--kubeconfig", &kubeconfig, "--output", "json", "--filename"])
        .arg(&file)
        .output()
        .unwrap();
    let plan: Value =
        serde_json::from_slice(&plan.stdout).unwrap_or_else(|error| panic!("{error}: {plan:?}"));
    let warnings: Vec<&str> =
        plan["warnings"].as_array().into_iter().flatten().filter_map(|one| one["code"].as_str()).collect();
    for code in ["ConflictsNotRead", "ApplierNotAsked"] {
        assert!(warnings.contains(&code), "{code} in {plan:#}");
    }

    // Once the account has the right, the same Operation runs.
    role("tenant-jobs", "batch", &["jobs"]);
    world.phase(&namespace, &name, "Succeeded");
}

#[test]
fn temporary_objects_are_created_only_if_the_account_as_which_flux_applies_could_create_them() {
    let world = world();
    let gate = "e2e=applied-as";
    let namespace = world.namespace("applied-as-too", &[gate]);
    let _host = world.host(json!({"namespaceGate": gate, "closure": {"enabled": true}})).start();
    let release = Release::new(&namespace, "shop");
    let role = tenant(world, &namespace);
    // What the release proper has; its hook's ConfigMap is made by Helm when the release is deleted, and by a run.
    role("tenant", "", &["secrets", "serviceaccounts"]);
    role("tenant-jobs", "batch", &["jobs"]);
    role("tenant-installs", "", &["configmaps"]);
    let hooks = json!({"ends": {"events": "pre-delete", "own": {"account": false}, "script": "echo $CHART_OF_SETTINGS"}});
    helm_release(world, &release, json!({"serviceAccountName": "tenant", "values": {"hooks": hooks}}));
    world.ready(&release);
    world.delete(&namespace, "rolebinding/tenant-installs", None);

    let name = format!("shop-ends-{}", world.number());
    let mut operation = world.operation_named(&name, &release, "ends", json!({"closure": true}));
    operation["spec"]["targetRef"] = target(&release);
    world.apply(&namespace, &operation);
    let told = message(&world.blocked(&namespace, &name, "ApplierForbidden"), "Blocked");
    assert!(told.contains("may not create configmaps"), "{told}");
    assert!(world.list(&namespace, "jobs", "").is_empty());
    assert!(world.get(&namespace, "configmap/shop-ends").is_none());

    role("tenant-installs", "", &["configmaps"]);
    let done = world.phase(&namespace, &name, "Succeeded");
    assert_eq!(done["status"]["outputs"]["closure"], json!(["ConfigMap/shop-ends"]));
    world.until_gone(&namespace, "configmap/shop-ends");
}

#[test]
fn no_operation_takes_the_name_of_a_job_that_helm_makes_of_a_hook() {
    let world = world();
    let namespace = world.namespace("named-as-a-hook", &[GATE]);
    let release = world.release("shop", &namespace, &json!({}));
    let apply = |name: &str| {
        let operation = world.operation_named(name, &world.apart(&release), "ok", json!({}));
        world.apply(&namespace, &operation);
    };
    apply("shop-ok");
    let told = world.refused(&namespace, "shop-ok", "JobNameTaken");
    assert!(told.contains("shop-ok-run"), "{told}");
    assert!(
        world
            .get(&namespace, "job/shop-ok")
            .is_none_or(|job| job["metadata"]["labels"]["ops.vworkspace.io/operation"].is_null())
    );
    apply("shop-ok-run");
    world.phase(&namespace, "shop-ok-run", "Succeeded");
}

#[test]
fn a_policy_of_the_namespace_where_a_hook_runs_is_asked_wherever_its_operation_is() {
    let world = world();
    let labels = [GATE, "vworkspace.io/organisation=bypasses"];
    let (home, prod) = (world.namespace("around-home", &labels), world.namespace("around-prod", &labels));
    let release = Release::new(&home, "across");
    helm_release(world, &release, json!({"targetNamespace": prod, "releaseName": "across"}));
    world.ready(&release);
    // Without its module it lets nothing run that it is asked about.
    let policy = format!("guards-prod-{}", world.number());
    let guards = json!({
        "apiVersion": "policy.vworkspace.io/v1alpha1", "kind": "HookPolicy", "metadata": {"name": policy},
        "spec": {
            "module": {"configMap": {"namespace": MODULES, "name": "none", "key": "policy.wasm"}},
            "match": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": prod}}},
        },
    });
    world.apply("", &guards);
    world.until_object("", &format!("hookpolicy/{policy}"), "known", |it| {
        says(it, "Ready").starts_with("False")
    });
    let name = by_helm_release(world, &release, "ok");
    let told = message(&world.blocked(&home, &name, "PolicyUnavailable"), "Blocked");
    assert!(told.contains(&policy), "{told}");
    assert!(world.list(&prod, "jobs", "").is_empty());
    world.delete("", &format!("hookpolicy/{policy}"), None);
    world.phase(&home, &name, "Succeeded");
}

#[test]
fn an_operation_that_lacks_a_hook_learns_nothing_of_another_organisations_release() {
    let world = world();
    let namespace = |prefix: &str, organisation: &str| {
        world.namespace(prefix, &[GATE, &format!("vworkspace.io/organisation={organisation}")])
    };
    let (theirs, own) = (namespace("vaults", "victim"), namespace("curious", "curious"));
    world.release("vault", &theirs, &json!({"hooks": {"rotate": {"script": "true"}}}));
    let release = world.release("mine", &own, &json!({}));
    let name = format!("mine-rotate-{}", world.number());
    let mut operation = world.operation_named(&name, &release, "rotate", json!({}));
    operation["spec"]["targetRef"] = target(&release);
    operation["spec"]["parameters"]["hookName"] = json!("vault-rotate");
    world.apply(&own, &operation);
    world.refused(&own, &name, "HookNotFound");

    // Who may write HelmReleases and their status makes theirs point to the other release.
    let (read, asked) = (world.requests(&theirs).len(), world.requests(&own).len());
    let history = world.get(&theirs, "helmrelease/vault").unwrap()["status"]["history"].clone();
    world.patch(&own, "helmrelease/mine", &json!({"spec": {"suspend": true}}));
    world.patch_status(&own, "helmrelease/mine", &json!({"storageNamespace": theirs, "history": history}));
    let spec = json!({"targetNamespace": theirs, "storageNamespace": theirs});
    world.patch(&own, "helmrelease/mine", &json!({ "spec": spec }));
    let looked_up = || {
        let since = world.requests(&own).split_off(asked);
        (since.iter().filter(|one| one.starts_with("get helmreleases/mine")).count() >= 2).then_some(())
    };
    ok(world.cluster.eventually("the finished Operation's target was looked up again", PATIENCE, looked_up));
    // One that is made after that is answered after that.
    let again = by_helm_release(world, &release, "ok");
    world.blocked(&own, &again, "NamespaceNotManaged");
    let read: Vec<String> = world.requests(&theirs).split_off(read);
    assert!(!read.iter().any(|one| one.contains("sh.helm.release")), "{read:#?}");
    let operation = world.get(&own, &format!("operation/{name}")).unwrap();
    assert_eq!(says(&operation, "Blocked"), "True/HookNotFound", "{operation:#}");
}
