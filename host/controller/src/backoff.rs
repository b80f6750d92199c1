//! A *backoff* is how long an Operation is left alone after it could not be looked at to the end, or while it waits for
//! what nobody announces.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The first pause after an error; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(500);

/// The first pause of an Operation that waits for what is not watched: a Secret, a quota.
const FIRST_SLOW: Duration = Duration::from_secs(5);

/// The longest pause: someone who has repaired what was wrong waits no longer than this.
const LONGEST: Duration = Duration::from_secs(300);

/// Doublings after which every pause is the longest.
const MAX_DOUBLINGS: u32 = 16;

/// How often each Operation had to wait in a row, by its UID.
#[derive(Debug, Default)]
pub(crate) struct Backoff(Mutex<HashMap<String, u32>>);

impl Backoff {
    /// The pause after an error.
    pub(crate) fn next(&self, uid: &str) -> Duration {
        self.grow(uid, FIRST)
    }

    /// The pause while waiting for what is not watched.
    pub(crate) fn slow(&self, uid: &str) -> Duration {
        self.grow(uid, FIRST_SLOW)
    }

    /// The next pause is a first one again.
    pub(crate) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn grow(&self, uid: &str, first: Duration) -> Duration {
        let mut times = self.lock();
        let doublings = times.entry(uid.to_owned()).or_insert(0);
        let pause = first.saturating_mul(1 << *doublings).min(LONGEST);
        *doublings = (*doublings + 1).min(MAX_DOUBLINGS);
        pause
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_five_minutes_and_begin_anew() {
        let backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..30).map(|_| backoff.next("a")).collect();
        assert_eq!(pauses[..3], [500, 1000, 2000].map(Duration::from_millis));
        assert!(pauses.is_sorted() && pauses.last() == Some(&LONGEST));
        backoff.forget("a");
        assert_eq!(backoff.next("a"), FIRST);
    }
}
