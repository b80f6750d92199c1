//! The *wait* of an Operation ends: one that has not come to run after its wait timeout fails, so that none waits for ever.
//!
//! The clock starts at its creation and does not stop, whatever it waits for and however often hookhost is started anew. The
//! wait is over when its Job is made; from then on the Job's own deadline counts.

use std::time::Duration;

use jiff::Timestamp;

use crate::duration::show;
use crate::reason::Reason;
use crate::refusal::Refusal;
use serde_json::Value;

/// How long an Operation waits, unless told otherwise: a week, within which every weekly maintenance window opens, and an
/// approval that is asked for on a Friday has a working week.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The longest wait: a year, since what is planned for later than that should be made then.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long an Operation that has failed because the chart lacks its hook is told when the chart gets it: a week from its end.
/// Who has not made a new one by then does not wait for it, and finished Operations are kept for ever.
pub const HOOK_IS_AWAITED_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// Reads a wait timeout as people write it.
///
/// # Errors
/// What was expected, for people.
pub fn parse_timeout(text: &str) -> Result<Duration, String> {
    let timeout = crate::duration::parse(text)?;
    if timeout > MAX_TIMEOUT {
        return Err("expected at most 365d: no Operation waits for ever".to_owned());
    }
    Ok(timeout)
}

/// How long an Operation may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout {
    /// From its creation on.
    pub after: Duration,
    /// Whether it says so itself, in parameters.waitTimeout.
    pub is_its_own: bool,
}

/// For what an Operation waited last, as far as hookhost can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitedFor<'a> {
    /// For this, in hookhost's own words.
    Words(&'a str, &'a str),
    /// For this.
    Reason(Reason),
    /// hookhost has reported it, does not remember it, and another controller has written over it.
    Unknown,
    /// Nobody has reported anything.
    Nothing,
}

impl Timeout {
    /// The Operation's own, where its parameters have a valid one; else the host's. `operation` is as the API server has it.
    pub fn of(operation: &Value, default: Duration) -> Timeout {
        let own = match operation.pointer("/spec/parameters/waitTimeout") {
            Some(Value::String(text)) => parse_timeout(text).ok(),
            Some(Value::Number(seconds)) => parse_timeout(&seconds.to_string()).ok(),
            _ => None,
        };
        Timeout { after: own.unwrap_or(default), is_its_own: own.is_some() }
    }

    /// What is left of the wait; nothing where it is over. An Operation that has no time of creation has not begun to wait.
    pub fn rest(&self, created: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
        let Some(created) = created else { return Some(self.after) };
        // A clock that is behind the API server's is no reason to wait longer.
        let waited = Duration::try_from(now.duration_since(created)).unwrap_or_default();
        self.after.checked_sub(waited).filter(|rest| !rest.is_zero())
    }

    /// Why an event goes no further whose next hook has waited for too long since the one before it was complete, for `refusal`.
    pub fn refusal_of_step(&self, refusal: &Refusal) -> Refusal {
        let message = format!(
            "the next hook has not started within {} of the end of the one before it, which is all that {} allows. It waited for this: \
             {}: {}",
            show(self.after),
            self.whose(),
            refusal.reason,
            refusal.message
        );
        Refusal::fail(Reason::WaitTimeout, message)
    }

    fn whose(&self) -> &'static str {
        if self.is_its_own { "parameters.waitTimeout" } else { "hookhost's --wait-timeout" }
    }

    /// Why the Operation has failed whose wait is over.
    pub fn refusal(&self, waited_for: WaitedFor<'_>) -> Refusal {
        let whose = self.whose();
        let why = match waited_for {
            WaitedFor::Words(reason, message) => format!("{reason}: {message}"),
            WaitedFor::Reason(reason) => reason.as_str().to_owned(),
            WaitedFor::Unknown => {
                "not known any more, since another controller has written over what hookhost reported"
                    .to_owned()
            }
            WaitedFor::Nothing => "no hookhost has come to it".to_owned(),
        };
        let message = format!(
            "it has waited {} since it was made, which is all that {whose} allows, and has not come to run. It waited for \
             this: {why}. Make a new Operation once that is settled, or one with a longer parameters.waitTimeout",
            show(self.after),
            why = why.trim_end_matches('.')
        );
        Refusal::fail(Reason::WaitTimeout, message)
    }
}

/// How long an Operation that has failed for want of its hook is still told of it; nothing where that is over. `status` is its
/// own.
pub fn hook_is_awaited_for(status: &Value, now: Timestamp) -> Option<Duration> {
    let finished = status.get("finishedAt").and_then(Value::as_str)?.parse::<Timestamp>().ok()?;
    let waited = Duration::try_from(now.duration_since(finished)).unwrap_or_default();
    HOOK_IS_AWAITED_FOR.checked_sub(waited).filter(|rest| !rest.is_zero())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::refusal::Then;

    const HOUR: u64 = 3600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn an_operations_own_timeout_counts_before_the_hosts() {
        let default = Duration::from_secs(HOUR);
        let of = |parameters: Value| Timeout::of(&json!({"spec": {"parameters": parameters}}), default);
        let own = |seconds| Timeout { after: Duration::from_secs(seconds), is_its_own: true };
        assert_eq!(of(json!({})), Timeout { after: default, is_its_own: false });
        assert_eq!(of(json!({"waitTimeout": "30m"})), own(1800));
        assert_eq!(of(json!({"waitTimeout": 90})), own(90));
        for wrong in [json!("0"), json!(0), json!(-5), json!("366d"), json!("never"), json!([]), json!(1.5)] {
            assert_eq!(
                of(json!({"waitTimeout": wrong})).after,
                default,
                "refused by its validation: {wrong}"
            );
        }
    }

    #[test]
    fn what_an_operation_waited_for_and_how_long_is_told_at_the_end() {
        let waited_for = WaitedFor::Words("TargetNotReady", "the instance is not ready.");
        let refusal = Timeout { after: Duration::from_secs(2 * HOUR), is_its_own: true }.refusal(waited_for);
        assert_eq!((refusal.reason, refusal.then), (Reason::WaitTimeout, Then::Fail));
        for part in
            ["waited 2h ", "parameters.waitTimeout allows", "TargetNotReady: the instance is not ready. Make"]
        {
            assert!(refusal.message.contains(part), "{part}: {refusal}");
        }
        let timeout = Timeout { after: Duration::from_secs(HOUR), is_its_own: false };
        for (waited_for, words) in [
            (WaitedFor::Nothing, "for this: no hookhost has come to it. Make"),
            (WaitedFor::Reason(Reason::PolicyHeld), "for this: PolicyHeld. Make"),
            (WaitedFor::Unknown, "for this: not known any more, since another controller"),
        ] {
            let refusal = timeout.refusal(waited_for);
            assert!(refusal.message.contains("--wait-timeout"), "{refusal}");
            assert!(refusal.message.contains(words), "{refusal}");
        }
    }

    #[test]
    fn an_event_tells_how_long_its_next_hook_has_waited_and_for_what() {
        let held = Refusal::retry_after(60, Reason::PolicyHeld, "opens at 22:00");
        let refusal = Timeout { after: Duration::from_secs(1800), is_its_own: true }.refusal_of_step(&held);
        assert_eq!((refusal.reason, refusal.then), (Reason::WaitTimeout, Then::Fail));
        for part in ["within 30m of the end", "parameters.waitTimeout allows", "PolicyHeld: opens at 22:00"] {
            assert!(refusal.message.contains(part), "{part}: {refusal}");
        }
    }

    #[test]
    fn an_operation_that_lacks_its_hook_is_told_of_it_for_a_week() {
        let status = json!({"finishedAt": "2026-05-28T00:00:00Z"});
        let end = "2026-05-28T00:00:00Z".parse::<Timestamp>().unwrap().as_second();
        assert_eq!(hook_is_awaited_for(&status, at(end)), Some(HOOK_IS_AWAITED_FOR));
        assert_eq!(hook_is_awaited_for(&status, at(end + 604_799)), Some(Duration::from_secs(1)));
        assert_eq!(hook_is_awaited_for(&status, at(end + 604_800)), None);
        assert_eq!(hook_is_awaited_for(&json!({}), at(end)), None);
    }

    proptest! {
        /// The wait ends at one moment, whoever looks when.
        #[test]
        fn the_wait_is_over_from_one_moment_on(
            created in 0_i64..2_000_000_000, after in 1_u64..40_000_000, now in -100_i64..50_000_000,
        ) {
            let timeout = Timeout { after: Duration::from_secs(after), is_its_own: false };
            let rest = timeout.rest(Some(at(created)), at(created + now));
            let over = u64::try_from(now).is_ok_and(|waited| waited >= after);
            prop_assert_eq!(rest.is_none(), over);
            if let Some(rest) = rest {
                prop_assert!(rest <= timeout.after);
                let then = at(created + now.max(0) + i64::try_from(rest.as_secs()).unwrap());
                prop_assert_eq!(timeout.rest(Some(at(created)), then), None);
            }
        }
    }
}
