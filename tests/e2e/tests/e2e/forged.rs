//! Whoever may create Jobs and pods has no say in the runs of others: not with any Job in another organisation's namespace, nor with a
//! copy of a Job that counts other pods.

use e2e::{GATE, Release, WAITS, World, says, world};
use hookhost_core::clone::job_names;
use kube::api::PropagationPolicy;
use serde_json::{Value, json};

use crate::claims::forged;

fn release(world: &World) -> Release {
    let namespace = world.namespace("victim", &[GATE]);
    world.release("shop", &namespace, &json!({"hooks": {"waits": {"script": WAITS}}}))
}

/// Makes an Operation that waits, and in another namespace a Job with the name that its own would have there.
fn beside(world: &World, release: &Release, hook: &str, finalizers: Value) -> (String, String, String) {
    let evil = world.namespace("evil", &[GATE]);
    world.instance_status(release, false);
    let name = world.operation(release, hook, json!({}));
    let operation = world.blocked(&release.namespace, &name, "TargetNotReady");
    let job = job_names(&name, operation["metadata"]["uid"].as_str().unwrap(), false, None);
    let job = job.into_iter().next().unwrap();
    let mut copy = forged(&operation, &evil, &job, "sleep 3600");
    copy["metadata"]["finalizers"] = finalizers;
    world.apply(&evil, &copy);
    (name, evil, job)
}

#[test]
fn a_job_in_another_organisations_namespace_keeps_no_operation_from_its_end_and_no_hook_from_running() {
    let world = world();
    let release = release(world);
    let namespace = &release.namespace;
    let (name, evil, job) = beside(world, &release, "waits", json!(["hookhost.vworkspace.io/result"]));
    world.cancel(namespace, &name);
    let cancelled = world.phase(namespace, &name, "Cancelled");
    assert!(cancelled["status"]["engineRef"].is_null(), "{cancelled:#}");
    world.instance_status(&release, true);
    let next = world.operation(&release, "waits", json!({}));
    let pod = world.started(namespace, &next);
    world.go(namespace, &pod);
    world.phase(namespace, &next, "Succeeded");
    // Nor does hookhost's finalizer stay on it.
    world.until_object(&evil, &format!("job/{job}"), "released", |job| {
        job["metadata"]["finalizers"].is_null()
    });
}

#[test]
fn a_job_and_a_pod_in_another_organisations_namespace_are_not_reported_as_a_run() {
    let world = world();
    let release = release(world);
    let (name, evil, job) = beside(world, &release, "missing", json!(["example.com/keep"]));
    let job = format!("job/{job}");
    world.delete(&evil, &job, Some(PropagationPolicy::Orphan));
    world.until_object(&evil, &job, "being deleted", |job| job["metadata"]["deletionTimestamp"].is_string());
    world.instance_status(&release, true);
    world.refused(&release.namespace, &name, "HookNotFound");
    world.patch(&evil, &job, &json!({"metadata": {"finalizers": null}}));
}

#[test]
fn a_copy_of_a_job_that_counts_other_pods_is_not_the_run() {
    let world = world();
    let release = release(world);
    let namespace = &release.namespace;
    let name = world.operation(&release, "waits", json!({}));
    let pod = world.started(namespace, &name);
    let container = json!({"name": "main", "image": "localhost/busybox:1", "command": ["true"]});
    world.apply(
        namespace,
        &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "fake", "labels": {"app": "fake"}},
        "spec": {"restartPolicy": "Never", "containers": [container]}}),
    );
    world.until_object(namespace, "pod/fake", "done", |pod| pod["status"]["phase"] == "Succeeded");
    let job = format!("job/{name}");
    let genuine = world.get(namespace, &job).unwrap();
    let metadata = &genuine["metadata"];
    let mut copy = json!({"apiVersion": "batch/v1", "kind": "Job", "spec": genuine["spec"], "metadata": {
        "name": name, "labels": metadata["labels"], "annotations": metadata["annotations"], "ownerReferences": metadata["ownerReferences"]}});
    copy["spec"]["manualSelector"] = json!(true);
    copy["spec"]["selector"] = json!({"matchLabels": {"app": "fake"}});
    copy["spec"]["template"]["metadata"]["labels"] = json!({"app": "fake"});
    // Without the label no watch reports what becomes of it.
    world.patch(namespace, &job, &json!({"metadata": {"labels": {"ops.vworkspace.io/operation": null}}}));
    world.patch(namespace, &job, &json!({"metadata": {"finalizers": null}}));
    world.delete(namespace, &job, Some(PropagationPolicy::Orphan));
    world.until_gone(namespace, &job);
    world.apply(namespace, &copy);
    world.until_object(namespace, &job, "complete", |job| {
        job["status"]["conditions"].as_array().into_iter().flatten().any(|one| one["type"] == "Complete")
    });
    let is_blocked = |it: &Value| says(it, "Blocked") == "True/ClaimInvalid";
    let blocked = world.until(namespace, &name, "blocked by the copy", is_blocked);
    assert!(blocked["status"]["finishedAt"].is_null(), "{blocked:#}");
    world.delete(namespace, &job, Some(PropagationPolicy::Background));
    world.go(namespace, &pod);
    world.phase(namespace, &name, "Failed");
}
