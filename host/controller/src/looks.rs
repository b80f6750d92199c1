//! *Looks* at Operations are taken in turns: at most one at a time at each Operation, so many at once, the others in line:
//! one of each namespace after the other, and of a namespace in the order in which they were asked for.
//!
//! # Between namespaces
//! A namespace that has no look under way goes before all others, and half of the places are for such first looks alone; the
//! other half is for further ones. So as long as no more namespaces are busy than half of the places, each of them finds one at
//! once, however many looks the others ask for and however long theirs take. Beyond that the first look of a namespace waits
//! until any other has ended.
//!
//! Each look is a task of its own, so that one that computes keeps no other waiting. It begins without a pause: between
//! the news of an Operation and the first request for it lies no timer.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::fair::FairQueue;
use crate::metrics::Metrics;
use hookhost_cluster::key::OperationKey;

/// What follows a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Action(Option<Duration>);

impl Action {
    /// Another look after this time, unless one is asked for earlier.
    pub(crate) const fn requeue(pause: Duration) -> Action {
        Action(Some(pause))
    }

    /// Nothing, until one is asked for.
    pub(crate) const fn await_change() -> Action {
        Action(None)
    }

    /// The same, but after this time at the latest.
    pub(crate) fn or_sooner(self, pause: Duration) -> Action {
        Action(Some(self.0.map_or(pause, |planned| planned.min(pause))))
    }
}

/// The pause after a look that ended in a panic. That is a defect, so nobody knows how long it lasts; it must not be a hot
/// loop.
const AFTER_PANIC: Duration = Duration::from_secs(60);

/// Places for looks, for each that one namespace may have: it may have half of all. The other half is for first looks.
pub(crate) const PLACES_PER_SHARE: usize = 2;

type Look = Arc<dyn Fn(OperationKey) -> Pin<Box<dyn Future<Output = Action> + Send>> + Send + Sync>;

/// All looks: under way, in line, and planned.
pub(crate) struct Looks {
    look: Look,
    places: usize,
    metrics: Metrics,
    states: HashMap<OperationKey, State>,
    line: FairQueue,
    planned: BTreeSet<(Instant, OperationKey)>,
    running: JoinSet<Action>,
    keys: HashMap<Id, OperationKey>,
    /// How many are under way of each namespace.
    under_way: HashMap<String, usize>,
}

/// Where the next look at an Operation is.
enum State {
    /// In line.
    Waiting,
    /// Under way; and whether another was asked for since it began.
    Running { again: bool },
    /// Planned for this time.
    Planned(Instant),
}

impl Looks {
    /// So many of one namespace at once, and twice as many of all together, half of which are for the first look of each; 0 counts
    /// as 1.
    pub(crate) fn new<F>(
        of_a_namespace: u16,
        metrics: Metrics,
        look: impl Fn(OperationKey) -> F + Send + Sync + 'static,
    ) -> Looks
    where
        F: Future<Output = Action> + Send + 'static,
    {
        Looks {
            look: Arc::new(move |key| Box::pin(look(key))),
            places: PLACES_PER_SHARE * usize::from(of_a_namespace.max(1)),
            metrics,
            states: HashMap::new(),
            line: FairQueue::default(),
            planned: BTreeSet::new(),
            running: JoinSet::new(),
            keys: HashMap::new(),
            under_way: HashMap::new(),
        }
    }

    /// Asks for a look at an Operation, as soon as it can be.
    pub(crate) fn ask(&mut self, key: OperationKey) {
        match self.states.get_mut(&key) {
            Some(State::Waiting) => return,
            Some(State::Running { again }) => {
                *again = true;
                return;
            }
            Some(State::Planned(at)) => {
                let at = *at;
                self.planned.remove(&(at, key.clone()));
            }
            None => {}
        }
        self.states.insert(key.clone(), State::Waiting);
        self.line.push(key);
        self.begin();
    }

    /// Waits until something has happened: a look has ended, or the time of a planned one has come. Nothing is lost when it
    /// is dropped. Without a look under way or planned it waits for ever.
    pub(crate) async fn next(&mut self) {
        let planned = self.planned.first().map(|(at, _)| *at);
        tokio::select! {
            Some(ended) = self.running.join_next_with_id() => {
                let (id, action) = match ended {
                    Ok((id, action)) => (id, action),
                    Err(error) => (error.id(), Action::requeue(AFTER_PANIC)),
                };
                self.ended(id, action);
            }
            () = sleep_until(planned.unwrap_or_else(Instant::now)), if planned.is_some() => {
                let now = Instant::now();
                while let Some((_, key)) = self.planned.first().filter(|(at, _)| *at <= now).cloned() {
                    self.ask(key);
                }
            }
            else => std::future::pending().await,
        }
    }

    /// Begins no more looks and waits for the end of those under way.
    pub(crate) async fn finish(mut self) {
        while self.running.join_next().await.is_some() {}
    }

    fn begin(&mut self) {
        while self.running.len() < self.places
            && let Some(key) = self.next_in_line()
        {
            *self.under_way.entry(key.namespace.clone()).or_default() += 1;
            let look = self.look.clone();
            self.states.insert(key.clone(), State::Running { again: false });
            let of = key.clone();
            // Made in its task, not before: what waits in line costs no more than its name.
            let task = self.running.spawn(async move { look(of).await });
            self.keys.insert(task.id(), key);
        }
        self.metrics.set_queue_depth(self.line.len());
    }

    /// Whose turn it is: a namespace's that has none under way; else one's that may have more.
    fn next_in_line(&mut self) -> Option<OperationKey> {
        let own = |namespace: &str| self.under_way.get(namespace).copied().unwrap_or(0);
        if let Some(first) = self.line.pop_where(|namespace| own(namespace) == 0) {
            return Some(first);
        }
        let half = self.places / PLACES_PER_SHARE;
        // All but the first of each namespace.
        let further = self.running.len() - self.under_way.len();
        if further >= half {
            return None;
        }
        self.line.pop_where(|namespace| own(namespace) < half)
    }

    fn ended(&mut self, id: Id, Action(pause): Action) {
        if let Some(key) = self.keys.remove(&id) {
            if let Some(own) = self.under_way.get_mut(&key.namespace) {
                *own -= 1;
                if *own == 0 {
                    self.under_way.remove(&key.namespace);
                }
            }
            let is_wanted = matches!(self.states.remove(&key), Some(State::Running { again: true }));
            let at = pause.and_then(|pause| Instant::now().checked_add(pause));
            match at {
                _ if is_wanted => self.ask(key.clone()),
                Some(at) => {
                    self.planned.insert((at, key.clone()));
                    self.states.insert(key, State::Planned(at));
                }
                None => {}
            }
        }
        self.begin();
    }
}
