//! Kubernetes removes the pod before it marks the Job Failed: exit code, reason and last log lines are reported nevertheless.

use std::sync::OnceLock;

use e2e::{GATE, Release, World, message, says, world};
use serde_json::{Value, json};

fn release() -> &'static Release {
    static RELEASE: OnceLock<Release> = OnceLock::new();
    RELEASE.get_or_init(|| {
        let world = world();
        let stubborn = "trap '' TERM; echo waiting for the lock; while true; do sleep 1; done";
        let values = json!({"hooks": {
            "locked": {"restartPolicy": "OnFailure", "grace": 5, "script": "echo the schema is locked; exit 3"},
            "late": {"grace": 3, "job": {"activeDeadlineSeconds": 15}, "script": stubborn},
            "taken": {"grace": 3, "script": "echo half way; exec sleep 600"},
            "fails": {"script": "echo no such table; exit 4"},
        }});
        world.release("gone", &world.namespace("gone", &[GATE]), &values)
    })
}

/// Waits for the end; gives back the Operation and what it says of the failure.
fn failed(world: &World, name: &str) -> (Value, String) {
    let namespace = &release().namespace;
    let operation = world.phase(namespace, name, "Failed");
    assert_eq!(says(&operation, "Failed"), "True/HelmHookJobFailed");
    let told = message(&operation, "Failed");
    (operation, told)
}

#[test]
fn a_container_that_is_restarted_up_to_the_backoff_limit_tells_exit_code_and_log() {
    let world = world();
    for limit in [0, 1] {
        let name = world.operation(&world.apart(release()), "locked", json!({"backoffLimit": limit}));
        let (operation, told) = failed(world, &name);
        assert_eq!(operation["status"]["outputs"]["exitCode"], 3, "{told}");
        for word in ["BackoffLimitExceeded", "container main", "exit code 3", "the schema is locked"] {
            assert!(told.to_lowercase().contains(&word.to_lowercase()), "{word}: {told}");
        }
    }
}

#[test]
fn a_process_that_does_not_end_when_its_deadline_has_passed_tells_exit_code_and_log() {
    let world = world();
    let name = world.operation(&world.apart(release()), "late", json!({}));
    let (operation, told) = failed(world, &name);
    assert_eq!(operation["status"]["outputs"]["exitCode"], 137, "{told}");
    assert!(told.contains("DeadlineExceeded") && told.contains("waiting for the lock"), "{told}");
}

#[test]
fn a_pod_that_somebody_deletes_tells_exit_code_and_log() {
    let world = world();
    let namespace = &release().namespace;
    let name = world.operation(&world.apart(release()), "taken", json!({"backoffLimit": 0}));
    let pod = world.started(namespace, &name);
    world.delete(namespace, &format!("pod/{pod}"), None);
    let (operation, told) = failed(world, &name);
    assert_eq!(operation["status"]["outputs"]["exitCode"], 137, "{told}");
    for word in ["the pod was ended: it was deleted", "half way"] {
        assert!(told.contains(word), "{word}: {told}");
    }
}

/// As `kubectl drain` ends each pod of a node.
#[test]
fn a_pod_that_is_evicted_for_a_drain_tells_exit_code_and_log() {
    let world = world();
    let namespace = &release().namespace;
    let name = world.operation(&world.apart(release()), "taken", json!({"backoffLimit": 0}));
    let pod = world.started(namespace, &name);
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}});
    world.create(&format!("/api/v1/namespaces/{namespace}/pods/{pod}/eviction"), eviction.to_string());
    let (operation, told) = failed(world, &name);
    assert_eq!(operation["status"]["outputs"]["exitCode"], 137, "{told}");
    for word in ["EvictionByEvictionAPI", "half way"] {
        assert!(told.contains(word), "{word}: {told}");
    }
}

#[test]
fn of_a_run_whose_pod_stays_the_log_is_read_once() {
    let world = world();
    let namespace = &release().namespace;
    let name = world.operation(&world.apart(release()), "fails", json!({}));
    let operation = world.phase(namespace, &name, "Failed");
    assert!(message(&operation, "Failed").contains("no such table"), "{operation:#}");
    let pod = operation["status"]["logsRef"]["name"].as_str().unwrap().to_owned();
    let log = |request: &&String| **request == format!("get pods/{pod}");
    let lines = world.requests(namespace).iter().filter(log).count();
    assert_eq!(lines, 2, "the audit log has the beginning and the end of what may take long");
}
