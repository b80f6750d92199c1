//! To *seize* a lease is to take it from whoever holds it, alive or not, so that nobody writes any more: for the end of
//! an installation.
//!
//! The former holder meets a conflict at its next renewal, and ends. Until its claim would have lapsed without one it may
//! still write: [`Seized::quiet`] waits that long. It does not trust the holder to have noticed.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::election::Answer;
use super::{DURATION, Lease, printable};

/// How often it is tried. A live holder renews every few seconds, so that two conflicts in a row are rare; what else fails
/// is the API server, and that for half a minute.
const TRIES: usize = 12;

/// A lease that was taken from its holder.
#[derive(Debug)]
pub struct Seized {
    lease: Lease,
    former: Option<String>,
    quiet_from: Instant,
}

/// The lease could not be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lease {lease} cannot be taken: {last_error}")]
pub struct NotSeized {
    /// Namespace and name.
    pub lease: String,
    /// What the last try met.
    pub last_error: String,
}

impl Lease {
    /// Takes the lease, whoever holds it, for its whole duration; it is not renewed.
    pub async fn seize(mut self) -> Result<Seized, NotSeized> {
        for _ in 0..TRIES {
            let (replace, former) = match self.look().await {
                Answer::Found { holder: None, .. } => (true, None),
                Answer::Found { holder: Some(holder), duration, .. } => {
                    (true, Some((holder, duration.unwrap_or(DURATION))))
                }
                // Somebody deleted it; whoever held it may not know yet.
                Answer::Absent => (false, Some((String::new(), DURATION))),
                _ => {
                    sleep(self.timing.poll).await;
                    continue;
                }
            };
            if let Answer::Written { .. } = self.write(replace, Some(self.params.identity.clone())).await {
                // The whole duration: two thirds until the holder's claim lapses, the rest for what it sent before.
                let quiet_from =
                    Instant::now() + former.as_ref().map_or(Duration::ZERO, |(_, duration)| *duration);
                let former = former.map(|(holder, _)| holder).filter(|holder| !holder.is_empty());
                return Ok(Seized { lease: self, former, quiet_from });
            }
            sleep(self.timing.retry).await;
        }
        let lease = self.shown();
        Err(NotSeized { lease, last_error: self.last_error })
    }
}

impl Seized {
    /// Namespace and name.
    pub fn shown(&self) -> String {
        self.lease.shown()
    }

    /// Who had it, if anybody did.
    pub fn former(&self) -> Option<String> {
        self.former.as_deref().map(printable)
    }

    /// How long the former holder may still write.
    pub fn unquiet(&self) -> Duration {
        self.quiet_from.saturating_duration_since(Instant::now())
    }

    /// Waits until nobody else writes any more.
    pub async fn quiet(&self) {
        sleep_until(self.quiet_from).await;
    }

    /// Keeps the lease for so long from now, and then lets it lapse. Tried once: if it fails, it lapses later.
    pub async fn leave(mut self, after: Duration) {
        self.lease.params.duration = after;
        let identity = self.lease.params.identity.clone();
        if !matches!(self.lease.write(true, Some(identity)).await, Answer::Written { .. }) {
            tracing::info!(lease = %self.shown(), "somebody else has the lease now, or it lapses later");
        }
    }
}
