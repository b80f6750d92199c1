//! A Job that somebody else suspends, as a queue of Jobs does.

use e2e::{GATE, WAITS, World, condition, message, says, world};
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
