//! A pod that still runs is the run, though its Job was deleted without it (`kubectl delete job --cascade=orphan`, the API's default
//! where a client says nothing).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use e2e::{GATE, PATIENCE, Release, WAITS, World, message, ok, says, world};
use kube::api::PropagationPolicy;
use serde_json::{Value, json};

fn release(prefix: &str, gate: &str) -> Release {
    let world = world();
    let namespace = world.namespace(prefix, &[gate]);
    world.release("shop", &namespace, &json!({"hooks": {"waits": {"script": WAITS}}}))
}

/// Starts the hook and deletes its Job without its pod; gives back the Operation's name and the pod's, which has no owner now.
fn orphaned(world: &World, release: &Release) -> (String, String) {
    let namespace = &release.namespace;
    let name = world.operation(release, "waits", json!({}));
    let pod = world.started(namespace, &name);
    world.delete(namespace, &format!("job/{name}"), Some(PropagationPolicy::Orphan));
    world.until_object(namespace, &format!("pod/{pod}"), "without an owner", |pod| {
        pod["metadata"]["ownerReferences"].as_array().is_none_or(Vec::is_empty)
    });
    (name, pod)
}

#[test]
fn a_pod_that_is_left_without_its_job_is_the_run_until_it_has_ended() {
    let world = world();
    let release = release("orphaned", GATE);
    let namespace = &release.namespace;
    let (name, pod) = orphaned(world, &release);
    let deleted = Instant::now();
    let is_told = |it: &Value| {
        message(it, "Running").contains(&format!("the Job was deleted, but its pod {pod} has not ended"))
    };
    let operation = world.until(namespace, &name, "told that its pod still runs", is_told);
    assert_eq!(operation["status"]["phase"], "Running");
    // It has the hook's turn.
    let next = world.operation(&release, "waits", json!({}));
    world.blocked(namespace, &next, "ConflictingOperation");
    assert_eq!(world.list(namespace, "pods", "ops.vworkspace.io/operation").len(), 1, "one run at a time");

    // Kubernetes tells times in whole seconds: within one, nobody knows what was first.
    let is_later = || (deleted.elapsed() > Duration::from_secs(1)).then_some(());
    ok(world.cluster.eventually("its end is seen to be later", PATIENCE, is_later));
    world.go(namespace, &pod);
    let operation = world.phase(namespace, &name, "Failed");
    assert_eq!(says(&operation, "Cancelled"), "True/ExternalDeletion");
    let told = message(&operation, "Failed");
    assert!(told.contains(&format!("The pod {pod} went on without it and ended with exit code 0")), "{told}");
    world.until_gone(namespace, &format!("job/{name}"));
    let second = world.started(namespace, &next);
    world.go(namespace, &second);
    world.phase(namespace, &next, "Succeeded");
}

#[test]
fn a_job_that_is_deleted_before_its_operation_reports_it_is_not_created_again() {
    let world = world();
    let release = release("unreported", GATE);
    let namespace = release.namespace.clone();
    let name = format!("unreported-{}", world.number());
    let operation = world.operation_named(&name, &release, "waits", json!({}));
    let (job, is_over) = (format!("job/{name}"), AtomicBool::new(false));
    std::thread::scope(|scope| {
        // As long as somebody writes the Operation all the time, hookhost's own write is a conflict.
        let writing = || {
            for n in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let patch = json!({"metadata": {"annotations": {"e2e": n.to_string()}}});
                world.patch(&namespace, &format!("operation/{name}"), &patch);
            }
        };
        world.apply(&namespace, &operation);
        let writers: Vec<_> = (0..3).map(|_| scope.spawn(writing)).collect();
        let pod = || world.list(&namespace, "pods", &format!("job-name={name}")).pop();
        ok(world.cluster.eventually("it runs", PATIENCE, || {
            pod().filter(|pod| pod["status"]["phase"] == "Running").map(drop)
        }));
        world.patch(&namespace, &job, &json!({"metadata": {"finalizers": null}}));
        world.delete(&namespace, &job, Some(PropagationPolicy::Background));
        ok(world.cluster.eventually("its pod is gone", PATIENCE, || pod().is_none().then_some(())));
        is_over.store(true, Ordering::Relaxed);
        writers.into_iter().for_each(|writer| ok(writer.join().map_err(|_| "a writer panicked")));
    });
    let operation = world.phase(&namespace, &name, "Failed");
    assert_eq!(says(&operation, "Cancelled"), "True/ExternalDeletion");
    let created = world.requests(&namespace).into_iter().filter(|one| one.starts_with("create jobs/"));
    assert_eq!(created.count(), 1, "the hook ran once");
}

#[test]
fn a_pod_that_is_left_without_its_job_is_stopped_when_the_run_is_cancelled() {
    let world = world();
    let release = release("left", GATE);
    let namespace = &release.namespace;
    let (name, pod) = orphaned(world, &release);
    world.cancel(namespace, &name);
    world.until_gone(namespace, &format!("pod/{pod}"));
    world.phase(namespace, &name, "Cancelled");
    world.until_gone(namespace, &format!("job/{name}"));

    // The same where the Operation is deleted.
    let (name, pod) = orphaned(world, &release);
    world.delete(namespace, &format!("operation/{name}"), None);
    world.until_gone(namespace, &format!("pod/{pod}"));
    world.until_gone(namespace, &format!("job/{name}"));
}

#[test]
fn a_host_that_starts_anew_knows_the_pod_that_was_left_without_its_job() {
    let world = world();
    // A gate of its own: the shared host must not help.
    let gate = "e2e=remains";
    let release = release("remains", gate);
    let namespace = &release.namespace;
    // The second need not wait until the lease of the first, which is killed, lapses.
    let host = || world.host(json!({"namespaceGate": gate})).without_lease().start();
    let mut first = host();
    let name = world.operation(&release, "waits", json!({}));
    let pod = world.started(namespace, &name);
    first.kill();
    world.delete(namespace, &format!("job/{name}"), Some(PropagationPolicy::Orphan));
    world.until_object(namespace, &format!("pod/{pod}"), "without an owner", |pod| {
        pod["metadata"]["ownerReferences"].as_array().is_none_or(Vec::is_empty)
    });
    let _second = host();
    let is_told = |it: &Value| message(it, "Running").contains("has not ended");
    world.until(namespace, &name, "told that its pod still runs", is_told);
    let next = world.operation(&release, "waits", json!({}));
    world.blocked(namespace, &next, "ConflictingOperation");
    world.go(namespace, &pod);
    let operation = world.phase(namespace, &name, "Failed");
    assert_eq!(says(&operation, "Cancelled"), "True/ExternalDeletion");
    // Nobody saw whose it was: what it ended with is not told as the run's.
    assert!(operation["status"]["outputs"]["exitCode"].is_null(), "{operation:#}");
    let second = world.started(namespace, &next);
    world.go(namespace, &second);
    world.phase(namespace, &next, "Succeeded");
}
