//! *Following* is watching one kind of object in one namespace, in a task that ends when nobody needs it any more.

use std::collections::HashMap;
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

use futures::{StreamExt, TryStream};
use hookhost_core::Reason;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use hookhost_cluster::stream::Selection;

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
        let mut running = self.running.lock();
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
        let token = self.running.lock().remove(key);
        token.inspect(CancellationToken::cancel).is_some()
    }
}

/// What follows from one event of a watch of objects that are read as `K`.
pub(crate) enum Seen<K> {
    /// The object is there.
    Applied(K),
    /// The object is gone, or is none any more of those that are watched; its last known form.
    Deleted(K),
    /// All objects that are there will be applied now.
    Listing,
    /// They have been: what is known and was not among them is gone.
    Listed,
    /// The API server does not answer, or says no, in these words; it is asked again.
    Broken {
        /// The one word for programs.
        reason: Reason,
        why: String,
    },
}

/// Watches objects and hands each change on, for ever: what `read` makes of an object's text, if anything. A watch that breaks
/// is made again, with growing pauses; `what` names it in the log line.
pub(crate) async fn follow<K: Send>(
    selection: Selection,
    what: &str,
    namespace: &str,
    read: impl FnMut(&str) -> Option<K> + Send,
    mut handle: impl FnMut(Seen<K>),
) {
    let mut stream = std::pin::pin!(selection.stream(read).default_backoff());
    let (mut is_broken, mut because) = (false, None);
    while let Some(event) = stream.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                // Said once for each reason; that it works again is said too.
                let reason = reason(&error);
                let before = because.replace(reason);
                if !std::mem::replace(&mut is_broken, true) || before != Some(reason) {
                    let why = words(&error);
                    tracing::warn!(namespace, watch = what, error = why, "a watch is broken; trying again");
                    handle(Seen::Broken { reason, why });
                }
                continue;
            }
        };
        if std::mem::take(&mut is_broken) {
            tracing::info!(namespace, watch = what, "the watch works again");
        }
        match event {
            Event::Init => handle(Seen::Listing),
            Event::InitDone => handle(Seen::Listed),
            Event::InitApply(object) | Event::Apply(object) => handle(Seen::Applied(object)),
            Event::Delete(object) => handle(Seen::Deleted(object)),
        }
    }
}

/// Why a watch is broken.
fn reason(error: &watcher::Error) -> Reason {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status))
        | WatchFailed(kube::Error::Api(status))
            if matches!(status.code, 401 | 403) =>
        {
            Reason::AccessForbidden
        }
        _ => Reason::ClusterUnreachable,
    }
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
