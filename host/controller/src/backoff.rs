//! A *backoff* is how long an Operation is left alone after it could not be looked at to the end, or while it waits for
//! what nobody announces.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The first pause after an error; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(500);

/// The first pause of an Operation that waits for what is not watched: a Secret, a quota.
const FIRST_SLOW: Duration = Duration::from_secs(5);

/// The longest pause: someone who has repaired what was wrong waits no longer than this.
const LONGEST: Duration = Duration::from_secs(300);

/// Doublings after which every pause is the longest.
const MAX_DOUBLINGS: u32 = 16;

/// The pauses of each Operation, by its UID.
#[derive(Debug, Default)]
pub(crate) struct Backoff(Mutex<HashMap<String, Pauses>>);

/// The pauses of one Operation in a row.
#[derive(Debug, Default)]
struct Pauses {
    times: u32,
    /// When the last one is over.
    until: Option<Instant>,
}

impl Backoff {
    /// The pause after an error.
    pub(crate) fn next(&self, uid: &str) -> Duration {
        self.grow(uid, FIRST)
    }

    /// The pause while waiting for what is not watched. An Operation that is looked at in the middle of one, for another
    /// reason or because it was just written, pauses for the rest of it: only what was waited for in vain counts.
    pub(crate) fn slow(&self, uid: &str) -> Duration {
        self.slow_at(uid, Instant::now())
    }

    fn slow_at(&self, uid: &str, now: Instant) -> Duration {
        if let Some(rest) = self.rest_at(uid, now) {
            return rest;
        }
        let pause = self.grow(uid, FIRST_SLOW);
        self.0.lock().entry(uid.to_owned()).or_default().until = now.checked_add(pause);
        pause
    }

    /// What is left of such a pause.
    pub(crate) fn rest(&self, uid: &str) -> Option<Duration> {
        self.rest_at(uid, Instant::now())
    }

    fn rest_at(&self, uid: &str, now: Instant) -> Option<Duration> {
        let until = self.0.lock().get(uid)?.until?;
        until.checked_duration_since(now).filter(|rest| !rest.is_zero())
    }

    /// Whether the last look ended in a pause.
    pub(crate) fn is_known(&self, uid: &str) -> bool {
        self.times(uid) > 0
    }

    /// How often it has paused in a row.
    pub(crate) fn times(&self, uid: &str) -> u32 {
        self.0.lock().get(uid).map_or(0, |pauses| pauses.times)
    }

    /// The next pause is a first one again.
    pub(crate) fn forget(&self, uid: &str) {
        self.0.lock().remove(uid);
    }

    fn grow(&self, uid: &str, first: Duration) -> Duration {
        let mut known = self.0.lock();
        let Pauses { times, .. } = known.entry(uid.to_owned()).or_default();
        let pause = first.saturating_mul(1 << *times).min(LONGEST);
        *times = (*times + 1).min(MAX_DOUBLINGS);
        pause
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

    #[test]
    fn a_look_in_the_middle_of_a_slow_pause_does_not_make_the_next_one_longer() {
        let (backoff, start) = (Backoff::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(backoff.slow_at("a", start), Duration::from_secs(5));
        assert_eq!(backoff.slow_at("a", after(1)), Duration::from_secs(4));
        assert_eq!(backoff.slow_at("a", after(5)), Duration::from_secs(10));
        assert_eq!(backoff.slow_at("a", after(14)), Duration::from_secs(1));
        assert_eq!(backoff.slow_at("a", after(16)), Duration::from_secs(20));
    }
}
