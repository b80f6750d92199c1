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
    pub(super) fn restore(&self, uid: &str, now: Instant) -> Result<Turn, Duration> {
        let mut known = self.lock();
        make_room(&mut known, uid, now)?;
        known.entry(uid.to_owned()).or_default().again(now)
    }

    /// Whether this status of an Operation that is not finished may be written: at once if it is not what was written last.
    pub(super) fn write(&self, uid: &str, status: &Value, now: Instant) -> Result<Turn, Duration> {
        let mut known = self.lock();
        let entry = known.entry(uid.to_owned()).or_default();
        let written = fingerprint(status);
        if entry.written == Some(written) {
            return entry.again(now);
        }
        entry.written = Some(written);
        Ok(Turn::First)
    }

    /// The Operation is finished, or gone: what was written to it before does not matter any more.
    pub(super) fn settle(&self, uid: &str) {
        let mut known = self.lock();
        match known.get_mut(uid) {
            Some(entry) if entry.again.is_some() => entry.written = None,
            Some(_) => drop(known.remove(uid)),
            None => {}
        }
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

    fn again(&mut self, now: Instant) -> Result<Turn, Duration> {
        if let Some(rest) = self.rest(now) {
            return Err(rest);
        }
        // It was let be for as long as the pause was: nobody fights over it any more.
        let is_over = |(at, count): (Instant, u32)| now.duration_since(at) >= 2 * pause(count);
        let count = self.again.filter(|again| !is_over(*again)).map_or(1, |(_, count)| count + 1);
        self.again = Some((now, count));
        Ok(if count == 1 { Turn::First } else { Turn::Again })
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

    #[test]
    fn a_new_status_is_written_at_once_and_the_same_again_after_a_pause_that_doubles() {
        let overwrites = Overwrites::default();
        let blocked = |message: &str| {
            json!({"phase": "Pending", "conditions": [
                {"type": "Blocked", "status": "True", "reason": "TargetNotReady", "message": message}]})
        };
        let start = Instant::now();
        let write = |uid: &str, message: &str, after: u64| {
            overwrites.write(uid, &blocked(message), start + Duration::from_secs(after))
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
    fn a_finished_status_that_is_overwritten_within_moments_is_written_some_twenty_times_a_day() {
        let overwrites = Overwrites::default();
        let start = Instant::now();
        let day = Duration::from_secs(24 * 3600);
        let (mut now, mut writes) = (start, 0);
        while now.duration_since(start) < day {
            match overwrites.restore("a", now) {
                Ok(_) => writes += 1,
                Err(rest) => now += rest,
            }
        }
        // 10 s, 20 s, … 5120 s, then each two hours.
        assert_eq!(writes, 21);
        assert!(overwrites.restore("a", now).is_ok());
        overwrites.settle("a");
        assert!(overwrites.restore("a", now).is_err(), "as often as it is reconciled");
        // Whoever wrote over it is gone for long: if somebody does it once, it is put right at once.
        assert_eq!(overwrites.restore("a", now + 3 * LONGEST_PAUSE), Ok(Turn::First));
    }

    #[test]
    fn beyond_a_bound_nothing_is_written_again_until_there_is_room() {
        let overwrites = Overwrites::default();
        let start = Instant::now();
        for number in 0..MAX_REMEMBERED {
            assert_eq!(overwrites.restore(&format!("uid-{number}"), start), Ok(Turn::First));
        }
        assert_eq!(overwrites.restore("another", start), Err(LONGEST_PAUSE));
        assert_eq!(overwrites.restore("another", start + FIRST_PAUSE), Ok(Turn::First));
    }
}
