//! The Jobs that hookhost made, by the Operation that each is for.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use hookhost_core::{clone, outcome};
use kube::core::DynamicObject;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::follow::{Seen, Tasks, follow};
use super::{Operations, Pods, job_resource, to_json, trim, version};
use crate::orphan::Orphans;
use crate::wake::Wakes;

/// A Job of hookhost, without its spec: that is in the API server, and nothing here depends on it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    /// The UID of the Operation that it is for, by its label.
    pub(crate) operation: String,
    /// Whether it is finished, or on its way to be deleted.
    pub(crate) is_over: bool,
    /// metadata and status.
    pub(crate) object: Value,
    version: u64,
}

impl Job {
    /// A Job as the API server gave it; none if it is not for an Operation.
    pub(crate) fn new(mut object: DynamicObject) -> Option<Job> {
        let operation = object.labels().get(clone::OPERATION)?.clone();
        trim(&mut object);
        if let Some(data) = object.data.as_object_mut() {
            data.retain(|field, _| field == "status");
        }
        let version = version(&object);
        let (namespace, name, uid) = (object.namespace()?, object.name_any(), object.uid()?);
        let is_deleted = object.metadata.deletion_timestamp.is_some();
        let object = to_json(&object);
        let is_over = is_deleted || outcome::is_finished(&object);
        Some(Job { namespace, name, uid, operation, is_over, object, version })
    }

    /// Whether hookhost's finalizer is on it: its result is not yet on the Operation.
    pub(crate) fn is_held(&self) -> bool {
        let finalizers = self.object.pointer("/metadata/finalizers").and_then(Value::as_array);
        finalizers.is_some_and(|all| all.iter().any(|one| one.as_str() == Some(clone::FINALIZER)))
    }

    /// Whether it is being deleted.
    pub(crate) fn is_deleted(&self) -> bool {
        self.object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null())
    }
}

/// The Jobs of all followed namespaces; clones share them.
#[derive(Clone)]
pub(crate) struct Jobs(Arc<Inner>);

struct Inner {
    client: kube::Client,
    tasks: Tasks<String>,
    known: RwLock<Known>,
    operations: Operations,
    pods: Pods,
    wakes: Wakes,
    orphans: Orphans,
}

#[derive(Default)]
struct Known {
    by_operation: HashMap<String, BTreeMap<(String, String), Arc<Job>>>,
    /// Operation by namespace and name of the Job.
    operation_of: BTreeMap<(String, String), String>,
    listed: HashSet<String>,
    /// Why the Jobs of a namespace are not known.
    broken: HashMap<String, String>,
}

impl Jobs {
    pub(crate) fn new(
        client: kube::Client,
        operations: Operations,
        pods: Pods,
        wakes: Wakes,
        orphans: Orphans,
        shutdown: CancellationToken,
    ) -> Jobs {
        let tasks = Tasks::new(shutdown);
        Jobs(Arc::new(Inner { client, tasks, known: RwLock::default(), operations, pods, wakes, orphans }))
    }

    /// Follows a namespace from now on.
    pub(crate) fn follow(&self, namespace: &str) {
        let (jobs, namespace) = (self.clone(), namespace.to_owned());
        self.0.tasks.start(namespace.clone(), move || async move {
            let api = Api::namespaced_with(jobs.0.client.clone(), &namespace, &job_resource());
            // Two labels: Jobs of other engines have the first one too.
            let config =
                watcher::Config::default().labels(&format!("{},{}", clone::OPERATION, clone::SOURCE_HOOK));
            follow(api, config, "jobs", &namespace, trim, |seen| jobs.handle(&namespace, seen)).await;
        });
    }

    /// Forgets a namespace.
    pub(crate) fn forget(&self, namespace: &str) {
        self.0.tasks.stop(&namespace.to_owned());
        let mut known = self.write();
        known.listed.remove(namespace);
        known.broken.remove(namespace);
        known.retain(namespace, |_| false);
        drop(known);
        self.0.pods.forget(namespace);
    }

    /// Whether all Jobs of a namespace are known.
    pub(crate) fn is_synced(&self, namespace: &str) -> bool {
        self.read().listed.contains(namespace)
    }

    /// Why the Jobs of a namespace are not known, where the API server says no.
    pub(crate) fn broken(&self, namespace: &str) -> Option<String> {
        self.read().broken.get(namespace).cloned()
    }

    /// The Jobs for an Operation, in the order of their names.
    pub(crate) fn of(&self, operation_uid: &str) -> Vec<Arc<Job>> {
        let known = self.read();
        known.by_operation.get(operation_uid).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    /// Namespace and name of the Jobs whose Operation is not known.
    pub(crate) fn without_operation(&self) -> Vec<(String, String)> {
        let known = self.read();
        let unknown = known.by_operation.iter().filter(|(uid, _)| self.0.operations.by_uid(uid).is_none());
        unknown.flat_map(|(_, jobs)| jobs.keys().cloned()).collect()
    }

    /// Takes note of a Job that this process has just read or written, before its watch tells.
    pub(crate) fn insert(&self, job: Job) -> Arc<Job> {
        let namespace = job.namespace.clone();
        let job = self.write().insert(job);
        self.update_pods(&namespace);
        job
    }

    /// Takes note that a Job is not there any more.
    pub(crate) fn remove(&self, namespace: &str, name: &str) {
        self.write().remove(namespace, name);
        self.update_pods(namespace);
    }

    fn handle(&self, namespace: &str, seen: Seen) {
        let concerned: Vec<(String, String)> = match seen {
            Seen::Applied(object) => {
                let Some(job) = Job::new(object) else { return };
                let concerned = (job.operation.clone(), job.name.clone());
                self.write().insert(job);
                vec![concerned]
            }
            Seen::Deleted(object) => {
                let name = object.name_any();
                self.write().remove(namespace, &name).map(|operation| (operation, name)).into_iter().collect()
            }
            Seen::Listed(names) => {
                let mut known = self.write();
                known.listed.insert(namespace.to_owned());
                known.broken.remove(namespace);
                known.retain(namespace, |name| names.contains(name));
                drop(known);
                // Everything that waited for this namespace to be known.
                self.0.wakes.wake_all(self.0.operations.keys_of(namespace));
                Vec::new()
            }
            Seen::Broken(why) => {
                let mut known = self.write();
                let was_known = known.listed.contains(namespace);
                known.broken.insert(namespace.to_owned(), why);
                drop(known);
                if !was_known {
                    self.0.wakes.wake_all(self.0.operations.keys_of(namespace));
                }
                Vec::new()
            }
        };
        self.update_pods(namespace);
        for (operation, name) in concerned {
            match self.0.operations.by_uid(&operation) {
                Some(key) => self.0.wakes.wake(key),
                None => self.0.orphans.suspect(namespace, &name),
            }
        }
    }

    /// Pods are followed as long as there is a Job that is not over.
    fn update_pods(&self, namespace: &str) {
        let known = self.read();
        let mut here = known.of_namespace(namespace);
        let is_needed = here.any(|job| !job.is_over);
        drop(here);
        drop(known);
        if is_needed { self.0.pods.follow(namespace) } else { self.0.pods.forget(namespace) }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Known> {
        self.0.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Keeps the newer of two forms of one Job; gives back what is kept.
    fn insert(&mut self, job: Job) -> Arc<Job> {
        let place = (job.namespace.clone(), job.name.clone());
        if let Some(known) = self.get(&place)
            && known.uid == job.uid
            && known.version > job.version
        {
            return known;
        }
        self.remove(&place.0, &place.1);
        let job = Arc::new(job);
        self.operation_of.insert(place.clone(), job.operation.clone());
        self.by_operation.entry(job.operation.clone()).or_default().insert(place, job.clone());
        job
    }

    fn get(&self, place: &(String, String)) -> Option<Arc<Job>> {
        self.by_operation.get(self.operation_of.get(place)?)?.get(place).cloned()
    }

    /// Removes a Job; gives back the UID of its Operation.
    fn remove(&mut self, namespace: &str, name: &str) -> Option<String> {
        let place = (namespace.to_owned(), name.to_owned());
        let operation = self.operation_of.remove(&place)?;
        if let Some(jobs) = self.by_operation.get_mut(&operation) {
            jobs.remove(&place);
            if jobs.is_empty() {
                self.by_operation.remove(&operation);
            }
        }
        Some(operation)
    }

    fn retain(&mut self, namespace: &str, keep: impl Fn(&str) -> bool) {
        let gone: Vec<String> = self.names(namespace).filter(|name| !keep(name)).map(str::to_owned).collect();
        for name in gone {
            self.remove(namespace, &name);
        }
    }

    fn names<'k>(&'k self, namespace: &'k str) -> impl Iterator<Item = &'k str> {
        let from = (namespace.to_owned(), String::new());
        let here = self.operation_of.range(from..).map(|((of, name), _)| (of.as_str(), name.as_str()));
        here.take_while(move |(of, _)| *of == namespace).map(|(_, name)| name)
    }

    fn of_namespace<'k>(&'k self, namespace: &'k str) -> impl Iterator<Item = Arc<Job>> + 'k {
        self.names(namespace).filter_map(move |name| self.get(&(namespace.to_owned(), name.to_owned())))
    }
}
