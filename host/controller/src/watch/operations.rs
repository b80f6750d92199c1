//! The Operations of the cluster, of all engines: those of other engines may be in the way of ours.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt, TryStreamExt};
use hookhost_core::{Reason, status};
use kube::Api;
use kube::core::DynamicObject;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use serde_json::Value;

use super::{operation_resource, trim};
use crate::wake::OperationKey;

/// What is known of all Operations.
#[derive(Clone)]
pub(crate) struct Operations {
    store: Store<DynamicObject>,
    by_uid: Arc<Mutex<HashMap<String, OperationKey>>>,
}

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
        let operations = Operations { store: writer.as_reader(), by_uid: Arc::default() };
        let index = operations.clone();
        let api: Api<DynamicObject> = Api::all_with(client, &resource);
        let stream = watch(api, watcher::Config::default())
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
        let mut by_uid = self.by_uid.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Apply(object) | Event::InitApply(object) => {
                if let (Some(uid), Some(key)) = (&object.metadata.uid, key(object)) {
                    by_uid.insert(uid.clone(), key);
                }
            }
            Event::Delete(object) => {
                if let Some(uid) = &object.metadata.uid {
                    by_uid.remove(uid);
                }
            }
            // What was deleted while the watch was broken is in the store no longer.
            Event::InitDone => {
                by_uid.retain(|uid, key| {
                    let found = self.get(key);
                    found.is_some_and(|object| object.metadata.uid.as_ref() == Some(uid))
                });
            }
            Event::Init => {}
        }
    }

    /// The store, for the controller.
    pub(crate) fn store(&self) -> Store<DynamicObject> {
        self.store.clone()
    }

    /// Waits until all Operations are known.
    pub(crate) async fn synced(&self) {
        // An error means that the watch has ended, and with it the controller.
        let _ = self.store.wait_until_ready().await;
    }

    /// One Operation.
    pub(crate) fn get(&self, key: &OperationKey) -> Option<Arc<DynamicObject>> {
        self.store.get(&ObjectRef::new_with(&key.name, operation_resource()).within(&key.namespace))
    }

    /// Where the Operation with this UID is.
    pub(crate) fn by_uid(&self, uid: &str) -> Option<OperationKey> {
        self.by_uid.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned()
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

    /// All Operations of a namespace.
    pub(crate) fn of_namespace(&self, namespace: &str) -> Vec<Arc<DynamicObject>> {
        self.store.state_filter(|object| object.metadata.namespace.as_deref() == Some(namespace))
    }
}

/// Where an Operation is.
pub(crate) fn key(object: &DynamicObject) -> Option<OperationKey> {
    let metadata = &object.metadata;
    Some(OperationKey::new(metadata.namespace.clone()?, metadata.name.clone()?))
}
