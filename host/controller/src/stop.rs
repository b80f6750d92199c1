//! To *stop* a run is to delete its Job and to see its pods end: a pod that still runs is the run, whatever became of its Job.
//!
//! Deleting a Job does not always end its pods. In the background they run on as long as hookhost's finalizer keeps the Job;
//! with `--cascade=orphan`, the API's default where a client says nothing, they lose their owner and run on without any. So a Job
//! is deleted in the foreground, and a pod that has lost its owner is deleted by itself.

use std::sync::Arc;

use hookhost_core::outcome;
use serde_json::Value;

use crate::claim_key::Keyring;
use hookhost_cluster::error::Result;
use hookhost_cluster::job::Job;
use hookhost_cluster::read::{PodsOf, Reader, Which};
use hookhost_cluster::write::Writes;

/// What the garbage collector puts on an object that is to go after its dependents.
const FOREGROUND: &str = "foregroundDeletion";

/// What the API server puts on an object whose dependents are to stay; the garbage collector takes it off once they have no owner.
const ORPHAN: &str = "orphan";

/// What is to become of pods that somebody has taken the owner from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Orphaned {
    /// They run on: whoever deleted the Job without them wants that.
    RunOn,
    /// They are deleted: the run was cancelled, or its Operation is gone or finished.
    Deleted,
}

/// Adds those of the other pods that are not among these.
pub(crate) fn add(pods: &mut Vec<Arc<Value>>, others: Vec<Arc<Value>>) {
    let uid = |pod: &Value| pod.pointer("/metadata/uid").cloned();
    for other in others {
        if !pods.iter().any(|pod| uid(pod) == uid(&other)) {
            pods.push(other);
        }
    }
}

/// Stops runs.
#[derive(Clone)]
pub(crate) struct Stopper {
    pub(crate) reader: Reader,
    pub(crate) writes: Writes,
    /// By which it recognises what it let start.
    pub(crate) keyring: Keyring,
}

impl Stopper {
    /// Deletes the Job with its pods, as far as that is still to be done. Whether nothing of it runs any more.
    pub(crate) async fn stop(&self, job: &Job, orphaned: Orphaned) -> Result<bool> {
        if !job.is_deleted() {
            self.writes.delete_job(job).await?;
            // A pod may be on its way. One that was not let start has none.
            return Ok(job.is_untouched(&*self.keyring.needed()?));
        }
        let pods = self.at_work(job).await?;
        let object = job.object();
        if pods.iter().any(|pod| outcome::is_controlled(pod))
            && ![FOREGROUND, ORPHAN].iter().any(|finalizer| outcome::has_finalizer(&object, finalizer))
        {
            // Somebody deleted it in the background.
            self.writes.delete_job(job).await?;
        }
        if orphaned == Orphaned::Deleted {
            for pod in pods.iter().filter(|pod| !outcome::is_controlled(pod) && !outcome::is_deleting(pod)) {
                self.delete_pod(&job.namespace, pod).await?;
            }
        }
        Ok(pods.is_empty())
    }

    /// Deletes what is left running of an Operation whose Job is gone. Whether nothing is.
    pub(crate) async fn stop_remains(&self, namespace: &str, operation_uid: &str) -> Result<bool> {
        let pods = self.remains(namespace, operation_uid).await?;
        for pod in pods.iter().filter(|pod| !outcome::is_controlled(pod) && !outcome::is_deleting(pod)) {
            self.delete_pod(namespace, pod).await?;
        }
        Ok(pods.is_empty())
    }

    /// What still runs of an Operation whose Job is gone.
    pub(crate) async fn remains(&self, namespace: &str, operation_uid: &str) -> Result<Vec<Arc<Value>>> {
        let of = PodsOf::Operation(operation_uid);
        let mut pods = self.reader.pods(namespace, of, Which::AtWork).await?.complete(namespace)?;
        pods.retain(|pod| !outcome::pod_has_ended(pod));
        Ok(pods)
    }

    /// What still runs of the Job: what it controls or a label says to be its, and what nothing says to be another Job's and has the
    /// label of its Operation, as hookhost gave it to the pods whatever the Job's own label says by now.
    pub(crate) async fn at_work(&self, job: &Job) -> Result<Vec<Arc<Value>>> {
        let namespace = &job.namespace;
        let mut pods =
            self.reader.pods(namespace, PodsOf::Job(&job.uid), Which::AtWork).await?.complete(namespace)?;
        // By one of the two labels it may be found though somebody took the other off.
        let others = self.remains(namespace, &job.operation).await?;
        add(&mut pods, others);
        let is_its = |pod: &Value| outcome::job_uid_of_pod(pod).is_none_or(|uid| uid == job.uid);
        pods.retain(|pod| is_its(pod) && !outcome::pod_has_ended(pod));
        Ok(pods)
    }

    async fn delete_pod(&self, namespace: &str, pod: &Value) -> Result<()> {
        let text = |path: &str| pod.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let (name, uid) = (text("/metadata/name"), text("/metadata/uid"));
        self.writes.delete_pod(namespace, name, uid).await?;
        tracing::info!(
            pod_namespace = namespace,
            pod = name,
            "deleted a pod that no Job owns any more, since its run was cancelled or its Operation is gone or finished"
        );
        Ok(())
    }
}
