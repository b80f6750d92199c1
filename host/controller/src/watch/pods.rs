//! The pods of hookhost's Jobs, and what the cluster warns about them: that a pod cannot be created is said in an Event
//! about the Job and nowhere else.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use hookhost_core::{clone, outcome};
use kube::ResourceExt;
use kube::core::DynamicObject;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::follow::{Seen, Tasks, follow};
use super::{Operations, Selection, Text, pod_resource, resource, to_json, trim};
use crate::wake::Wakes;

/// Warnings that are kept of one namespace: one for each Job or pod that cannot go on; the oldest is dropped.
const MAX_WARNINGS: usize = 1024;

/// Characters of an RFC 3339 time up to its seconds.
const SECOND: usize = "2026-05-28T14:00:00".len();

/// The reason of the Job controller's Events that tell why a pod cannot be created.
const FAILED_CREATE: &str = "FailedCreate";

/// Bytes of a warning that are kept: more than a condition shows of it.
const WARNING_BYTES: usize = 2048;

/// What is followed in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum What {
    Pods,
    Warnings,
}

/// The pods of the namespaces in which a Job runs; clones share them.
#[derive(Clone)]
pub(crate) struct Pods(Arc<Inner>);

struct Inner {
    client: kube::Client,
    tasks: Tasks<(String, What)>,
    known: RwLock<HashMap<String, Namespace>>,
    operations: Operations,
    wakes: Wakes,
}

#[derive(Default)]
struct Namespace {
    is_listed: bool,
    /// Pods by the UID of their Operation, then by name.
    pods: HashMap<String, BTreeMap<String, Text>>,
    /// The UID of the Operation of each Job that is followed, by the Job's UID.
    jobs: HashMap<String, String>,
    /// The newest warning about an object, by the object's UID.
    warnings: HashMap<String, Warning>,
}

#[derive(Clone, Debug)]
struct Warning {
    message: String,
    at: String,
}

impl Pods {
    pub(crate) fn new(
        client: kube::Client,
        operations: Operations,
        wakes: Wakes,
        shutdown: CancellationToken,
    ) -> Pods {
        Pods(Arc::new(Inner {
            client,
            tasks: Tasks::new(shutdown),
            known: RwLock::default(),
            operations,
            wakes,
        }))
    }

    /// Follows the pods of a Job, and with them all of its namespace. `operation` is the UID of the Operation that it is for.
    pub(crate) fn follow(&self, namespace: &str, job_uid: &str, operation: &str) {
        let mut known = self.write();
        let jobs = &mut known.entry(namespace.to_owned()).or_default().jobs;
        let is_first = jobs.is_empty();
        jobs.insert(job_uid.to_owned(), operation.to_owned());
        if !is_first {
            return;
        }
        let start = |what: What, selection: Selection, name: &'static str| {
            let (pods, namespace) = (self.clone(), namespace.to_owned());
            self.0.tasks.start((namespace.clone(), what), move || async move {
                follow(selection, name, &namespace, trim, |seen| pods.handle(&namespace, what, seen)).await;
            });
        };
        let all = |resource| Selection::new(self.0.client.clone(), &resource, Some(namespace));
        start(What::Pods, all(pod_resource()).labels(clone::OPERATION), "pods");
        let events = resource("", "v1", "Event", "events");
        start(What::Warnings, all(events).fields("type=Warning"), "warnings");
    }

    /// Follows the pods of a Job no more; the namespace, if it was the last one there.
    pub(crate) fn release(&self, namespace: &str, job_uid: &str) {
        let mut known = self.write();
        let Some(here) = known.get_mut(namespace) else { return };
        here.jobs.remove(job_uid);
        if here.jobs.is_empty() {
            known.remove(namespace);
            for what in [What::Pods, What::Warnings] {
                self.0.tasks.stop(&(namespace.to_owned(), what));
            }
        }
    }

    /// The pods of an Operation; none where they are not known yet.
    pub(crate) fn of(&self, namespace: &str, operation_uid: &str) -> Option<Vec<Arc<Value>>> {
        let known = self.read();
        let here = known.get(namespace).filter(|here| here.is_listed)?;
        let pods = here.pods.get(operation_uid).into_iter().flat_map(BTreeMap::values);
        Some(pods.map(|pod| Arc::new(pod.parse())).collect())
    }

    /// These pods of an Operation, as the API server has them, with the owners that they had when the watch saw them first.
    pub(crate) fn with_owners(
        &self,
        namespace: &str,
        operation_uid: &str,
        pods: Vec<Arc<Value>>,
    ) -> Vec<Arc<Value>> {
        let known = self.read();
        let before = known.get(namespace).and_then(|here| here.pods.get(operation_uid));
        let mut pods = pods;
        for pod in &mut pods {
            let name = pod.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            if let Some(before) = before.and_then(|before| before.get(name)) {
                keep_owner(Arc::make_mut(pod), before);
            }
        }
        pods
    }

    /// What the cluster last warned of about an object, if that was not before `since`.
    pub(crate) fn warning(&self, namespace: &str, uid: &str, since: &str) -> Option<String> {
        let known = self.read();
        let warning = known.get(namespace)?.warnings.get(uid)?;
        // To the second, which is all that every API has.
        let second = |time: &str| time.get(..SECOND).unwrap_or_default().to_owned();
        (second(&warning.at) >= second(since)).then(|| warning.message.clone())
    }

    fn handle(&self, namespace: &str, what: What, seen: Seen) {
        let operation = match what {
            What::Pods => self.handle_pod(namespace, seen),
            What::Warnings => self.handle_warning(namespace, seen),
        };
        let key = operation.and_then(|uid| self.0.operations.by_uid(&uid));
        if let Some(key) = key {
            self.0.wakes.wake(key);
        }
    }

    /// Takes note of a pod; gives back the UID of its Operation.
    fn handle_pod(&self, namespace: &str, seen: Seen) -> Option<String> {
        let mut known = self.write();
        let here = known.get_mut(namespace)?;
        match seen {
            Seen::Applied(object) => {
                let (name, operation) = (object.name_any(), object.labels().get(clone::OPERATION)?.clone());
                let pods = here.pods.entry(operation.clone()).or_default();
                let mut pod = pod(object);
                if let Some(before) = pods.get(&name) {
                    keep_owner(&mut pod, before);
                }
                pods.insert(name, Text::of(&pod));
                Some(operation)
            }
            Seen::Deleted(object) => {
                let operation = object.labels().get(clone::OPERATION)?.clone();
                let pods = here.pods.get_mut(&operation)?;
                pods.remove(&object.name_any());
                if pods.is_empty() {
                    here.pods.remove(&operation);
                }
                Some(operation)
            }
            Seen::Listed(names) => {
                here.is_listed = true;
                here.forget_others(&names);
                let operations: Vec<String> = here.pods.keys().cloned().collect();
                drop(known);
                let keys = operations.iter().filter_map(|uid| self.0.operations.by_uid(uid));
                self.0.wakes.wake_all(keys);
                None
            }
            Seen::Broken { .. } => None,
        }
    }

    /// Takes note of a warning; gives back the UID of the Operation whose Job or pod it is about.
    fn handle_warning(&self, namespace: &str, seen: Seen) -> Option<String> {
        let Seen::Applied(event) = seen else { return None };
        let text = |path: &str| event.data.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let (about, kind) = (text("/involvedObject/uid"), text("/involvedObject/kind"));
        // About a Job only why it gets no pod: what else there is to say of one, its conditions say.
        let is_wanted = kind == "Pod" || (kind == "Job" && text("/reason") == FAILED_CREATE);
        if !is_wanted || about.is_empty() {
            return None;
        }
        let at = [text("/series/lastObservedTime"), text("/lastTimestamp"), text("/eventTime")]
            .into_iter()
            .find(|time| !time.is_empty())
            .unwrap_or_default();
        let message = text("/message");
        let message = message[..message.floor_char_boundary(WARNING_BYTES)].to_owned();
        let warning = Warning { message, at: at.to_owned() };
        let mut known = self.write();
        let here = known.get_mut(namespace)?;
        if here.warnings.get(about).is_some_and(|older| older.at > warning.at) {
            return None;
        }
        if here.warnings.len() >= MAX_WARNINGS && !here.warnings.contains_key(about) {
            let oldest = here.warnings.iter().min_by(|(_, a), (_, b)| a.at.cmp(&b.at));
            if let Some(oldest) = oldest.map(|(uid, _)| uid.clone()) {
                here.warnings.remove(&oldest);
            }
        }
        here.warnings.insert(about.to_owned(), warning);
        if kind == "Job" {
            return here.jobs.get(about).cloned();
        }
        let name = text("/involvedObject/name");
        here.pods.iter().find(|(_, pods)| pods.contains_key(name)).map(|(uid, _)| uid.clone())
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<String, Namespace>> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<String, Namespace>> {
        self.0.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Namespace {
    fn forget_others(&mut self, names: &HashSet<String>) {
        for pods in self.pods.values_mut() {
            pods.retain(|name, _| names.contains(name));
        }
        self.pods.retain(|_, pods| !pods.is_empty());
    }
}

/// Gives a pod that has no controller the owners that it had. Deleting a Job without its pods takes their owner away; that such a
/// pod was the Job's is known only to who saw it before, for anybody can copy its labels.
fn keep_owner(pod: &mut Value, before: &Text) {
    if outcome::is_controlled(pod) {
        return;
    }
    let before = before.parse();
    if before["metadata"]["uid"] == pod["metadata"]["uid"] && outcome::is_controlled(&before) {
        pod["metadata"]["ownerReferences"] = before["metadata"]["ownerReferences"].clone();
    }
}

/// What is read of a pod: metadata and status, and which init containers are sidecars.
pub(crate) fn pod(mut object: DynamicObject) -> Value {
    trim(&mut object);
    // Of its annotations only an Indexed Job's are read, and those are labels too.
    object.metadata.annotations = None;
    let inits = object.data.pointer("/spec/initContainers").and_then(Value::as_array);
    let inits: Vec<Value> = inits
        .into_iter()
        .flatten()
        .map(|container| json!({"name": container.get("name"), "restartPolicy": container.get("restartPolicy")}))
        .collect();
    if let Some(data) = object.data.as_object_mut() {
        data.retain(|field, _| field == "status");
        data.insert("spec".to_owned(), json!({"initContainers": inits}));
    }
    to_json(&object)
}
