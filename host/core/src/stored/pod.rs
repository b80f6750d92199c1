//! A pod of a Job.

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::job::conditions;
use super::json::{cut, each, each_of_list, exact, kept, plain, shown};
use super::{MESSAGE_BYTES, NAME_BYTES, WORD_BYTES};
use crate::keys::OPERATION;
use crate::keys::{CONTROLLER_UID, INDEX};

/// Statuses of containers, and of init containers, that are read. No chart's pod has half as many.
pub const CONTAINERS: usize = 64;

/// Bytes of all reasons and messages of a pod's containers. The kubelet gives the termination messages of a pod 12 KiB.
pub const WORDS_BYTES: usize = 24 * 1024;

/// A pod's conditions that are read.
const CONDITIONS: [&str; 2] = ["DisruptionTarget", "PodScheduled"];

/// A pod, cut down: metadata, restartPolicy, which init containers are sidecars, status; none if the text is not that of an object
/// of Kubernetes.
pub fn stored_pod(text: &str) -> Option<Value> {
    let [mut metadata, mut spec, mut status] = [None; 3];
    let is_object = each(text, |key, value| match key {
        "metadata" => metadata = Some(value),
        "spec" => spec = Some(value),
        "status" => status = Some(value),
        _ => {}
    });
    let metadata = metadata.filter(|_| is_object).and_then(read_metadata)?;
    let mut pod = json!({"metadata": metadata, "spec": spec.and_then(read_spec).unwrap_or_default()});
    if let Some(status) = status.and_then(read_status) {
        pod["status"] = status.into();
    }
    Some(pod)
}

fn read_metadata(json: &RawValue) -> Option<Map<String, Value>> {
    kept(json, |key, value| match key {
        "name" => cut(value, NAME_BYTES),
        "namespace" | "uid" | "resourceVersion" | "creationTimestamp" | "deletionTimestamp" => {
            cut(value, WORD_BYTES)
        }
        "deletionGracePeriodSeconds" => plain(value),
        // An Indexed Job's index is an annotation, too.
        "labels" => {
            let is_read = |key: &str| [OPERATION, CONTROLLER_UID, INDEX].contains(&key);
            Some(kept(value, |key, value| is_read(key).then(|| exact(value, WORD_BYTES)).flatten())?.into())
        }
        "ownerReferences" => {
            let mut controller = None;
            each_of_list(value, |one| {
                let owner = kept(one, |key, value| match key {
                    "kind" | "uid" => cut(value, WORD_BYTES),
                    "name" => cut(value, NAME_BYTES),
                    "controller" => plain(value),
                    _ => None,
                });
                let owner = owner.filter(|owner| owner.get("controller") == Some(&true.into()));
                if controller.is_none() {
                    controller = owner.map(Value::from);
                }
            });
            Some(controller.into_iter().collect())
        }
        _ => None,
    })
}

/// The restartPolicy, and the init containers that run beside the others.
fn read_spec(json: &RawValue) -> Option<Map<String, Value>> {
    kept(json, |key, value| match key {
        "restartPolicy" => cut(value, WORD_BYTES),
        "initContainers" => Some(sidecars(value)),
        _ => None,
    })
}

fn sidecars(containers: &RawValue) -> Value {
    let mut found: Vec<Value> = Vec::new();
    each_of_list(containers, |container| {
        let container = kept(container, |key, value| match key {
            "name" => cut(value, NAME_BYTES),
            "restartPolicy" => cut(value, WORD_BYTES),
            _ => None,
        });
        let is_sidecar = |one: &Map<String, Value>| one.get("restartPolicy") == Some(&"Always".into());
        let container = container.filter(|one| found.len() < CONTAINERS && is_sidecar(one));
        found.extend(container.map(Value::from));
    });
    found.into()
}

fn read_status(json: &RawValue) -> Option<Map<String, Value>> {
    let mut room = WORDS_BYTES;
    kept(json, |key, value| match key {
        "phase" => cut(value, WORD_BYTES),
        "reason" | "message" => shown(value, MESSAGE_BYTES),
        "conditions" => Some(conditions(value, &CONDITIONS)),
        "initContainerStatuses" | "containerStatuses" => {
            let mut found: Vec<Value> = Vec::new();
            each_of_list(value, |one| {
                if found.len() < CONTAINERS {
                    found.extend(container(one, &mut room));
                }
            });
            Some(found.into())
        }
        _ => None,
    })
}

fn container(json: &RawValue, room: &mut usize) -> Option<Value> {
    let mut state = |json: &RawValue| {
        let state = kept(json, |key, value| match key {
            // Only that it is there is asked for.
            "running" => Some(json!({})),
            "waiting" | "terminated" => Some(words(value, room)?.into()),
            _ => None,
        });
        state.map(Value::from)
    };
    let container = kept(json, |key, value| match key {
        "name" => cut(value, NAME_BYTES),
        "restartCount" => plain(value),
        "state" | "lastState" => state(value),
        _ => None,
    });
    container.map(Value::from)
}

/// Why a container waits, or how it ended.
fn words(json: &RawValue, room: &mut usize) -> Option<Map<String, Value>> {
    kept(json, |key, value| match key {
        "exitCode" | "signal" => plain(value),
        "finishedAt" => cut(value, WORD_BYTES),
        "reason" | "message" => {
            // A termination message is shown whole, which is as long as a message here.
            let text = shown(value, MESSAGE_BYTES.min(*room))?;
            *room -= text.as_str().map_or(0, str::len);
            Some(text)
        }
        _ => None,
    })
}
