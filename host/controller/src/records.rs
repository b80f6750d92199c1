//! *Records* at work share one budget of bytes, whatever they say of themselves.
//!
//! A record of a few kilobytes may inflate to megabytes, and its manifests to many more. So before one is inflated it takes as
//! much of the budget as any can need, and once what is wanted of it is known it gives back all but what that takes. What
//! there is no room for waits its turn, first come, first served. All of the work is done on threads for blocking work, so
//! that no record holds up the lease, a probe or another Operation.
//!
//! # Between namespaces
//! For the Operations of one namespace one record is read at a time. So however many of them there are, and however long
//! their records take, the next namespace's waits for one of each at the most.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use hookhost_core::record::limits::READ_BYTES;
use tokio::sync::{Mutex as Turn, OwnedSemaphorePermit, Semaphore};

use crate::error::Result;

/// Records that are read at once: each keeps a processor busy. What one has is a small part of what it may take.
const READ_AT_ONCE: usize = 2;

/// Bytes of all records at work: of those that are being read, and of what was selected of others and is on its way to a
/// Job. A selection of a real chart takes less than a megabyte, so that many find room beside those being read.
pub const RECORDS_BYTES: usize = READ_AT_ONCE * READ_BYTES + 32 * 1024 * 1024;

/// The unit of the budget: a semaphore's permits are counted in 32 bits.
const UNIT: usize = 1024;

/// The budget of all records at work.
#[derive(Clone)]
pub(crate) struct Records {
    budget: Arc<Semaphore>,
    /// Whose turn it is in each namespace for whose Operations records are read or wait to be.
    turns: Arc<Mutex<HashMap<String, Arc<Turn<()>>>>>,
}

/// What was made of a record, with its part of the budget.
pub(crate) struct Held<T> {
    value: T,
    share: Share,
}

/// A part of the budget, given back when it is dropped.
pub(crate) struct Share(Option<OwnedSemaphorePermit>);

impl Records {
    pub(crate) fn new() -> Records {
        Records { budget: Arc::new(Semaphore::new(RECORDS_BYTES / UNIT)), turns: Arc::default() }
    }

    /// Does the work of reading a record for an Operation of this namespace, within its part of the budget. `bytes` says how
    /// much of it what comes of it needs.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        namespace: &str,
        work: impl FnOnce() -> T + Send + 'static,
        bytes: impl FnOnce(&T) -> usize + Send + 'static,
    ) -> Result<Held<T>> {
        let turn = self.turn_of(namespace).lock_owned().await;
        let share = Share::of(&self.budget, READ_BYTES).await;
        // Both go with the work: that runs to its end, though nobody may wait for it any more.
        let held = tokio::task::spawn_blocking(move || {
            let value = work();
            drop(turn);
            let share = share.at_most(bytes(&value));
            Held { value, share }
        });
        Ok(held.await?)
    }

    /// The turn of a namespace. Those of which nobody has or awaits it are forgotten: there are no more than reconciles.
    fn turn_of(&self, namespace: &str) -> Arc<Turn<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry(namespace.to_owned()).or_default().clone()
    }
}

impl Share {
    async fn of(budget: &Arc<Semaphore>, bytes: usize) -> Share {
        // The semaphore is never closed, so there is always one.
        Share(budget.clone().acquire_many_owned(units(bytes)).await.ok())
    }

    /// Gives back what is beyond so many bytes.
    fn at_most(mut self, bytes: usize) -> Share {
        if let Some(permit) = &mut self.0 {
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
    pub(crate) fn ok(self) -> Result<Held<T>, E> {
        Ok(Held { value: self.value?, share: self.share })
    }
}

impl<T> Held<T> {
    /// The value, and its part of the budget for as long as anything of the value is kept.
    pub(crate) fn into_parts(self) -> (T, Share) {
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

    fn free(records: &Records) -> usize {
        records.budget.available_permits() * UNIT
    }

    #[tokio::test]
    async fn a_record_takes_what_any_can_need_until_it_is_known_what_it_needs() {
        let records = Records::new();
        let within = records.clone();
        let held = records.read("org", move || free(&within), |_| 3 * UNIT - 1).await.unwrap();
        assert_eq!(*held, RECORDS_BYTES - READ_BYTES.next_multiple_of(UNIT));
        assert_eq!(free(&records), RECORDS_BYTES - 3 * UNIT);
        drop(held);
        assert_eq!(free(&records), RECORDS_BYTES);
    }

    #[tokio::test]
    async fn what_finds_no_room_waits_and_the_first_to_wait_is_the_first_to_go_on() {
        let records = Records::new();
        let mut held = Vec::new();
        for _ in 0..READ_AT_ONCE {
            held.push(records.read("held", || (), |()| READ_BYTES).await.unwrap());
        }
        let namespaces = ["a", "b", "c"];
        let read = |n: usize| Box::pin(records.read(namespaces[n], move || n, |_| READ_BYTES));
        let mut waiting: Vec<_> = (0..namespaces.len()).map(read).collect();
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
        let records = Records::new();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let ended = Arc::new(Mutex::new(ended));
        let slow = |_| {
            let ended = ended.clone();
            Box::pin(records.read("flood", move || ended.lock().unwrap().recv().is_ok(), |_| 0))
        };
        let mut flood: Vec<_> = (0..2 * READ_AT_ONCE).map(slow).collect();
        for one in &mut flood {
            assert!(one.as_mut().now_or_never().is_none());
        }
        let another = records.read("calm", || 7, |_| 0);
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
        let records = Records::new();
        let (start, started) = std::sync::mpsc::channel::<()>();
        let mut work = Box::pin(records.read("org", move || started.recv().is_ok(), |_| READ_BYTES));
        assert!(work.as_mut().now_or_never().is_none());
        drop(work);
        assert!(free(&records) < RECORDS_BYTES, "the work goes on");
        start.send(()).unwrap();
        let all = u32::try_from(RECORDS_BYTES / UNIT).unwrap();
        drop(records.budget.acquire_many(all).await.unwrap());
    }
}
