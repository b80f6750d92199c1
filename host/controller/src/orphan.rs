//! An *orphan* is a Job of hookhost whose Operation is gone: deleted while hookhost was away, or in another namespace,
//! where Kubernetes' garbage collector does not look. Its finalizer is taken off by nobody else.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hookhost_core::loan::ClusterObject;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::backoff::Backoff;
use crate::claim_key::Keyring;
use crate::error::{Result, chain};
use crate::lender::Lender;
use crate::read::Reader;
use crate::stop::{Orphaned, Stopper};
use crate::wake::Wakes;
use crate::watch::{Job, Jobs, Namespaces, Operations};
use crate::write::{Writes, is_conflict};

/// The shortest pause after a suspect could not be looked at.
const AFTER_ERROR: Duration = Duration::from_secs(5);

/// How often a Job whose pods are being stopped is looked at again. Shorter than [`crate::reconcile`] waits for the pods of an
/// Operation: those are watched, and this is only for a watch that says nothing; here nothing else tells that they have ended.
const UNWATCHED_PODS: Duration = Duration::from_secs(2);

/// Jobs that may be orphans, by namespace and name, each once; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orphans(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    suspects: Mutex<HashSet<(String, String)>>,
    more: Notify,
    /// What acts on the whole cluster may be left of a Job that is gone.
    sweep: Notify,
}

impl Orphans {
    /// Asks for a Job to be looked at: no Operation with its label's UID is known.
    pub(crate) fn suspect(&self, namespace: &str, job: &str) {
        let suspect = (namespace.to_owned(), job.to_owned());
        self.0.suspects.lock().unwrap_or_else(PoisonError::into_inner).insert(suspect);
        self.0.more.notify_one();
    }

    /// Asks for what acts on the whole cluster to be looked at.
    pub(crate) fn sweep(&self) {
        self.0.sweep.notify_one();
    }

    /// The next one, which is none any more: whatever is told of it from now on makes it one again.
    async fn next(&self) -> (String, String) {
        loop {
            match self.take() {
                Some(suspect) => return suspect,
                None => self.0.more.notified().await,
            }
        }
    }

    fn take(&self) -> Option<(String, String)> {
        let mut suspects = self.0.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        let suspect = suspects.iter().next().cloned()?;
        suspects.remove(&suspect);
        Some(suspect)
    }
}

/// What is left to do for a suspect.
enum Left {
    /// Nothing.
    Nothing,
    /// To see its pods end.
    Pods,
}

/// Looks at suspects, one at a time.
pub(crate) struct Warden {
    pub(crate) orphans: Orphans,
    pub(crate) operations: Operations,
    pub(crate) reader: Reader,
    pub(crate) writes: Writes,
    pub(crate) lender: Lender,
    pub(crate) stopper: Stopper,
    pub(crate) namespaces: Namespaces,
    pub(crate) jobs: Jobs,
    pub(crate) keyring: Keyring,
    /// What may be lent that acts on the whole cluster.
    pub(crate) cluster_objects: Vec<ClusterObject>,
    pub(crate) wakes: Wakes,
}

impl Warden {
    /// Looks for ever.
    pub(crate) async fn run(self) {
        // Before all Operations are known, every Job would be a suspect.
        self.operations.synced().await;
        // And before the key is, no Job would be hookhost's.
        self.keyring.known().await;
        // Those to be looked at again, in the order of their time.
        let mut later: VecDeque<(Instant, (String, String))> = VecDeque::new();
        let pauses = Backoff::default();
        loop {
            let due = async {
                match later.front() {
                    Some((at, _)) => sleep_until(*at).await,
                    None => std::future::pending().await,
                }
            };
            let (namespace, job) = tokio::select! {
                suspect = self.orphans.next() => suspect,
                () = self.orphans.0.sweep.notified() => {
                    self.sweep().await;
                    continue;
                }
                () = due => {
                    if let Some((_, (namespace, job))) = later.pop_front() {
                        self.orphans.suspect(&namespace, &job);
                    }
                    continue;
                }
            };
            let place = format!("{namespace}/{job}");
            let pause = match self.look(&namespace, &job).await {
                Ok(Left::Nothing) => {
                    pauses.forget(&place);
                    continue;
                }
                Ok(Left::Pods) => UNWATCHED_PODS,
                // Changed by somebody in between: its newer form is asked for at once.
                Err(error) if is_conflict(&error) => {
                    self.orphans.suspect(&namespace, &job);
                    continue;
                }
                Err(error) => {
                    // Others are looked at meanwhile: one that never can be is no reason to leave them.
                    let pause = pauses.next(&place).max(AFTER_ERROR);
                    tracing::warn!(
                        namespace,
                        job,
                        reason = error.reason().as_str(),
                        error = chain(&error),
                        again_in_s = pause.as_secs(),
                        "cannot remove a Job whose Operation is gone; as long as hookhost's finalizer is on it, neither the Job nor its \
                         namespace can be deleted"
                    );
                    pause
                }
            };
            let at = Instant::now() + pause;
            let place = later.partition_point(|(other, _)| *other <= at);
            later.insert(place, (at, (namespace, job)));
        }
    }

    async fn sweep(&self) {
        if !self.writes.is_allowed() {
            return;
        }
        if let Err(error) = self.lender.sweep(&self.cluster_objects).await {
            // The next run that needs it, or the next start, tries again.
            tracing::warn!(error = chain(&error), "cannot look for what runs have left in the cluster");
        }
    }

    async fn look(&self, namespace: &str, name: &str) -> Result<Left> {
        let Some(job) = self.reader.job(namespace, name).await?.and_then(Job::new).filter(Job::is_held)
        else {
            return Ok(Left::Nothing);
        };
        if let Some(key) = self.operations.by_uid(&job.operation) {
            self.wakes.wake(key);
            return Ok(Left::Nothing);
        }
        // The watch may be behind: asked by name, the API server knows.
        if let Some(key) = job.origin().cloned()
            && let Some(operation) = self.reader.operation(&key.namespace, &key.name).await?
            && operation.brief.uid == job.operation
        {
            self.wakes.wake(key);
            return Ok(Left::Nothing);
        }
        // One that hookhost cannot prove to be its own is only let go: nobody waits for its result.
        if job.is_genuine(&*self.keyring.needed()?) {
            // A namespace that is being deleted takes with it what is in it.
            if !self.namespaces.is_terminating(namespace) {
                if !job.is_finished() && !self.stopper.stop(&job, Orphaned::Deleted).await? {
                    return Ok(Left::Pods);
                }
                if !job.is_deleted() {
                    self.writes.delete_job(&job).await?;
                }
            }
            self.lender.take_back(&job).await?;
        }
        match self.writes.release_job(&job).await?.and_then(Job::new) {
            Some(job) => drop(self.jobs.insert(job)),
            None => self.jobs.remove(namespace, name),
        }
        tracing::info!(
            namespace,
            job = name,
            operation_id = job.operation,
            "removed the Job of a deleted Operation"
        );
        Ok(Left::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_suspect_that_is_told_of_while_it_is_looked_at_is_looked_at_again() {
        let orphans = Orphans::default();
        orphans.suspect("org", "job");
        orphans.suspect("org", "job");
        assert!(orphans.next().now_or_never().is_some());
        assert!(orphans.next().now_or_never().is_none(), "each once");
        orphans.suspect("org", "job");
        assert!(orphans.next().now_or_never().is_some());
    }
}
