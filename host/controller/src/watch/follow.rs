//! *Following* is watching one kind of object in one namespace, in a task that ends when nobody needs it any more.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt, TryStream};
use kube::core::DynamicObject;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, ResourceExt};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tasks by what they follow, at most one each; clones share them. All end with the token they were made with.
#[derive(Clone, Debug)]
pub(crate) struct Tasks<K> {
    running: Arc<Mutex<HashMap<K, CancellationToken>>>,
    tracker: TaskTracker,
    shutdown: CancellationToken,
}

impl<K: Clone + Debug + Eq + std::hash::Hash> Tasks<K> {
    pub(crate) fn new(shutdown: CancellationToken) -> Tasks<K> {
        Tasks { running: Arc::default(), tracker: TaskTracker::new(), shutdown }
    }

    /// Starts the task for `key`, unless it runs. It is dropped where it waits once it is not needed any more.
    pub(crate) fn start<F: Future<Output = ()> + Send + 'static>(&self, key: K, task: impl FnOnce() -> F) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.contains_key(&key) {
            return;
        }
        let token = self.shutdown.child_token();
        running.insert(key, token.clone());
        let task = task();
        self.tracker.spawn(async move {
            token.run_until_cancelled(task).await;
        });
    }

    /// Ends the task for `key`. Whether there was one.
    pub(crate) fn stop(&self, key: &K) -> bool {
        let token = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        token.inspect(CancellationToken::cancel).is_some()
    }

    /// Ends all tasks whose key is not wanted; gives back their keys.
    pub(crate) fn keep(&self, wanted: impl Fn(&K) -> bool) -> Vec<K> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let unwanted: Vec<K> = running.keys().filter(|key| !wanted(key)).cloned().collect();
        for key in &unwanted {
            if let Some(token) = running.remove(key) {
                token.cancel();
            }
        }
        unwanted
    }
}

/// What follows from one event of a watch.
pub(crate) enum Seen {
    /// The object is there.
    Applied(DynamicObject),
    /// The object is gone; its last known form.
    Deleted(DynamicObject),
    /// All objects there were have been applied; of the others that are known, those not named are gone.
    Listed(HashSet<String>),
    /// The API server does not answer, or says no, in these words; it is asked again.
    Broken(String),
}

/// Watches objects of one kind and hands each change on, for ever. A watch that breaks is made again, with growing
/// pauses; `what` names it in the log line.
pub(crate) async fn follow(
    api: Api<DynamicObject>,
    config: watcher::Config,
    what: &str,
    namespace: &str,
    trim: impl FnMut(&mut DynamicObject),
    mut handle: impl FnMut(Seen),
) {
    let stream = hold_init(watch(api, config)).default_backoff().modify(trim);
    let mut stream = std::pin::pin!(stream);
    let mut listed = HashSet::new();
    let mut is_broken = false;
    while let Some(event) = stream.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                // Said once; that it works again is said too.
                if !std::mem::replace(&mut is_broken, true) {
                    let error = words(&error);
                    tracing::warn!(namespace, watch = what, error, "a watch is broken; trying again");
                    handle(Seen::Broken(error));
                }
                continue;
            }
        };
        if std::mem::take(&mut is_broken) {
            tracing::info!(namespace, watch = what, "the watch works again");
        }
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => {
                listed.insert(object.name_any());
                handle(Seen::Applied(object));
            }
            Event::InitDone => handle(Seen::Listed(std::mem::take(&mut listed))),
            Event::Apply(object) => handle(Seen::Applied(object)),
            Event::Delete(object) => handle(Seen::Deleted(object)),
        }
    }
}

/// The events of a watch, but with its beginning held back until something follows it.
///
/// A watch begins again after each error, before it has asked anything. What takes that for a success would think that it
/// works, and ask again at once.
pub(crate) fn hold_init<K, S>(watch: S) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Send,
    S: Stream<Item = watcher::Result<Event<K>>> + Send,
{
    let held = watch.scan(false, |is_held, next| {
        let events = match next {
            Ok(Event::Init) => {
                *is_held = true;
                vec![]
            }
            Ok(event) if std::mem::take(is_held) => vec![Ok(Event::Init), Ok(event)],
            Ok(event) => vec![Ok(event)],
            Err(error) => {
                *is_held = false;
                vec![Err(error)]
            }
        };
        std::future::ready(Some(futures::stream::iter(events)))
    });
    held.flatten()
}

/// What the API server says, once: kube repeats it with each of the error's causes.
fn words(error: &watcher::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Drives a stream of changes to its end; an error in it is said once until it works again.
pub(crate) async fn drive<S: TryStream<Error = watcher::Error>>(
    stream: S,
    what: &str,
    mut handle: impl FnMut(S::Ok),
) {
    let mut stream = std::pin::pin!(futures::TryStreamExt::into_stream(stream));
    let mut is_broken = false;
    while let Some(next) = stream.next().await {
        match next {
            Ok(change) => {
                if std::mem::take(&mut is_broken) {
                    tracing::info!(watch = what, "the watch works again");
                }
                handle(change);
            }
            Err(error) => {
                if !std::mem::replace(&mut is_broken, true) {
                    let error = words(&error);
                    tracing::warn!(watch = what, error, "a watch is broken; trying again");
                }
            }
        }
    }
}
