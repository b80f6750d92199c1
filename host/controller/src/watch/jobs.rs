//! The Jobs that hookhost made, by the Operation that each is for.

mod job;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

use hookhost_core::claim::Keys;
use hookhost_core::loan::{ObjectRef, Queues};
use hookhost_core::{Reason, clone};
pub(crate) use job::{Job, first_generation};
use kube::ResourceExt;
use tokio_util::sync::CancellationToken;

use super::follow::{Seen, Tasks, follow};
use super::{Operations, Pods, Selection, job_resource, trim};
use crate::bindings::Bindings;
use crate::orphan::Orphans;
use crate::wake::Wakes;

/// Jobs that are remembered to be gone: far more than writes are under way at once.
const MAX_GONE: usize = 256;

/// A hook of a release: the release's namespace and name, the hook's name.
pub(crate) type HookOfRelease = [String; 3];

/// The Jobs of all followed namespaces; clones share them.
#[derive(Clone)]
pub(crate) struct Jobs(Arc<Inner>);

struct Inner {
    client: kube::Client,
    tasks: Tasks<String>,
    known: RwLock<Known>,
    operations: Operations,
    wakes: Wakes,
    orphans: Orphans,
    bindings: Bindings,
}

struct Known {
    /// Told of each Job as it comes, is over and goes.
    pods: Pods,
    by_operation: HashMap<String, BTreeMap<(String, String), Arc<Job>>>,
    /// Operation by namespace and name of the Job.
    operation_of: BTreeMap<(String, String), String>,
    /// The namespaces that are followed, and those of them whose Jobs are known.
    followed: HashSet<String>,
    listed: HashSet<String>,
    /// Those that are followed only until no Job in them has hookhost's finalizer any more: they are not managed any more.
    left: HashSet<String>,
    /// Whether namespaces that are not managed have been searched for such Jobs.
    is_searched: bool,
    /// UIDs of the Jobs that went last.
    gone: VecDeque<String>,
    /// Names of the Jobs that run a hook.
    at_work: HashMap<HookOfRelease, BTreeSet<String>>,
    /// UIDs of the Operations that wait for a hook to be free.
    wanted: HashMap<HookOfRelease, HashSet<String>>,
    /// The Operations that wait for temporary objects of other runs.
    queues: Queues,
    /// Why the Jobs of a namespace are not known, in one word and in more.
    broken: HashMap<String, (Reason, String)>,
    /// Temporary objects that Jobs had which were let go, or are gone, since waiting Operations were last woken for it.
    removed: Vec<ObjectRef>,
}

impl Jobs {
    pub(crate) fn new(
        client: kube::Client,
        operations: Operations,
        pods: Pods,
        wakes: Wakes,
        orphans: Orphans,
        bindings: Bindings,
        shutdown: CancellationToken,
    ) -> Jobs {
        let tasks = Tasks::new(shutdown);
        let known = RwLock::new(Known::new(pods));
        Jobs(Arc::new(Inner { client, tasks, known, operations, wakes, orphans, bindings }))
    }

    /// Follows a namespace from now on.
    pub(crate) fn follow(&self, namespace: &str) {
        self.write().left.remove(namespace);
        self.start(namespace);
    }

    /// Follows a namespace that is not managed as long as a Job in it has hookhost's finalizer.
    pub(crate) fn follow_to_the_end(&self, namespace: &str) {
        let mut known = self.write();
        if !known.followed.contains(namespace) {
            known.left.insert(namespace.to_owned());
        }
        drop(known);
        self.start(namespace);
    }

    /// The namespace is not managed any more: runs that are under way there are followed to their end, then it is forgotten.
    pub(crate) fn leave(&self, namespace: &str) {
        self.write().left.insert(namespace.to_owned());
        self.forget_left(namespace);
    }

    /// Forgets a namespace that was left, once its Jobs are known and none has hookhost's finalizer.
    fn forget_left(&self, namespace: &str) {
        let known = self.read();
        // Where hookhost may not see them, it cannot do anything for them either.
        let is_seen = known.listed.contains(namespace)
            || known.broken.get(namespace).is_some_and(|(reason, _)| *reason == Reason::AccessForbidden)
            || !known.followed.contains(namespace);
        let is_done = known.left.contains(namespace) && is_seen && known.held(namespace).next().is_none();
        drop(known);
        if is_done {
            self.forget(namespace);
        }
    }

    /// All namespaces in which a run may be under way though they are not managed are followed now.
    pub(crate) fn searched(&self) {
        self.write().is_searched = true;
        if self.are_all_known() {
            self.0.wakes.wake_all(self.0.operations.keys());
        }
    }

    fn start(&self, namespace: &str) {
        self.write().followed.insert(namespace.to_owned());
        let (jobs, namespace) = (self.clone(), namespace.to_owned());
        self.0.tasks.start(namespace.clone(), move || async move {
            // Two labels: Jobs of other engines have the first one too.
            let selection = Selection::new(jobs.0.client.clone(), &job_resource(), Some(&namespace))
                .labels(&format!("{},{}", clone::OPERATION, clone::SOURCE_HOOK));
            follow(selection, "jobs", &namespace, trim, |seen| jobs.handle(&namespace, seen)).await;
        });
    }

    /// Forgets a namespace.
    pub(crate) fn forget(&self, namespace: &str) {
        self.0.tasks.stop(&namespace.to_owned());
        let mut known = self.write();
        known.followed.remove(namespace);
        known.listed.remove(namespace);
        known.broken.remove(namespace);
        known.left.remove(namespace);
        known.retain(namespace, |_| false);
    }

    /// Whether all Jobs of a namespace are known.
    pub(crate) fn is_synced(&self, namespace: &str) -> bool {
        self.read().listed.contains(namespace)
    }

    /// Whether the Jobs of all namespaces are known, or known not to be: an Operation's Job may be in any.
    pub(crate) fn are_all_known(&self) -> bool {
        self.read().are_all_known()
    }

    /// For how many Jobs in this namespace hookhost has still something to do; with keys, of those that it can prove to be its own.
    pub(crate) fn held(&self, namespace: &str, keys: Option<&Keys>) -> usize {
        let is_own = |job: &Arc<Job>| keys.is_none_or(|keys| job.is_genuine(keys));
        self.read().held(namespace).filter(is_own).count()
    }

    /// Has everything looked at that has a Job with hookhost's finalizer in this namespace.
    pub(crate) fn wake(&self, namespace: &str) {
        let held: Vec<Arc<Job>> = self.read().held(namespace).collect();
        for job in held {
            self.concern(namespace, &job.operation, &job.name);
        }
    }

    fn concern(&self, namespace: &str, operation: &str, name: &str) {
        match self.0.operations.by_uid(operation) {
            Some(key) => self.0.wakes.wake(key),
            None => self.0.orphans.suspect(namespace, name),
        }
    }

    /// The name of a Job, not of this Operation, that runs the hook or has pods that still do. Whoever asks is woken when
    /// there is none any more.
    pub(crate) fn at_work(&self, hook: &HookOfRelease, operation_uid: &str) -> Option<String> {
        let mut known = self.write();
        let names = known.at_work.get(hook)?;
        let is_others = |name: &&String| {
            known
                .operation_of
                .get(&(hook[0].clone(), (*name).clone()))
                .is_some_and(|uid| uid != operation_uid)
        };
        let name = names.iter().find(is_others)?.clone();
        known.wanted.entry(hook.clone()).or_default().insert(operation_uid.to_owned());
        Some(name)
    }

    /// Has the Operation reconciled when it is its turn for this temporary object of another run, or with none any more: then the
    /// next that waits for what it waited for is.
    pub(crate) fn await_object(&self, operation_uid: &str, object: Option<&ObjectRef>) {
        let mut known = self.write();
        let next = match object {
            Some(object) => {
                known.queues.wait(operation_uid, object);
                None
            }
            None => known.queues.leave(operation_uid).map(str::to_owned),
        };
        drop(known);
        self.0.wakes.wake_all(next.and_then(|uid| self.0.operations.by_uid(&uid)));
    }

    /// Why the Jobs of a namespace are not known, or not followed any more, where the API server says no or nothing.
    pub(crate) fn broken(&self, namespace: &str) -> Option<(Reason, String)> {
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

    /// Whether a Job is there for an Operation of this namespace that is not known.
    pub(crate) fn is_any_unknown(&self, namespace: &str, keys: &Keys) -> bool {
        let known = self.read();
        let mut unknown =
            known.by_operation.iter().filter(|(uid, _)| self.0.operations.by_uid(uid).is_none());
        unknown.any(|(_, jobs)| {
            let is_of = |job: &Arc<Job>| job.origin().is_some_and(|origin| origin.namespace == namespace);
            jobs.values().any(|job| job.is_held() && is_of(job) && job.is_genuine(keys))
        })
    }

    /// Takes note of a Job that this process has just read or written, before its watch tells.
    pub(crate) fn insert(&self, job: Job) -> Arc<Job> {
        let job = self.write().insert(job);
        self.wake_for_what_is_free();
        self.after_change(&job.namespace);
        job
    }

    /// A Job of the namespace may have lost hookhost's finalizer.
    fn after_change(&self, namespace: &str) {
        self.forget_left(namespace);
        self.0.bindings.look_again();
    }

    /// Takes note that a Job is not there any more.
    pub(crate) fn remove(&self, namespace: &str, name: &str) {
        self.write().remove(namespace, name);
        self.wake_for_what_is_free();
        self.after_change(namespace);
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
                let uid = object.uid().unwrap_or_default();
                if Job::new(object).is_some_and(|job| job.borrows_of_cluster()) {
                    // Nothing in the cluster deletes that with it.
                    self.0.orphans.sweep();
                }
                let operation = self.write().forget(namespace, &name, &uid);
                operation.map(|operation| (operation, name)).into_iter().collect()
            }
            Seen::Listed(names) => {
                let mut known = self.write();
                let were_known = known.are_all_known();
                known.listed.insert(namespace.to_owned());
                known.broken.remove(namespace);
                known.retain(namespace, |name| names.contains(name));
                let are_known = known.are_all_known();
                drop(known);
                self.wake_waiting(namespace, !were_known && are_known);
                Vec::new()
            }
            Seen::Broken { reason, why } => {
                let mut known = self.write();
                let (was_known, were_known) = (known.listed.contains(namespace), known.are_all_known());
                known.broken.insert(namespace.to_owned(), (reason, why));
                let are_known = known.are_all_known();
                drop(known);
                if !was_known {
                    self.wake_waiting(namespace, !were_known && are_known);
                }
                if reason == Reason::AccessForbidden {
                    // Runs there can be followed no more, which their Operations are to say.
                    self.wake(namespace);
                }
                Vec::new()
            }
        };
        self.wake_for_what_is_free();
        for (operation, name) in concerned {
            self.concern(namespace, &operation, &name);
        }
        self.after_change(namespace);
    }

    /// Everything that waited for this namespace, or for the last of all, to be known.
    fn wake_waiting(&self, namespace: &str, all: bool) {
        let operations = &self.0.operations;
        self.0.wakes.wake_all(if all { operations.keys() } else { operations.keys_of(namespace) });
    }

    /// What waited for a hook that nobody runs any more; and the first of those that wait for a temporary object that was removed.
    fn wake_for_what_is_free(&self) {
        let mut known = self.write();
        let Known { wanted, queues, at_work, removed, .. } = &mut *known;
        let free = wanted.extract_if(|hook, _| !at_work.contains_key(hook));
        let mut concerned: HashSet<String> = free.flat_map(|(_, uids)| uids).collect();
        concerned.extend(removed.drain(..).filter_map(|object| queues.first(&object).map(str::to_owned)));
        drop(known);
        self.0.wakes.wake_all(concerned.iter().filter_map(|uid| self.0.operations.by_uid(uid)));
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Known> {
        self.0.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn new(pods: Pods) -> Known {
        Known {
            pods,
            by_operation: HashMap::new(),
            operation_of: BTreeMap::new(),
            followed: HashSet::new(),
            listed: HashSet::new(),
            left: HashSet::new(),
            is_searched: false,
            gone: VecDeque::new(),
            at_work: HashMap::new(),
            wanted: HashMap::new(),
            queues: Queues::default(),
            broken: HashMap::new(),
            removed: Vec::new(),
        }
    }

    /// Keeps the newer of two forms of one Job; gives back what is kept. A Job that is gone does not come back by the answer to
    /// a write that its deletion has overtaken.
    fn insert(&mut self, mut job: Job) -> Arc<Job> {
        let place = (job.namespace.clone(), job.name.clone());
        match self.get(&place) {
            Some(known) if known.version > job.version && known.uid == job.uid => return known,
            Some(known) if known.version > job.version => return Arc::new(job),
            _ if self.gone.contains(&job.uid) => return Arc::new(job),
            _ => {}
        }
        if job.needs_pods() {
            self.pods.follow(&job.namespace, &job.uid, &job.operation);
        } else {
            self.pods.release(&job.namespace, &job.uid);
        }
        let removed = self.removed.len();
        match self.take(&place) {
            // One that may start now is as good as new.
            Some(before) if before.uid == job.uid && before.is_suspended == job.is_suspended => {
                job.known_since = before.known_since;
            }
            Some(before) if before.uid == job.uid => {}
            Some(before) => self.pods.release(&before.namespace, &before.uid),
            None => {}
        }
        if job.is_lent() {
            // What it was before has just been taken away.
            self.removed.truncate(removed);
        }
        let job = Arc::new(job);
        if let Some(work) = &job.work {
            self.at_work.entry(work.clone()).or_default().insert(job.name.clone());
        }
        self.operation_of.insert(place.clone(), job.operation.clone());
        self.by_operation.entry(job.operation.clone()).or_default().insert(place, job.clone());
        job
    }

    fn are_all_known(&self) -> bool {
        self.is_searched
            && self.followed.iter().all(|one| self.listed.contains(one) || self.broken.contains_key(one))
    }

    fn get(&self, place: &(String, String)) -> Option<Arc<Job>> {
        self.by_operation.get(self.operation_of.get(place)?)?.get(place).cloned()
    }

    /// Removes the Job of this UID, which is gone for good; gives back the UID of its Operation. Another may have its name by
    /// now.
    fn forget(&mut self, namespace: &str, name: &str, uid: &str) -> Option<String> {
        if self.gone.len() == MAX_GONE {
            self.gone.pop_front();
        }
        self.gone.push_back(uid.to_owned());
        let known = self.get(&(namespace.to_owned(), name.to_owned()))?;
        if known.uid == uid { self.remove(namespace, name) } else { None }
    }

    /// Removes a Job; gives back the UID of its Operation.
    fn remove(&mut self, namespace: &str, name: &str) -> Option<String> {
        let job = self.take(&(namespace.to_owned(), name.to_owned()))?;
        self.pods.release(namespace, &job.uid);
        Some(job.operation.clone())
    }

    fn take(&mut self, place: &(String, String)) -> Option<Arc<Job>> {
        let job = self.get(place)?;
        if job.is_lent() {
            self.removed.extend(job.borrowed().into_iter().flat_map(|borrowed| borrowed.objects.clone()));
        }
        if let Some(work) = &job.work
            && let Some(names) = self.at_work.get_mut(work)
        {
            names.remove(&job.name);
            if names.is_empty() {
                self.at_work.remove(work);
            }
        }
        self.operation_of.remove(place);
        if let Some(jobs) = self.by_operation.get_mut(&job.operation) {
            jobs.remove(place);
            if jobs.is_empty() {
                self.by_operation.remove(&job.operation);
            }
        }
        Some(job)
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

    /// The Jobs of a namespace for which hookhost has still something to do: they have its finalizer, or what was made for them.
    fn held<'k>(&'k self, namespace: &'k str) -> impl Iterator<Item = Arc<Job>> + 'k {
        self.of_namespace(namespace).filter(|job| job.is_indebted())
    }

    fn of_namespace<'k>(&'k self, namespace: &'k str) -> impl Iterator<Item = Arc<Job>> + 'k {
        self.names(namespace).filter_map(move |name| self.get(&(namespace.to_owned(), name.to_owned())))
    }
}
