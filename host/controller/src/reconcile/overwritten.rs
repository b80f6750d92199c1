//! A status is *overwritten* where another controller writes other values to what hookhost has written: the vWorkspace operator does
//! so within milliseconds, with every Operation whose engine it does not know.
//!
//! hookhost writes its own again, since the other controller may be gone by then. But each time it waits longer, so that two
//! controllers do not fill the API server with their writes: a finished Operation is written some twenty times on its first day.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hookhost_core::status;
use serde_json::Value;

/// The pause after the first time that the same was written again to an Operation. It doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2 * 3600);

/// Operations that are remembered. Beyond, those are forgotten whose pause is over; where none is, nothing is written again.
const MAX_REMEMBERED: usize = 16_384;

/// What was written last to each Operation whose status may be overwritten, and how often it was written again.
#[derive(Debug, Default)]
pub(crate) struct Overwrites(Mutex<HashMap<String, Entry>>);

#[derive(Debug, Default)]
struct Entry {
    /// What was written last to one that is not finished.
    written: Option<u64>,
    /// When the same was last written again, and how often that was.
    again: Option<(Instant, u32)>,
}

/// That a status may be written now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is new, or it is written again for the first time.
    First,
    /// It was written again before, and overwritten since.
    Again,
}

impl Overwrites {
    /// Whether the status of a finished Operation may be written again; if not, how long to wait.
    pub(super) fn may_restore(&self, uid: &str, now: Instant) -> Result<Turn, Duration> {
        let mut known = self.lock();
        make_room(&mut known, uid, now)?;
        known.get(uid).map_or(Ok(Turn::First), |entry| entry.turn(now))
    }

    /// The status of a finished Operation was written again.
    pub(super) fn restored(&self, uid: &str, now: Instant) {
        self.lock().entry(uid.to_owned()).or_default().count(now);
    }

    /// Whether this status of an Operation that is not finished may be written: at once if it is not what was written last.
    pub(super) fn may_write(&self, uid: &str, status: &Value, now: Instant) -> Result<Turn, Duration> {
        let known = self.lock();
        let entry = known.get(uid).filter(|entry| entry.written == Some(fingerprint(status)));
        entry.map_or(Ok(Turn::First), |entry| entry.turn(now))
    }

    /// This status of an Operation that is not finished was written.
    pub(super) fn wrote(&self, uid: &str, status: &Value, now: Instant) {
        let mut known = self.lock();
        let entry = known.entry(uid.to_owned()).or_default();
        let written = fingerprint(status);
        if entry.written.replace(written) == Some(written) {
            entry.count(now);
        }
    }

    /// The Operation is finished: what was written to it before does not matter any more.
    pub(super) fn settle(&self, uid: &str) {
        let mut known = self.lock();
        match known.get_mut(uid) {
            Some(entry) if entry.again.is_some() => entry.written = None,
            Some(_) => drop(known.remove(uid)),
            None => {}
        }
    }

    /// The Operation is gone.
    pub(super) fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_room(known: &mut HashMap<String, Entry>, uid: &str, now: Instant) -> Result<(), Duration> {
    if known.len() >= MAX_REMEMBERED && !known.contains_key(uid) {
        known.retain(|_, entry| entry.written.is_some() || entry.rest(now).is_some());
        if known.len() >= MAX_REMEMBERED {
            return Err(LONGEST_PAUSE);
        }
    }
    Ok(())
}

impl Entry {
    /// How long it is until the same may be written again.
    fn rest(&self, now: Instant) -> Option<Duration> {
        let (at, count) = self.again?;
        pause(count).checked_sub(now.duration_since(at)).filter(|rest| !rest.is_zero())
    }

    /// When it was last written again, and how often; none where nobody has overwritten it for twice as long as the pause was.
    fn fight(&self, now: Instant) -> Option<(Instant, u32)> {
        self.again.filter(|(at, count)| now.duration_since(*at) < 2 * pause(*count))
    }

    fn turn(&self, now: Instant) -> Result<Turn, Duration> {
        match self.rest(now) {
            Some(rest) => Err(rest),
            None if self.fight(now).is_some() => Ok(Turn::Again),
            None => Ok(Turn::First),
        }
    }

    fn count(&mut self, now: Instant) {
        self.again = Some((now, self.fight(now).map_or(1, |(_, count)| count + 1)));
    }
}

/// The pause after the same was written again so many times.
fn pause(count: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << (count - 1).min(16)).min(LONGEST_PAUSE)
}

/// What a status tells, without its times and what others have in it.
fn fingerprint(status: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    (status::phase(status), status::reason(status), status::message(status)).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn blocked(message: &str) -> Value {
        json!({"phase": "Pending", "conditions": [
            {"type": "Blocked", "status": "True", "reason": "TargetNotReady", "message": message}]})
    }

    #[test]
    fn a_new_status_is_written_at_once_and_the_same_again_after_a_pause_that_doubles() {
        let overwrites = Overwrites::default();
        let start = Instant::now();
        let write = |uid: &str, message: &str, after: u64| {
            let now = start + Duration::from_secs(after);
            let turn = overwrites.may_write(uid, &blocked(message), now)?;
            overwrites.wrote(uid, &blocked(message), now);
            Ok(turn)
        };
        assert_eq!(write("a", "not ready", 0), Ok(Turn::First));
        assert_eq!(write("a", "still not", 0), Ok(Turn::First), "another message is new");
        assert_eq!(write("a", "still not", 0), Ok(Turn::First), "the first time at once");
        assert_eq!(write("a", "still not", 4), Err(Duration::from_secs(6)));
        assert_eq!(write("b", "still not", 4), Ok(Turn::First), "another Operation's");
        assert_eq!(write("a", "still not", 10), Ok(Turn::Again));
        assert_eq!(write("a", "still not", 11), Err(Duration::from_secs(19)));
        assert_eq!(write("a", "ready", 11), Ok(Turn::First), "new at any time");
    }

    #[test]
    fn what_could_not_be_written_was_overwritten_by_nobody() {
        let overwrites = Overwrites::default();
        let start = Instant::now();
        for second in 0..3600 {
            let now = start + Duration::from_secs(second);
            assert_eq!(overwrites.may_write("a", &blocked("not ready"), now), Ok(Turn::First));
            assert_eq!(overwrites.may_restore("b", now), Ok(Turn::First));
        }
    }

    fn restore(overwrites: &Overwrites, uid: &str, now: Instant) -> Result<Turn, Duration> {
        let turn = overwrites.may_restore(uid, now)?;
        overwrites.restored(uid, now);
        Ok(turn)
    }

    #[test]
    fn a_finished_status_that_is_overwritten_within_moments_is_written_some_twenty_times_a_day() {
        let overwrites = Overwrites::default();
        let start = Instant::now();
        let day = Duration::from_secs(24 * 3600);
        let (mut now, mut writes) = (start, 0);
        while now.duration_since(start) < day {
            match restore(&overwrites, "a", now) {
                Ok(_) => writes += 1,
                Err(rest) => now += rest,
            }
        }
        // 10 s, 20 s, … 5120 s, then each two hours.
        assert_eq!(writes, 21);
        assert!(restore(&overwrites, "a", now).is_ok());
        overwrites.settle("a");
        assert!(restore(&overwrites, "a", now).is_err(), "as often as it is reconciled");
        // Whoever wrote over it is gone for long: if somebody does it once, it is put right at once.
        assert_eq!(restore(&overwrites, "a", now + 3 * LONGEST_PAUSE), Ok(Turn::First));
        overwrites.forget("a");
        assert!(overwrites.lock().is_empty());
    }

    #[test]
    fn beyond_a_bound_nothing_is_written_again_until_there_is_room() {
        let overwrites = Overwrites::default();
        let start = Instant::now();
        for number in 0..MAX_REMEMBERED {
            assert_eq!(restore(&overwrites, &format!("uid-{number}"), start), Ok(Turn::First));
        }
        assert_eq!(restore(&overwrites, "another", start), Err(LONGEST_PAUSE));
        assert_eq!(restore(&overwrites, "another", start + FIRST_PAUSE), Ok(Turn::First));
    }
}
