//! A *quarrel* is with another controller that writes over what hookhost has written: the Go operator does so each 30 s
//! with the status of engines that it does not know. What hookhost wrote comes back each time, but no faster than
//! [`REPEAT_EVERY`], whatever writes against it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hookhost_core::status;
use serde_json::Value;

/// The least time between two writes of the same to one Operation.
const REPEAT_EVERY: Duration = Duration::from_secs(10);

/// Operations that are remembered; beyond, those are forgotten whose time is past.
const MAX_REMEMBERED: usize = 4096;

/// What was written last to each Operation that may be quarrelled over, and when something was written again.
#[derive(Debug, Default)]
pub(crate) struct Quarrels(Mutex<HashMap<String, Quarrel>>);

#[derive(Debug, Default)]
struct Quarrel {
    /// What an unfinished one was told last.
    told: Option<u64>,
    repeated: Option<Instant>,
}

impl Quarrels {
    /// Takes the turn to write once more what the Operation of this UID had been told, or says how long to wait for it.
    pub(super) fn turn(&self, uid: &str, now: Instant) -> Result<(), Duration> {
        let mut known = self.lock();
        if known.len() >= MAX_REMEMBERED {
            known.retain(|_, quarrel| quarrel.told.is_some() || quarrel.rest(now).is_some());
        }
        known.entry(uid.to_owned()).or_default().take_turn(now)
    }

    /// The same for an Operation that is not finished: it is its turn if the status says something new.
    pub(super) fn tell(&self, uid: &str, status: &Value, now: Instant) -> Result<(), Duration> {
        let mut known = self.lock();
        let quarrel = known.entry(uid.to_owned()).or_default();
        let told = fingerprint(status);
        if quarrel.told == Some(told) {
            return quarrel.take_turn(now);
        }
        quarrel.told = Some(told);
        Ok(())
    }

    /// What an unfinished Operation was told does not matter any more: it is finished, or gone.
    pub(super) fn settle(&self, uid: &str) {
        let mut known = self.lock();
        match known.get_mut(uid) {
            Some(quarrel) if quarrel.repeated.is_some() => quarrel.told = None,
            Some(_) => drop(known.remove(uid)),
            None => {}
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Quarrel>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Quarrel {
    fn rest(&self, now: Instant) -> Option<Duration> {
        let since = now.duration_since(self.repeated?);
        REPEAT_EVERY.checked_sub(since).filter(|rest| !rest.is_zero())
    }

    fn take_turn(&mut self, now: Instant) -> Result<(), Duration> {
        match self.rest(now) {
            Some(rest) => Err(rest),
            None => {
                self.repeated = Some(now);
                Ok(())
            }
        }
    }
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
    fn what_is_new_is_told_at_once_and_what_was_overwritten_not_faster_than_so() {
        let quarrels = Quarrels::default();
        let blocked = |message: &str| {
            json!({"phase": "Pending", "conditions": [
                {"type": "Blocked", "status": "True", "reason": "TargetNotReady", "message": message}]})
        };
        let start = Instant::now();
        assert_eq!(quarrels.tell("a", &blocked("not ready"), start), Ok(()));
        assert_eq!(quarrels.tell("a", &blocked("still not"), start), Ok(()), "another message is news");
        assert_eq!(quarrels.tell("a", &blocked("still not"), start), Ok(()), "the first time at once");
        let later = start + Duration::from_secs(4);
        assert_eq!(quarrels.tell("a", &blocked("still not"), later), Err(Duration::from_secs(6)));
        assert_eq!(quarrels.tell("b", &blocked("still not"), later), Ok(()), "another Operation's");
        assert_eq!(quarrels.tell("a", &blocked("still not"), start + REPEAT_EVERY), Ok(()));
    }

    #[test]
    fn a_finished_status_comes_back_no_faster_than_so() {
        let quarrels = Quarrels::default();
        let start = Instant::now();
        assert_eq!(quarrels.turn("a", start), Ok(()));
        assert_eq!(quarrels.turn("a", start), Err(REPEAT_EVERY));
        quarrels.settle("a");
        assert_eq!(quarrels.turn("a", start), Err(REPEAT_EVERY), "as often as it is looked at");
        assert_eq!(quarrels.turn("a", start + REPEAT_EVERY), Ok(()));
    }
}
