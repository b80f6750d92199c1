//! The rows of the specification's status table, and the sentences of its practical notes.

use std::sync::OnceLock;

use e2e::{GATE, Release, World, message, says, world};
use serde_json::{Value, json};

/// A release whose hooks are those of this module. Two of them Flux has run at the install.
fn release() -> &'static Release {
    static RELEASE: OnceLock<Release> = OnceLock::new();
    RELEASE.get_or_init(|| {
        let world = world();
        let init = json!({"name": "prepare", "image": "localhost/busybox:1", "command": ["sh", "-c", "echo no schema; exit 7"]});
        let memory = json!({"resources": {"limits": {"memory": "16Mi"}}});
        let values = json!({"hooks": {
            "own": {"events": "post-install", "script": "echo own"},
            "once": {"events": "post-install", "policy": "hook-succeeded", "script": "echo once"},
            "pod": {"kind": "Pod", "script": "echo from a pod"},
            "uses": {"script": "echo $RELEASE; test \"$PASSWORD\" = 'correct horse'"},
            "late": {"job": {"activeDeadlineSeconds": 2}, "script": "echo waiting; exec sleep 600"},
            "retried": {"script": "echo no database; exit 4"},
            "init": {"pod": {"initContainers": [init]}, "script": "echo never"},
            "hungry": {"container": memory, "script": "echo eating; tail /dev/zero"},
        }});
        world.release("spec", &world.namespace("spec", &[GATE]), &values)
    })
}

fn run(world: &World, hook: &str, parameters: Value, phase: &str) -> (String, Value) {
    let release = release();
    let name = world.operation(&world.apart(release), hook, parameters);
    let operation = world.phase(&release.namespace, &name, phase);
    (name, operation)
}

#[test]
fn the_worked_example_runs_the_charts_hook_and_every_field_is_as_specified() {
    let world = world();
    let shop = world.shop();
    let parameters = json!({"activeDeadlineSeconds": 1800, "backoffLimit": 1});
    let name = world.operation(shop, "ok", parameters);

    let operation = world.phase(&shop.namespace, &name, "Succeeded");
    assert_eq!(says(&operation, "Succeeded"), "True/HelmHookJobSucceeded");
    assert_eq!(says(&operation, "Accepted"), "True/TemplateValidated");
    let outputs = &operation["status"]["outputs"];
    assert!(outputs["completionTime"].is_string(), "{outputs:#}");
    assert_eq!(outputs["jobName"], json!(name));

    let is_let_go = |job: &Value| job["metadata"]["finalizers"].is_null();
    let job = world.until_object(
        &shop.namespace,
        &format!("job/{name}"),
        "kept by nobody, as its result is safe",
        is_let_go,
    );
    let uid = &operation["metadata"]["uid"];
    let labels = json!({
        "app.vworkspace.io/managed-by": "vworkspace-operator",
        "app.vworkspace.io/cluster-id": e2e::CLUSTER_ID,
        "app.vworkspace.io/application-instance": "shop",
        "ops.vworkspace.io/operation": uid,
        "ops.vworkspace.io/source-hook": "shop-ok",
    });
    for (key, value) in labels.as_object().unwrap() {
        assert_eq!(job["metadata"]["labels"][key], *value, "{key}");
    }
    assert_eq!(
        job["metadata"]["ownerReferences"],
        json!([{
            "apiVersion": "ops.vworkspace.io/v1alpha1", "kind": "Operation", "name": name, "uid": uid,
            "controller": true, "blockOwnerDeletion": true,
        }])
    );
    assert_eq!(job["spec"]["activeDeadlineSeconds"], 1800);
    assert_eq!(job["spec"]["backoffLimit"], 1);
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 86400);
    assert_eq!(job["spec"]["template"]["metadata"]["labels"]["ops.vworkspace.io/operation"], *uid);
    let pods = world.of_operation(&shop.namespace, "pods", &operation);
    assert_eq!(pods.len(), 1);
    assert_eq!(operation["status"]["logsRef"]["name"], pods[0]["metadata"]["name"]);
    assert_eq!(outputs["logsRef"]["name"], pods[0]["metadata"]["name"]);
}

#[test]
fn every_run_has_an_event_that_it_was_accepted_before_the_one_that_tells_its_end() {
    let world = world();
    let shop = world.apart(world.shop());
    let namespace = &shop.namespace;
    for (hook, phase, end) in
        [("ok", "Succeeded", "OperationSucceeded"), ("fails", "Failed", "OperationFailed")]
    {
        let hook = if hook == "ok" { world.spare(hook) } else { hook.to_owned() };
        let name = world.operation(&shop, &hook, json!({}));
        let operation = world.phase(namespace, &name, phase);
        let reasons = || {
            let mut events = world.list(namespace, "events", "");
            events.retain(|event| event["involvedObject"]["uid"] == operation["metadata"]["uid"]);
            events.sort_by_key(|event| event["eventTime"].as_str().unwrap_or_default().to_owned());
            let reasons = events.iter().filter_map(|event| event["reason"].as_str().map(str::to_owned));
            let reasons: Vec<String> = reasons.collect();
            (reasons.last().is_some_and(|last| last == end)).then_some(reasons)
        };
        let reasons = e2e::ok(world.cluster.eventually("the last Event comes", e2e::PATIENCE, reasons));
        assert_eq!(reasons[0], "OperationAccepted", "{reasons:?}");
    }
}

#[test]
fn while_its_pod_runs_the_operation_is_running_and_tells_where_the_logs_are() {
    let world = world();
    let shop = world.shop();
    let name = world.operation(shop, &world.spare("slow"), json!({}));
    let has_pod = |it: &Value| it["status"]["phase"] == "Running" && it["status"]["logsRef"].is_object();
    let operation = world.until(&shop.namespace, &name, "running in a pod", has_pod);
    assert_eq!(says(&operation, "Running"), "True/HelmHookJobActive");
    assert_eq!(says(&operation, "Accepted"), "True/TemplateValidated");
    let status = &operation["status"];
    assert_eq!(status["engineRef"], json!({"kind": "Job", "namespace": shop.namespace, "name": name}));
    assert!(status["startedAt"].is_string() && status["finishedAt"].is_null(), "{status:#}");
    let pods = world.of_operation(&shop.namespace, "pods", &operation);
    assert_eq!(status["outputs"]["logsRef"]["name"], pods[0]["metadata"]["name"]);
    world.delete(&shop.namespace, &format!("operation/{name}"), None);
}

#[test]
fn a_failed_hook_tells_its_exit_code_and_last_words() {
    let world = world();
    let shop = world.shop();
    let name = world.operation(shop, "fails", json!({}));
    let operation = world.phase(&shop.namespace, &name, "Failed");
    assert_eq!(says(&operation, "Failed"), "True/HelmHookJobFailed");
    let message = message(&operation, "Failed");
    assert!(message.contains("exit code 3") && message.contains("the last words"), "{message}");
    assert_eq!(operation["status"]["outputs"]["exitCode"], 3);
}

#[test]
fn a_hook_that_passes_its_deadline_has_failed_and_its_pod_is_gone() {
    let world = world();
    let (_, operation) = run(world, "late", json!({}), "Failed");
    assert_eq!(says(&operation, "Failed"), "True/HelmHookJobFailed");
    let message = message(&operation, "Failed");
    assert!(message.contains("DeadlineExceeded"), "{message}");
    for pod in world.of_operation(&release().namespace, "pods", &operation) {
        let name = pod["metadata"]["name"].as_str().unwrap();
        world.until_gone(&release().namespace, &format!("pod/{name}"));
    }
}

#[test]
fn a_hook_is_tried_as_often_as_the_backoff_limit_says_and_the_last_try_is_told() {
    let world = world();
    let (_, operation) = run(world, "retried", json!({"backoffLimit": 1}), "Failed");
    assert_eq!(says(&operation, "Failed"), "True/HelmHookJobFailed");
    let message = message(&operation, "Failed");
    assert!(message.contains("BackoffLimitExceeded") && message.contains("no database"), "{message}");
    assert_eq!(operation["status"]["outputs"]["exitCode"], 4);
    assert_eq!(world.of_operation(&release().namespace, "pods", &operation).len(), 2);
}

#[test]
fn an_init_container_that_fails_is_told_by_name_with_its_log() {
    let (_, operation) = run(world(), "init", json!({}), "Failed");
    let message = message(&operation, "Failed");
    for word in ["prepare", "exit code 7", "no schema"] {
        assert!(message.contains(word), "{word}: {message}");
    }
}

#[test]
fn a_hook_that_runs_out_of_memory_is_told_so() {
    // On a busy machine the container's runtime may report the end before it hears of its reason.
    let told = || message(&run(world(), "hungry", json!({}), "Failed").1, "Failed");
    let all: Vec<String> = std::iter::repeat_with(told).take(3).collect();
    assert!(all.iter().all(|told| told.contains("exit code 137")), "{all:#?}");
    assert!(all.iter().any(|told| told.contains("OOMKilled")), "{all:#?}");
}

#[test]
fn a_hook_that_is_not_in_the_release_is_not_found_and_the_nearest_is_named() {
    let world = world();
    let shop = world.shop();
    let name = world.operation(shop, "okk", json!({}));
    let message = world.refused(&shop.namespace, &name, "HookNotFound");
    assert!(message.contains("\"shop-ok\""), "{message}");
    let operation = world.get(&shop.namespace, &format!("operation/{name}")).unwrap();
    assert_eq!(says(&operation, "Blocked"), "True/HookNotFound");
    assert!(world.get(&shop.namespace, &format!("job/{name}")).is_none(), "no Job is created");
}

#[test]
fn without_a_release_no_hook_runs() {
    let world = world();
    // Flux never reconciles it, so it has no release and no history.
    let namespace = world.namespace("spec", &[GATE]);
    let release = Release::new(&namespace, "shop");
    world.apply(
        &namespace,
        &json!({
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "metadata": {"name": "shop"},
            "spec": {"interval": "1h", "suspend": true, "chartRef": {"kind": "OCIRepository", "name": "shop"}},
        }),
    );
    let name = world.operation(&world.apart(&release), "once", json!({}));
    let message = world.refused(&namespace, &name, "HookRequiresRelease");
    assert!(message.contains("no release yet"), "{message}");
    assert!(world.list(&namespace, "jobs", "").is_empty());
}

#[test]
fn the_clone_runs_what_the_charts_own_job_ran_which_stays_as_it_was() {
    let world = world();
    let namespace = &release().namespace;
    let before = world.get(namespace, "job/spec-own").expect("Helm keeps it until the hook's next event");
    let (name, _) = run(world, "own", json!({}), "Succeeded");

    let clone = world.get(namespace, &format!("job/{name}")).unwrap();
    assert_eq!(clone["spec"]["template"]["spec"], before["spec"]["template"]["spec"]);
    // Nothing by which Helm or Flux would take it for theirs.
    let metadata = [&clone["metadata"]["labels"], &clone["metadata"]["annotations"]];
    let keys = metadata.iter().flat_map(|map| map.as_object().unwrap().keys());
    let foreign: Vec<_> = keys.filter(|key| key.contains("helm") || key.contains("flux")).collect();
    assert!(foreign.is_empty(), "{foreign:?}");

    let after = world.get(namespace, "job/spec-own").unwrap();
    assert_eq!(after, before, "the chart's own Job is not touched");
}

#[test]
fn a_hook_that_helm_deletes_after_success_is_run_and_the_clone_is_kept_by_its_own_ttl() {
    let world = world();
    let namespace = &release().namespace;
    let (name, operation) = run(world, "once", json!({"ttlSecondsAfterFinished": 3600}), "Succeeded");
    assert!(world.get(namespace, "job/spec-once").is_none(), "Helm has deleted the chart's own Job");
    let clone = world.get(namespace, &format!("job/{name}")).expect("the clone is not Helm's to delete");
    assert_eq!(clone["spec"]["ttlSecondsAfterFinished"], 3600);
    let pod = operation["status"]["logsRef"]["name"].as_str().unwrap();
    assert_eq!(world.pod_log(namespace, pod), "once\n");
}

#[test]
fn a_hook_that_is_a_pod_runs_as_a_job() {
    let world = world();
    let (name, operation) = run(world, "pod", json!({}), "Succeeded");
    let job = world.get(&release().namespace, &format!("job/{name}")).unwrap();
    assert_eq!(job["spec"]["template"]["spec"]["restartPolicy"], "Never");
    let pod = operation["status"]["logsRef"]["name"].as_str().unwrap();
    assert_eq!(world.pod_log(&release().namespace, pod), "from a pod\n");
}

#[test]
fn a_hook_sees_the_charts_config_maps_and_secrets() {
    let world = world();
    let (_, operation) = run(world, "uses", json!({}), "Succeeded");
    let pod = operation["status"]["logsRef"]["name"].as_str().unwrap();
    assert_eq!(world.pod_log(&release().namespace, pod), "spec\n");
}
