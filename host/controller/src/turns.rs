//! A *turn* is the right to look at one Operation: so many are looked at at once, the others wait in line.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::metrics::Metrics;

/// The turns of a run.
#[derive(Debug)]
pub(crate) struct Turns {
    free: Semaphore,
    waiting: AtomicUsize,
}

impl Turns {
    /// So many at once; 0 counts as 1.
    pub(crate) fn new(at_once: u16) -> Turns {
        Turns { free: Semaphore::new(at_once.max(1).into()), waiting: AtomicUsize::new(0) }
    }

    /// Waits in line for a turn, which ends when it is dropped. There is one at most for each Operation, so the line is no
    /// longer than there are Operations.
    pub(crate) async fn take(&self, metrics: &Metrics) -> Option<SemaphorePermit<'_>> {
        metrics.set_queue_depth(self.waiting.fetch_add(1, Ordering::Relaxed) + 1);
        // Never closed, so there is no error to meet.
        let turn = self.free.acquire().await.ok();
        metrics.set_queue_depth(self.waiting.fetch_sub(1, Ordering::Relaxed) - 1);
        turn
    }
}
