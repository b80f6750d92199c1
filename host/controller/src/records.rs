//! *Records* at work share one budget of bytes, whatever they say of themselves.
//!
//! A record of a few kilobytes may inflate to megabytes, and its manifests to many more. So before one is inflated it takes as
//! much of the budget as any can need, and once what is wanted of it is known it gives back all but what that takes. What
//! there is no room for waits its turn, first come, first served. All of the work is done on threads for blocking work, so
//! that no record holds up the lease, a probe or another Operation.

use std::ops::Deref;
use std::sync::Arc;

use hookhost_core::record::limits::READ_BYTES;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
pub(crate) struct Records(Arc<Semaphore>);

/// What was made of a record, with its part of the budget.
pub(crate) struct Held<T> {
    value: T,
    share: Share,
}

/// A part of the budget, given back when it is dropped.
pub(crate) struct Share(Option<OwnedSemaphorePermit>);

impl Records {
    pub(crate) fn new() -> Records {
        Records(Arc::new(Semaphore::new(RECORDS_BYTES / UNIT)))
    }

    /// Does the work of reading a record, within its part of the budget. `bytes` says how much of it what comes of it needs.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
        bytes: impl FnOnce(&T) -> usize + Send + 'static,
    ) -> Result<Held<T>> {
        let share = Share::of(&self.0, READ_BYTES).await;
        // The share goes with the work: that runs to its end, though nobody may wait for it any more.
        let held = tokio::task::spawn_blocking(move || {
            let value = work();
            let share = share.at_most(bytes(&value));
            Held { value, share }
        });
        Ok(held.await?)
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
        records.0.available_permits() * UNIT
    }

    #[tokio::test]
    async fn a_record_takes_what_any_can_need_until_it_is_known_what_it_needs() {
        let records = Records::new();
        let within = records.clone();
        let held = records.read(move || free(&within), |_| 3 * UNIT - 1).await.unwrap();
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
            held.push(records.read(|| (), |()| READ_BYTES).await.unwrap());
        }
        let mut waiting: Vec<_> = (0..3).map(|n| Box::pin(records.read(move || n, |_| READ_BYTES))).collect();
        for one in &mut waiting {
            assert!(one.as_mut().now_or_never().is_none());
        }
        for n in 0..2 {
            held.remove(0);
            let (first, rest) = waiting.split_first_mut().unwrap();
            assert!(rest.iter_mut().all(|later| later.as_mut().now_or_never().is_none()));
            assert_eq!(*first.as_mut().await.unwrap(), n);
            drop(waiting.remove(0));
        }
    }

    #[tokio::test]
    async fn a_share_is_given_back_though_nobody_waits_for_the_work() {
        let records = Records::new();
        let (start, started) = std::sync::mpsc::channel::<()>();
        let mut work = Box::pin(records.read(move || started.recv().is_ok(), |_| READ_BYTES));
        assert!(work.as_mut().now_or_never().is_none());
        drop(work);
        assert!(free(&records) < RECORDS_BYTES, "the work goes on");
        start.send(()).unwrap();
        let all = u32::try_from(RECORDS_BYTES / UNIT).unwrap();
        drop(records.0.acquire_many(all).await.unwrap());
    }
}
