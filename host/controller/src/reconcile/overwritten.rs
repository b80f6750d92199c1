//! A status is *overwritten* where another controller writes other values to what hookhost has written: the vWorkspace operator does
//! so within milliseconds, with every Operation of this engine.
//!
//! hookhost writes its own again, since the other controller may be gone by then. But each time it waits longer, so that two
//! controllers do not fill the API server with their writes: a finished Operation is written some twenty times on its first day. One of
//! which it was reported before hookhost was started anew is written once then, and after that as seldom as at the end.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use hookhost_core::{Reason, status};
use parking_lot::Mutex;
use serde_json::Value;

/// The pause after the first time that the same was written again to an Operation. It doubles each time.
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2 * 3600);

/// After the same was written again so often, the pause is the longest.
const LONGEST_AFTER: u32 = 11;

/// The longest pause before that.
const LONGEST_RETURN: Duration = Duration::from_secs(300);

/// How often an Operation may go back to the reason for which it waited before, until that is written after a pause only. Somebody who
/// changes a target back and forth would have every Operation written that waits for it, each time.
const FREE_RETURNS: u32 = 2;

/// Operations that are remembered. Beyond, those are forgotten whose pause is over; where none is, nothing is written again.
const MAX_REMEMBERED: usize = 16_384;

/// What was written last to each Operation whose status may be overwritten, and how often it was written again.
#[derive(Debug, Default)]
pub(crate) struct Overwrites(Mutex<HashMap<String, Entry>>);

#[derive(Debug, Default)]
struct Entry {
    /// What was written last to one that is not finished.
    written: Option<Written>,
    /// For what that says that it waits.
    reported: Option<Reason>,
    /// When the same was last written again, and how often that was.
    again: Option<(Instant, u32)>,
    /// The reason for which it waited before the last one, and how often it went back to it.
    before: Option<(u64, u32)>,
}

/// What was written to an Operation that is not finished.
#[derive(Clone, Copy, Debug)]
struct Written {
    /// Its phase, the reason for that, and the message but for the time that is left.
    gist: u64,
    /// Its phase and the reason for that.
    reason: u64,
    /// Whether it waits.
    is_blocked: bool,
    at: Instant,
}

impl Written {
    fn of(status: &Value, at: Instant) -> Written {
        let mut hasher = DefaultHasher::new();
        (status::phase(status), status::reason(status)).hash(&mut hasher);
        let is_blocked = status::blocked_reason(status).is_some();
        Written { gist: status::gist(status), reason: hasher.finish(), is_blocked, at }
    }
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
        let mut known = self.0.lock();
        make_room(&mut known, uid, now)?;
        known.get(uid).map_or(Ok(Turn::First), |entry| entry.turn(now))
    }

    /// The status of a finished Operation was written again. `is_reported`: it says already that it is overwritten.
    pub(super) fn restored(&self, uid: &str, is_reported: bool, now: Instant) {
        let mut known = self.0.lock();
        let entry = known.entry(uid.to_owned()).or_default();
        let is_first = entry.again.is_none();
        entry.count(now);
        if is_first && is_reported {
            entry.again = Some((now, LONGEST_AFTER));
        }
    }

    /// Whether this status of an Operation that is not finished may be written: at once if it is not what was written last.
    ///
    /// One that waits for what it waited for before the last reason, again and again, waits a pause that doubles each time.
    ///
    /// `is_answer`: another controller has written over that. Then the same reason in other words waits for the first pause, or a
    /// message that changes each time would be written as often as the other controller answers.
    pub(super) fn may_write(
        &self,
        uid: &str,
        status: &Value,
        is_answer: bool,
        now: Instant,
    ) -> Result<Turn, Duration> {
        let known = self.0.lock();
        let Some((entry, last)) = known.get(uid).and_then(|entry| Some((entry, entry.written?))) else {
            return Ok(Turn::First);
        };
        let next = Written::of(status, now);
        if last.gist == next.gist {
            return entry.turn(now);
        }
        let is_reworded = is_answer && last.reason == next.reason;
        let pause = match entry.returns(&last, &next) {
            _ if is_reworded => FIRST_PAUSE,
            Some(returns) if returns > FREE_RETURNS => pause(returns - FREE_RETURNS).min(LONGEST_RETURN),
            _ => return Ok(Turn::First),
        };
        let rest = pause.checked_sub(now.duration_since(last.at)).filter(|rest| !rest.is_zero());
        rest.map_or(Ok(Turn::First), Err)
    }

    /// This status of an Operation that is not finished was written. Whether its phase, or the reason for that, was not the last one
    /// that was.
    pub(super) fn wrote(&self, uid: &str, status: &Value, now: Instant) -> bool {
        let mut known = self.0.lock();
        let entry = known.entry(uid.to_owned()).or_default();
        let written = Written::of(status, now);
        let last = entry.written;
        if let Some(last) = last.filter(|last| last.reason != written.reason) {
            // Long after the last change it counts anew.
            let is_late = now.duration_since(last.at) > 2 * LONGEST_RETURN;
            let returns = entry.returns(&last, &written).filter(|_| !is_late).unwrap_or_default();
            entry.before = Some((last.reason, returns));
        }
        entry.written = Some(written);
        if last.is_some_and(|last| last.gist == written.gist) {
            entry.count(now);
        }
        last.is_none_or(|last| last.reason != written.reason)
    }

    /// For what was written last that the Operation waits.
    pub(super) fn reported(&self, uid: &str) -> Option<Reason> {
        self.0.lock().get(uid)?.reported
    }

    /// It was written that the Operation waits for this, or for nothing.
    pub(super) fn report(&self, uid: &str, reason: Option<Reason>) {
        if let Some(entry) = self.0.lock().get_mut(uid) {
            entry.reported = reason;
        }
    }

    /// The Operation is finished: what was written to it before does not matter any more.
    pub(super) fn settle(&self, uid: &str) {
        let mut known = self.0.lock();
        match known.get_mut(uid) {
            Some(entry) if entry.again.is_some() => entry.written = None,
            Some(_) => drop(known.remove(uid)),
            None => {}
        }
    }

    /// The Operation is gone.
    pub(super) fn forget(&self, uid: &str) {
        self.0.lock().remove(uid);
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
    /// How often it goes back with this to what it waited for before the last reason; none if it does not.
    fn returns(&self, last: &Written, next: &Written) -> Option<u32> {
        let (before, returns) = self.before?;
        let goes_back = before == next.reason && last.reason != next.reason;
        (goes_back && last.is_blocked && next.is_blocked).then_some(returns + 1)
    }

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
            let turn = overwrites.may_write(uid, &blocked(message), false, now)?;
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
    fn a_wait_that_changes_back_and_forth_is_written_after_a_pause_that_doubles() {
        let overwrites = Overwrites::default();
        let start = Instant::now();
        let reasons = ["ReleaseBusy", "HookNotFound"].map(|reason| {
            json!({"phase": "Pending", "conditions": [
                {"type": "Blocked", "status": "True", "reason": reason, "message": reason}]})
        });
        // Somebody changes the target each second for an hour.
        let (mut writes, mut early) = (0, 0);
        for second in 0..3600 {
            let (now, status) = (start + Duration::from_secs(second), &reasons[second as usize % 2]);
            if overwrites.may_write("a", status, false, now).is_ok() {
                overwrites.wrote("a", status, now);
                (writes, early) = (writes + 1, early + u32::from(second < 5));
            }
        }
        assert!(early >= 3 && (10..40).contains(&writes), "{early}, {writes}");
        // A reason that it did not have before is news at any time.
        let news = blocked("not ready");
        assert_eq!(
            overwrites.may_write("a", &news, false, start + Duration::from_secs(3600)),
            Ok(Turn::First)
        );
    }

    #[test]
    fn while_it_is_overwritten_a_message_that_changes_each_time_is_written_every_ten_seconds_at_most() {
        let overwrites = Overwrites::default();
        let start = Instant::now();
        let message = |second: u64, kind: &str| match kind {
            "counts down" => format!("opens in {second} seconds"),
            _ => format!("request {second}x failed"),
        };
        for (kind, most) in [("counts down", 12), ("other words", 361)] {
            let (mut writes, mut transitions) = (0, 0);
            for second in 0..3600 {
                let (status, now) = (blocked(&message(second, kind)), start + Duration::from_secs(second));
                if overwrites.may_write(kind, &status, true, now).is_ok() {
                    writes += 1;
                    transitions += u32::from(overwrites.wrote(kind, &status, now));
                }
            }
            assert!((3..=most).contains(&writes), "{kind}: {writes}");
            assert_eq!(transitions, 1, "{kind}");
        }
    }

    #[test]
    fn what_could_not_be_written_was_not_reported() {
        let (overwrites, now) = (Overwrites::default(), Instant::now());
        let status = blocked("not ready");
        assert!(overwrites.may_write("a", &status, false, now).is_ok());
        assert_eq!(overwrites.reported("a"), None, "its write was refused");
        overwrites.wrote("a", &status, now);
        overwrites.report("a", Some(Reason::TargetNotReady));
        assert_eq!(overwrites.reported("a"), Some(Reason::TargetNotReady));
        overwrites.report("a", None);
        assert_eq!(overwrites.reported("a"), None, "it runs by now");
    }

    #[test]
    fn what_could_not_be_written_was_overwritten_by_nobody() {
        let overwrites = Overwrites::default();
        let start = Instant::now();
        for second in 0..3600 {
            let now = start + Duration::from_secs(second);
            assert_eq!(overwrites.may_write("a", &blocked("not ready"), false, now), Ok(Turn::First));
            assert_eq!(overwrites.may_restore("b", now), Ok(Turn::First));
        }
    }

    fn restore(overwrites: &Overwrites, uid: &str, now: Instant) -> Result<Turn, Duration> {
        let turn = overwrites.may_restore(uid, now)?;
        overwrites.restored(uid, false, now);
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
        assert!(overwrites.0.lock().is_empty());
    }

    #[test]
    fn one_that_was_reported_before_a_start_is_written_once_and_then_as_seldom_as_can_be() {
        let overwrites = Overwrites::default();
        let start = Instant::now();
        assert_eq!(overwrites.may_restore("a", start), Ok(Turn::First));
        overwrites.restored("a", true, start);
        assert_eq!(overwrites.may_restore("a", start), Err(LONGEST_PAUSE));
        assert!(pause(LONGEST_AFTER - 1) < LONGEST_PAUSE);
        // In the middle of it, the pauses grow as ever.
        for is_reported in [false, true] {
            overwrites.restored("b", is_reported, start);
        }
        assert_eq!(overwrites.may_restore("b", start), Err(2 * FIRST_PAUSE));
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
