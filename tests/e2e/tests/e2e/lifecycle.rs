//! The life of an Operation from its run to its result: cancelled, deleted, its Job taken away, its pods refused, its status
//! overwritten. A result is never lost, and nothing runs twice.

use e2e::{GATE, Release, World, condition, message, says, world};
use kube::api::PropagationPolicy;
use serde_json::{Value, json};

use crate::releases::{complaints, operation_for, special, special_host, upgrade};

/// Starts a hook that does not end by itself; gives back the Operation's name, and the Operation.
fn started(world: &World, release: &Release) -> (String, Value) {
    let name = world.operation(release, &world.spare("slow"), json!({}));
    let has_pod = |it: &Value| it["status"]["phase"] == "Running" && it["status"]["logsRef"].is_object();
    let operation = world.until(&release.namespace, &name, "running in a pod", has_pod);
    (name, operation)
}

/// Waits until neither the Job nor the pod that the Operation told of is there.
fn all_gone(world: &World, namespace: &str, operation: &Value) {
    let text = |pointer: &str| operation.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    world.until_gone(namespace, &format!("job/{}", text("/status/engineRef/name")));
    world.until_gone(namespace, &format!("pod/{}", text("/status/logsRef/name")));
}

#[test]
fn a_running_operation_is_cancelled_by_its_annotation_and_its_pod_ends() {
    let world = world();
    let shop = world.apart(world.shop());
    let (name, running) = started(world, &shop);
    world.cancel(&shop.namespace, &name);
    let operation = world.phase(&shop.namespace, &name, "Cancelled");
    assert_eq!(says(&operation, "Cancelled"), "True/CancelledByUser");
    assert_eq!(condition(&operation, "Running")["status"], "False");
    all_gone(world, &shop.namespace, &running);
}

#[test]
fn an_operation_that_waits_is_cancelled_before_it_has_a_job() {
    let world = world();
    let shop = world.apart(world.shop());
    let upgrade = upgrade(world, &shop, "Running");
    let name = world.operation(&shop, "ok", json!({}));
    world.blocked(&shop.namespace, &name, "ConflictingOperation");
    world.cancel(&shop.namespace, &name);
    let operation = world.phase(&shop.namespace, &name, "Cancelled");
    assert_eq!(says(&operation, "Blocked"), "False/Unblocked");
    // What it waited for comes too late.
    world.patch_status(&shop.namespace, &format!("operation/{upgrade}"), &json!({"phase": "Succeeded"}));
    let next = world.operation(&shop, &world.spare("ok"), json!({}));
    world.phase(&shop.namespace, &next, "Succeeded");
    assert!(world.of_operation(&shop.namespace, "jobs", &operation).is_empty());
}

#[test]
fn an_operation_that_waits_can_be_deleted() {
    let world = world();
    let shop = world.apart(world.shop());
    upgrade(world, &shop, "Running");
    let name = world.operation(&shop, "ok", json!({}));
    world.blocked(&shop.namespace, &name, "ConflictingOperation");
    world.delete(&shop.namespace, &format!("operation/{name}"), None);
    world.until_gone(&shop.namespace, &format!("operation/{name}"));
}

#[test]
fn a_deleted_operation_takes_its_job_and_pod_along() {
    let world = world();
    let shop = world.apart(world.shop());
    let (name, running) = started(world, &shop);
    world.delete(&shop.namespace, &format!("operation/{name}"), None);
    all_gone(world, &shop.namespace, &running);
    world.until_gone(&shop.namespace, &format!("operation/{name}"));
}

#[test]
fn a_deleted_operation_that_another_controller_holds_is_cancelled() {
    let world = world();
    let shop = world.apart(world.shop());
    let (name, running) = started(world, &shop);
    let object = format!("operation/{name}");
    let finalizers = json!({"metadata": {"finalizers": ["ops.vworkspace.io/finalizer"]}});
    world.patch(&shop.namespace, &object, &finalizers);
    world.delete(&shop.namespace, &object, None);
    let operation = world.phase(&shop.namespace, &name, "Cancelled");
    assert_eq!(says(&operation, "Cancelled"), "True/CancelledByUser");
    all_gone(world, &shop.namespace, &running);
    world.patch(&shop.namespace, &object, &json!({"metadata": {"finalizers": null}}));
    world.until_gone(&shop.namespace, &object);
}

#[test]
fn a_job_that_somebody_deletes_is_a_failure_that_says_so() {
    let world = world();
    for how in [PropagationPolicy::Background, PropagationPolicy::Foreground, PropagationPolicy::Orphan] {
        let shop = world.apart(world.shop());
        let (name, running) = started(world, &shop);
        world.delete(&shop.namespace, &format!("job/{name}"), Some(how.clone()));
        let pod = format!("pod/{}", running["status"]["logsRef"]["name"].as_str().unwrap());
        if matches!(how, PropagationPolicy::Orphan) {
            // Whoever says so wants the pod to go on, and as long as it does the run is not over.
            let is_told = |it: &Value| message(it, "Running").contains("has not ended");
            let operation = world.until(&shop.namespace, &name, "told that its pod still runs", is_told);
            assert_eq!(operation["status"]["phase"], "Running");
            let there = world.get(&shop.namespace, &pod).expect("the pod is left alone");
            assert!(there["metadata"]["deletionTimestamp"].is_null());
            world.delete(&shop.namespace, &pod, None);
        }
        let operation = world.phase(&shop.namespace, &name, "Failed");
        assert_eq!(says(&operation, "Cancelled"), "True/ExternalDeletion", "{how:?}");
        assert_eq!(says(&operation, "Failed"), "True/ExternalDeletion", "{how:?}");
        world.until_gone(&shop.namespace, &format!("job/{name}"));
        world.until_gone(&shop.namespace, &pod);
    }
}

#[test]
fn a_job_whose_time_has_passed_goes_and_the_result_stays() {
    let world = world();
    let shop = world.shop();
    // Kubernetes' controller for it takes a minute over its first look.
    let started = [(world.spare("ok"), "Succeeded"), ("fails-2".to_owned(), "Failed")]
        .map(|(hook, phase)| (world.operation(shop, &hook, json!({"ttlSecondsAfterFinished": 0})), phase));
    let finished = started.map(|(name, phase)| world.phase(&shop.namespace, &name, phase));
    for before in finished {
        all_gone(world, &shop.namespace, &before);
        let name = before["metadata"]["name"].as_str().unwrap();
        let after = world.get(&shop.namespace, &format!("operation/{name}")).unwrap();
        assert_eq!(after["status"], before["status"]);
    }
}

#[test]
fn a_finished_operation_that_another_controller_overwrites_is_restored_and_does_not_run_again() {
    let world = world();
    let shop = world.apart(world.shop());
    let name = world.operation(&shop, &world.spare("ok"), json!({}));
    let finished = world.phase(&shop.namespace, &name, "Succeeded");
    // Without its Job there is nothing but its status to tell that it has run.
    world.delete(&shop.namespace, &format!("job/{name}"), Some(PropagationPolicy::Background));
    all_gone(world, &shop.namespace, &finished);
    // The second time it is let be for a while.
    for _ in 0..2 {
        overwrite(world, &shop.namespace, &name);
        let restored = world.phase(&shop.namespace, &name, "Succeeded");
        assert_eq!(says(&restored, "Accepted"), "True/TemplateValidated");
        assert_eq!(says(&restored, "Blocked"), "False/Unblocked");
        assert_eq!(restored["status"]["outputs"], finished["status"]["outputs"]);
    }
    // By then it is said who does that, and where the result is to be read.
    let restored = world.get(&shop.namespace, &format!("operation/{name}")).unwrap();
    assert_eq!(says(&restored, "StatusOverwritten"), "True/AnotherController", "{restored:#}");
    let told = message(&restored, "StatusOverwritten");
    assert!(told.starts_with("Another controller (field manager \""), "{told}");
    assert!(world.of_operation(&shop.namespace, "jobs", &finished).is_empty());
    let failed = world.operation(&shop, "missing", json!({}));
    world.refused(&shop.namespace, &failed, "HookNotFound");
    overwrite(world, &shop.namespace, &failed);
    world.refused(&shop.namespace, &failed, "HookNotFound");
}

#[test]
fn a_running_operation_that_another_controller_overwrites_runs_on_and_ends() {
    let world = world();
    let shop = world.apart(world.shop());
    let name = world.operation(&shop, "brief", json!({}));
    world.phase(&shop.namespace, &name, "Running");
    overwrite(world, &shop.namespace, &name);
    let operation = world.phase(&shop.namespace, &name, "Succeeded");
    assert_eq!(says(&operation, "Blocked"), "False/Unblocked");
    assert_eq!(world.of_operation(&shop.namespace, "jobs", &operation).len(), 1);
}

/// Writes what the vWorkspace operator writes of an engine that it does not know.
fn overwrite(world: &World, namespace: &str, operation: &str) {
    let object = format!("operation/{operation}");
    let mut status = world.get(namespace, &object).unwrap()["status"].clone();
    let conditions = status["conditions"].as_array_mut().unwrap();
    for (kind, value) in [("Blocked", "True"), ("Accepted", "False")] {
        conditions.retain(|condition| condition["type"] != kind);
        conditions.push(json!({
            "type": kind, "status": value, "reason": "DependencyMissing", "message": "engine not registered",
            "lastTransitionTime": "2026-05-28T14:00:00Z",
        }));
    }
    world.patch_status(namespace, &object, &json!({"phase": "Pending", "conditions": status["conditions"]}));
}

#[test]
fn a_pod_that_cannot_be_made_or_started_is_told_at_once() {
    let world = world();
    let namespace = world.namespace("strict", &[GATE, "pod-security.kubernetes.io/enforce=restricted"]);
    let security =
        json!({"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}});
    let container =
        json!({"securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}});
    let fit = |pod: Value| {
        let mut hook =
            json!({"script": "echo fit", "pod": {"securityContext": security}, "container": container});
        hook["pod"].as_object_mut().unwrap().extend(pod.as_object().cloned().unwrap());
        hook
    };
    let mut image = fit(json!({}));
    image["image"] = json!("No:Such:Image");
    // The quota is for pods with a deadline of their own.
    let values = json!({"hooks": {"quota": fit(json!({"activeDeadlineSeconds": 600})), "image": image}});
    let release = world.release("strict", &namespace, &values);
    let quota = |pods: u32| {
        json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "no-pods"},
            "spec": {"hard": {"pods": pods.to_string()}, "scopes": ["Terminating"]},
        })
    };
    world.apply(&namespace, &quota(0));
    world.until_object(&namespace, "resourcequota/no-pods", "in force", |it| {
        it["status"]["hard"]["pods"] == "0"
    });

    // The chart's own hook breaks the namespace's rules.
    let refused = world.operation(&release, "ok", json!({}));
    let exhausted = world.operation(&release, "quota", json!({}));
    let unstartable = world.operation(&release, "image", json!({}));
    for (name, condition, word) in [
        (&refused, "False/Pending", "violates PodSecurity"),
        (&exhausted, "False/Pending", "exceeded quota: no-pods"),
        (&unstartable, "True/HelmHookJobActive", "No:Such:Image"),
    ] {
        let operation = world.until(&namespace, name, word, |it| message(it, "Running").contains(word));
        assert_eq!(says(&operation, "Running"), condition);
    }
    world.apply(&namespace, &quota(10));
    world.phase(&namespace, &exhausted, "Succeeded");
    for name in [&refused, &unstartable] {
        world.cancel(&namespace, name);
        world.phase(&namespace, name, "Cancelled");
    }
}

#[test]
fn a_finished_operation_is_left_alone_by_the_next_host() {
    let world = world();
    let special = special();
    let (namespace, id) = (&special.namespace, "restarted");
    let operate = |hook: &str| operation_for(world, id, &world.apart(special), hook, json!({}));
    let mut first = special_host(world, id);
    let (good, bad) = (operate("version"), operate("fails"));
    let good_before = world.phase(namespace, &good, "Succeeded");
    let bad_before = world.phase(namespace, &bad, "Failed");
    assert!(first.terminate(world.cluster).success(), "{}", first.log());
    assert_eq!(complaints(&first.log()), Vec::<&str>::new());
    // Without their Jobs there is nothing but the Operations to tell that they have run.
    for name in [&good, &bad] {
        world.delete(namespace, &format!("job/{name}"), Some(PropagationPolicy::Background));
        world.until_gone(namespace, &format!("job/{name}"));
    }

    let mut second = special_host(world, id);
    let next = operate("brief");
    world.phase(namespace, &next, "Succeeded");
    for before in [good_before, bad_before] {
        let object = format!("operation/{}", before["metadata"]["name"].as_str().unwrap());
        let after = world.get(namespace, &object).unwrap();
        assert_eq!(after["status"], before["status"]);
        assert!(world.of_operation(namespace, "jobs", &before).is_empty(), "it does not run again");
    }
    assert!(second.terminate(world.cluster).success(), "{}", second.log());
    assert_eq!(complaints(&second.log()), Vec::<&str>::new());
}
