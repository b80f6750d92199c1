//! The *writer* is the one door through which the controller changes anything in the cluster.

use std::future::Future;

use std::sync::Arc;

use crate::client::{Call, Error, NotLeader, WRITE_TIMEOUT, within};
use crate::lease::Claim;
use crate::observe::{Observe, WriteOutcome};

/// Sends writes: only while this process is the leader, counted, and bounded in time. Cheap to clone.
///
/// A write that is under way when the lease lapses is given up, which closes its connection and so ends it in the API
/// server too, before another hookhost may take over. Like any write without an answer it may or may not have been
/// done; every write of the controller can be repeated.
#[derive(Clone, Debug)]
pub struct Writer {
    claim: Claim,
    observer: Arc<dyn Observe>,
}

impl Writer {
    /// A writer for whoever holds the claim.
    pub fn new(claim: Claim, observer: impl Observe + 'static) -> Writer {
        Writer { claim, observer: Arc::new(observer) }
    }

    /// Whether a write may be sent now. Ask before work that only makes sense for the leader; [`Writer::send`] asks by
    /// itself.
    pub fn guard(&self) -> Result<(), NotLeader> {
        if self.claim.is_current() { Ok(()) } else { Err(NotLeader) }
    }

    /// Sends one write, waits for its answer, at most [`WRITE_TIMEOUT`], counts it and explains its error.
    ///
    /// The request must not have been polled yet; not being the leader, nothing is sent.
    pub async fn send<T>(
        &self,
        call: &Call,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        self.guard()?;
        let result = tokio::select! {
            // First the lease: a process that slept for long must not see the answer of its late write first.
            biased;
            () = self.claim.lapsed() => Err(Error::NotLeader(NotLeader)),
            result = within(WRITE_TIMEOUT, call, request) => result,
        };
        self.observer.write(call, WriteOutcome::of(result.as_ref().err()));
        result
    }
}
