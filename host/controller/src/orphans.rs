//! An *orphan* is a Job of hookhost whose Operation is gone: deleted while hookhost was away, or in another namespace,
//! where Kubernetes' garbage collector does not look. Nobody else removes its finalizer.
//!
//! Here are the Jobs that may be orphans; [`crate::garbage`] looks at them.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::fair::FairQueue;
use hookhost_cluster::key::OperationKey;

/// Namespace and name of a Job.
pub(crate) type Place = OperationKey;

/// Jobs that may be orphans, by namespace and name, each once; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orphans(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    suspects: Mutex<FairQueue>,
    more: Notify,
    /// What acts on the whole cluster may be left of a Job that is gone.
    sweep: Notify,
}

impl Orphans {
    /// Asks for a Job to be looked at: no Operation with its label's UID is known.
    pub(crate) fn suspect(&self, namespace: &str, job: &str) {
        self.0.suspects.lock().push(Place::new(namespace, job));
        self.0.more.notify_one();
    }

    /// Asks for what acts on the whole cluster to be looked at.
    pub(crate) fn sweep(&self) {
        self.0.sweep.notify_one();
    }

    /// Ends when a Job may have been added.
    pub(crate) async fn more(&self) {
        self.0.more.notified().await;
    }

    /// Ends when [`Orphans::sweep`] was called.
    pub(crate) async fn sweep_asked(&self) {
        self.0.sweep.notified().await;
    }

    /// The next one of a namespace that may have its turn. It is none any more: whatever is told of it from now on makes it one
    /// again.
    pub(crate) fn take(&self, may: impl Fn(&str) -> bool) -> Option<Place> {
        self.0.suspects.lock().pop_where(may)
    }

    /// All of them, as "namespace/name".
    #[cfg(test)]
    pub(crate) fn all(&self) -> Vec<String> {
        std::iter::from_fn(|| self.take(|_| true))
            .map(|place| format!("{}/{}", place.namespace, place.name))
            .collect()
    }
}
