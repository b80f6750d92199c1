//! A Job that somebody else suspends, as a queue of Jobs does.

use e2e::{GATE, PATIENCE, WAITS, World, condition, message, ok, says, world};
use serde_json::{Value, json};

fn suspend(world: &World, namespace: &str, job: &str, suspend: bool) {
    world.patch(namespace, &format!("job/{job}"), &json!({"spec": {"suspend": suspend}}));
}

fn is_reported(operation: &Value) -> bool {
    says(operation, "Running") == "False/HelmHookJobSuspended"
}

#[test]
fn a_run_that_is_suspended_is_reported_so_and_goes_on_when_it_is_resumed() {
    let world = world();
    let nowhere = json!({"nodeSelector": {"no-such": "node"}});
    let values =
        json!({"hooks": {"waits": {"script": WAITS}, "unplaced": {"pod": nowhere, "script": "true"}}});
    let namespace = &world.namespace("queued", &[GATE]);
    let release = &world.release("queued", namespace, &values);

    let name = world.operation(release, "waits", json!({}));
    world.started(namespace, &name);
    suspend(world, namespace, &name, true);
    let operation = world.until(namespace, &name, "suspended", is_reported);
    assert_eq!(operation["status"]["phase"], "Pending");
    let told = message(&operation, "Running");
    assert!(told.contains("suspended") && told.contains("JobSuspended: Job suspended"), "{told}");
    let job = world.until_object(namespace, &format!("job/{name}"), "suspended", |job| {
        condition(job, "Suspended")["status"] == "True"
    });
    assert_eq!(job["spec"]["suspend"], true, "hookhost does not resume what it did not suspend");
    suspend(world, namespace, &name, false);
    let is_active = |it: &Value| it["status"]["active"] == 1;
    world.until_object(namespace, &format!("job/{name}"), "at work again", is_active);
    world.until(namespace, &name, "running", |it| says(it, "Running") == "True/HelmHookJobActive");
    world.cancel(namespace, &name);
    world.phase(namespace, &name, "Cancelled");

    // Before its pod could start.
    let name = world.operation(release, "unplaced", json!({}));
    world.until(namespace, &name, "with a Job", |it| it["status"]["engineRef"]["name"].is_string());
    suspend(world, namespace, &name, true);
    world.until(namespace, &name, "suspended", is_reported);
    world.cancel(namespace, &name);
    world.phase(namespace, &name, "Cancelled");
}

/// Lets admission suspend each Job of the namespace as it is created, as the webhook of a queue does. It is in force once a Job is
/// answered so.
fn suspend_at_creation(world: &World, namespace: &str) {
    let kind = |kind: &str, spec: Value| json!({"apiVersion": "admissionregistration.k8s.io/v1beta1", "kind": kind, "metadata": {"name": namespace}, "spec": spec});
    let rules = json!([{"apiGroups": ["batch"], "apiVersions": ["v1"], "resources": ["jobs"], "operations": ["CREATE"]}]);
    let spec = json!({
        "failurePolicy": "Fail", "reinvocationPolicy": "Never", "matchConstraints": {"resourceRules": rules},
        "mutations": [{
            "patchType": "ApplyConfiguration",
            "applyConfiguration": {"expression": "Object{spec: Object.spec{suspend: true}}"},
        }],
    });
    world.apply("", &kind("MutatingAdmissionPolicy", spec));
    let here = json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}});
    world.apply(
        "",
        &kind("MutatingAdmissionPolicyBinding", json!({"policyName": namespace, "matchResources": here})),
    );
    let probe = [
        "create",
        "job",
        "probe",
        "--image=none",
        "--dry-run=server",
        "--namespace",
        namespace,
        "--output=jsonpath={.spec.suspend}",
    ];
    let is_suspended = || world.cluster.kubectl(&probe).is_ok_and(|answer| answer.trim() == "true");
    ok(world.cluster.eventually("the policy is in force", PATIENCE, || is_suspended().then_some(())));
}

#[test]
fn a_run_that_a_queue_suspends_as_it_is_created_is_reported_so_and_runs_when_it_is_resumed() {
    let world = world();
    let namespace = &world.namespace("admitted", &[GATE]);
    let release = &world.release("admitted", namespace, &json!({}));
    suspend_at_creation(world, namespace);
    let name = world.operation(release, "ok", json!({}));
    let operation = world.until(namespace, &name, "suspended", is_reported);
    assert_eq!(operation["status"]["phase"], "Pending");
    assert!(world.of_operation(namespace, "pods", &operation).is_empty());
    suspend(world, namespace, &name, false);
    world.phase(namespace, &name, "Succeeded");
    for kind in ["mutatingadmissionpolicybinding", "mutatingadmissionpolicy"] {
        world.delete("", &format!("{kind}/{namespace}"), None);
    }
}
