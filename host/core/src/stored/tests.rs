use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::claim::Claim;
use crate::keys::CLAIM;
use crate::keys::CONTROLLER_UID;
use crate::keys::{CLOSURE, UNATTENDED};
use crate::keys::{DECISION, DECISION_BYTES, FINALIZER, OPENED, OPERATION, SOURCE_HOOK, STEP};
use crate::loan::Borrowed;
use crate::outcome::{self, Warnings, observe};
use crate::status::Run;
use crate::step::Step;
use crate::testing::{any_json, keys};

const KEYS: &str = "[a-z]{1,4}|type|status|reason|message|name|uid|kind|controller|state|lastState|terminated|waiting|running|exitCode|\
                    active|failed|succeeded|suspend|completions|conditions|completedIndexes|uncountedTerminatedPods|completionMode|containerStatuses|initContainerStatuses|phase";
const TEXTS: &str = ".{0,6}|True|Failed|Complete|Suspended|PodScheduled|Job|Operation|job-uid|Always|Succeeded|2026-05-28T10:00:00Z";

/// A Job of hookhost, as the API server gives it.
fn job() -> Value {
    let decision = json!({"operation": {"namespace": "org", "name": "op"}, "hook": {"name": "migrate"}});
    let borrowed = json!({"objects": [{"kind": "ConfigMap", "namespace": "org", "name": "settings"}]});
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": "op", "namespace": "org", "uid": "job-uid", "resourceVersion": "7", "generation": 2,
            "labels": {OPERATION: "op-uid", SOURCE_HOOK: "migrate"},
            "annotations": {DECISION: decision.to_string(), CLOSURE: borrowed.to_string(), STEP: "1/2", OPENED: "v1.x"},
            "finalizers": [FINALIZER],
            "ownerReferences": [{"kind": "Operation", "name": "op", "uid": "op-uid", "controller": true}],
        },
        "spec": {"completions": 1, "suspend": false, "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}},
        "status": {"active": 1, "startTime": "2026-05-28T10:00:00Z", "conditions": [
            {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "it has failed"}]},
    });
    job["metadata"]["annotations"][CLAIM] = json!(keys().claim_job("op-uid", &job));
    job
}

fn pod() -> Value {
    json!({
        "metadata": {
            "name": "op-x", "namespace": "org", "uid": "pod-uid", "creationTimestamp": "2026-05-28T10:00:00Z",
            "labels": {CONTROLLER_UID: "job-uid", OPERATION: "op-uid"},
            "ownerReferences": [{"kind": "Job", "name": "op", "uid": "job-uid", "controller": true}],
        },
        "spec": {"initContainers": [{"name": "proxy", "restartPolicy": "Always", "image": "p"}]},
        "status": {"phase": "Failed", "containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 3, "reason": "Error",
            "message": "no such table", "finishedAt": "2026-05-28T10:01:00Z"}}}]},
    })
}

fn stored(job: &Value) -> StoredJob {
    StoredJob::read(&job.to_string()).unwrap()
}

/// All that is read of a Job and its pod.
fn said(job: &Value, pod: &Value) -> impl PartialEq + std::fmt::Debug + use<> {
    let finalizers = [FINALIZER, "orphan"].map(|finalizer| outcome::has_finalizer(job, finalizer));
    (
        observe(job, &[pod], Warnings::default()),
        Run::of(job),
        (Borrowed::from_job(job), Step::from_job(job)),
        (outcome::is_finished(job), outcome::is_deleting(job), finalizers),
        (outcome::is_controlled(pod), outcome::pod_has_ended(pod), outcome::is_deleting(pod)),
        outcome::job_uid_of_pod(pod).map(str::to_owned),
    )
}

#[test]
fn a_job_of_hookhosts_and_its_pod_say_the_same_cut_down() {
    let (job, pod) = (job(), pod());
    let cut = stored(&job);
    assert_eq!(said(&cut.object, &stored_pod(&pod.to_string()).unwrap()), said(&job, &pod));
    assert!(cut.claim.as_ref().unwrap().is_genuine(&keys()));
    assert_eq!(cut.object["metadata"]["ownerReferences"], job["metadata"]["ownerReferences"]);
    assert!(
        cut.object["spec"].get("template").is_none(),
        "what it runs is proven by its claim, and not kept"
    );
}

#[test]
fn a_pod_at_its_backoff_limit_is_known_cut_down() {
    let (mut job, mut pod) = (job(), pod());
    job["status"]["conditions"] = json!([]);
    job["spec"]["backoffLimit"] = json!(2);
    pod["spec"]["restartPolicy"] = json!("OnFailure");
    pod["status"]["phase"] = json!("Running");
    pod["status"]["containerStatuses"][0]["restartCount"] = json!(1);
    let log = |job: &Value, pod: &Value| outcome::log_at_risk(job, &[pod]);
    assert!(log(&job, &pod).is_some());
    assert_eq!(log(&stored(&job).object, &stored_pod(&pod.to_string()).unwrap()), log(&job, &pod));
}

#[test]
fn of_the_largest_job_and_pod_little_is_kept_whatever_is_in_them() {
    // Control characters have six bytes in JSON.
    let long = "\u{1}".repeat(300 << 10);
    let words = "\u{1}".repeat(5 * MESSAGE_BYTES);
    let annotations: serde_json::Map<String, Value> =
        [DECISION, CLOSURE, STEP, OPENED, CLAIM, UNATTENDED, SOURCE_HOOK, "more"]
            .into_iter()
            .map(|key| (key.to_owned(), long.clone().into()))
            .collect();
    let condition = |of_type: &str| json!({"type": of_type, "status": "True", "reason": words, "message": words, "lastTransitionTime": words});
    let types = ["Complete", "Failed", "FailureTarget", "SuccessCriteriaMet", "Suspended", "Other"];
    let conditions: Vec<Value> = types.iter().chain(&types).map(|of_type| condition(of_type)).collect();
    let owner = json!({"kind": "Operation", "name": long, "uid": long, "controller": true});
    let many: Vec<Value> = (0..50_000).map(Value::from).collect();
    let hostile = json!({
        "metadata": {
            "name": long, "namespace": long, "uid": long, "annotations": annotations, "labels": {OPERATION: long},
            "finalizers": vec![FINALIZER; 10_000], "ownerReferences": vec![owner.clone(); 9],
        },
        "spec": {"completionMode": long, "suspend": true},
        "status": {"conditions": conditions, "failedIndexes": long, "uncountedTerminatedPods": {"failed": many}},
    });
    let cut = stored(&hostile);
    let bytes = cut.object.to_string().len();
    // Two messages for each condition that is read, and the names, in which a control character has six bytes.
    assert!(bytes < 11 * MESSAGE_BYTES + 40 * 6 * NAME_BYTES, "{bytes}");
    assert_eq!(cut.object["metadata"]["annotations"], json!({}), "hookhost writes none that is so long");

    let state = json!({"reason": words, "message": words, "exitCode": 1, "finishedAt": words});
    let container = json!({"name": words, "state": {"terminated": state}, "lastState": {"waiting": state}});
    let hostile = json!({
        "metadata": {"name": long, "annotations": {"more": long}, "labels": {"more": long}, "ownerReferences": [owner]},
        "spec": {"initContainers": vec![json!({"name": words, "restartPolicy": "Always"}); 3 * CONTAINERS]},
        "status": {"message": long, "conditions": conditions, "containerStatuses": vec![container; 3 * CONTAINERS]},
    });
    let cut = stored_pod(&hostile.to_string()).unwrap();
    let names = 2 * CONTAINERS * 6 * NAME_BYTES + 2 * CONTAINERS * 6 * WORD_BYTES;
    assert!(
        cut.to_string().len() < WORDS_BYTES + 10 * MESSAGE_BYTES + 2 * names,
        "{}",
        cut.to_string().len()
    );
    assert_eq!(cut["status"]["containerStatuses"].as_array().unwrap().len(), CONTAINERS);
}

#[test]
fn the_longest_that_hookhost_itself_writes_is_kept_whole() {
    let object = json!({"kind": "ClusterRoleBinding", "namespace": "n".repeat(63), "name": "n".repeat(253)});
    let closure = json!({"objects": vec![object; crate::loan::MAX_LOANS]}).to_string();
    let decision = json!("\"".repeat(DECISION_BYTES / 2 - 1)).to_string();
    let mut job = job();
    for (key, value) in [(DECISION, decision), (CLOSURE, closure), (SOURCE_HOOK, "h".repeat(253))] {
        job["metadata"]["annotations"][key] = value.into();
    }
    job["metadata"]["annotations"][CLAIM] = json!(keys().claim_job("op-uid", &job));
    let cut = stored(&job);
    assert_eq!(cut.object["metadata"]["annotations"], job["metadata"]["annotations"]);
    assert!(cut.claim.unwrap().is_genuine(&keys()));
}

#[test]
fn a_spec_that_fills_memory_once_it_is_parsed_is_nobodys() {
    let mut hostile = job();
    hostile["spec"]["template"]["spec"]["tolerations"] = vec![json!({"operator": "Exists"}); 60_000].into();
    let cut = stored(&hostile);
    assert!(cut.claim.is_none());
    assert_eq!(cut.object["spec"], json!({"completions": 1, "suspend": false}));
    // The largest hook that is run, as it is sent, is far from that.
    assert!(json::cost(&hostile["spec"].to_string()) > 2 * SPEC_BYTES);
}

proptest! {
    #[test]
    fn any_job_and_pod_say_the_same_cut_down(
        spec in any_json(TEXTS, KEYS), status in any_json(TEXTS, KEYS), conditions in any_json(TEXTS, KEYS),
        of_pod in any_json(TEXTS, KEYS), statuses in any_json(TEXTS, KEYS), labels in any_json(TEXTS, KEYS),
    ) {
        let (mut job, mut pod) = (job(), pod());
        for (field, value) in spec.as_object().into_iter().flatten() {
            job["spec"][field] = value.clone();
        }
        if status.is_object() {
            job["status"] = status;
        }
        if conditions.is_array() && job["status"].is_object() {
            job["status"]["conditions"] = conditions;
        }
        if of_pod.is_object() {
            pod["status"] = of_pod;
        }
        if statuses.is_array() {
            pod["status"]["initContainerStatuses"] = statuses;
        }
        if labels.is_object() {
            job["metadata"]["labels"] = labels;
        }
        let cut = stored(&job);
        prop_assert_eq!(said(&cut.object, &stored_pod(&pod.to_string()).unwrap()), said(&job, &pod));
        prop_assert_eq!(cut.claim, Claim::of_job(&job, &job["spec"]));
    }

    #[test]
    fn any_text_is_cut_down_or_is_no_object(text in any::<String>(), object in any_json(TEXTS, KEYS)) {
        for text in [text, object.to_string(), json!({"metadata": object, "spec": object, "status": object}).to_string()] {
            let _ = StoredJob::read(&text);
            let _ = stored_pod(&text);
        }
    }

    #[test]
    fn what_a_text_takes_once_it_is_parsed_is_never_undercounted(object in any_json(".{0,6}", ".{1,8}")) {
        fn count(value: &Value) -> usize {
            hookhost_helm::yaml::NODE_BYTES + match value {
                Value::Array(list) => list.iter().map(count).sum(),
                Value::Object(map) if map.is_empty() => 0,
                Value::Object(map) => {
                    hookhost_helm::yaml::MAP_BYTES + map.iter().map(|(key, value)| hookhost_helm::yaml::NODE_BYTES + key.len() + count(value)).sum::<usize>()
                }
                Value::String(text) => text.len(),
                _ => 0,
            }
        }
        prop_assert!(json::cost(&object.to_string()) >= count(&object));
        prop_assert!(json::cost(&serde_json::to_string_pretty(&object).unwrap()) >= count(&object));
    }
}
