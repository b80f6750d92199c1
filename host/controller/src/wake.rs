//! A *wake* is the wish that an Operation is looked at again: its Job changed, what it waits for changed.
//!
//! Wakes are kept as a set, so there are never more of them than Operations, however fast they come.

use std::sync::{Arc, Mutex, PoisonError};

use futures::Stream;
use kube::core::DynamicObject;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::Notify;

use crate::watch::operation_resource;

/// Where an Operation is: its namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct OperationKey {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl OperationKey {
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> OperationKey {
        OperationKey { namespace: namespace.into(), name: name.into() }
    }

    fn object_ref(self) -> ObjectRef<DynamicObject> {
        ObjectRef::new_with(&self.name, operation_resource()).within(&self.namespace)
    }
}

/// Wakes that have not been served yet; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wakes(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    pending: Mutex<std::collections::HashSet<OperationKey>>,
    more: Notify,
}

impl Wakes {
    /// Asks for one Operation to be looked at.
    pub(crate) fn wake(&self, key: OperationKey) {
        let is_new = self.0.pending.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
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

    /// All wakes from now on. There is one stream: a second would take wakes from the first.
    pub(crate) fn stream(&self) -> impl Stream<Item = ObjectRef<DynamicObject>> + Send + 'static {
        futures::stream::unfold(self.clone(), |wakes| async move {
            loop {
                if let Some(key) = wakes.take() {
                    return Some((key.object_ref(), wakes));
                }
                wakes.0.more.notified().await;
            }
        })
    }

    fn take(&self) -> Option<OperationKey> {
        let mut pending = self.0.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let key = pending.iter().next().cloned()?;
        pending.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;

    #[test]
    fn a_wake_is_served_once_however_often_it_was_asked_for() {
        let wakes = Wakes::default();
        for _ in 0..3 {
            wakes.wake(OperationKey::new("org", "one"));
        }
        wakes.wake(OperationKey::new("org", "two"));
        let mut stream = std::pin::pin!(wakes.stream());
        let mut served = Vec::new();
        while let Some(Some(object)) = stream.next().now_or_never() {
            served.push(object.name);
        }
        served.sort();
        assert_eq!(served, ["one", "two"]);
        wakes.wake(OperationKey::new("org", "one"));
        assert!(stream.next().now_or_never().is_some(), "a wake after the last is served too");
    }
}
