//! The *lease* makes one of several hookhosts the leader: an object in the API server that is held by whoever renews
//! it, and may be taken by another when it was not renewed for its whole duration.
//!
//! # Guarantees
//! - **A lost lease stops writes before it can be taken.** A leader counts its time from before its last successful
//!   renewal was sent, and only two thirds of the duration; another counts the whole duration, from after it saw that
//!   renewal. So a leader that is paused, partitioned or just slow has stopped by itself before anybody takes over,
//!   with a third of the duration to spare for requests under way. [`Claim`] is that knowledge.
//! - **No clock of another machine is trusted.** How old a renewal is, is measured by when it was first seen here, on
//!   this machine's monotonic clock. The times written into the Lease are for people.
//! - **One write a renewal**, guarded by the object's resourceVersion: two claimants can never both succeed.
//! - **SIGTERM gives it back**: a released lease is free at once.
//!
//! # Caveats
//! - Clocks may differ in speed (by up to a third), not in whether they run: the monotonic clock of a machine that is
//!   suspended stands still, so its claim would outlive the sleep. All writes of the controller are therefore such that
//!   two leaders do no harm: names are derived from UIDs, updates carry a resourceVersion.
//! - Whoever deletes the Lease by hand takes the guarantee from those who never saw it.

mod election;
#[cfg(test)]
mod model;
mod seize;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use hookhost_helm::text::printable;
use k8s_openapi::api::coordination::v1::{Lease as LeaseObject, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use self::election::{Action, Answer, Election, Loss, Timing};
pub use self::seize::{NotSeized, Seized};
use crate::client::{self, Call, Verb};
use crate::observe::{Observe, WriteOutcome};

/// How long a lease holds without being renewed; client-go's default, which all of Kubernetes' own controllers use.
pub const DURATION: Duration = Duration::from_secs(15);
/// How often it is renewed: two renewals may fail before the leader has to stop.
pub const RENEW_EVERY: Duration = Duration::from_secs(5);

/// Which Lease, and who wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseParams {
    /// The Lease's namespace.
    pub namespace: String,
    /// The Lease's name: one for each set of hookhosts that share their work.
    pub name: String,
    /// Who claims. Must be of this process alone, see [`LeaseParams::identity`]: a claimant that finds its identity in
    /// the Lease takes it as its own.
    pub identity: String,
    /// How long the lease holds without being renewed. Whole seconds.
    pub duration: Duration,
    /// How often it is renewed: at most a third of the duration.
    pub renew_every: Duration,
}

/// Parameters that cannot keep the guarantees.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a lease of {duration:?} renewed every {renew_every:?} is not safe: the duration must be 3 s to 1 h, in whole \
     seconds, and at least three times the renewal"
)]
pub struct InvalidTiming {
    /// The duration.
    pub duration: Duration,
    /// The time from renewal to renewal.
    pub renew_every: Duration,
}

/// How long a duration may be: longer, and a leader that died would be missed for more than an hour.
const DURATIONS: std::ops::RangeInclusive<Duration> = Duration::from_secs(3)..=Duration::from_secs(3600);

impl LeaseParams {
    /// A Lease with the usual times.
    pub fn new(
        namespace: impl Into<String>,
        name: impl Into<String>,
        identity: impl Into<String>,
    ) -> LeaseParams {
        LeaseParams {
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.into(),
            duration: DURATION,
            renew_every: RENEW_EVERY,
        }
    }

    /// An identity that no other process has: the pod's or machine's name and a random number, so that a restarted
    /// container never takes its predecessor's claim for its own.
    pub fn identity(host: &str) -> String {
        use std::hash::{BuildHasher, RandomState};
        // Seeded by the operating system, so no crate is needed for one random number.
        format!("{host}_{:016x}", RandomState::new().hash_one(std::process::id()))
    }

    fn timing(&self) -> Result<Timing, InvalidTiming> {
        let LeaseParams { duration, renew_every, .. } = *self;
        let whole = duration.subsec_nanos() == 0;
        if !whole || !DURATIONS.contains(&duration) || renew_every.is_zero() || renew_every * 3 > duration {
            return Err(InvalidTiming { duration, renew_every });
        }
        Ok(Timing::new(duration, renew_every))
    }
}

/// What this process is to the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// Another holds it, or it is not known yet who does.
    Standby,
    /// This process leads until then, and on when it is renewed.
    Leading {
        /// When writing has to stop.
        until: Instant,
    },
    /// This process led and does so no more: the lease was lost or given back.
    Over,
}

/// The right to write, for as long as it lasts. Cheap to clone and to ask.
#[derive(Clone, Debug)]
pub struct Claim(Option<watch::Receiver<Leadership>>);

impl Claim {
    /// For a process that runs without a lease: always current. Then somebody else must see to it that there is only
    /// one, or bear that two do the work twice (never run a hook twice).
    pub fn without_lease() -> Claim {
        Claim(None)
    }

    /// Whether this process may write now.
    pub fn is_current(&self) -> bool {
        self.until().is_none_or(|until| until.is_some_and(|until| Instant::now() < until))
    }

    /// Waits until this process is the leader for the first time; false if that can no longer be.
    pub async fn acquired(&self) -> bool {
        let Some(state) = &self.0 else { return true };
        let mut state = state.clone();
        let decided = state.wait_for(|state| *state != Leadership::Standby).await;
        decided.is_ok_and(|state| matches!(*state, Leadership::Leading { .. }))
    }

    /// Waits until this process may not write; for ever while the claim is renewed.
    pub async fn lapsed(&self) {
        while let Some(until) = self.until() {
            match until {
                Some(until) if Instant::now() < until => sleep_until(until).await,
                _ => return,
            }
        }
        std::future::pending::<()>().await;
    }

    /// A claim whose course a test writes.
    #[cfg(test)]
    pub(crate) fn scripted() -> (tests::Script, Claim) {
        let state = watch::Sender::new(Leadership::Standby);
        let claim = Claim(Some(state.subscribe()));
        (tests::Script(state), claim)
    }

    /// None: without a lease. Some(None): not leading.
    fn until(&self) -> Option<Option<Instant>> {
        let state = self.0.as_ref()?;
        Some(match *state.borrow() {
            Leadership::Leading { until } => Some(until),
            Leadership::Standby | Leadership::Over => None,
        })
    }
}

/// This process led and must not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lost {
    /// No renewal succeeded in time.
    #[error("the lease {lease} could not be renewed for {}: {last_error}", seconds(*after))]
    NotRenewed {
        /// Namespace and name.
        lease: String,
        /// After how long the claim ended.
        after: Duration,
        /// What the last try met.
        last_error: String,
    },
    /// Another holds it now.
    #[error("the lease {lease} was taken by {holder}")]
    Taken {
        /// Namespace and name.
        lease: String,
        /// Who has it.
        holder: String,
    },
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f32())
}

/// A claimant of a Lease.
pub struct Lease {
    api: Api<LeaseObject>,
    params: LeaseParams,
    timing: Timing,
    election: Election,
    observer: Arc<dyn Observe>,
    /// The Lease as last read or written: what the next write changes, guarded by its resourceVersion.
    object: Option<LeaseObject>,
    state: watch::Sender<Leadership>,
    last_error: String,
    /// Whom the log last named as the holder.
    announced: Option<String>,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("params", &self.params).finish_non_exhaustive()
    }
}

impl Lease {
    /// A claimant that has not claimed yet. The client must not retry by itself; [`client::Connection::requests`] is
    /// such a one.
    pub fn new(
        client: Client,
        params: LeaseParams,
        observer: impl Observe + 'static,
    ) -> Result<Lease, InvalidTiming> {
        let timing = params.timing()?;
        Ok(Lease {
            api: Api::namespaced(client, &params.namespace),
            election: Election::new(params.identity.clone(), timing),
            timing,
            observer: Arc::new(observer),
            object: None,
            state: watch::Sender::new(Leadership::Standby),
            last_error: "nothing was tried".into(),
            announced: None,
            params,
        })
    }

    /// The right to write, when this claimant has it.
    pub fn claim(&self) -> Claim {
        Claim(Some(self.state.subscribe()))
    }

    /// What this process is to the lease, now and later. It changes with each renewal.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.state.subscribe()
    }

    /// Claims, renews, and at `shutdown` gives back. Ends with an error when the lease was held and is lost: then the
    /// process must end, for what it believes of the cluster may be old. Cancel `shutdown` only when all writes are
    /// done.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), Lost> {
        let result = self.claim_and_renew(&shutdown).await;
        // First of all no more writes; then others may know.
        self.state.send_replace(Leadership::Over);
        self.observer.leads(false);
        if result.is_ok() && self.election.is_held() {
            self.release().await;
        }
        result
    }

    async fn claim_and_renew(&mut self, shutdown: &CancellationToken) -> Result<(), Lost> {
        while !shutdown.is_cancelled() {
            let replace = match self.election.next(Instant::now()) {
                Action::Wait(until) => {
                    tokio::select! {
                        () = shutdown.cancelled() => break,
                        () = sleep_until(until) => continue,
                    }
                }
                Action::Stop(loss) => return Err(self.lost(loss)),
                Action::Look => None,
                Action::Create => Some(false),
                Action::Replace => Some(true),
            };
            // The claim counts from before the request is sent: when the API server writes, it is later than this.
            let asked = Instant::now();
            let answer = match replace {
                None => self.look().await,
                Some(replace) => self.write(replace, Some(self.params.identity.clone())).await,
            };
            self.election.answer(asked, Instant::now(), answer);
            self.publish();
        }
        Ok(())
    }

    /// Tells the others in this process, and people, what has changed.
    fn publish(&mut self) {
        let Some(until) = self.election.held_until() else {
            let holder = self.election.holder().map(str::to_owned);
            if holder.is_some() && holder != self.announced {
                let holder_shown = printable(holder.as_deref().unwrap_or_default());
                tracing::info!(lease = %self.shown(), holder = %holder_shown, "another hookhost leads; standing by");
                self.announced = holder;
            }
            return;
        };
        let before = self.state.send_replace(Leadership::Leading { until });
        if before == Leadership::Standby {
            self.observer.leads(true);
            tracing::info!(lease = %self.shown(), identity = %self.params.identity, "this hookhost leads");
        }
    }

    async fn look(&mut self) -> Answer {
        let call = self.call(Verb::Get);
        let request = self.api.get_opt(&self.params.name);
        match client::within(self.timing.request, &call, request).await {
            Ok(Some(object)) => self.found(object),
            Ok(None) => Answer::Absent,
            Err(error) => self.failed(&error),
        }
    }

    fn found(&mut self, object: LeaseObject) -> Answer {
        let version = object.metadata.resource_version.clone().unwrap_or_default();
        let spec = object.spec.clone().unwrap_or_default();
        self.object = Some(object);
        let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let duration = seconds.map(Duration::from_secs).filter(|duration| DURATIONS.contains(duration));
        Answer::Found { version, holder: spec.holder_identity.filter(|holder| !holder.is_empty()), duration }
    }

    /// Writes the Lease with this holder: the one PUT, or the first time POST, of a renewal.
    async fn write(&mut self, replace: bool, holder: Option<String>) -> Answer {
        let call = self.call(if replace { Verb::Update } else { Verb::Create });
        let known = self.object.take_if(|object| replace && object.metadata.resource_version.is_some());
        if replace && known.is_none() {
            // Without a version the write would overwrite whatever is there.
            return Answer::Conflict;
        }
        let wanted = self.object_for(known.as_ref(), holder);
        let params = PostParams::default();
        let name = self.params.name.clone();
        let result = if replace {
            client::within(self.timing.request, &call, self.api.replace(&name, &params, &wanted)).await
        } else {
            client::within(self.timing.request, &call, self.api.create(&params, &wanted)).await
        };
        self.observer.write(&call, WriteOutcome::of(result.as_ref().err()));
        match result {
            Ok(object) => {
                let version = object.metadata.resource_version.clone().unwrap_or_default();
                self.object = Some(object);
                Answer::Written { version }
            }
            Err(error) => {
                // Still the best that is known; if the write was done after all, the next one meets a conflict.
                self.object = known;
                match error {
                    client::Error::Conflict { .. } | client::Error::AlreadyExists { .. } => Answer::Conflict,
                    client::Error::NotFound { .. } if replace => Answer::Conflict,
                    error => self.failed(&error),
                }
            }
        }
    }

    /// The Lease as it shall be: whatever others put on it stays.
    fn object_for(&self, known: Option<&LeaseObject>, holder: Option<String>) -> LeaseObject {
        let metadata = known.map_or_else(
            || ObjectMeta { name: Some(self.params.name.clone()), ..ObjectMeta::default() },
            |known| ObjectMeta { managed_fields: None, ..known.metadata.clone() },
        );
        let before = known.and_then(|known| known.spec.clone()).unwrap_or_default();
        // Later than the time before, whatever the wall clock does: a write that changes nothing would not be one, and
        // others would see no sign of life.
        let tick = SignedDuration::from_micros(1);
        let after = before.renew_time.as_ref().and_then(|time| time.0.checked_add(tick).ok());
        let now = Timestamp::now();
        let now = after.map_or(now, |after| after.max(now));

        let changes_hands = before.holder_identity != holder;
        let transitions = before.lease_transitions.unwrap_or(0);
        let taken = changes_hands && holder.is_some();
        let spec = LeaseSpec {
            lease_duration_seconds: i32::try_from(self.params.duration.as_secs()).ok(),
            acquire_time: if taken { Some(MicroTime(now)) } else { before.acquire_time.clone() },
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(transitions.saturating_add(i32::from(taken && known.is_some()))),
            holder_identity: holder,
            ..before
        };
        LeaseObject { metadata, spec: Some(spec) }
    }

    /// Gives the lease back, so that another can take it at once. Tried once: if it fails, it lapses by itself.
    async fn release(&mut self) {
        match self.write(true, None).await {
            Answer::Written { .. } => tracing::info!(lease = %self.shown(), "gave the lease back"),
            _ => tracing::warn!(
                lease = %self.shown(),
                "could not give the lease back; another hookhost takes over when it has lapsed"
            ),
        }
    }

    fn failed(&mut self, error: &client::Error) -> Answer {
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            message.push_str(&format!(": {error}"));
            cause = error.source();
        }
        // Once for each kind of trouble, not once each second.
        if message == self.last_error {
            tracing::debug!(lease = %self.shown(), error = %message, "the lease cannot be claimed now");
        } else {
            tracing::warn!(
                lease = %self.shown(), error = %message, advice = %error.advice(), "the lease cannot be claimed now"
            );
            self.last_error = message;
        }
        Answer::Failed
    }

    fn lost(&self, loss: Loss) -> Lost {
        let lease = self.shown();
        match loss {
            Loss::Lapsed => {
                Lost::NotRenewed { lease, after: self.timing.valid, last_error: self.last_error.clone() }
            }
            Loss::Taken { holder } if holder.is_empty() => Lost::Taken { lease, holder: "nobody".into() },
            Loss::Taken { holder } => Lost::Taken { lease, holder: printable(&holder) },
        }
    }

    fn call(&self, verb: Verb) -> Call {
        Call::new::<LeaseObject>(verb, Some(&self.params.namespace), &self.params.name)
    }

    fn shown(&self) -> String {
        format!("{}/{}", self.params.namespace, self.params.name)
    }
}
