//! The Operations of the cluster, of all engines: those of other engines may be in the way of ours.
//!
//! Each is kept as text, and read when it is looked at: parsed, it would take ten times the room.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{Stream, StreamExt, TryStreamExt};
use hookhost_core::operation::OperationType;
use hookhost_core::{Reason, conflict, status};
use kube::Api;
use kube::core::DynamicObject;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use serde_json::Value;
use tokio::sync::watch as latest;

use super::follow::hold_init;
use super::{operation_resource, trim};
use crate::wake::OperationKey;

/// What is known of all Operations; clones share it.
#[derive(Clone)]
pub(crate) struct Operations {
    known: Arc<Mutex<Known>>,
    /// Whether all are known.
    is_synced: Arc<latest::Sender<bool>>,
}

/// The Operations, and where they are by what is asked for at every look, however many there are.
#[derive(Default)]
struct Known {
    by_uid: HashMap<String, Kept>,
    uids: HashMap<OperationKey, String>,
    /// UIDs of those that are not finished.
    unfinished: HashMap<TargetKey, BTreeSet<String>>,
    /// UIDs that the watch has named since it began to name all.
    listed: HashSet<String>,
}

/// An Operation.
struct Kept {
    key: OperationKey,
    target: TargetKey,
    /// The reason for which it is blocked.
    blocked: Option<Box<str>>,
    rivalry: Rivalry,
    /// The whole object, as JSON.
    text: Arc<[u8]>,
}

/// What of an Operation tells whether it may be in another's way, without reading it.
#[derive(Debug)]
struct Rivalry {
    hook: Box<str>,
    /// Whether it is of a type that nothing else may work beside.
    is_exclusive: bool,
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
    /// Watches all Operations. A change is known here before the stream gives it out.
    pub(crate) fn watch(
        client: kube::Client,
    ) -> (Operations, impl Stream<Item = Result<Change, watcher::Error>> + Send + 'static) {
        let operations =
            Operations { known: Arc::default(), is_synced: Arc::new(latest::Sender::new(false)) };
        let noted = operations.clone();
        let api: Api<DynamicObject> = Api::all_with(client, &operation_resource());
        let stream = hold_init(watch(api, watcher::Config::default()))
            .default_backoff()
            .modify(trim)
            .map_ok(move |event| futures::stream::iter(noted.note(event).into_iter().map(Ok)))
            .try_flatten()
            .boxed();
        (operations, stream)
    }

    fn note(&self, event: Event<DynamicObject>) -> Vec<Change> {
        let mut known = self.known();
        match event {
            Event::Init => {
                known.listed.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                known.insert(&object);
                known.listed.extend(object.metadata.uid.clone());
                vec![Change::Listed(object)]
            }
            Event::Apply(object) => {
                known.insert(&object);
                vec![Change::Applied(object)]
            }
            Event::Delete(object) => {
                if let Some(uid) = &object.metadata.uid {
                    known.remove(uid);
                }
                vec![Change::Deleted(object)]
            }
            // What is not named now was deleted while the watch was broken.
            Event::InitDone => {
                let listed = std::mem::take(&mut known.listed);
                let gone: Vec<String> =
                    known.by_uid.keys().filter(|uid| !listed.contains(*uid)).cloned().collect();
                let gone = gone.iter().filter_map(|uid| known.remove(uid)?.object());
                let gone = gone.map(Change::Deleted).collect();
                self.is_synced.send_replace(true);
                gone
            }
        }
    }

    /// Waits until all Operations are known.
    pub(crate) async fn synced(&self) {
        // The sender is ours, so this ends with the condition only.
        let _ = self.is_synced.subscribe().wait_for(|is_synced| *is_synced).await;
    }

    /// One Operation.
    pub(crate) fn get(&self, key: &OperationKey) -> Option<Arc<DynamicObject>> {
        let known = self.known();
        let text = known.by_uid.get(known.uids.get(key)?)?.text.clone();
        drop(known);
        parse(&text).map(Arc::new)
    }

    /// Where the Operation with this UID is.
    pub(crate) fn by_uid(&self, uid: &str) -> Option<OperationKey> {
        self.known().by_uid.get(uid).map(|kept| kept.key.clone())
    }

    /// Where all Operations are.
    pub(crate) fn keys(&self) -> Vec<OperationKey> {
        self.keys_where(|_| true)
    }

    /// Where those of a namespace are.
    pub(crate) fn keys_of(&self, namespace: &str) -> Vec<OperationKey> {
        self.keys_where(|kept| kept.key.namespace == namespace)
    }

    /// Where those are that are blocked for this reason.
    pub(crate) fn waiting_for(&self, reason: Reason) -> Vec<OperationKey> {
        self.keys_where(|kept| kept.blocked.as_deref() == Some(reason.as_str()))
    }

    /// Where those are that are on the target of this one and not finished; it may be one of them.
    pub(crate) fn keys_beside(&self, object: &DynamicObject) -> Vec<OperationKey> {
        self.known().unfinished_beside(object).map(|kept| kept.key.clone()).collect()
    }

    /// Those on the target of this one that are not finished and may have to go before it, or after; it is one of them.
    pub(crate) fn rivals(&self, object: &DynamicObject) -> Vec<DynamicObject> {
        let own = Rivalry::of(object);
        let known = self.known();
        let rivals = known.unfinished_beside(object).filter(|kept| kept.rivalry.is_with(&own));
        rivals.filter_map(Kept::object).collect()
    }

    fn keys_where(&self, wanted: impl Fn(&Kept) -> bool) -> Vec<OperationKey> {
        self.known().by_uid.values().filter(|kept| wanted(kept)).map(|kept| kept.key.clone()).collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Keeps the Operation as it is now. One without a name or UID, which no API server gives, is passed over.
    fn insert(&mut self, object: &DynamicObject) {
        let (Some(uid), Some(key), Some(target)) = (&object.metadata.uid, key(object), TargetKey::of(object))
        else {
            return;
        };
        self.remove(uid);
        if !is_finished(object) {
            self.unfinished.entry(target.clone()).or_default().insert(uid.clone());
        }
        let status = object.data.get("status").unwrap_or(&Value::Null);
        let blocked = status::blocked_reason(status).map(Into::into);
        // Metadata are made of strings, numbers and times: there is nothing in them that JSON cannot say.
        let text = serde_json::to_vec(object).unwrap_or_default().into();
        self.uids.insert(key.clone(), uid.clone());
        let rivalry = Rivalry::of(object);
        self.by_uid.insert(uid.clone(), Kept { key, target, blocked, rivalry, text });
    }

    fn remove(&mut self, uid: &str) -> Option<Kept> {
        let kept = self.by_uid.remove(uid)?;
        // Another one may have its name by now.
        if self.uids.get(&kept.key).is_some_and(|of| of == uid) {
            self.uids.remove(&kept.key);
        }
        if let Some(uids) = self.unfinished.get_mut(&kept.target) {
            uids.remove(uid);
            if uids.is_empty() {
                self.unfinished.remove(&kept.target);
            }
        }
        Some(kept)
    }

    fn unfinished_beside(&self, object: &DynamicObject) -> impl Iterator<Item = &Kept> {
        let uids = TargetKey::of(object).and_then(|target| self.unfinished.get(&target));
        uids.into_iter().flatten().filter_map(|uid| self.by_uid.get(uid))
    }
}

impl Kept {
    fn object(&self) -> Option<DynamicObject> {
        parse(&self.text)
    }
}

/// An Operation from its text, which was made of one.
fn parse(text: &[u8]) -> Option<DynamicObject> {
    serde_json::from_slice(text).ok()
}

impl Rivalry {
    fn of(object: &DynamicObject) -> Rivalry {
        let type_of = text(object, "/spec/type");
        let type_of = OperationType::ALL.into_iter().find(|known| known.as_str() == type_of);
        let hook = text(object, "/spec/parameters/hookName");
        Rivalry {
            hook: hook.into(),
            // Without a hook's name all hooks of an event are meant.
            is_exclusive: hook.is_empty() || type_of.is_some_and(conflict::is_exclusive),
        }
    }

    /// Whether there can be a conflict. Where there can, the whole Operations say whether there is.
    fn is_with(&self, other: &Rivalry) -> bool {
        self.is_exclusive || other.is_exclusive || self.hook == other.hook
    }
}

impl TargetKey {
    fn of(object: &DynamicObject) -> Option<TargetKey> {
        let namespace = object.metadata.namespace.clone()?;
        let (kind, name) = (text(object, "/spec/targetRef/kind"), text(object, "/spec/targetRef/name"));
        Some(TargetKey([namespace, kind.to_owned(), name.to_owned()]))
    }
}

fn text<'o>(object: &'o DynamicObject, path: &str) -> &'o str {
    object.data.pointer(path).and_then(Value::as_str).unwrap_or_default()
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

    fn operations(events: impl IntoIterator<Item = Event<DynamicObject>>) -> Operations {
        let operations = Operations { known: Arc::default(), is_synced: Arc::default() };
        events.into_iter().for_each(|event| drop(operations.note(event)));
        operations
    }

    fn unfinished(operations: &Operations, target: &str) -> Vec<String> {
        let rivals = operations.rivals(&operation("", target, None));
        rivals.iter().filter_map(|object| object.metadata.uid.clone()).collect()
    }

    #[test]
    fn an_operation_counts_for_its_target_until_it_is_finished_or_gone() {
        let named = |uid: &str, finished| {
            let mut object = operation(uid, "shop", finished);
            object.metadata.name = Some(uid.to_owned());
            object
        };
        let all = operations([
            Event::Apply(named("a", None)),
            Event::Apply(named("b", None)),
            Event::Apply(operation("c", "other", None)),
        ]);
        assert_eq!(unfinished(&all, "shop"), ["a", "b"]);
        all.note(Event::Apply(named("a", Some("2026-05-28T14:00:00Z"))));
        assert_eq!(unfinished(&all, "shop"), ["b"]);
        all.note(Event::Delete(named("b", None)));
        all.note(Event::Delete(named("a", None)));
        assert_eq!(all.known().unfinished.len(), 1, "nothing is left behind");
        assert_eq!(all.keys(), [OperationKey::new("org", "op")]);
    }

    #[test]
    fn rivals_are_those_of_the_same_hook_and_those_that_nothing_may_work_beside() {
        let of = |name: &str, hook: &str, type_of: &str| {
            let mut object = operation(name, "shop", None);
            object.metadata.name = Some(name.to_owned());
            object.data["spec"]["type"] = type_of.into();
            object.data["spec"]["parameters"] = json!({"hookName": hook});
            object
        };
        let all = operations([
            Event::Apply(of("a", "migrate", "Migration")),
            Event::Apply(of("b", "index", "Migration")),
            Event::Apply(of("c", "index", "Backup")),
        ]);
        let rivals = |hook: &str, type_of: &str| {
            let rivals = all.rivals(&of("new", hook, type_of));
            rivals.into_iter().filter_map(|object| object.metadata.name).collect::<Vec<_>>()
        };
        assert_eq!(rivals("migrate", "Migration"), ["a", "c"]);
        assert_eq!(rivals("other", "RunCommand"), ["c"]);
        assert_eq!(rivals("other", "Upgrade"), ["a", "b", "c"]);
    }

    #[test]
    fn what_is_kept_is_the_object_as_it_was_last() {
        let object = operation("a", "shop", Some("2026-05-28T14:00:00Z"));
        let all = operations([Event::Apply(operation("a", "shop", None)), Event::Apply(object.clone())]);
        let kept = all.get(&OperationKey::new("org", "op")).unwrap();
        assert_eq!((&kept.data, &kept.metadata), (&object.data, &object.metadata));
    }

    #[test]
    fn one_that_was_made_again_under_its_name_is_not_forgotten_with_the_first() {
        let all = operations([
            Event::InitApply(operation("old", "shop", None)),
            Event::InitDone,
            // The watch was broken meanwhile.
            Event::Init,
            Event::InitApply(operation("new", "shop", None)),
        ]);
        let gone = all.note(Event::InitDone);
        assert!(
            matches!(&gone[..], [Change::Deleted(object)] if object.metadata.uid.as_deref() == Some("old"))
        );
        assert_eq!(unfinished(&all, "shop"), ["new"]);
        let named = all.get(&OperationKey::new("org", "op")).unwrap();
        assert_eq!(named.metadata.uid.as_deref(), Some("new"));
    }
}
