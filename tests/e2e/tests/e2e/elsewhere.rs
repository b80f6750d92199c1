//! Hooks whose manifests name another namespace than the release's, in which Helm creates them: who may have them run there, and
//! what follows them there. And Jobs with nothing to complete.

use std::process::Command;
use std::sync::OnceLock;

use e2e::{GATE, Host, Release, WAITS, World, hookhost, message, world};
use serde_json::{Value, json};

use crate::bypasses::{by_helm_release, tenant};
use crate::charts::{job, operation, store};
use crate::closure::policy;
use crate::event::rows;
use crate::releases::helm_release;

/// The label of an organisation's namespaces.
const ORGANISATION: &str = "vworkspace.io/organisation=elsewhere";

/// What the pods of the chart beside this crate refer to, as a release of this name would have it, in another namespace.
fn furnish(world: &World, namespace: &str, name: &str) {
    let object = |kind: &str, field: &str, value: Value| {
        let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
        object[field] = value;
        world.apply(namespace, &object);
    };
    object("ServiceAccount", "automountServiceAccountToken", json!(true));
    object("ConfigMap", "data", json!({"release": name}));
    object("Secret", "stringData", json!({"password": "x"}));
}

fn organise(world: &World, namespaces: &[&String]) {
    let (label, value) = ORGANISATION.split_once('=').unwrap();
    for namespace in namespaces {
        world.label_namespace(namespace, label, value);
    }
}

/// The name of an Operation's Job, which is in another namespace.
fn job_of(operation: &Value) -> String {
    format!("job/{}", operation["status"]["engineRef"]["name"].as_str().unwrap())
}

#[test]
fn a_hook_runs_in_the_namespace_that_its_manifest_names_if_that_is_managed_and_of_the_same_organisation() {
    let world = world();
    let (home, abroad) = (world.namespace("home", &[GATE]), world.namespace("abroad", &[]));
    let far =
        |script: &str| json!({"namespace": abroad, "events": "pre-upgrade,pre-rollback", "script": script});
    let hooks = json!({"far": far("echo from afar"), "waits": far(WAITS)});
    let release = world.release("shop", &home, &json!({"hooks": hooks}));
    let name = world.operation(&release, "far", json!({}));

    let told = message(&world.blocked(&home, &name, "NamespaceNotManaged"), "Blocked");
    for word in
        [&format!("the hook \"shop-far\" puts it into the namespace {abroad}"), GATE, "value namespaces"]
    {
        assert!(told.contains(word), "{told}");
    }
    world.label_namespace(&abroad, "managed-by", "vworkspace");
    let is_of_another = |it: &Value| message(it, "Blocked").contains("organisation");
    let waiting = world.until(&home, &name, "refused for the organisation", is_of_another);
    assert_eq!(e2e::says(&waiting, "Blocked"), "True/NamespaceNotManaged", "{waiting:#}");
    organise(world, &[&home, &abroad]);
    let missing = world.blocked(&home, &name, "DependencyMissing");
    let told = message(&missing, "Blocked");
    assert!(
        told.contains(&format!("in the namespace \"{abroad}\"")),
        "what it needs is needed there: {told}"
    );
    assert!(world.list(&abroad, "jobs", "").is_empty() && world.list(&home, "jobs", "").is_empty());

    // A policy of the namespace is asked, wherever Operation and release are.
    let denies = policy(&abroad, "hook-allowlist", json!({"settings": {"anyDestructiveEvent": true}}));
    furnish(world, &abroad, "shop");
    let denied = world.phase(&home, &name, "Failed");
    assert!(message(&denied, "Failed").contains(&denies), "{denied:#}");
    world.delete("", &format!("hookpolicy/{denies}"), None);
    world.until_gone("", &format!("hookpolicy/{denies}"));

    // As a person runs it, who sees its log.
    let mut run = Command::new(hookhost());
    run.args(["run", "shop-far", "--target", "shop", "--namespace", &home, "--kubeconfig"]);
    let output = run.arg(world.cluster.kubeconfig()).args(["--name", "by-hand"]).output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("from afar"), "{said}");
    let done = world.phase(&home, "by-hand", "Succeeded");
    assert_eq!(done["status"]["engineRef"]["namespace"], json!(abroad));
    let job = world.get(&abroad, &job_of(&done)).expect("the Job is where its manifest says");
    assert!(job["metadata"]["ownerReferences"].is_null(), "{job:#}");
    assert!(world.list(&home, "jobs", "").is_empty());

    // Nobody but hookhost would end the Job of a deleted Operation there.
    let slow = world.operation(&release, "waits", json!({}));
    let running = world.phase(&home, &slow, "Running");
    world.delete(&home, &format!("operation/{slow}"), None);
    world.until_gone(&abroad, &job_of(&running));

    // Nor does the namespace hang in whose middle a hook runs.
    let last = world.operation(&release, "waits", json!({}));
    world.phase(&home, &last, "Running");
    world.delete("", &format!("namespace/{abroad}"), None);
    world.until_gone("", &format!("namespace/{abroad}"));
    // Which of the two is heard of first is the cluster's business.
    let lost = world.phase(&home, &last, "Failed");
    let reason = e2e::says(&lost, "Failed");
    assert!(["True/NamespaceDeleted", "True/ExternalDeletion"].contains(&&reason[..]), "{lost:#}");
}

#[test]
fn what_flux_applies_as_an_account_runs_in_another_namespace_only_if_that_account_could_create_it_there() {
    let world = world();
    let (home, abroad) = (world.namespace("tenant-home", &[GATE]), world.namespace("tenant-abroad", &[GATE]));
    organise(world, &[&home, &abroad]);
    let release = Release::new(&home, "shop");
    let role = tenant(world, &home);
    role("tenant", "", &["configmaps", "secrets", "serviceaccounts"]);
    role("tenant-jobs", "batch", &["jobs"]);
    // Flux only stores a hook of pre-delete: that it is there does not say that the account may create it.
    let hooks = json!({"ends": {"namespace": abroad, "events": "pre-delete", "script": "echo ended"}});
    helm_release(world, &release, json!({"serviceAccountName": "tenant", "values": {"hooks": hooks}}));
    world.ready(&release);
    furnish(world, &abroad, "shop");
    let name = by_helm_release(world, &release, "ends");
    let told = message(&world.blocked(&home, &name, "ApplierForbidden"), "Blocked");
    for word in ["may not create jobs.batch", &abroad, "spec.serviceAccountName"] {
        assert!(told.contains(word), "{told}");
    }
    assert!(world.list(&abroad, "jobs", "").is_empty());
    let rules = json!([{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create"]}]);
    let rbac = "rbac.authorization.k8s.io";
    for (kind, rest) in [
        ("Role", json!({"rules": rules})),
        (
            "RoleBinding",
            json!({"roleRef": {"apiGroup": rbac, "kind": "Role", "name": "tenant-jobs"},
                "subjects": [{"kind": "ServiceAccount", "name": "tenant", "namespace": home}]}),
        ),
    ] {
        let mut object =
            json!({"apiVersion": format!("{rbac}/v1"), "kind": kind, "metadata": {"name": "tenant-jobs"}});
        object.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        world.apply(&abroad, &object);
    }
    world.phase(&home, &name, "Succeeded");
}

/// The gate of the host that serves plain releases, and lets none of their hooks into another namespace.
const STRICT: &str = "e2e=elsewhere-strict";

/// The gate of the host that lets them.
const LENIENT: &str = "e2e=elsewhere-lenient";

fn plain(gate: &str, is_lenient: bool) -> Host {
    let values = json!({
        "namespaceGate": gate, "helmReleases": {"enabled": true}, "allowUnverifiedTestHooks": true,
        "organisationLabel": "vworkspace.io/organisation", "allowUnverifiedNamespaces": is_lenient,
        "closure": {"enabled": true, "grantAnyRole": true},
    });
    world().host(values).start()
}

fn lenient() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| plain(LENIENT, true))
}

/// A namespace for a release, and one for its hooks, of one organisation.
fn two(gate: &str) -> (String, String) {
    let world = world();
    let (home, abroad) = (world.namespace("mine", &[gate]), world.namespace("theirs", &[gate]));
    organise(world, &[&home, &abroad]);
    (home, abroad)
}

/// A Job hook in a namespace.
fn far(name: &str, namespace: &str, script: &str) -> Value {
    let mut job = job(name, script, json!({}));
    job["metadata"]["namespace"] = json!(namespace);
    job
}

#[test]
fn who_can_write_secrets_in_one_namespace_has_nothing_run_in_another_of_the_organisation() {
    let world = world();
    let _host = plain(STRICT, false);
    let (mine, theirs) = two(STRICT);
    // A release that nobody installed, whose hook would read what is theirs.
    let mut thief = far("thief", &theirs, "cat /theirs/*");
    thief["spec"]["template"]["spec"]["volumes"] = json!([{"name": "s", "secret": {"secretName": "theirs"}}]);
    world.apply(&theirs, &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "theirs"}}));
    // Wherever it says it is: a namespace that is not there, one that is not managed, one of theirs.
    for (name, namespace) in [("thief", &theirs[..]), ("no-such", "no-such"), ("system", "kube-system")] {
        let mut hook = thief.clone();
        hook["metadata"]["name"] = json!(name);
        hook["metadata"]["namespace"] = json!(namespace);
        let release = store(&mine, name, &[(hook, 0, false)]);
        for parameters in [json!({"hookName": name}), json!({"event": "pre-upgrade"})] {
            let asked = operation(world, &release, parameters);
            let told = message(&world.blocked(&mine, &asked, "HookNotVerified"), "Blocked");
            for word in
                ["no digest of Flux covers a plain Helm release", namespace, "--allow-unverified-namespaces"]
            {
                assert!(told.contains(word), "{told}");
            }
            world.delete(&mine, &format!("operation/{asked}"), None);
        }
    }
    // Nor has a test hook of a release that Flux vouches for: that may have been put into its record.
    let flux = Release::new(&mine, "shop");
    let hooks = json!({"probe": {"namespace": theirs, "events": "test", "script": "true"}});
    helm_release(world, &flux, json!({"values": {"hooks": hooks}}));
    world.ready(&flux);
    furnish(world, &theirs, "shop");
    let asked = by_helm_release(world, &flux, "probe");
    let told = message(&world.blocked(&mine, &asked, "HookNotVerified"), "Blocked");
    assert!(told.contains("does not cover test hooks") && told.contains(&theirs), "{told}");
    // And to one that it vouches for no namespace can be given.
    let secret = "secret/sh.helm.release.v1.shop.v1";
    let stored = world.get(&mine, secret).unwrap();
    let forged = crate::preconditions::forged(
        &stored,
        "name: shop-ok\\n",
        &format!("name: shop-ok\\n  namespace: {theirs}\\n"),
    );
    world.patch(&mine, secret, &json!({"data": {"release": forged}}));
    let asked = by_helm_release(world, &flux, "ok");
    world.refused(&mine, &asked, "ReleaseTampered");
    assert!(world.list(&theirs, "jobs", "").is_empty() && world.list(&theirs, "pods", "").is_empty());
}

#[test]
fn where_that_is_allowed_an_event_runs_its_hooks_in_their_namespaces_with_what_each_needs_there() {
    let world = world();
    lenient();
    let (home, abroad) = two(LENIENT);
    let account = |namespace: &str| {
        json!({"apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": "migrate", "namespace": namespace, "annotations": {"helm.sh/hook": "pre-upgrade"}}})
    };
    let with_account = |mut job: Value| {
        job["spec"]["template"]["spec"]["serviceAccountName"] = json!("migrate");
        job
    };
    let hooks = [
        (account(&home), -5, true),
        (account(&abroad), -5, true),
        (with_account(far("near", "", "echo near")), 0, false),
        (with_account(far("far", &abroad, WAITS)), 1, false),
        (far("again", "", "echo near again"), 2, false),
    ];
    let release = store(&home, "both", &hooks);
    let name = operation(world, &release, json!({"event": "pre-upgrade", "closure": true}));
    let is_second = |it: &Value| it["status"]["outputs"]["hooks"][1]["phase"] == "Running";
    let running = world.until(&home, &name, "at its second hook", is_second);
    assert_eq!(running["status"]["outputs"]["hooks"][1]["jobNamespace"], json!(abroad), "{running:#}");
    assert!(running["status"]["outputs"]["hooks"][0]["jobNamespace"].is_null(), "{running:#}");
    assert_eq!(running["status"]["engineRef"]["namespace"], json!(abroad), "{running:#}");
    let owner = |namespace: &str| {
        let account = world.get(namespace, "serviceaccount/migrate").expect("it is there for the event");
        account["metadata"]["ownerReferences"][0]["name"].as_str().unwrap().to_owned()
    };
    assert!(owner(&home).ends_with("-1") && owner(&abroad).ends_with("-2"));
    let pod = running["status"]["logsRef"]["name"].as_str().unwrap();
    world.until_object(&abroad, &format!("pod/{pod}"), "running", |it| it["status"]["phase"] == "Running");
    world.go(&abroad, pod);
    let done = world.phase(&home, &name, "Succeeded");
    assert!(rows(&done).iter().all(|(_, phase)| phase == "Succeeded"), "{done:#}");
    for namespace in [&home, &abroad] {
        world.until_gone(namespace, "serviceaccount/migrate");
        for job in world.of_operation(namespace, "jobs", &done) {
            let job = format!("job/{}", job["metadata"]["name"].as_str().unwrap());
            world.until_object(namespace, &job, "let go", |job| job["metadata"]["finalizers"].is_null());
        }
    }

    // A cancellation ends it where it runs, and leaves nothing in either.
    let name = operation(world, &release, json!({"event": "pre-upgrade", "closure": true}));
    world.until(&home, &name, "at its second hook", is_second);
    world.cancel(&home, &name);
    let cancelled = world.phase(&home, &name, "Cancelled");
    for namespace in [&home, &abroad] {
        world.until_gone(namespace, "serviceaccount/migrate");
    }
    let running = |job: &Value| job["status"]["active"].as_i64().unwrap_or_default() > 0;
    assert!(!world.of_operation(&abroad, "jobs", &cancelled).iter().any(running));
}

#[test]
fn a_namespace_in_which_a_later_hook_waits_goes_while_an_earlier_one_runs() {
    let world = world();
    lenient();
    let (home, abroad) = two(LENIENT);
    let hooks = [(far("first", "", WAITS), 0, false), (far("second", &abroad, "true"), 1, false)];
    let release = store(&home, "leaves", &hooks);
    let name = operation(world, &release, json!({"event": "pre-upgrade"}));
    let pod = world.started(&home, &name);
    let operation = world.get(&home, &format!("operation/{name}")).unwrap();
    assert_eq!(world.of_operation(&abroad, "jobs", &operation).len(), 1, "it waits for its turn");
    // The run would last for as long as nobody lets it end.
    world.delete("", &format!("namespace/{abroad}"), None);
    world.until_gone("", &format!("namespace/{abroad}"));
    let ended = world.phase(&home, &name, "Failed");
    let told = message(&ended, "Failed");
    assert!(told.contains("is being deleted"), "{told}");
    world.until_gone(&home, &format!("pod/{pod}"));
}

#[test]
fn of_hooks_of_one_name_the_one_in_the_releases_namespace_runs_unless_another_is_named() {
    let world = world();
    lenient();
    let (home, abroad) = two(LENIENT);
    let hooks = [(far("twin", &abroad, "echo far"), 0, false), (far("twin", "", "echo near"), 0, false)];
    let release = store(&home, "twins", &hooks);
    for (parameters, namespace, log) in [
        (json!({"hookName": "twin"}), &home, "near\n"),
        (json!({"hookName": "twin", "hookNamespace": abroad}), &abroad, "far\n"),
    ] {
        let name = operation(world, &release, parameters);
        let done = world.phase(&home, &name, "Succeeded");
        assert_eq!(done["status"]["engineRef"]["namespace"], json!(namespace), "{done:#}");
        let pod = done["status"]["logsRef"]["name"].as_str().unwrap();
        assert_eq!(world.pod_log(namespace, pod), log);
    }
    let name = operation(world, &release, json!({"hookName": "twin", "hookNamespace": "nowhere"}));
    let told = world.refused(&home, &name, "HookNotFound");
    assert!(told.contains(&format!("namespace {abroad}")), "{told}");
}

#[test]
fn a_job_with_nothing_to_complete_succeeds_without_a_pod_as_with_helm() {
    let world = world();
    lenient();
    let (home, _) = two(LENIENT);
    let empty = |name: &str| {
        let mut empty = job(name, "echo never", json!({}));
        empty["spec"]["completions"] = json!(0);
        empty
    };
    let mut with_account = empty("with-account");
    with_account["spec"]["template"]["spec"]["serviceAccountName"] = json!("migrate");
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "migrate", "annotations": {"helm.sh/hook": "pre-upgrade"}}});
    let alone = store(&home, "alone", &[(empty("empty"), 0, false)]);
    let lent = store(&home, "lent", &[(account, -5, true), (with_account, 0, false)]);
    let event = store(
        &home,
        "event",
        &[
            (empty("first"), 0, false),
            (job("second", "echo second", json!({})), 1, false),
            (empty("third"), 2, false),
        ],
    );
    for (release, parameters) in [
        (&alone, json!({"hookName": "empty"})),
        // Created suspended, until what it needs is there; and until it is its turn.
        (&lent, json!({"hookName": "with-account", "closure": true})),
        (&event, json!({"event": "pre-upgrade"})),
    ] {
        let name = operation(world, release, parameters);
        let done = world.phase(&home, &name, "Succeeded");
        let pods = world.of_operation(&home, "pods", &done);
        let expected = if release.name == "event" { 1 } else { 0 };
        assert_eq!(pods.len(), expected, "{done:#}");
        if release.name == "event" {
            assert!(rows(&done).iter().all(|(_, phase)| phase == "Succeeded"), "{done:#}");
        } else {
            assert!(done["status"]["outputs"]["completionTime"].is_string(), "{done:#}");
            assert!(done["status"]["logsRef"].is_null(), "{done:#}");
        }
        for job in world.of_operation(&home, "jobs", &done) {
            let job = format!("job/{}", job["metadata"]["name"].as_str().unwrap());
            world.until_object(&home, &job, "let go", |job| job["metadata"]["finalizers"].is_null());
        }
    }
    world.until_gone(&home, "serviceaccount/migrate");
}
