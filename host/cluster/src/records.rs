//! *Records* at work share one budget of bytes, whatever they say of themselves.
//!
//! A record of a few kilobytes may inflate to megabytes, and its manifests to many more. So before one is inflated it takes as
//! much of the budget as any can need, and once what is wanted of it is known it gives back all but what that takes. What
//! there is no room for waits its turn, first come, first served. All of the work is done on threads for blocking work, so
//! that no record holds up the lease, a probe or another Operation. The API server is asked for the record before that: its answer
//! takes no more than a Secret can hold. One that has waited for long is looked at again: by its metadata, unless it has changed.
//!
//! # Between namespaces
//! For the Operations of one namespace one record is read at a time, and as long as much is kept of one, no other is. So however many
//! of them there are, and however long their records take, the next namespace's waits for one of each at the most.
//!
//! # While objects are created
//! An admission webhook may take half a minute for each object, so no part of the budget is held then. What is to be created is kept
//! as text ([`Kept`]): of a chart's hook that is little, and of what takes more there is only so much at once.

use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::sync::Arc;

use hookhost_core::Reason;
use hookhost_core::refusal::Refusal;
use hookhost_helm::limits::READ_BYTES;
use parking_lot::Mutex;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::error::Result;

/// Records that are read at once: each keeps a processor busy. What one has is a small part of what it may take.
const READ_AT_ONCE: usize = 2;

/// Bytes of all records at work: of those that are being read, and of what was selected of others and is being prepared. A
/// selection of a real chart takes less than a megabyte, so that many find room beside those being read.
pub const RECORDS_BYTES: usize = READ_AT_ONCE * READ_BYTES + 16 * 1024 * 1024;

/// Bytes of what is kept of a record, above which no other of the same namespace is read meanwhile. A real chart's take less.
const LARGE_BYTES: usize = 1024 * 1024;

/// Bytes of all objects that one run is to create, as text, for which it needs no place: what is counted for an Operation that is
/// reconciled has room for them. Charts' hooks with all that they need have some ten thousand.
const SMALL_RUN_BYTES: usize = 256 * 1024;

/// The same of a run that needs a place, at most: four times what Helm can store of a whole release.
const LARGE_RUN_BYTES: usize = 4 * 1024 * 1024;

/// Places for such runs; one of each namespace at a time.
const LARGE_RUNS: usize = 2;

/// What all of these have: their objects, and once more the one that is being sent.
pub const LARGE_RUNS_BYTES: usize = LARGE_RUNS * 2 * LARGE_RUN_BYTES;

/// When a run that finds no place is tried again.
const UNTIL_A_PLACE: u32 = 5;

/// The unit of the budget: a semaphore's permits are counted in 32 bits.
const UNIT: usize = 1024;

/// The budget of all records at work.
#[derive(Clone)]
pub struct Records {
    budget: Arc<Semaphore>,
    /// Whose turn it is in each namespace for whose Operations records are read or wait to be.
    turns: Arc<Mutex<HashMap<String, Arc<Turn<()>>>>>,
    /// The namespaces of the runs that have a place.
    large: Arc<Mutex<HashSet<String>>>,
}

/// The right to read a record.
pub struct Reading {
    turn: OwnedMutexGuard<()>,
    share: Share,
}

/// What was made of a record, with its part of the budget.
pub struct Held<T> {
    value: T,
    share: Share,
}

/// A part of the budget, given back when it is dropped.
pub struct Share {
    permit: Option<OwnedSemaphorePermit>,
    /// The turn of its namespace, where it is a large part.
    turn: Option<OwnedMutexGuard<()>>,
}

/// What is to be created for a run may be kept as long as there is this.
pub struct Kept {
    _place: Option<Place>,
}

/// The place of a run of which much is kept.
struct Place {
    of: Arc<Mutex<HashSet<String>>>,
    namespace: String,
}

impl Default for Records {
    fn default() -> Records {
        let budget = Arc::new(Semaphore::new(RECORDS_BYTES / UNIT));
        Records { budget, turns: Arc::default(), large: Arc::default() }
    }
}

impl Records {
    /// Waits until a record may be read for an Operation of this namespace, and takes its part of the budget.
    pub async fn begin(&self, namespace: &str) -> Reading {
        let turn = self.turn_of(namespace).lock_owned().await;
        Reading { turn, share: Share::of(&self.budget, READ_BYTES).await }
    }

    /// The turn of a namespace. Those of which nobody has or awaits it are forgotten: there are no more than reconciles.
    fn turn_of(&self, namespace: &str) -> Arc<Turn<()>> {
        let mut turns = self.turns.lock();
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry(namespace.to_owned()).or_default().clone()
    }

    /// Whether objects of so many bytes may be kept while they are created for a run of an Operation of this namespace.
    ///
    /// # Errors
    /// They are more than any run may create; or others create as much just now.
    pub fn keep(&self, namespace: &str, bytes: usize) -> Result<Kept, Refusal> {
        if bytes <= SMALL_RUN_BYTES {
            return Ok(Kept { _place: None });
        }
        if bytes > LARGE_RUN_BYTES {
            let message = format!(
                "what is to be created for the run has {bytes} bytes, and at most {LARGE_RUN_BYTES} are allowed. Make what the hook \
                 needs smaller, or part of the release proper"
            );
            return Err(Refusal::fail(Reason::HookManifestTooLarge, message));
        }
        let mut large = self.large.lock();
        if large.len() == LARGE_RUNS || !large.insert(namespace.to_owned()) {
            let message = format!(
                "what is to be created for the run has {bytes} bytes, and hookhost creates more than {SMALL_RUN_BYTES} for \
                 {LARGE_RUNS} runs at a time, and for one of a namespace: it starts when these have started"
            );
            return Err(Refusal::retry_after(UNTIL_A_PLACE, Reason::HostBusy, message));
        }
        let place = Place { of: self.large.clone(), namespace: namespace.to_owned() };
        Ok(Kept { _place: Some(place) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.lock().remove(&self.namespace);
    }
}

impl Reading {
    /// Does the work of reading the record. `bytes` says how much of the budget what comes of it needs.
    pub async fn read<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
        bytes: impl FnOnce(&T) -> usize + Send + 'static,
    ) -> Result<Held<T>> {
        // Both go with the work: that runs to its end, though nobody may wait for it any more.
        let Reading { turn, share } = self;
        let held = tokio::task::spawn_blocking(move || {
            let value = work();
            let bytes = bytes(&value);
            let mut share = share.at_most(bytes);
            share.turn = (bytes > LARGE_BYTES).then_some(turn);
            Held { value, share }
        });
        Ok(held.await?)
    }
}

impl Share {
    async fn of(budget: &Arc<Semaphore>, bytes: usize) -> Share {
        // The semaphore is never closed, so there is always one.
        Share { permit: budget.clone().acquire_many_owned(units(bytes)).await.ok(), turn: None }
    }

    /// Gives back what is beyond so many bytes.
    fn at_most(mut self, bytes: usize) -> Share {
        if let Some(permit) = &mut self.permit {
            let more = permit.num_permits().saturating_sub(bytes.div_ceil(UNIT));
            drop(permit.split(more));
        }
        self
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

impl<T, E> Held<Result<T, E>> {
    /// The value with its part of the budget; or the error, which needs none.
    pub fn ok(self) -> Result<Held<T>, E> {
        Ok(Held { value: self.value?, share: self.share })
    }
}

impl<T> Held<T> {
    /// The value, and its part of the budget for as long as anything of the value is kept.
    pub fn into_parts(self) -> (T, Share) {
        (self.value, self.share)
    }
}

impl<T> Deref for Held<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    async fn read<T: Send + 'static>(
        records: &Records,
        namespace: &str,
        work: impl FnOnce() -> T + Send + 'static,
        bytes: impl FnOnce(&T) -> usize + Send + 'static,
    ) -> Result<Held<T>> {
        records.begin(namespace).await.read(work, bytes).await
    }

    fn free(records: &Records) -> usize {
        records.budget.available_permits() * UNIT
    }

    #[tokio::test]
    async fn a_record_takes_what_any_can_need_until_it_is_known_what_it_needs() {
        let records = Records::default();
        let within = records.clone();
        let held = read(&records, "org", move || free(&within), |_| 3 * UNIT - 1).await.unwrap();
        assert_eq!(*held, RECORDS_BYTES - READ_BYTES.next_multiple_of(UNIT));
        assert_eq!(free(&records), RECORDS_BYTES - 3 * UNIT);
        drop(held);
        assert_eq!(free(&records), RECORDS_BYTES);
    }

    #[tokio::test]
    async fn what_finds_no_room_waits_and_the_first_to_wait_is_the_first_to_go_on() {
        let records = Records::default();
        let mut held = Vec::new();
        for n in 0..READ_AT_ONCE {
            held.push(read(&records, &format!("held-{n}"), || (), |()| READ_BYTES).await.unwrap());
        }
        let namespaces = ["a", "b", "c"];
        let all = |n: usize| Box::pin(read(&records, namespaces[n], move || n, |_| READ_BYTES));
        let mut waiting: Vec<_> = (0..namespaces.len()).map(all).collect();
        for one in &mut waiting {
            assert!(one.as_mut().now_or_never().is_none());
        }
        let mut kept = Vec::new();
        for n in 0..2 {
            held.remove(0);
            let (first, rest) = waiting.split_first_mut().unwrap();
            assert!(rest.iter_mut().all(|later| later.as_mut().now_or_never().is_none()));
            let read = first.as_mut().await.unwrap();
            assert_eq!(*read, n);
            // Kept: its share must not be there for the next one too.
            kept.push(read);
            drop(waiting.remove(0));
        }
    }

    #[tokio::test]
    async fn records_of_one_namespace_are_read_one_by_one_and_leave_room_for_anothers() {
        let records = Records::default();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let ended = Arc::new(Mutex::new(ended));
        let slow = |_| {
            let ended = ended.clone();
            Box::pin(read(&records, "flood", move || ended.lock().recv().is_ok(), |_| 0))
        };
        let mut flood: Vec<_> = (0..2 * READ_AT_ONCE).map(slow).collect();
        for one in &mut flood {
            assert!(one.as_mut().now_or_never().is_none());
        }
        let another = read(&records, "calm", || 7, |_| 0);
        let another = tokio::time::timeout(std::time::Duration::from_secs(10), another).await;
        let another = another.map(|held| *held.unwrap());
        // Before anything is asserted: what blocks would else keep the test from ending.
        (0..flood.len()).for_each(|_| end.send(()).unwrap());
        assert_eq!(another, Ok(7), "it waits for no more than one record of the other namespace");
        for one in flood {
            assert!(*one.await.unwrap());
        }
    }

    #[tokio::test]
    async fn a_share_is_given_back_though_nobody_waits_for_the_work() {
        let records = Records::default();
        let (start, started) = std::sync::mpsc::channel::<()>();
        let mut work = Box::pin(read(&records, "org", move || started.recv().is_ok(), |_| READ_BYTES));
        assert!(work.as_mut().now_or_never().is_none());
        drop(work);
        assert!(free(&records) < RECORDS_BYTES, "the work goes on");
        start.send(()).unwrap();
        let all = u32::try_from(RECORDS_BYTES / UNIT).unwrap();
        drop(records.budget.acquire_many(all).await.unwrap());
    }
    #[tokio::test]
    async fn while_much_is_kept_of_one_record_no_other_of_its_namespace_is_read() {
        let records = Records::default();
        let large = read(&records, "org", || (), |()| LARGE_BYTES + 1).await.unwrap();
        let mut next = Box::pin(read(&records, "org", || (), |()| 0));
        assert!(next.as_mut().now_or_never().is_none());
        // Of many namespaces there is one large part each, and others find room beside it.
        drop(read(&records, "another", || (), |()| READ_BYTES).await.unwrap());
        drop(large);
        let small = next.await.unwrap();
        drop(read(&records, "org", || (), |()| 0).await.unwrap());
        drop(small);
    }

    #[test]
    fn of_runs_of_which_much_is_to_be_created_few_are_begun_at_once_and_one_of_a_namespace() {
        let records = Records::default();
        let keep = |namespace: &str, bytes: usize| records.keep(namespace, bytes);
        let small: Vec<Kept> = (0..1000).map(|_| keep("org", SMALL_RUN_BYTES).unwrap()).collect();
        let first = keep("org", SMALL_RUN_BYTES + 1).unwrap();
        let refusal = keep("org", LARGE_RUN_BYTES).err().unwrap();
        assert_eq!((refusal.reason, refusal.is_final()), (Reason::HostBusy, false));
        assert!(refusal.message.contains("has 4194304 bytes"), "{}", refusal.message);
        let second = keep("another", LARGE_RUN_BYTES).unwrap();
        assert!(keep("third", LARGE_RUN_BYTES).is_err());
        drop(first);
        let third = keep("third", LARGE_RUN_BYTES).unwrap();
        assert!(keep("org", LARGE_RUN_BYTES).is_err());
        drop((small, second, third));
        assert!(keep("org", LARGE_RUN_BYTES).is_ok());
        let refusal = keep("org", LARGE_RUN_BYTES + 1).err().unwrap();
        assert!(refusal.is_final() && refusal.reason == Reason::HookManifestTooLarge);
    }
}
