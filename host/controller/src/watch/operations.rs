//! The Operations of the cluster, of all engines: those of other engines may be in the way of ours.
//!
//! They are known in brief. Of those that hookhost may have to look at the text is kept too, as far as it is read and as long
//! as there is room; see [`super::texts`].
//!
//! # What is not known
//! Whoever may create Operations may create any number, so not all are known. In a namespace without the gate only those
//! count of which hookhost has said something; the others are listed once the namespace gets the gate. In each other
//! namespace there is [room](room) for a bounded number; what is [beyond](beyond) it costs no other namespace anything.
//!
//! # Why nothing runs past a conflict that is not known
//! An Operation starts only while it is known, and what is known is followed to its end. So of hookhost's own those that are
//! at work are known, whatever else there is: they have places of their own, also when all are listed anew after a restart.
//! One of them whose status does not say yet that it has started is found by its Job, and takes its place then. Operations of
//! other engines may start without a word to hookhost; where there are more of those than there is room for, hookhost's
//! own wait and say so.

mod beyond;
mod known;
mod room;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures::{Stream, StreamExt, TryStreamExt, stream};
use hookhost_core::Reason;
use hookhost_core::operation::Stored;
use hookhost_core::refusal::Refusal;
use jiff::Timestamp;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch as latest};
use tokio::time::sleep_until;

use self::known::Known;
pub(crate) use self::known::Terms;
use super::Namespaces;
use super::texts::Text;
use hookhost_cluster::key::OperationKey;
use hookhost_cluster::operation::{Brief, TargetKey, Whole};
use hookhost_cluster::resource::operation_resource;
use hookhost_cluster::stream::Selection;

/// What is known of all Operations; clones share it.
#[derive(Clone)]
pub(crate) struct Operations {
    /// Asks for all to be listed again.
    relist: Arc<Notify>,
    /// Something has happened that decides when they are, if not at once.
    is_due: Arc<Notify>,
    known: Arc<Mutex<Known>>,
    /// Whether all are known.
    is_synced: Arc<latest::Sender<bool>>,
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

/// Whether all Operations of a namespace are known that one there may have to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Knowledge {
    /// They are.
    Whole,
    /// They are being listed; then those that wait there are reconciled.
    Soon,
    /// There are more than there is room for. Once that is over, those that are blocked for it are reconciled.
    TooMany,
}

impl Operations {
    #[cfg(test)]
    pub(super) fn new() -> Operations {
        let wait_timeout = hookhost_core::wait::DEFAULT_TIMEOUT;
        Operations::with(Terms { cluster_id: String::new(), wait_timeout })
    }

    fn with(terms: Terms) -> Operations {
        Operations {
            relist: Arc::default(),
            is_due: Arc::default(),
            known: Arc::new(Mutex::new(Known::new(terms))),
            is_synced: Arc::new(latest::Sender::new(false)),
        }
    }

    /// Watches all Operations, from when it is known which namespaces are `gated`. A change is known here before the stream gives
    /// it out.
    pub(crate) fn watch(
        client: kube::Client,
        gated: Namespaces,
        terms: Terms,
    ) -> (Operations, impl Stream<Item = Result<Change, watcher::Error>> + Send + 'static) {
        let operations = Operations::with(terms);
        let (noted, read) = (operations.clone(), operations.clone());
        let begin = {
            let gated = gated.clone();
            async move { gated.synced().await }
        };
        let all = stream::repeat_with(move || {
            let (read, gated, again) = (read.clone(), gated.clone(), read.clone());
            let is_gated = move |namespace: &str| gated.contains(namespace);
            let all = Selection::new(client.clone(), &operation_resource(), None);
            all.stream(move |json| read.read(json, &is_gated))
                .take_until(async move { again.until_listed_again().await })
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

    /// Waits until all are to be listed again.
    async fn until_listed_again(&self) {
        loop {
            let due = self.known.lock().beyond.due(Timestamp::now());
            let due = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.relist.notified() => return,
                () = due => {
                    // Before the first answer, too: else it would be due again and again until that comes.
                    self.known.lock().beyond.begin();
                    return;
                }
                () = self.is_due.notified() => {}
            }
        }
    }

    /// Reads what the API server says of an Operation; none if it is passed over.
    fn read(&self, json: &str, is_gated: &impl Fn(&str) -> bool) -> Option<Seen> {
        let stored = Stored::read(json)?;
        let brief = Brief::of(&stored)?;
        let mut known = self.known.lock();
        // Asked under the lock: a namespace that gets the gate meanwhile finds out what was passed over.
        let is_gated = is_gated(&brief.key.namespace);
        let is_begun = brief.is_of_engine() && brief.has_status;
        // What is known is followed to its end.
        if !(is_gated || is_begun || known.contains(&brief.uid)) {
            known.passed_over.insert(brief.key.namespace);
            return None;
        }
        drop(known);
        let text = (is_gated && brief.is_of_engine()).then(|| Text {
            json: stored.object.to_string().into_bytes().into(),
            too_large: stored.too_large,
            other_writer: stored.other_writer,
            foreign: stored.foreign,
        });
        Some(Seen { brief: Arc::new(brief), text })
    }

    /// The namespace has the gate now: what was passed over of it is listed.
    pub(crate) fn joined(&self, namespace: &str) {
        let mut known = self.known.lock();
        if known.passed_over.remove(namespace) {
            known.beyond.join(namespace);
            self.relist.notify_one();
        }
    }

    fn note(&self, event: Event<Seen>) -> Vec<Change> {
        let is_listed = matches!(event, Event::InitDone);
        let mut known = self.known.lock();
        let plan = known.beyond.plan();
        let changes = known.note(event);
        if known.has_room() {
            self.relist.notify_one();
        }
        if known.beyond.plan() != plan {
            self.is_due.notify_one();
        }
        if is_listed {
            self.is_synced.send_replace(true);
        }
        changes
    }

    /// Waits until all Operations are known.
    pub(crate) async fn synced(&self) {
        // The sender is ours, so this ends with the condition only.
        let _ = self.is_synced.subscribe().wait_for(|is_synced| *is_synced).await;
    }

    /// Whether all Operations of a namespace are known that one there may have to wait for.
    pub(crate) fn knowledge(&self, namespace: &str) -> Knowledge {
        self.known.lock().beyond.knowledge(namespace)
    }

    /// Whether the namespace has more Operations that wait than are known.
    pub(crate) fn are_some_unknown(&self, namespace: &str) -> bool {
        self.known.lock().beyond.has_waiting(namespace)
    }

    /// The Operation has a Job: it is known from now on, whatever else there is, and others wait for it.
    pub(crate) fn keep_started(&self, operation: &Arc<Brief>) {
        self.known.lock().keep_started(operation.clone());
    }

    /// Whether nothing is done any more for this Operation, which has ended: of those that lack their hooks a bounded number is
    /// told when there are some.
    pub(crate) fn is_past(&self, uid: &str) -> bool {
        self.known.lock().is_past(uid)
    }

    /// The Operation does not wait for its hook any more.
    pub(crate) fn stop_awaiting_hook(&self, uid: &str) {
        self.known.lock().count_again(uid);
    }

    /// One Operation, in brief.
    pub(crate) fn get(&self, key: &OperationKey) -> Option<Arc<Brief>> {
        self.known.lock().by_key(key).cloned()
    }

    /// The whole of it, where its text is kept.
    pub(crate) fn whole(&self, uid: &str) -> Option<Whole> {
        let known = self.known.lock();
        let (brief, text) = (known.by_uid(uid)?.clone(), known.texts.get(uid)?);
        drop(known);
        let object = serde_json::from_slice(&text.json).ok()?;
        let Text { too_large, other_writer, foreign, .. } = text;
        Whole::of(brief, Stored { object, too_large, other_writer, foreign })
    }

    /// Where the Operation with this UID is.
    pub(crate) fn by_uid(&self, uid: &str) -> Option<OperationKey> {
        self.known.lock().by_uid(uid).map(|brief| brief.key.clone())
    }

    /// Where all Operations are.
    pub(crate) fn keys(&self) -> Vec<OperationKey> {
        self.keys_where(|_| true)
    }

    /// Where those of a namespace are.
    pub(crate) fn keys_of(&self, namespace: &str) -> Vec<OperationKey> {
        self.keys_where(|brief| brief.key.namespace == namespace)
    }

    /// Where those are that hookhost has found to wait for this.
    pub(crate) fn waiting_for(&self, reason: Reason) -> Vec<OperationKey> {
        self.known.lock().waiting_for(reason).map(|brief| brief.key.clone()).collect()
    }

    /// For what hookhost has found an Operation to wait: by its own memory, since others write statuses too.
    pub(crate) fn waits_for(&self, uid: &str) -> Option<Reason> {
        self.known.lock().waits_for(uid)
    }

    /// hookhost has found that the Operation waits for this, or for nothing; whether that is new.
    pub(crate) fn note_wait(&self, uid: &str, reason: Option<Reason>) -> bool {
        self.known.lock().note_wait(uid, reason)
    }

    /// Those on the release of this one that are not finished and may have to go before it, or after; it is one of them.
    pub(crate) fn rivals(&self, operation: &Brief) -> Vec<Arc<Brief>> {
        let known = self.known.lock();
        let rivals = known.unfinished_beside(operation).filter(|other| other.may_conflict(operation));
        rivals.cloned().collect()
    }

    /// Notes other names for the release that an Operation is on, now that its target was resolved: so it is found by those, and
    /// finds the Operations on those.
    pub(crate) fn note_names(&self, uid: &str, names: Vec<TargetKey>) {
        self.known.lock().note_names(uid, names);
    }

    fn keys_where(&self, wanted: impl Fn(&Brief) -> bool) -> Vec<OperationKey> {
        self.known.lock().briefs().filter(|brief| wanted(brief)).map(|brief| brief.key.clone()).collect()
    }
}

/// Why nothing is started on a release while too many Operations of this namespace are at work, or may be.
pub(crate) fn too_many(namespace: &str) -> Refusal {
    let message = format!(
        "the namespace {namespace} has more than {} unfinished Operations of other engines (Upgrade, Restore, Backup, Migration), or \
         more than {} of this one that have started. hookhost keeps track of no more, so it cannot know whether one of the others is \
         at work on the same release, and starts nothing there. Delete those that nobody is going to finish (kubectl get operations \
         -n {namespace}); this one goes on once there are fewer",
        room::FOREIGN,
        room::UNFINISHED
    );
    Refusal::wait(Reason::TooManyOperations, message)
}
