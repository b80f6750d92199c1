//! A *wake* is the wish that an Operation is looked at again: its Job changed, what it waits for changed.
//!
//! Wakes are kept as a set, so there are never more of them than Operations, however fast they come; and they are served in
//! turns by namespace.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::fair::FairQueue;
use hookhost_cluster::key::OperationKey;

/// Wakes that have not been served yet; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wakes(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    pending: Mutex<FairQueue>,
    more: Notify,
}

impl Wakes {
    /// Asks for one Operation to be looked at.
    pub(crate) fn wake(&self, key: OperationKey) {
        let is_new = self.0.pending.lock().push(key);
        if is_new {
            self.0.more.notify_one();
        }
    }

    /// Asks for several.
    pub(crate) fn wake_all(&self, keys: impl IntoIterator<Item = OperationKey>) {
        for key in keys {
            self.wake(key);
        }
    }

    /// The next one. Who waits for it is one: a second would take wakes from the first.
    pub(crate) async fn next(&self) -> OperationKey {
        loop {
            if let Some(key) = self.take() {
                return key;
            }
            self.0.more.notified().await;
        }
    }

    fn take(&self) -> Option<OperationKey> {
        self.0.pending.lock().pop()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_wake_is_served_once_however_often_it_was_asked_for() {
        let wakes = Wakes::default();
        for _ in 0..3 {
            wakes.wake(OperationKey::new("org", "one"));
        }
        wakes.wake(OperationKey::new("org", "two"));
        let mut served = Vec::new();
        while let Some(key) = wakes.next().now_or_never() {
            served.push(key.name);
        }
        assert_eq!(served, ["one", "two"]);
        wakes.wake(OperationKey::new("org", "one"));
        assert!(wakes.next().now_or_never().is_some(), "a wake after the last is served too");
    }
}
