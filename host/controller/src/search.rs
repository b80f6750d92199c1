//! To *search* is to look for runs in namespaces that are not managed any more, and to have them followed to their end: they were
//! taken out of the gate while they ran, and then hookhost was started anew. Each such namespace is searched once.
//!
//! Nothing is started before the first round, since an Operation's Job may be in any namespace. A namespace that cannot be searched
//! is reported, and tried again in the background while the others go on: as long as it is *unsearched*, whoever is about to start
//! a run, or to end an Operation without one, asks there by name first.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::time::sleep;

use crate::lists::{AT_ONCE, Lists};
use crate::watch::{Jobs, Namespaces};
use hookhost_cluster::client::Error;
use hookhost_cluster::error::chain;

/// Namespaces that may be unsearched when runs are started: each costs a request for each run. With more of them the API server as
/// a whole does not work.
const MOST_UNSEARCHED: usize = 8;

/// Pauses before what could not be listed is tried again: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(300)];

/// The namespaces that could not be searched yet; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unsearched(Arc<Mutex<BTreeSet<String>>>);

impl Unsearched {
    /// Their names.
    pub(crate) fn namespaces(&self) -> Vec<String> {
        self.0.lock().iter().cloned().collect()
    }

    fn set(&self, namespaces: &[String]) {
        *self.0.lock() = namespaces.iter().cloned().collect();
    }
}

/// Searches.
pub(crate) struct Search {
    pub(crate) jobs: Jobs,
    /// The namespaces that are managed: their Jobs are watched.
    pub(crate) gated: Namespaces,
    pub(crate) lists: Lists,
    /// Label selector of the namespaces of this shard; none for all.
    pub(crate) selector: Option<String>,
    pub(crate) unsearched: Unsearched,
}

impl Search {
    /// Searches until all has been, and then waits for ever.
    pub(crate) async fn run(self) {
        self.gated.synced().await;
        let [mut pause, longest] = PAUSES;
        let mut left = self.all().await;
        let mut was_enough = false;
        loop {
            let before = left.len();
            left = self.round(left).await;
            self.unsearched.set(&left);
            let is_enough = left.len() <= MOST_UNSEARCHED;
            // The first time, and whenever fewer are in the way.
            if is_enough && (!was_enough || left.len() < before) {
                self.jobs.searched();
                was_enough = true;
            }
            if left.is_empty() {
                break;
            }
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
        std::future::pending::<()>().await;
    }

    /// All namespaces that are not managed. As long as nobody knows which there are, nothing is started: to know those that are
    /// managed takes the same list.
    async fn all(&self) -> Vec<String> {
        let [mut pause, longest] = PAUSES;
        loop {
            match self.lists.namespaces(self.selector.as_deref()).await {
                Ok(all) => return all,
                Err(error) if error.is_transient() => {
                    let (error, again_in_s) = (chain(&error), pause.as_secs());
                    tracing::warn!(error, again_in_s, "cannot list namespaces: no run is started before");
                }
                Err(error) => {
                    tracing::warn!(
                        error = chain(&error),
                        "cannot search namespaces that are not managed for runs that are under way: such Jobs keep hookhost's finalizer"
                    );
                    return Vec::new();
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Searches these; gives back those that could not be searched.
    async fn round(&self, namespaces: Vec<String>) -> Vec<String> {
        // One that is managed by now is watched.
        let searched = namespaces.into_iter().filter(|namespace| !self.gated.contains(namespace));
        let searched = searched.map(|namespace| async move {
            let is_done = self.search(&namespace).await;
            (namespace, is_done)
        });
        let mut searched = stream::iter(searched).buffer_unordered(AT_ONCE);
        let mut left = Vec::new();
        while let Some((namespace, is_done)) = searched.next().await {
            if !is_done {
                left.push(namespace);
            }
        }
        left
    }

    /// Whether a namespace was searched.
    async fn search(&self, namespace: &str) -> bool {
        match self.lists.is_owed(namespace).await {
            Ok(false) => true,
            Ok(true) => {
                tracing::info!(
                    namespace,
                    "a run is under way in a namespace that is not managed: it is followed to its end"
                );
                self.jobs.follow_to_the_end(namespace);
                true
            }
            // hookhost has no rights there, or not any more; or the namespace has just gone.
            Err(Error::Forbidden { .. } | Error::NotFound { .. }) => true,
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(
                    namespace,
                    error,
                    "cannot search a namespace that is not managed for runs that are under way; trying again"
                );
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use serde_json::json;
    use tokio::time::Instant;

    use super::*;
    use crate::testing::{Parts, forged, list, refused};

    #[tokio::test(start_paused = true)]
    async fn a_namespace_that_cannot_be_searched_holds_up_no_run_and_is_searched_when_it_can_be() {
        let works = Arc::new(AtomicBool::new(false));
        let can = works.clone();
        let parts = Parts::on(move |asked| match asked.path.as_str() {
            "/api/v1/namespaces" => {
                Some(list(["calm", "broken", "forbidden"].map(|name| json!({"metadata": {"name": name}}))))
            }
            path if path.ends_with("/forbidden/jobs") => Some(refused(403, "Forbidden")),
            path if path.ends_with("/broken/jobs") && !can.load(Ordering::SeqCst) => {
                Some(refused(503, "ServiceUnavailable"))
            }
            path if path.ends_with("/broken/jobs") => Some(list([forged("broken", "run", "op-uid")])),
            _ => None,
        });
        let parts = parts.await;
        // Of a gate that all of them have lost.
        let gated = crate::watch::Namespaces::none();
        let unsearched = Unsearched::default();
        let search = Search { gated, ..parts.search(&unsearched) };
        let begun = Instant::now();
        let looks = async {
            while !parts.jobs.are_all_known() {
                sleep(Duration::from_millis(10)).await;
            }
            assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
            assert_eq!(unsearched.namespaces(), ["broken"]);
            works.store(true, Ordering::SeqCst);
            while !unsearched.namespaces().is_empty() {
                sleep(Duration::from_millis(10)).await;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
            assert!(!parts.jobs.is_synced("calm"));
            while !parts.jobs.is_synced("broken") {
                sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! { () = search.run() => unreachable!(), () = looks => {} }
    }
}
