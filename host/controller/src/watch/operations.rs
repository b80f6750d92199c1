//! The Operations of the cluster, of all engines: those of other engines may be in the way of ours.
//!
//! They are known in brief. Of those that hookhost may have to look at the text is kept too, as far as it is read and as long
//! as there is room; see [`super::texts`].
//!
//! # What is passed over
//! Whoever may create Operations may create any number, so not all are known. In a namespace without the gate only those
//! count of which hookhost has said something; the others are listed once the namespace gets the gate. In each other
//! namespace there is a bound, [`UNSETTLED`] and [`SETTLED`]; beyond it Operations wait for others to end, which costs no other
//! namespace anything.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{Stream, StreamExt, TryStreamExt, stream};
use hookhost_core::Reason;
use hookhost_core::operation::Stored;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use tokio::sync::{Notify, watch as latest};

use super::operation::{Brief, TargetKey, Whole};
use super::texts::{Text, Texts};
use super::{Namespaces, Selection, operation_resource};
use crate::wake::OperationKey;

/// Operations of a namespace that may have to be looked at and are known at once. One takes some 700 bytes in brief.
const UNSETTLED: usize = 5000;

/// Operations of a namespace that have ended, with nothing left to do, and are known at once: those that ended last. Whoever
/// needs to know of another asks the API server.
const SETTLED: usize = 2000;

/// What is known of all Operations; clones share it.
#[derive(Clone)]
pub(crate) struct Operations {
    /// Asks for all to be listed again.
    relist: Arc<Notify>,
    known: Arc<Mutex<Known>>,
    /// Whether all are known.
    is_synced: Arc<latest::Sender<bool>>,
}

/// The Operations, and where they are by what is asked for at every look, however many there are.
#[derive(Default)]
struct Known {
    by_uid: HashMap<String, Arc<Brief>>,
    uids: HashMap<OperationKey, String>,
    /// UIDs of those that are not finished, by each name that the release of theirs is known under.
    unfinished: HashMap<TargetKey, BTreeSet<String>>,
    /// Under which other names than their own targets these releases are known, by the UIDs of those that were resolved.
    also: HashMap<String, Vec<TargetKey>>,
    /// UIDs that the watch has named since it began to name all.
    listed: HashSet<String>,
    texts: Texts,
    /// How many there are of each namespace.
    counts: HashMap<String, Counts>,
    /// Namespaces without the gate of which some are not known.
    passed_over: HashSet<String>,
    /// Namespaces with more than are known at once.
    full: HashSet<String>,
}

/// Operations of a namespace.
#[derive(Default)]
struct Counts {
    unsettled: usize,
    /// UIDs of those with nothing left to do, in the order in which they ended.
    settled: VecDeque<String>,
}

/// What happened to an Operation.
pub(crate) enum Change {
    /// It was there when the watch began.
    Listed(Arc<Brief>),
    /// It was made or changed.
    Applied(Arc<Brief>),
    /// It is gone; this is its last form.
    Deleted(Arc<Brief>),
}

/// An Operation that the watch has told of.
struct Seen {
    brief: Arc<Brief>,
    /// Of one that hookhost may have to look at.
    text: Option<Text>,
}

impl Operations {
    pub(super) fn new() -> Operations {
        Operations {
            relist: Arc::default(),
            known: Arc::default(),
            is_synced: Arc::new(latest::Sender::new(false)),
        }
    }

    /// Watches all Operations, from when it is known which namespaces are `gated`. A change is known here before the stream gives
    /// it out.
    pub(crate) fn watch(
        client: kube::Client,
        gated: Namespaces,
    ) -> (Operations, impl Stream<Item = Result<Change, watcher::Error>> + Send + 'static) {
        let operations = Operations::new();
        let (noted, read) = (operations.clone(), operations.clone());
        let begin = {
            let gated = gated.clone();
            async move { gated.synced().await }
        };
        let all = stream::repeat_with(move || {
            let (read, gated) = (read.clone(), gated.clone());
            let again = read.relist.clone().notified_owned();
            let is_gated = move |namespace: &str| gated.contains(namespace);
            let all = Selection::new(client.clone(), &operation_resource(), None);
            all.stream(move |json| read.read(json, &is_gated)).take_until(again)
        });
        let stream = stream::once(begin)
            .map(move |()| Ok::<_, watcher::Error>(()))
            .filter_map(|_| std::future::ready(None))
            .chain(all.flatten())
            .default_backoff()
            .map_ok(move |event| stream::iter(noted.note(event).into_iter().map(Ok)))
            .try_flatten()
            .boxed();
        (operations, stream)
    }

    /// Reads what the API server says of an Operation; none if it is passed over.
    fn read(&self, json: &str, is_gated: &impl Fn(&str) -> bool) -> Option<Seen> {
        let stored = Stored::read(json)?;
        let brief = Brief::of(&stored)?;
        let mut known = self.known();
        // Asked under the lock: a namespace that gets the gate meanwhile finds out what was passed over.
        let is_gated = is_gated(&brief.key.namespace);
        let is_begun = brief.is_of_engine() && brief.has_status;
        // What is known is followed to its end.
        if !(is_gated || is_begun || known.by_uid.contains_key(&brief.uid)) {
            known.passed_over.insert(brief.key.namespace);
            return None;
        }
        drop(known);
        let text = (is_gated && brief.is_of_engine()).then(|| Text {
            json: stored.object.to_string().into_bytes().into(),
            too_large: stored.too_large,
        });
        Some(Seen { brief: Arc::new(brief), text })
    }

    /// The namespace has the gate now: what was passed over of it is listed.
    pub(crate) fn joined(&self, namespace: &str) {
        if self.known().passed_over.remove(namespace) {
            self.relist.notify_one();
        }
    }

    fn note(&self, event: Event<Seen>) -> Vec<Change> {
        let mut known = self.known();
        match event {
            Event::Init => {
                known.listed.clear();
                Vec::new()
            }
            Event::InitApply(seen) => {
                known.listed.insert(seen.brief.uid.clone());
                known.insert(seen).map(Change::Listed).into_iter().collect()
            }
            Event::Apply(seen) => {
                let kept = known.insert(seen).map(Change::Applied).into_iter().collect();
                self.list_what_fits(&mut known);
                kept
            }
            Event::Delete(seen) => {
                known.remove(&seen.brief.uid);
                self.list_what_fits(&mut known);
                vec![Change::Deleted(seen.brief)]
            }
            // What is not named now was deleted while the watch was broken.
            Event::InitDone => {
                let listed = std::mem::take(&mut known.listed);
                let gone: Vec<String> =
                    known.by_uid.keys().filter(|uid| !listed.contains(*uid)).cloned().collect();
                let gone = gone.iter().filter_map(|uid| known.remove(uid)).map(Change::Deleted).collect();
                self.is_synced.send_replace(true);
                gone
            }
        }
    }

    /// Lists all again where there is room for some that were passed over.
    fn list_what_fits(&self, known: &mut Known) {
        let Known { counts, full, .. } = known;
        let before = full.len();
        // Half of all, so that a namespace at its bound is not listed for each Operation that ends.
        full.retain(|namespace| counts.get(namespace).is_some_and(|of| of.unsettled > UNSETTLED / 2));
        if full.len() < before {
            self.relist.notify_one();
        }
    }

    /// Waits until all Operations are known.
    pub(crate) async fn synced(&self) {
        // The sender is ours, so this ends with the condition only.
        let _ = self.is_synced.subscribe().wait_for(|is_synced| *is_synced).await;
    }

    /// One Operation, in brief.
    pub(crate) fn get(&self, key: &OperationKey) -> Option<Arc<Brief>> {
        let known = self.known();
        known.by_uid.get(known.uids.get(key)?).cloned()
    }

    /// The whole of it, where its text is kept.
    pub(crate) fn whole(&self, uid: &str) -> Option<Whole> {
        let known = self.known();
        let (brief, text) = (known.by_uid.get(uid)?.clone(), known.texts.get(uid)?);
        drop(known);
        let object = serde_json::from_slice(&text.json).ok()?;
        Whole::of(brief, Stored { object, too_large: text.too_large })
    }

    /// Where the Operation with this UID is.
    pub(crate) fn by_uid(&self, uid: &str) -> Option<OperationKey> {
        self.known().by_uid.get(uid).map(|brief| brief.key.clone())
    }

    /// Where all Operations are.
    pub(crate) fn keys(&self) -> Vec<OperationKey> {
        self.keys_where(|_| true)
    }

    /// Where those of a namespace are.
    pub(crate) fn keys_of(&self, namespace: &str) -> Vec<OperationKey> {
        self.keys_where(|brief| brief.key.namespace == namespace)
    }

    /// Where those are that are blocked for this reason.
    pub(crate) fn waiting_for(&self, reason: Reason) -> Vec<OperationKey> {
        self.keys_where(|brief| brief.waits_for(reason))
    }

    /// Those on the release of this one that are not finished and may have to go before it, or after; it is one of them.
    pub(crate) fn rivals(&self, operation: &Brief) -> Vec<Arc<Brief>> {
        let known = self.known();
        let rivals = known.unfinished_beside(operation).filter(|other| other.may_conflict(operation));
        rivals.cloned().collect()
    }

    /// Notes other names for the release that an Operation is on, now that its target was resolved: so it is found by those, and
    /// finds the Operations on those.
    pub(crate) fn note_names(&self, uid: &str, names: Vec<TargetKey>) {
        let mut known = self.known();
        if known.by_uid.get(uid).is_some_and(|brief| !brief.is_finished)
            && known.also.get(uid) != Some(&names)
        {
            known.unlist(uid);
            known.also.insert(uid.to_owned(), names);
            known.list(uid);
        }
    }

    fn keys_where(&self, wanted: impl Fn(&Brief) -> bool) -> Vec<OperationKey> {
        self.known().by_uid.values().filter(|brief| wanted(brief)).map(|brief| brief.key.clone()).collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Keeps the Operation as it is now, if its namespace has room.
    fn insert(&mut self, Seen { brief, text }: Seen) -> Option<Arc<Brief>> {
        let also = self.also.get(&brief.uid).filter(|_| !brief.is_finished).cloned();
        self.remove(&brief.uid);
        let namespace = &brief.key.namespace;
        let counts = self.counts.entry(namespace.clone()).or_default();
        let mut forgotten = None;
        if brief.is_settled {
            counts.settled.push_back(brief.uid.clone());
            forgotten = (counts.settled.len() > SETTLED).then(|| counts.settled.pop_front()).flatten();
        } else if counts.unsettled < UNSETTLED {
            counts.unsettled += 1;
        } else {
            if self.full.insert(namespace.clone()) {
                tracing::warn!(
                    namespace,
                    at_once = UNSETTLED,
                    "a namespace has more Operations than are served at once; the others wait until some of them have ended"
                );
            }
            return None;
        }
        if let Some(text) = text {
            self.texts.insert(&brief.uid, text);
        }
        self.uids.insert(brief.key.clone(), brief.uid.clone());
        self.by_uid.insert(brief.uid.clone(), brief.clone());
        self.also.extend(also.map(|also| (brief.uid.clone(), also)));
        if !brief.is_finished {
            self.list(&brief.uid);
        }
        forgotten.map(|uid| self.remove(&uid));
        Some(brief)
    }

    fn remove(&mut self, uid: &str) -> Option<Arc<Brief>> {
        self.unlist(uid);
        self.also.remove(uid);
        let brief = self.by_uid.remove(uid)?;
        self.texts.remove(uid);
        // Another one may have its name by now.
        if self.uids.get(&brief.key).is_some_and(|of| of == uid) {
            self.uids.remove(&brief.key);
        }
        if let Some(counts) = self.counts.get_mut(&brief.key.namespace) {
            if brief.is_settled {
                counts.settled.retain(|of| of != uid);
            } else {
                counts.unsettled = counts.unsettled.saturating_sub(1);
            }
            if counts.unsettled == 0 && counts.settled.is_empty() {
                self.counts.remove(&brief.key.namespace);
            }
        }
        Some(brief)
    }

    /// Under which names the release of an Operation is known.
    fn names(&self, uid: &str) -> Vec<TargetKey> {
        let own = self.by_uid.get(uid).map(|brief| brief.target.clone());
        own.into_iter().chain(self.also.get(uid).into_iter().flatten().cloned()).collect()
    }

    fn list(&mut self, uid: &str) {
        for name in self.names(uid) {
            self.unfinished.entry(name).or_default().insert(uid.to_owned());
        }
    }

    fn unlist(&mut self, uid: &str) {
        for name in self.names(uid) {
            if let Some(uids) = self.unfinished.get_mut(&name) {
                uids.remove(uid);
                if uids.is_empty() {
                    self.unfinished.remove(&name);
                }
            }
        }
    }

    /// Those that are not finished, on the release of this one, each once.
    fn unfinished_beside(&self, operation: &Brief) -> impl Iterator<Item = &Arc<Brief>> {
        let also = self.also.get(&operation.uid).into_iter().flatten();
        let names = std::iter::once(&operation.target).chain(also);
        let uids: BTreeSet<&String> = names.filter_map(|name| self.unfinished.get(name)).flatten().collect();
        uids.into_iter().filter_map(|uid| self.by_uid.get(uid))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use serde_json::{Value, json};

    use super::*;

    fn operation(uid: &str, target: &str, finished_at: Option<&str>) -> Value {
        json!({
            "metadata": {"name": "op", "namespace": "org", "uid": uid, "resourceVersion": "1"},
            "spec": {"engine": "helmHookJob", "targetRef": {"kind": "HelmRelease", "name": target}},
            "status": {"finishedAt": finished_at},
        })
    }

    fn named(name: &str, operation: Value) -> Value {
        let mut operation = operation;
        operation["metadata"]["name"] = name.into();
        operation
    }

    fn seen(object: &Value) -> Seen {
        Operations::new().read(&object.to_string(), &|_| true).unwrap()
    }

    fn operations(events: impl IntoIterator<Item = Event<Seen>>) -> Operations {
        let operations = Operations::new();
        events.into_iter().for_each(|event| drop(operations.note(event)));
        operations
    }

    fn unfinished(operations: &Operations, target: &str) -> Vec<String> {
        let rivals = operations.rivals(&seen(&operation("new", target, None)).brief);
        rivals.iter().map(|brief| brief.uid.clone()).collect()
    }

    #[test]
    fn an_operation_counts_for_its_target_until_it_is_finished_or_gone() {
        let of = |uid: &str, finished| seen(&named(uid, operation(uid, "shop", finished)));
        let all = operations([
            Event::Apply(of("a", None)),
            Event::Apply(of("b", None)),
            Event::Apply(seen(&operation("c", "other", None))),
        ]);
        assert_eq!(unfinished(&all, "shop"), ["a", "b"]);
        all.note(Event::Apply(of("a", Some("2026-05-28T14:00:00Z"))));
        assert_eq!(unfinished(&all, "shop"), ["b"]);
        all.note(Event::Delete(of("b", None)));
        all.note(Event::Delete(of("a", None)));
        assert_eq!(all.known().unfinished.len(), 1, "nothing is left behind");
        assert!(all.whole("a").is_none() && all.whole("c").is_some());
        assert_eq!(all.keys(), [OperationKey::new("org", "op")]);
    }

    #[test]
    fn those_on_one_release_find_each_other_by_whichever_of_its_names() {
        let on = |kind: &str, uid: &str| {
            let mut object = named(uid, operation(uid, "shop", None));
            object["spec"]["targetRef"]["kind"] = kind.into();
            object
        };
        let key = |kind: &str| TargetKey::new("org", kind, "shop");
        let beside = |all: &Operations, of: &str| {
            let brief = all.get(&OperationKey::new("org", of)).unwrap();
            all.rivals(&brief).iter().map(|brief| brief.uid.clone()).collect::<Vec<_>>()
        };
        let (instance, release) = (on("ApplicationInstance", "a"), on("HelmRelease", "r"));
        let all = operations([Event::Apply(seen(&instance)), Event::Apply(seen(&release))]);
        assert_eq!((beside(&all, "a"), beside(&all, "r")), (vec!["a".into()], vec!["r".into()]));
        // One of the two was resolved: both find the other.
        let names = vec![key("ApplicationInstance"), key("Release")];
        all.note_names("r", names);
        assert_eq!(
            (beside(&all, "a"), beside(&all, "r")),
            (vec!["a".into(), "r".into()], vec!["a".into(), "r".into()])
        );
        // It is the same one after a change of it; finished or gone, it counts under none of its names.
        all.note(Event::Apply(seen(&release)));
        assert_eq!(beside(&all, "a"), ["a", "r"]);
        let mut finished = release;
        finished["status"] = json!({"finishedAt": "2026-05-28T14:00:00Z"});
        all.note(Event::Apply(seen(&finished)));
        assert_eq!(beside(&all, "a"), ["a"]);
        all.note_names("r", vec![key("ApplicationInstance")]);
        assert_eq!(beside(&all, "a"), ["a"], "nobody waits for what is finished");
        all.note(Event::Delete(seen(&instance)));
        assert!(all.known().unfinished.is_empty() && all.known().also.is_empty(), "nothing is left behind");
    }

    #[test]
    fn rivals_are_those_of_the_same_hook_and_those_that_nothing_may_work_beside() {
        let of = |name: &str, hook: &str, type_of: &str| {
            let mut object = named(name, operation(name, "shop", None));
            object["spec"]["type"] = type_of.into();
            object["spec"]["parameters"] = json!({"hookName": hook});
            seen(&object)
        };
        let all = operations([
            Event::Apply(of("a", "migrate", "Migration")),
            Event::Apply(of("b", "index", "Migration")),
            Event::Apply(of("c", "index", "Backup")),
        ]);
        let rivals = |hook: &str, type_of: &str| {
            let rivals = all.rivals(&of("new", hook, type_of).brief);
            rivals.into_iter().map(|brief| brief.key.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(rivals("migrate", "Migration"), ["a", "c"]);
        assert_eq!(rivals("other", "RunCommand"), ["c"]);
        assert_eq!(rivals("other", "Upgrade"), ["a", "b", "c"]);
    }

    #[test]
    fn what_is_kept_is_the_object_as_it_was_last() {
        let finished = seen(&operation("a", "shop", Some("2026-05-28T14:00:00Z")));
        let all = operations([Event::Apply(seen(&operation("a", "shop", None))), Event::Apply(finished)]);
        let kept = all.whole("a").unwrap().object;
        assert_eq!(kept.data["status"]["finishedAt"], "2026-05-28T14:00:00Z");
        assert_eq!(kept.data["spec"]["targetRef"]["name"], "shop");
    }

    #[test]
    fn one_that_was_made_again_under_its_name_is_not_forgotten_with_the_first() {
        let all = operations([
            Event::InitApply(seen(&operation("old", "shop", None))),
            Event::InitDone,
            // The watch was broken meanwhile.
            Event::Init,
            Event::InitApply(seen(&operation("new", "shop", None))),
        ]);
        let gone = all.note(Event::InitDone);
        assert!(matches!(&gone[..], [Change::Deleted(brief)] if brief.uid == "old"));
        assert_eq!(unfinished(&all, "shop"), ["new"]);
        assert_eq!(all.get(&OperationKey::new("org", "op")).unwrap().uid, "new");
    }

    #[test]
    fn of_a_huge_operation_little_is_kept_and_of_another_engines_nothing_but_what_decides() {
        let mut huge = operation("a", "shop", None);
        huge["spec"]["parameters"] = json!({"list": vec![json!({"a": 1}); 100_000]});
        let mut other = huge.clone();
        other["metadata"]["uid"] = "b".into();
        other["spec"]["engine"] = "velero".into();
        let all = operations([Event::Apply(seen(&huge)), Event::Apply(seen(&named("b", other)))]);
        let kept = all.whole("a").unwrap();
        assert_eq!(kept.too_large.unwrap().part, "spec.parameters");
        assert!(super::super::to_json(&kept.object).to_string().len() < 1024);
        assert!(all.whole("b").is_none());
        assert_eq!(unfinished(&all, "shop"), ["a", "b"]);
    }

    #[test]
    fn of_a_namespace_without_the_gate_only_what_hookhost_has_begun_is_known_until_it_has_the_gate() {
        let all = Operations::new();
        let read = |uid: &str, status: Value, is_gated: bool| {
            let mut object = named(uid, operation(uid, "shop", None));
            object["status"] = status;
            let seen = all.read(&object.to_string(), &|_| is_gated);
            seen.is_some_and(|seen| !all.note(Event::Apply(seen)).is_empty())
        };
        assert!(!read("flood", json!({}), false));
        assert!(read("running", json!({"phase": "Running"}), false));
        assert!(read("running", json!({}), false), "what is known is followed, whatever becomes of it");
        assert_eq!(all.keys().len(), 1);
        assert!(all.relist.notified().now_or_never().is_none());
        all.joined("other");
        assert!(all.relist.notified().now_or_never().is_none());
        all.joined("org");
        assert!(all.relist.notified().now_or_never().is_some(), "the others are listed now");
        assert!(read("flood", json!({}), true));
    }

    #[test]
    fn of_a_namespace_with_any_number_of_operations_a_bounded_number_is_known_and_the_others_when_there_is_room()
     {
        let of = |n: usize, finished| {
            let name = format!("op-{n}");
            seen(&named(&name, operation(&name, "shop", finished)))
        };
        let finished = Some("2026-05-28T14:00:00Z");
        let all = operations((0..UNSETTLED + 10).map(|n| Event::Apply(of(n, None))));
        assert_eq!(all.keys().len(), UNSETTLED);
        // Another namespace has room of its own.
        let mut other = operation("other", "shop", None);
        other["metadata"]["namespace"] = "calm".into();
        assert_eq!(all.note(Event::Apply(seen(&other))).len(), 1);
        for n in 0..UNSETTLED / 2 {
            assert!(all.relist.notified().now_or_never().is_none(), "{n}");
            all.note(Event::Apply(of(n, finished)));
        }
        assert!(all.relist.notified().now_or_never().is_some(), "there is room for the others");
        let known = all.known();
        assert_eq!(known.counts["org"].settled.len(), SETTLED, "of those that have ended the last are known");
        assert_eq!(known.by_uid.len(), UNSETTLED / 2 + SETTLED + 1);
        assert!(known.uids.len() == known.by_uid.len() && known.full.is_empty());
    }
}
