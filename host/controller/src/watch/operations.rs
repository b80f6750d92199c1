//! The Operations of the cluster, of all engines: those of other engines may be in the way of ours.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{Stream, StreamExt, TryStreamExt};
use hookhost_core::{Reason, status};
use kube::Api;
use kube::core::DynamicObject;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use serde_json::Value;
use tokio::sync::watch as latest;

use super::follow::hold_init;
use super::{operation_resource, trim};
use crate::wake::OperationKey;

/// What is known of all Operations.
#[derive(Clone)]
pub(crate) struct Operations {
    store: Store<DynamicObject>,
    index: Arc<Mutex<Index>>,
    /// Whether all are known. The store's own way to wait for that wakes only one of those who wait.
    is_synced: Arc<latest::Sender<bool>>,
}

/// Where Operations are, by what is asked for at every look, however many there are.
#[derive(Default)]
struct Index {
    by_uid: HashMap<String, Place>,
    /// UIDs of those that are not finished.
    unfinished: HashMap<TargetKey, BTreeSet<String>>,
}

/// Where an Operation is, and what it is for.
struct Place {
    key: OperationKey,
    target: TargetKey,
}

/// A target: namespace, kind and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct TargetKey([String; 3]);

/// What happened to an Operation.
pub(crate) enum Change {
    /// It was there when the watch began.
    Listed(DynamicObject),
    /// It was made or changed.
    Applied(DynamicObject),
    /// It is gone; this is its last form.
    Deleted(DynamicObject),
}

impl Operations {
    /// Watches all Operations. The store is up to date with each change before the stream gives it out.
    pub(crate) fn watch(
        client: kube::Client,
    ) -> (Operations, impl Stream<Item = Result<Change, watcher::Error>> + Send + 'static) {
        let resource = operation_resource();
        let writer = reflector::store::Writer::new(resource.clone());
        let operations = Operations {
            store: writer.as_reader(),
            index: Arc::default(),
            is_synced: Arc::new(latest::Sender::new(false)),
        };
        let index = operations.clone();
        let api: Api<DynamicObject> = Api::all_with(client, &resource);
        let stream = hold_init(watch(api, watcher::Config::default()))
            .default_backoff()
            .modify(trim)
            .reflect(writer)
            .inspect_ok(move |event| index.observe(event))
            .try_filter_map(|event| {
                std::future::ready(Ok(match event {
                    Event::InitApply(object) => Some(Change::Listed(object)),
                    Event::Apply(object) => Some(Change::Applied(object)),
                    Event::Delete(object) => Some(Change::Deleted(object)),
                    Event::Init | Event::InitDone => None,
                }))
            })
            .boxed();
        (operations, stream)
    }

    fn observe(&self, event: &Event<DynamicObject>) {
        match event {
            Event::Apply(object) | Event::InitApply(object) => self.index().insert(object),
            Event::Delete(object) => {
                if let Some(uid) = &object.metadata.uid {
                    self.index().remove(uid);
                }
            }
            // What was deleted while the watch was broken is in the store no longer.
            Event::InitDone => {
                let mut index = self.index();
                let is_gone = |uid: &str, key: &OperationKey| {
                    let found = self.get(key);
                    found.is_none_or(|object| object.metadata.uid.as_deref() != Some(uid))
                };
                let known = index.by_uid.iter();
                let gone: Vec<String> = known
                    .filter(|(uid, place)| is_gone(uid, &place.key))
                    .map(|(uid, _)| uid.clone())
                    .collect();
                gone.iter().for_each(|uid| index.remove(uid));
                self.is_synced.send_replace(true);
            }
            Event::Init => {}
        }
    }

    /// Waits until all Operations are known.
    pub(crate) async fn synced(&self) {
        // The sender is ours, so this ends with the condition only.
        let _ = self.is_synced.subscribe().wait_for(|is_synced| *is_synced).await;
    }

    /// One Operation.
    pub(crate) fn get(&self, key: &OperationKey) -> Option<Arc<DynamicObject>> {
        self.store.get(&ObjectRef::new_with(&key.name, operation_resource()).within(&key.namespace))
    }

    /// Where the Operation with this UID is.
    pub(crate) fn by_uid(&self, uid: &str) -> Option<OperationKey> {
        self.index().by_uid.get(uid).map(|place| place.key.clone())
    }

    /// Where all Operations are.
    pub(crate) fn keys(&self) -> Vec<OperationKey> {
        self.store.state().iter().filter_map(|object| key(object)).collect()
    }

    /// Where those of a namespace are.
    pub(crate) fn keys_of(&self, namespace: &str) -> Vec<OperationKey> {
        self.of_namespace(namespace).iter().filter_map(|object| key(object)).collect()
    }

    /// Where those are that are blocked for this reason.
    pub(crate) fn waiting_for(&self, reason: Reason) -> Vec<OperationKey> {
        let is_blocked = |object: &DynamicObject| {
            let status = object.data.get("status").unwrap_or(&Value::Null);
            status::blocked_reason(status) == Some(reason.as_str())
        };
        self.store.state_filter(is_blocked).iter().filter_map(|object| key(object)).collect()
    }

    /// Those on the target of this one that are not finished; it may be one of them.
    pub(crate) fn unfinished_beside(&self, object: &DynamicObject) -> Vec<Arc<DynamicObject>> {
        let Some(target) = TargetKey::of(object) else { return Vec::new() };
        let index = self.index();
        let places =
            index.unfinished.get(&target).into_iter().flatten().filter_map(|uid| index.by_uid.get(uid));
        places.filter_map(|place| self.get(&place.key)).collect()
    }

    /// All Operations of a namespace.
    pub(crate) fn of_namespace(&self, namespace: &str) -> Vec<Arc<DynamicObject>> {
        self.store.state_filter(|object| object.metadata.namespace.as_deref() == Some(namespace))
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn insert(&mut self, object: &DynamicObject) {
        let (Some(uid), Some(key), Some(target)) = (&object.metadata.uid, key(object), TargetKey::of(object))
        else {
            return;
        };
        if self.by_uid.get(uid).is_some_and(|known| known.target != target) {
            self.remove(uid);
        }
        if is_finished(object) {
            self.finish(&target, uid);
        } else {
            self.unfinished.entry(target.clone()).or_default().insert(uid.clone());
        }
        self.by_uid.insert(uid.clone(), Place { key, target });
    }

    fn remove(&mut self, uid: &str) {
        if let Some(Place { target, .. }) = self.by_uid.remove(uid) {
            self.finish(&target, uid);
        }
    }

    fn finish(&mut self, target: &TargetKey, uid: &str) {
        if let Some(uids) = self.unfinished.get_mut(target) {
            uids.remove(uid);
            if uids.is_empty() {
                self.unfinished.remove(target);
            }
        }
    }
}

impl TargetKey {
    fn of(object: &DynamicObject) -> Option<TargetKey> {
        let text =
            |path: &str| object.data.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let namespace = object.metadata.namespace.clone()?;
        Some(TargetKey([namespace, text("/spec/targetRef/kind"), text("/spec/targetRef/name")]))
    }
}

/// Where an Operation is.
pub(crate) fn key(object: &DynamicObject) -> Option<OperationKey> {
    let metadata = &object.metadata;
    Some(OperationKey::new(metadata.namespace.clone()?, metadata.name.clone()?))
}

/// Whether an Operation is finished.
pub(crate) fn is_finished(object: &DynamicObject) -> bool {
    status::is_finished(object.data.get("status").unwrap_or(&Value::Null))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn operation(uid: &str, target: &str, finished_at: Option<&str>) -> DynamicObject {
        let mut object = DynamicObject::new("op", &operation_resource()).within("org");
        object.metadata.uid = Some(uid.to_owned());
        object.data = json!({
            "spec": {"targetRef": {"kind": "HelmRelease", "name": target}},
            "status": {"finishedAt": finished_at},
        });
        object
    }

    fn unfinished(index: &Index, target: &str) -> Vec<String> {
        let target = TargetKey::of(&operation("", target, None)).unwrap();
        index.unfinished.get(&target).into_iter().flatten().cloned().collect()
    }

    #[test]
    fn an_operation_counts_for_its_target_until_it_is_finished_or_gone() {
        let mut index = Index::default();
        index.insert(&operation("a", "shop", None));
        index.insert(&operation("b", "shop", None));
        index.insert(&operation("c", "other", None));
        assert_eq!(unfinished(&index, "shop"), ["a", "b"]);
        index.insert(&operation("a", "shop", Some("2026-05-28T14:00:00Z")));
        assert_eq!(unfinished(&index, "shop"), ["b"]);
        index.remove("b");
        index.remove("a");
        assert!(
            index.unfinished.keys().all(|TargetKey([.., name])| name == "other"),
            "nothing is left behind"
        );
    }

    #[test]
    fn one_that_was_made_again_under_its_name_is_not_forgotten_with_the_first() {
        let mut index = Index::default();
        index.insert(&operation("old", "shop", None));
        index.insert(&operation("new", "shop", None));
        index.remove("old");
        assert_eq!(unfinished(&index, "shop"), ["new"]);
    }
}
