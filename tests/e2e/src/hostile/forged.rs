//! *Forged* Jobs and pods: what somebody makes who may make Jobs and pods in one namespace that is served.

use serde_json::{Value, json};

use super::record::{self, Hook};
use super::{PATIENCE, Row, Size, Stage, operation};
use crate::world::World;

/// Bytes of the annotations of a forged Job or pod: the API server takes 256 KiB. Each is a control character, which JSON has in
/// six bytes.
const ANNOTATIONS_BYTES: usize = 255 << 10;

/// Empty texts in the arguments of a forged Job's container: as many as etcd takes, and many times their size once they are read.
const ARGUMENTS: usize = 400_000;

pub(super) fn jobs(world: &World, size: Size, gate: &str) -> Row {
    let Size { jobs, pods, of_small_values, .. } = size;
    let evil = world.namespace("evil", &[gate]);
    record::store(world, &evil, "shop", &[Hook::job("first"), Hook::job("second")]);
    let annotations = "\\u0001".repeat(ANNOTATIONS_BYTES);
    let arguments = vec!["\"\""; ARGUMENTS].join(",");
    let make = |number: usize| {
        let name = format!("forged-{number}");
        let made = if number.is_multiple_of(jobs / of_small_values.max(1)) {
            job(&name, number, "").replacen("\"ARGUMENTS\"", &arguments, 1)
        } else {
            job(&name, number, &annotations).replacen("\"ARGUMENTS\"", "", 1)
        };
        world.create(&format!("/apis/batch/v1/namespaces/{evil}/jobs"), made);
    };
    // Half of them are there when hookhost starts, half come afterwards.
    (0..jobs / 2).for_each(make);
    let stage = Stage::new(world, gate);
    let case = format!("{jobs} forged Jobs, {pods} pods, {} KB each", ANNOTATIONS_BYTES >> 10);
    stage.under(case, |_| {
        (jobs / 2..jobs).for_each(make);
        // A run of hookhost's own, and pods that say that they are its.
        world.apply(&evil, &operation("run-1", "first"));
        if !world.comes(&evil, "job/run-1", PATIENCE) {
            return false;
        }
        let first = world.get(&evil, "job/run-1").unwrap_or_default();
        for number in 0..pods {
            let made = pod(&format!("forged-{number}"), &first, &annotations);
            world.create(&format!("/api/v1/namespaces/{evil}/pods"), made);
        }
        // Those who mean well there can still stop it and start another.
        world.cancel(&evil, "run-1");
        world.apply(&evil, &operation("run-2", "second"));
        world.comes(&evil, "job/run-2", PATIENCE)
    })
}

/// A Job that is never to run and says that it is hookhost's: each third has hookhost's finalizer, each second what a claim looks
/// like. The annotations' text is JSON's.
fn job(name: &str, number: usize, annotations: &str) -> String {
    let uid = format!("00000000-0000-0000-0000-{number:012}");
    let container = json!({"name": "main", "image": "localhost/busybox:1", "args": ["ARGUMENTS"]});
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": name,
            "labels": {"ops.vworkspace.io/operation": uid, "ops.vworkspace.io/source-hook": "wanted"},
            "annotations": {"ops.vworkspace.io/decision": "ANNOTATIONS"},
        },
        "spec": {"suspend": true, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    });
    if number.is_multiple_of(3) {
        job["metadata"]["finalizers"] = json!(["hookhost.vworkspace.io/result"]);
    }
    if number.is_multiple_of(2) {
        let claim = format!("v1.{uid}.{}", "0".repeat(64));
        job["metadata"]["annotations"]["hookhost.vworkspace.io/claim"] = json!(claim);
    }
    job.to_string().replacen("ANNOTATIONS", annotations, 1)
}

/// A pod without a node to run on that says that it is this Job's. The annotations' text is JSON's.
fn pod(name: &str, job: &Value, annotations: &str) -> String {
    let labels = json!({
        "ops.vworkspace.io/operation": job["metadata"]["labels"]["ops.vworkspace.io/operation"],
        "batch.kubernetes.io/controller-uid": job["metadata"]["uid"],
    });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": labels, "annotations": {"more": "ANNOTATIONS"}},
        "spec": {
            "nodeSelector": {"no": "where"}, "restartPolicy": "Never", "automountServiceAccountToken": false,
            "containers": [{"name": "main", "image": "localhost/busybox:1"}],
        },
    });
    pod.to_string().replacen("ANNOTATIONS", annotations, 1)
}
