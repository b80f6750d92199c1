//! The *garbage collector* removes hookhost's finalizer from [orphaned Jobs](crate::orphans), once their pods have ended, and deletes the
//! cluster-scoped objects that such a run has left.
//!
//! Whoever may create Jobs can make any number of candidates. They are looked at a few at once, in turns by namespace, and only some
//! of one namespace at once: so one call that hangs, or a namespace with many, keeps those of another waiting no longer than a turn
//! takes.

mod later;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use hookhost_core::loan::ClusterObject;
use later::Later;
use tokio::time::{Instant, sleep_until};

use crate::backoff::Backoff;
use crate::claim_key::Keyring;
use crate::lender::Lender;
use crate::organisation::Organisations;
use crate::orphans::{Orphans, Place};
use crate::stop::{Orphaned, Stopper};
use crate::wake::Wakes;
use crate::watch::{Jobs, Namespaces, Operations};
use hookhost_cluster::error::{Result, chain};
use hookhost_cluster::job::Job;
use hookhost_cluster::key::OperationKey;
use hookhost_cluster::read::Reader;
use hookhost_cluster::write::{Writes, is_conflict};

/// Suspects that are looked at at once. Each costs some requests, one after the other.
const AT_ONCE: usize = 8;

/// Those of them that may be of one namespace.
const AT_ONCE_OF_ONE: usize = 2;

/// The shortest pause after a suspect could not be looked at.
const AFTER_ERROR: Duration = Duration::from_secs(5);

/// Conflicts in a row that are nothing to report: the Job's controller and the garbage collector write a Job that is being deleted.
const USUAL_CONFLICTS: u32 = 4;

/// How often a Job whose pods are being stopped is looked at again. Shorter than [`crate::reconcile`] waits for the pods of an
/// Operation: those are watched, and this is only for a watch that says nothing; here nothing else tells that they have ended.
const UNWATCHED_PODS: Duration = Duration::from_secs(2);

/// What is left to do for a suspect.
enum Left {
    /// Nothing.
    Nothing,
    /// To see its pods end.
    Pods,
}

/// Looks at suspects.
pub(crate) struct GarbageCollector {
    pub(crate) orphans: Orphans,
    pub(crate) operations: Operations,
    pub(crate) reader: Reader,
    pub(crate) writes: Writes,
    pub(crate) lender: Lender,
    pub(crate) stopper: Stopper,
    pub(crate) namespaces: Namespaces,
    pub(crate) organisations: Organisations,
    pub(crate) jobs: Jobs,
    pub(crate) keyring: Keyring,
    /// What may be lent that acts on the whole cluster.
    pub(crate) cluster_objects: Vec<ClusterObject>,
    pub(crate) wakes: Wakes,
}

/// The suspects that are being looked at.
#[derive(Default)]
struct InHand {
    all: HashSet<Place>,
    of_namespace: HashMap<String, usize>,
    /// Those of them that were told of meanwhile.
    again: HashSet<Place>,
}

impl InHand {
    fn may_have_more(&self, namespace: &str) -> bool {
        self.of_namespace.get(namespace).is_none_or(|count| *count < AT_ONCE_OF_ONE)
    }

    /// Takes one on; not if it is in hand.
    fn begin(&mut self, place: &Place) -> bool {
        if !self.all.insert(place.clone()) {
            self.again.insert(place.clone());
            return false;
        }
        *self.of_namespace.entry(place.namespace.clone()).or_default() += 1;
        true
    }

    /// Whether it was told of meanwhile.
    fn end(&mut self, place: &Place) -> bool {
        self.all.remove(place);
        if let Some(count) = self.of_namespace.get_mut(&place.namespace) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.of_namespace.remove(&place.namespace);
            }
        }
        self.again.remove(place)
    }
}

impl GarbageCollector {
    /// Looks for ever.
    pub(crate) async fn run(self) {
        // Before all Operations are known, every Job would be a suspect.
        self.operations.synced().await;
        // Before all namespaces are, nobody knows which organisation a Job is of.
        self.namespaces.synced().await;
        // And before the key is, no Job would be hookhost's.
        self.keyring.known().await;
        futures::join!(self.look_at_suspects(), self.sweep_when_asked());
    }

    async fn look_at_suspects(&self) {
        let (pauses, mut later, mut in_hand) = (Backoff::default(), Later::default(), InHand::default());
        let mut looks: FuturesUnordered<BoxFuture<'_, (Place, Result<Left>)>> = FuturesUnordered::new();
        loop {
            while looks.len() < AT_ONCE
                && let Some(place) = self.orphans.take(|namespace| in_hand.may_have_more(namespace))
            {
                if later.is_due(&place, Instant::now()) && in_hand.begin(&place) {
                    looks.push(self.look_at(place).boxed());
                }
            }
            let next = later.next();
            let due = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.orphans.more() => {}
                Some((place, result)) = looks.next(), if !looks.is_empty() => {
                    if let Some(pause) = pause_after(&place, result, &pauses) {
                        later.pause(&place, pause, Instant::now());
                    }
                    if in_hand.end(&place) {
                        self.orphans.suspect(&place.namespace, &place.name);
                    }
                }
                () = due => {
                    while let Some(place) = later.take(Instant::now()) {
                        self.orphans.suspect(&place.namespace, &place.name);
                    }
                }
            }
        }
    }

    async fn look_at(&self, place: Place) -> (Place, Result<Left>) {
        let result = self.look(&place.namespace, &place.name).await;
        (place, result)
    }

    async fn sweep_when_asked(&self) {
        loop {
            self.orphans.sweep_asked().await;
            if !self.writes.is_allowed() {
                continue;
            }
            if let Err(error) = self.lender.sweep(&self.cluster_objects).await {
                // The next run that needs it, or the next start, tries again.
                tracing::warn!(error = chain(&error), "cannot look for what runs have left in the cluster");
            }
        }
    }

    async fn look(&self, namespace: &str, name: &str) -> Result<Left> {
        // By now another may have its name.
        let before = self.jobs.at(namespace, name);
        let Some(job) = self.reader.job(namespace, name).await? else {
            // Its watch may not tell.
            before.iter().for_each(|before| self.jobs.remove(before));
            return Ok(Left::Nothing);
        };
        if !job.is_for_operation() || (!job.is_held() && !self.lender.owes(&job)) {
            before.iter().filter(|before| before.uid != job.uid).for_each(|before| self.jobs.remove(before));
            if !job.is_watched {
                // Nothing would ever tell that it is gone.
                self.jobs.remove(&job);
            }
            return Ok(Left::Nothing);
        }
        let is_genuine = job.is_genuine(&*self.keyring.needed()?);
        let is_terminating = self.namespaces.is_terminating(namespace);
        // In a namespace that goes with all that is in it, one that hookhost cannot prove to be its own is nobody's run any more.
        if (is_genuine || !is_terminating) && self.is_awaited(&job, is_genuine).await? {
            if before.is_some() {
                // What was known of it may be older, and not to be proven.
                self.jobs.insert(job);
            }
            return Ok(Left::Nothing);
        }
        // One that hookhost cannot prove to be its own is only let go: nobody waits for its result.
        if is_genuine {
            // A namespace that is being deleted takes with it what is in it.
            if !is_terminating {
                if !job.is_finished() && !self.stopper.stop(&job, Orphaned::Deleted).await? {
                    return Ok(Left::Pods);
                }
                if !job.is_deleted() {
                    self.writes.delete_job(&job).await?;
                }
            }
            self.lender.take_back(&job).await?;
        }
        match self.writes.release_job(&job).await? {
            Some(job) if job.is_watched => drop(self.jobs.insert(job)),
            _ => self.jobs.remove(&job),
        }
        tracing::info!(
            namespace,
            job = name,
            operation_id = job.operation,
            "removed the Job of a deleted Operation"
        );
        Ok(Left::Nothing)
    }

    /// Whether the Job's Operation is there, which is woken then. A Job that hookhost cannot prove to be its own can be an
    /// Operation's only under the name that follows from it.
    async fn is_awaited(&self, job: &Job, is_genuine: bool) -> Result<bool> {
        let may_be_its = |key: &OperationKey| {
            is_genuine || self.organisations.may_be_job(key, &job.operation, &job.namespace, &job.name)
        };
        if let Some(key) = self.operations.by_uid(&job.operation) {
            if !may_be_its(&key) {
                return Ok(false);
            }
            self.wakes.wake(key);
            return Ok(true);
        }
        // The watch may be behind: asked by name, the API server knows.
        if let Some(key) = job.origin().cloned()
            && let Some(operation) = self.reader.operation(&key.namespace, &key.name).await?
            && operation.brief.uid == job.operation
            && may_be_its(&key)
        {
            self.wakes.wake(key);
            return Ok(true);
        }
        Ok(false)
    }
}

/// When a suspect is looked at again; never, if nothing is left to do for it.
fn pause_after(place: &Place, result: Result<Left>, pauses: &Backoff) -> Option<Duration> {
    let Place { namespace, name } = place;
    let key = format!("{namespace}/{name}");
    match result {
        Ok(Left::Nothing) => {
            pauses.forget(&key);
            None
        }
        Ok(Left::Pods) => Some(UNWATCHED_PODS),
        // Changed by somebody in between.
        Err(error) if is_conflict(&error) && pauses.times(&key) < USUAL_CONFLICTS => Some(pauses.next(&key)),
        Err(error) => {
            // Others are looked at meanwhile: one that never can be is no reason to leave them.
            let pause = pauses.next(&key).max(AFTER_ERROR);
            tracing::warn!(
                namespace,
                job = name,
                reason = error.reason().as_str(),
                error = chain(&error),
                again_in_s = pause.as_secs(),
                "cannot remove a Job whose Operation is gone; as long as hookhost's finalizer is on it, neither the Job nor its \
                 namespace can be deleted"
            );
            Some(pause)
        }
    }
}
