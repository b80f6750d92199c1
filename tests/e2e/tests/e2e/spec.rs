//! The rows of the specification's status table, and the sentences of its practical notes.

use e2e::{condition, says, world};
use serde_json::json;

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

    let job = world.get(&shop.namespace, &format!("job/{name}")).unwrap();
    let uid = &operation["metadata"]["uid"];
    assert_eq!(job["metadata"]["labels"]["ops.vworkspace.io/operation"], *uid);
    assert_eq!(job["metadata"]["labels"]["app.vworkspace.io/managed-by"], "vworkspace-operator");
    assert_eq!(job["metadata"]["labels"]["app.vworkspace.io/cluster-id"], e2e::CLUSTER_ID);
    assert_eq!(job["metadata"]["ownerReferences"][0]["uid"], *uid);
    assert_eq!(job["spec"]["activeDeadlineSeconds"], 1800);
    assert_eq!(job["spec"]["ttlSecondsAfterFinished"], 86400);
    assert!(job["metadata"]["finalizers"].is_null(), "its result is safe, so nothing keeps the Job");
    let pods = world.list(
        &shop.namespace,
        "pods",
        &format!("ops.vworkspace.io/operation={}", uid.as_str().unwrap()),
    );
    assert_eq!(pods.len(), 1);
    assert_eq!(operation["status"]["logsRef"]["name"], pods[0]["metadata"]["name"]);
}

#[test]
fn a_failed_hook_tells_its_exit_code_and_last_words() {
    let world = world();
    let shop = world.shop();
    let name = world.operation(shop, "fails", json!({}));
    let operation = world.phase(&shop.namespace, &name, "Failed");
    assert_eq!(says(&operation, "Failed"), "True/HelmHookJobFailed");
    let message = condition(&operation, "Failed")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("exit code 3") && message.contains("the last words"), "{message}");
    assert_eq!(operation["status"]["outputs"]["exitCode"], 3);
}

#[test]
fn a_hook_that_is_not_in_the_release_is_not_found_and_the_nearest_is_named() {
    let world = world();
    let shop = world.shop();
    let name = world.operation(shop, "okk", json!({}));
    let operation = world.phase(&shop.namespace, &name, "Failed");
    assert_eq!(says(&operation, "Accepted"), "False/HookNotFound");
    assert_eq!(says(&operation, "Blocked"), "True/HookNotFound");
    let message = condition(&operation, "Accepted")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("\"shop-ok\""), "{message}");
    assert!(world.get(&shop.namespace, &format!("job/{name}")).is_none(), "no Job is created");
}
