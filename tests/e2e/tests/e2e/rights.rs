//! hookhost loses its rights in a namespace in the middle of a run: the namespace is deleted, its RoleBinding, its label, its entry
//! in the chart's values. It is installed by its chart here, with its own account: an administrator would lose nothing.
//!
//! Whatever happens, the result is told, or that it is lost, and everything can be deleted.

use std::sync::{Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use e2e::{PATIENCE, Release, WAITS, World, condition, message, ok, says, world};
use hookhost_core::keys::FINALIZER;
use serde_json::{Value, json};
use testbed::Helm;

use crate::event;
use crate::installed::Installed;

/// The gate of the namespaces here.
const GATE: &str = "e2e=rights";

/// Hooks that run when a namespace is deleted.
const HOOKS: usize = 10;

/// How long a deleted namespace may stay.
const SOON: Duration = Duration::from_secs(30);

/// How often a namespace is deleted, unless this variable says more: `cargo xtask bench hostile` has it done 20 times, by itself.
const ROUNDS: usize = 3;
const ROUNDS_VARIABLE: &str = "HOOKHOST_E2E_NAMESPACES";

/// Namespaces for the other tests.
const OTHERS: usize = 10;

/// How long a deleted namespace with runs in it may stay: when this test runs by itself, as who sets the variable does. Beside
/// all others it competes with their pods.
fn soon() -> Duration {
    if std::env::var_os(ROUNDS_VARIABLE).is_some() { SOON } else { 3 * SOON }
}

fn rounds() -> usize {
    std::env::var(ROUNDS_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS)
}

/// hookhost, and the namespaces in which the chart has given it its rights and that no test has used yet.
struct Shared {
    installed: Installed,
    namespaces: Mutex<Vec<String>>,
    /// Held by who needs the same pods until its end; written by who starts others.
    restarts: RwLock<()>,
}

fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let namespaces: Vec<String> =
            (0..rounds() + OTHERS).map(|_| world().namespace("rights", &[GATE])).collect();
        let names: Vec<&str> = namespaces.iter().map(String::as_str).collect();
        let installed = Installed::new(Helm::Three, "hookhost-rights", GATE, &names, 1);
        Shared { installed, namespaces: Mutex::new(namespaces), restarts: RwLock::new(()) }
    })
}

/// A release in a namespace of its own, in which hookhost has its rights.
fn release() -> Release {
    let namespace = shared().namespaces.lock().unwrap().pop();
    waiting_release(&namespace.expect("more namespaces are wanted than there are"))
}

/// A release in this namespace, whose hooks wait.
fn waiting_release(namespace: &str) -> Release {
    let values = json!({"hooks": {"waits": {"script": WAITS, "spares": HOOKS}}});
    world().release("shop", namespace, &values)
}

/// Starts a hook that waits; gives back the Operation's name and the pod's.
fn started(world: &World, release: &Release) -> (String, String) {
    let name = world.operation(release, "waits", json!({}));
    let pod = world.started(&release.namespace, &name);
    (name, pod)
}

/// Ends hookhost as Kubernetes does, and waits until another has taken its place.
fn restart(installed: &Installed) {
    let _alone = shared().restarts.write().unwrap_or_else(PoisonError::into_inner);
    let former = installed.leader();
    for pod in installed.pods() {
        installed.kubectl(&["delete", "pod", &pod, "--wait=false", "--ignore-not-found"]);
    }
    installed.leader_after(&former);
}

/// Deletes a namespace; gives back how long it took to go.
fn delete_namespace(world: &World, namespace: &str) -> Duration {
    // Flux would install its release again as long as it can, and its finalizer waits for that.
    world.patch(namespace, "helmrelease/shop", &json!({"metadata": {"finalizers": null}}));
    let begun = Instant::now();
    world.delete("", &format!("namespace/{namespace}"), None);
    world.until_gone("", &format!("namespace/{namespace}"));
    begun.elapsed()
}

fn is_done(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty)
}

fn binding() -> String {
    format!("rolebinding/{}", shared().installed.name)
}

/// A few times in a test run; all 20 with `cargo xtask bench hostile`, or with HOOKHOST_E2E_NAMESPACES=20.
#[test]
fn a_namespace_that_is_deleted_while_ten_hooks_run_is_gone_within_half_a_minute() {
    let world = world();
    let mut times = Vec::new();
    for _ in 0..rounds() {
        let release = release();
        let namespace = &release.namespace;
        let operations: Vec<String> = (1..=HOOKS)
            .map(|number| world.operation(&release, &format!("waits-spare-{number}"), json!({})))
            .collect();
        for operation in &operations {
            world.started(namespace, operation);
        }
        let jobs = world.list(namespace, "jobs", "ops.vworkspace.io/operation");
        assert!(
            jobs.len() == HOOKS && !jobs.iter().any(is_done),
            "hookhost's finalizer is on each: {jobs:#?}"
        );
        times.push(delete_namespace(world, namespace));
    }
    show(&format!("seconds until a namespace with {HOOKS} runs was gone: {times:.1?}"));
    assert!(times.iter().all(|time| *time < soon()), "{times:?}");
}

#[test]
fn a_run_goes_on_to_its_end_when_the_role_binding_is_deleted_and_nothing_new_is_started() {
    let world = world();
    for is_restarted in [false, true] {
        let release = release();
        let namespace = &release.namespace;
        let (name, pod) = started(world, &release);
        world.delete(namespace, &binding(), None);
        let is_leaving = |it: &Value| it["metadata"]["deletionTimestamp"].is_string();
        world.until_object(namespace, &binding(), "deleted, but still there", is_leaving);
        if is_restarted {
            restart(&shared().installed);
        }
        let next = world.operation(&release, "waits-spare-1", json!({}));
        let blocked = world.blocked(namespace, &next, "AccessForbidden");
        let told = message(&blocked, "Blocked");
        assert!(told.contains("starts nothing new there"), "{told}");

        world.go(namespace, &pod);
        world.phase(namespace, &name, "Succeeded");
        world.until_gone(namespace, &binding());
        world.until_object(namespace, &format!("job/{name}"), "free to go", is_done);
        assert!(delete_namespace(world, namespace) < soon());
    }
}

#[test]
fn a_run_goes_on_to_its_end_when_its_namespace_is_managed_no_more() {
    let world = world();
    for is_restarted in [false, true] {
        let release = release();
        let namespace = &release.namespace;
        let (first, first_pod) = started(world, &release);
        let second = world.operation(&release, "waits-spare-1", json!({}));
        world.started(namespace, &second);
        world.patch("", &format!("namespace/{namespace}"), &json!({"metadata": {"labels": {"e2e": null}}}));
        if is_restarted {
            restart(&shared().installed);
        }
        world.go(namespace, &first_pod);
        world.phase(namespace, &first, "Succeeded");
        world.until_object(namespace, &format!("job/{first}"), "free to go", is_done);
        // The other still runs.
        assert!(delete_namespace(world, namespace) < soon());
    }
}

#[test]
fn an_event_ends_after_the_hook_that_runs_when_hookhost_loses_its_rights_or_its_namespace() {
    let world = world();
    for (is_binding_deleted, reason) in [(true, "AccessForbidden"), (false, "NamespaceNotManaged")] {
        let namespace = &shared().namespaces.lock().unwrap().pop().expect("a namespace for this test");
        let mut values = event::values("");
        // hookhost creates no temporary objects here.
        values["hooks"]["c"].as_object_mut().unwrap().remove("own");
        let release = world.release("shop", namespace, &values);
        let name = event::run(world, &release, json!({}));
        let pod = world.started(namespace, &name);
        if is_binding_deleted {
            world.delete(namespace, &binding(), None);
            let is_leaving = |it: &Value| it["metadata"]["deletionTimestamp"].is_string();
            world.until_object(namespace, &binding(), "deleted, but still there", is_leaving);
        } else {
            let labels = json!({"metadata": {"labels": {"e2e": null}}});
            world.patch("", &format!("namespace/{namespace}"), &labels);
        }
        world.go(namespace, &pod);
        // Nothing holds on to what the administrator takes away: neither the hooks that are left, nor the Jobs that wait for their turn.
        let operation = world.phase(namespace, &name, "Failed");
        assert_eq!(says(&operation, "Failed"), format!("True/{reason}"), "{operation:#}");
        let rows = event::told(["Succeeded", "Skipped", "Skipped", "Skipped"]);
        assert_eq!(event::rows(&operation), rows, "{operation:#}");
        let is_let_go =
            || world.of_operation(namespace, "jobs", &operation).iter().all(is_done).then_some(());
        ok(world.cluster.eventually("its Jobs are free to go", PATIENCE, is_let_go));
        if is_binding_deleted {
            world.until_gone(namespace, &binding());
        }
        assert!(delete_namespace(world, namespace) < soon());
    }
}

#[test]
fn a_run_goes_on_to_its_end_when_the_chart_loses_its_namespace() {
    let world = world();
    // An installation of its own: Helm makes the RoleBindings of all namespaces that are left anew, and others delete theirs.
    let gate = "e2e=chart-loses";
    let [kept, lost] = ["kept", "lost"].map(|prefix| world.namespace(prefix, &[gate]));
    let installed = Installed::new(Helm::Four, "hookhost-loses", gate, &[&kept, &lost], 1);
    let binding = format!("rolebinding/{}", installed.name);
    let release = waiting_release(&lost);
    let (name, pod) = started(world, &release);
    installed.upgrade(&[&format!("namespaces={{{kept}}}")]);
    let is_leaving = |it: &Value| it["metadata"]["deletionTimestamp"].is_string();
    world.until_object(&lost, &binding, "deleted, but still there", is_leaving);
    restart(&installed);
    world.go(&lost, &pod);
    world.phase(&lost, &name, "Succeeded");
    world.until_gone(&lost, &binding);
    world.until_object(&lost, &format!("job/{name}"), "free to go", is_done);
    assert!(delete_namespace(world, &lost) < soon());
    // Nothing keeps what is left from going with the chart.
    ok(world.cluster.helm(
        installed.helm,
        &["uninstall", installed.name, "--namespace", &installed.at, "--timeout=120s"],
    ));
    world.until_gone(&kept, &binding);
}

#[test]
fn jobs_that_anybody_makes_with_hookhosts_marks_keep_neither_its_role_binding_nor_a_namespace() {
    let world = world();
    let forged = |operation: &Value, name: &str| {
        let uid = &operation["metadata"]["uid"];
        json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {
                "name": name, "finalizers": [FINALIZER],
                "labels": {"ops.vworkspace.io/operation": uid, "ops.vworkspace.io/source-hook": "shop-waits"},
                "annotations": {"hookhost.vworkspace.io/unattended": "true"},
            },
            "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [
                {"name": "main", "image": "localhost/busybox:1", "command": ["true"]}]}}},
        })
    };
    for is_of_its_name in [false, true] {
        let release = release();
        let namespace = &release.namespace;
        world.instance_status(&release, false);
        let name = world.operation(&release, "waits", json!({}));
        let operation = world.blocked(namespace, &name, "TargetNotReady");
        let job = if is_of_its_name { name.clone() } else { format!("{name}-too") };
        world.apply(namespace, &forged(&operation, &job));
        if !is_of_its_name {
            world.delete(namespace, &binding(), None);
            world.until_gone(namespace, &binding());
            world.until_object(namespace, &format!("job/{job}"), "free to go", is_done);
        }
        assert!(delete_namespace(world, namespace) < soon());
    }
}

#[test]
fn rights_that_are_gone_at_once_are_told_on_the_operation_and_in_the_log_and_the_result_comes_with_them() {
    let world = world();
    let release = release();
    let namespace = &release.namespace;
    let (name, pod) = started(world, &release);
    let binding = binding();
    let before = world.get(namespace, &binding).unwrap();
    world.patch(namespace, &binding, &json!({"metadata": {"finalizers": null}}));
    world.delete(namespace, &binding, None);
    world.until_gone(namespace, &binding);
    restart(&shared().installed);
    let object = format!("operation/{name}");
    let is_told = |it: &Value| says(it, "Blocked") == "True/AccessForbidden";
    let operation = world.until_object(namespace, &object, "told", is_told);
    assert_eq!(says(&operation, "Running"), "True/HelmHookJobActive", "what was known stays: {operation:#}");
    let told = message(&operation, "Blocked");
    assert!(told.contains(namespace.as_str()) && told.contains("namespaces"), "what to do: {told}");

    world.go(namespace, &pod);
    world.until_object(namespace, &format!("job/{name}"), "complete", |job| {
        condition(job, "Complete")["status"] == "True"
    });
    let again = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": before["metadata"]["name"]}, "roleRef": before["roleRef"], "subjects": before["subjects"],
    });
    world.apply(namespace, &again);
    let operation = world.phase(namespace, &name, "Succeeded");
    assert_eq!(says(&operation, "Blocked"), "False/Unblocked");
    world.until_object(namespace, &format!("job/{name}"), "free to go", is_done);
    assert!(delete_namespace(world, namespace) < soon());
}

#[test]
fn the_job_of_a_deleted_operation_that_may_not_be_removed_is_told_in_the_log() {
    let world = world();
    let release = release();
    let namespace = &release.namespace;
    // From before the run: whoever starts after the rights are gone cannot list the Jobs of the namespace, and knows nothing of this
    // one. Who has started the run has listed them.
    let _no_restart = shared().restarts.read().unwrap_or_else(PoisonError::into_inner);
    let (name, _) = started(world, &release);
    world.patch(namespace, &binding(), &json!({"metadata": {"finalizers": null}}));
    world.delete(namespace, &binding(), None);
    world.until_gone(namespace, &binding());
    world.delete(namespace, &format!("operation/{name}"), None);
    world.until_gone(namespace, &format!("operation/{name}"));
    let installed = &shared().installed;
    let is_told = || {
        // Also what it logged before Kubernetes started it again, as it does with one that has lost its Lease.
        let log: String = installed.pods().iter().map(|pod| installed.logs(pod)).collect();
        let line = log.lines().find(|line| {
            line.contains("cannot remove a Job whose Operation is gone") && line.contains(namespace.as_str())
        });
        line.map(|line| line.contains("\"level\":\"warn\""))
    };
    assert!(ok(world.cluster.eventually("it is told in the log", PATIENCE, is_told)));
    // As the chart's README says.
    world.patch(namespace, &format!("job/{name}"), &json!({"metadata": {"finalizers": null}}));
    assert!(delete_namespace(world, namespace) < soon());
}

#[expect(clippy::print_stderr, reason = "what the test measures")]
fn show(line: &str) {
    eprintln!("{line}");
}
