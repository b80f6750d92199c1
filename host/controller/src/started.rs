//! The Jobs that were *started*, as this process remembers it.
//!
//! An Operation's status names its Job only once there is something to report of it. Until then somebody who may write Jobs can remove
//! hookhost's finalizer and delete the Job, and nothing in the cluster would say any more that the hook has run. What is
//! remembered here says it: no second Job is created.

use std::collections::HashMap;

use hookhost_cluster::job::Job;
use hookhost_cluster::key::OperationKey;
use parking_lot::Mutex;

/// Namespace and name of a Job that was started, by the UID of its Operation. There are no more than Operations that have not ended.
#[derive(Debug, Default)]
pub(crate) struct Started(Mutex<HashMap<String, OperationKey>>);

impl Started {
    /// The Operation's Job was started.
    pub(crate) fn note(&self, operation_uid: &str, job: &Job) {
        let place = || OperationKey::new(&job.namespace, &*job.name);
        self.0.lock().entry(operation_uid.to_owned()).or_insert_with(place);
    }

    /// The first Job of the Operation that was started.
    pub(crate) fn of(&self, operation_uid: &str) -> Option<OperationKey> {
        self.0.lock().get(operation_uid).cloned()
    }

    /// The Operation has ended, or is gone.
    pub(crate) fn forget(&self, operation_uid: &str) {
        self.0.lock().remove(operation_uid);
    }
}
