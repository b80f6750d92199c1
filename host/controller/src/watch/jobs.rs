//! The Jobs that hookhost made, by the Operation that each is for.

mod known;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hookhost_cluster::job::{HookOfRelease, Job};
use hookhost_core::Reason;
use hookhost_core::claim::Keys;
use hookhost_core::keys;
use hookhost_core::object::ObjectRef;
pub(crate) use known::{JOBS_BYTES, UNPROVEN_EVERYWHERE};
use known::{Known, Told};
use parking_lot::{Mutex, RwLock};
use tokio_util::sync::CancellationToken;

use super::follow::{Seen, Tasks, follow};
use super::{Operations, Pods};
use crate::bindings::Bindings;
use crate::claim_key::Keyring;
use crate::orphans::Orphans;
use crate::wake::Wakes;
use hookhost_cluster::resource::job_resource;
use hookhost_cluster::stream::Selection;

/// The Jobs of all followed namespaces; clones share them.
#[derive(Clone)]
pub(crate) struct Jobs(Arc<Inner>);

struct Inner {
    client: kube::Client,
    tasks: Tasks<String>,
    known: RwLock<Known>,
    /// How many watches were begun.
    watches: AtomicU64,
    /// Held by whoever changes which namespaces are followed, before `known`: what is decided holds until it is done.
    changes: Mutex<()>,
    operations: Operations,
    wakes: Wakes,
    listeners: Listeners,
    /// By which hookhost's own are told from others.
    keyring: Keyring,
}

/// Who is told of Jobs besides the Operations that they are for.
pub(crate) struct Listeners {
    pub(crate) orphans: Orphans,
    pub(crate) bindings: Bindings,
}

impl Jobs {
    pub(crate) fn new(
        client: kube::Client,
        operations: Operations,
        pods: Pods,
        wakes: Wakes,
        listeners: Listeners,
        keyring: Keyring,
        shutdown: CancellationToken,
    ) -> Jobs {
        let tasks = Tasks::new(shutdown);
        let (known, watches) = (RwLock::new(Known::new(pods)), AtomicU64::new(0));
        let changes = Mutex::new(());
        Jobs(Arc::new(Inner {
            client,
            tasks,
            known,
            watches,
            changes,
            operations,
            wakes,
            listeners,
            keyring,
        }))
    }

    /// Follows a namespace from now on.
    pub(crate) fn follow(&self, namespace: &str) {
        let _changes = self.0.changes.lock();
        self.0.known.write().left.remove(namespace);
        self.start(namespace);
    }

    /// Follows a namespace that is not managed as long as a Job in it has hookhost's finalizer.
    pub(crate) fn follow_to_the_end(&self, namespace: &str) {
        let _changes = self.0.changes.lock();
        let mut known = self.0.known.write();
        if !known.followed.contains_key(namespace) {
            known.left.insert(namespace.to_owned());
        }
        drop(known);
        self.start(namespace);
    }

    /// The namespace is not managed any more: runs that are under way there are followed to their end, then it is forgotten.
    pub(crate) fn leave(&self, namespace: &str) {
        self.0.known.write().left.insert(namespace.to_owned());
        self.forget_left(namespace);
    }

    /// Forgets a namespace that was left, once its Jobs are known and none has hookhost's finalizer.
    fn forget_left(&self, namespace: &str) {
        let _changes = self.0.changes.lock();
        // Under one lock: a Job that is made meanwhile is either seen here, or finds its namespace not followed.
        let mut known = self.0.known.write();
        // Where hookhost may not see them, it cannot do anything for them either.
        let is_seen = known.listed.contains(namespace)
            || known.broken.get(namespace).is_some_and(|(reason, _)| *reason == Reason::AccessForbidden)
            || !known.followed.contains_key(namespace);
        let is_done = known.left.contains(namespace) && is_seen && known.held(namespace).next().is_none();
        if is_done {
            known.forget_namespace(namespace);
        }
        drop(known);
        if is_done {
            self.0.tasks.stop(&namespace.to_owned());
        }
    }

    /// All namespaces in which a run may be under way though they are not managed are followed now.
    pub(crate) fn searched(&self) {
        self.0.known.write().is_searched = true;
        if self.are_all_known() {
            self.0.wakes.wake_all(self.0.operations.keys());
        }
    }

    fn start(&self, namespace: &str) {
        let (jobs, namespace) = (self.clone(), namespace.to_owned());
        self.0.tasks.start(namespace.clone(), move || {
            let watch = jobs.0.watches.fetch_add(1, Ordering::Relaxed);
            jobs.0.known.write().followed.insert(namespace.clone(), watch);
            // Two labels: Jobs of other engines have the first one too.
            let selection = Selection::new(jobs.0.client.clone(), &job_resource(), Some(&namespace))
                .labels(&format!("{},{}", keys::OPERATION, keys::SOURCE_HOOK));
            let read = |text: &str| Job::read(text).filter(Job::is_for_operation);
            async move {
                follow(selection, "jobs", &namespace, read, |seen| jobs.handle(&namespace, watch, seen))
                    .await;
            }
        });
    }

    /// Tells hookhost's own Jobs from others whenever the key of claims is another, for ever.
    pub(crate) async fn sort(self) {
        let keyring = self.0.keyring.clone();
        keyring
            .follow(|keys| {
                let more = self.0.known.write().sort(&keys);
                for namespace in more {
                    // hookhost's own are among those that were not known, for all that is known.
                    self.0.known.write().listed.remove(&namespace);
                    self.list_again(&namespace);
                }
            })
            .await;
    }

    fn list_again(&self, namespace: &str) {
        let _changes = self.0.changes.lock();
        if self.0.tasks.stop(&namespace.to_owned()) {
            self.start(namespace);
        }
    }

    /// Whether all Jobs of a namespace are known.
    pub(crate) fn is_synced(&self, namespace: &str) -> bool {
        self.0.known.read().listed.contains(namespace)
    }

    /// Whether the Jobs of all namespaces are known, or known not to be: an Operation's Job may be in any.
    pub(crate) fn are_all_known(&self) -> bool {
        self.0.known.read().are_all_known()
    }

    /// For how many Jobs in this namespace hookhost has still something to do; with keys, of those that it can prove to be its own.
    pub(crate) fn held(&self, namespace: &str, keys: Option<&Keys>) -> usize {
        let is_own = |job: &Arc<Job>| keys.is_none_or(|keys| job.is_genuine(keys));
        self.0.known.read().held(namespace).filter(is_own).count()
    }

    /// The namespaces that are followed and whose Jobs are not known; none while it is not known which are to be followed.
    pub(crate) fn unlisted(&self) -> Option<Vec<String>> {
        let known = self.0.known.read();
        let unlisted = || known.followed.keys().filter(|one| !known.listed.contains(*one)).cloned().collect();
        known.is_searched.then(unlisted)
    }

    /// Has everything looked at that has a Job with hookhost's finalizer in this namespace.
    pub(crate) fn wake(&self, namespace: &str) {
        let held: Vec<Arc<Job>> = self.0.known.read().held(namespace).collect();
        for job in held {
            self.concern(&job);
        }
    }

    /// Enqueues the Operation of a Job; or, where that is not known, the Job itself as an orphan, if it has anything that hookhost
    /// still has to remove.
    fn concern(&self, job: &Job) {
        match self.0.operations.by_uid(&job.operation) {
            Some(key) => self.0.wakes.wake(key),
            None if job.is_indebted() => self.0.listeners.orphans.suspect(&job.namespace, &job.name),
            None => {}
        }
    }

    /// The name of a Job, not of this Operation, that runs the hook or has pods that still do. Whoever asks is woken when
    /// there is none any more.
    pub(crate) fn at_work(&self, hook: &HookOfRelease, operation_uid: &str) -> Option<String> {
        self.0.known.write().at_work(hook, operation_uid)
    }

    /// The Operation waits for no hook to be free any more.
    pub(crate) fn unwant(&self, operation_uid: &str) {
        self.0.known.write().unwant(operation_uid);
    }

    /// Has the Operation reconciled when it is its turn for this temporary object of another run, or with none any more: then the
    /// next that waits for what it waited for is.
    pub(crate) fn await_object(&self, operation_uid: &str, object: Option<&ObjectRef>) {
        let mut known = self.0.known.write();
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
        self.0.known.read().broken.get(namespace).cloned()
    }

    /// The Jobs for an Operation, in the order of their names; some may be in brief.
    pub(crate) fn of(&self, operation_uid: &str) -> Vec<Arc<Job>> {
        self.0.known.read().of(operation_uid)
    }

    /// Namespace and name of the Jobs whose Operation is not known.
    pub(crate) fn without_operation(&self) -> Vec<(String, String)> {
        let known = self.0.known.read();
        let unknown = known.operations().filter(|(uid, _)| self.0.operations.by_uid(uid).is_none());
        unknown.flat_map(|(_, places)| places.iter().cloned()).collect()
    }

    /// Whether a Job is there for an Operation of this namespace that is not known.
    pub(crate) fn is_any_unknown(&self, namespace: &str, keys: &Keys) -> bool {
        let known = self.0.known.read();
        let mut unknown = known.operations().filter(|(uid, _)| self.0.operations.by_uid(uid).is_none());
        unknown.any(|(uid, _)| {
            let is_of = |job: &Arc<Job>| job.origin().is_some_and(|origin| origin.namespace == namespace);
            known.of(uid).iter().any(|job| job.is_held() && is_of(job) && job.is_genuine(keys))
        })
    }

    /// What is known of the Job of this name.
    pub(crate) fn at(&self, namespace: &str, name: &str) -> Option<Arc<Job>> {
        self.0.known.read().at(namespace, name)
    }

    /// Takes note of a Job that this process has just read or written, before its watch tells, if it does. Gives back the newest
    /// form that is known, the whole of it.
    pub(crate) fn insert(&self, job: Job) -> Arc<Job> {
        let mut known = self.0.known.write();
        // Under the lock: with keys that come later, sort() finds this Job.
        let keys = self.0.keyring.keys();
        let job = known.insert(job, Told::Answer, keys.as_deref());
        // The namespace has lost its label while the Job was made.
        let is_unfollowed = job.is_held() && !known.followed.contains_key(&job.namespace);
        drop(known);
        if is_unfollowed {
            self.follow_to_the_end(&job.namespace);
        }
        self.wake_for_what_is_free();
        self.after_change(&job.namespace);
        job
    }

    /// A Job of the namespace may have lost hookhost's finalizer.
    fn after_change(&self, namespace: &str) {
        let more = self.0.known.write().refillable();
        more.iter().for_each(|namespace| self.list_again(namespace));
        self.forget_left(namespace);
        self.0.listeners.bindings.look_again();
    }

    /// Takes note that a Job is not there any more.
    pub(crate) fn remove(&self, job: &Job) {
        self.0.known.write().remove(&job.namespace, &job.name, &job.uid);
        self.wake_for_what_is_free();
        self.after_change(&job.namespace);
    }

    /// Takes note of what one of the watches of a namespace reports; nothing from one that another has replaced.
    fn handle(&self, namespace: &str, watch: u64, seen: Seen<Job>) {
        let mut known = self.0.known.write();
        if known.followed.get(namespace) != Some(&watch) {
            return;
        }
        let keys = self.0.keyring.keys();
        let (was_known, were_known) = (known.listed.contains(namespace), known.are_all_known());
        let mut concerned: Vec<Arc<Job>> = Vec::new();
        let (mut is_settled, mut is_forbidden, mut was_broken) = (false, false, false);
        match seen {
            Seen::Applied(job) => concerned.push(known.insert(job, Told::Watch, keys.as_deref())),
            Seen::Deleted(job) => {
                if known.forget(namespace, &job.name, &job.uid, job.version).is_some() {
                    let is_genuine = keys.is_some_and(|keys| job.is_genuine(&keys));
                    if is_genuine && job.borrows_of_cluster() {
                        // Nothing in the cluster deletes that with it.
                        self.0.listeners.orphans.sweep();
                    }
                    concerned.push(Arc::new(job));
                }
            }
            Seen::Listing => {
                known.begin_listing(namespace);
                return;
            }
            Seen::Listed => {
                known.listed.insert(namespace.to_owned());
                was_broken = known.broken.remove(namespace).is_some();
                concerned = known.end_listing(namespace);
                is_settled = true;
            }
            Seen::Broken { reason, why } => {
                known.broken.insert(namespace.to_owned(), (reason, why));
                is_settled = !was_known;
                is_forbidden = reason == Reason::AccessForbidden;
            }
        }
        let are_known = known.are_all_known();
        drop(known);
        if is_settled {
            self.wake_waiting(namespace, !were_known && are_known);
        }
        if is_forbidden || was_broken {
            // Runs there can be followed no more, or again, which their Operations are to say.
            self.wake(namespace);
        }
        self.wake_for_what_is_free();
        concerned.iter().for_each(|job| self.concern(job));
        self.after_change(namespace);
    }

    /// Everything that waited for this namespace, or for the last of all, to be known.
    fn wake_waiting(&self, namespace: &str, all: bool) {
        let operations = &self.0.operations;
        self.0.wakes.wake_all(if all { operations.keys() } else { operations.keys_of(namespace) });
    }

    /// Wakes what waits for a hook or a temporary object that is free now.
    fn wake_for_what_is_free(&self) {
        let concerned = self.0.known.write().take_free();
        self.0.wakes.wake_all(concerned.iter().filter_map(|uid| self.0.operations.by_uid(uid)));
    }
}
