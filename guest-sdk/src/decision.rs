//! A *decision* is what a policy answers: allow within constraints, deny, or hold.

use crate::bindings::vworkspace::hook_policy::types::{
    Bounds, Decision, Denial, Entry, Overrides, Postponement,
};
use crate::limits::{HOLD_SECONDS, MESSAGE_CHARS, REASON_CHARS};
use crate::text::{cut, is_reason};

/// The longest a run can be held at a time, by the contract: 30 days.
pub const MAX_HOLD_SECONDS: u32 = HOLD_SECONDS;

/// Building decisions. A run is shaped by adding constraints to [`Decision::allow`]:
///
/// ```
/// # use hook_policy::Decision;
/// let decision = Decision::allow().deadline_at_most(3600).backoff_at_most(2).label("team", "db");
/// ```
///
/// Constraints add up as those of several policies do: the least ceiling and the greatest floor count; of two exact
/// values, or two values of one label, the later counts. On a denial or a hold constraints change nothing, since
/// there is no run to shape.
impl Decision {
    /// The hook may run as the chart and the Operation want it.
    pub fn allow() -> Self {
        Decision::Allow(Overrides::default())
    }

    /// The hook may not run. `reason` is for programs, PascalCase, at most 63 characters ("ImageNotAllowed");
    /// `message` tells people what is not allowed and what would be. It is cut at 1,024 characters.
    ///
    /// # Panics
    /// If the reason is not PascalCase: a mistake in the policy that its first test shows.
    pub fn deny(reason: &str, message: impl AsRef<str>) -> Self {
        Decision::Deny(Denial {
            reason: checked(reason),
            message: cut(message.as_ref(), MESSAGE_CHARS).into(),
        })
    }

    /// The hook may not run now: the host asks again after `retry_after` seconds, of which 1 to 30 days' worth count
    /// (what is outside is brought to the nearer end). Reason and message as for [`Decision::deny`].
    ///
    /// # Panics
    /// As [`Decision::deny`].
    pub fn hold(reason: &str, message: impl AsRef<str>, retry_after: u32) -> Self {
        Decision::Hold(Postponement {
            reason: checked(reason),
            message: cut(message.as_ref(), MESSAGE_CHARS).into(),
            retry_after_seconds: retry_after.clamp(1, MAX_HOLD_SECONDS),
        })
    }

    /// The run may take this many seconds at most.
    pub fn deadline_at_most(self, seconds: u32) -> Self {
        self.with(|o| o.active_deadline_seconds.at_most(seconds))
    }

    /// The run must be given this many seconds at least.
    pub fn deadline_at_least(self, seconds: u32) -> Self {
        self.with(|o| o.active_deadline_seconds.at_least(seconds))
    }

    /// The run is given exactly this many seconds.
    pub fn deadline_exactly(self, seconds: u32) -> Self {
        self.with(|o| o.active_deadline_seconds.exactly(seconds))
    }

    /// At most this many retries.
    pub fn backoff_at_most(self, retries: u32) -> Self {
        self.with(|o| o.backoff_limit.at_most(retries))
    }

    /// At least this many retries.
    pub fn backoff_at_least(self, retries: u32) -> Self {
        self.with(|o| o.backoff_limit.at_least(retries))
    }

    /// Exactly this many retries.
    pub fn backoff_exactly(self, retries: u32) -> Self {
        self.with(|o| o.backoff_limit.exactly(retries))
    }

    /// The finished Job is kept for this many seconds at most.
    pub fn ttl_at_most(self, seconds: u32) -> Self {
        self.with(|o| o.ttl_seconds_after_finished.at_most(seconds))
    }

    /// The finished Job is kept for this many seconds at least.
    pub fn ttl_at_least(self, seconds: u32) -> Self {
        self.with(|o| o.ttl_seconds_after_finished.at_least(seconds))
    }

    /// The finished Job is kept for exactly this many seconds.
    pub fn ttl_exactly(self, seconds: u32) -> Self {
        self.with(|o| o.ttl_seconds_after_finished.exactly(seconds))
    }

    /// Adds a label to the Job and its pods. At most 64, in Kubernetes' own syntax, to which
    /// [`label_value`](crate::label_value) brings any text.
    pub fn label(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|o| set(&mut o.labels, key.into(), value.into()))
    }

    /// Adds an annotation to the Job. At most 64, of 4 KiB each.
    pub fn annotation(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|o| set(&mut o.annotations, key.into(), value.into()))
    }

    /// Whether this allows the run.
    pub fn is_allow(&self) -> bool {
        matches!(self, Decision::Allow(_))
    }

    /// Changes what an allowing decision demands, in ways for which there is no method.
    pub fn with(mut self, change: impl FnOnce(&mut Overrides)) -> Self {
        if let Decision::Allow(overrides) = &mut self {
            change(overrides);
        }
        self
    }
}

// The generator cannot be told to derive this for a variant alone.
impl PartialEq for Decision {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Decision::Allow(a), Decision::Allow(b)) => a == b,
            (Decision::Deny(a), Decision::Deny(b)) => a == b,
            (Decision::Hold(a), Decision::Hold(b)) => a == b,
            _ => false,
        }
    }
}

impl Bounds {
    /// Lowers the ceiling to this, if it is higher.
    pub fn at_most(&mut self, value: u32) {
        let value = i64::from(value);
        self.at_most = Some(self.at_most.map_or(value, |old| old.min(value)));
    }

    /// Raises the floor to this, if it is lower.
    pub fn at_least(&mut self, value: u32) {
        let value = i64::from(value);
        self.at_least = Some(self.at_least.map_or(value, |old| old.max(value)));
    }

    /// Demands this and nothing else.
    pub fn exactly(&mut self, value: u32) {
        self.exactly = Some(i64::from(value));
    }
}

/// Puts an entry where it belongs: the contract wants keys sorted, each once.
fn set(entries: &mut Vec<Entry>, key: String, value: String) {
    match entries.binary_search_by(|entry| entry.key.as_str().cmp(&key)) {
        Ok(at) => entries[at].value = value,
        Err(at) => entries.insert(at, Entry { key, value }),
    }
}

/// The reason, if it is one by the contract.
#[expect(clippy::panic, reason = "a mistake in the policy, not in its input; documented")]
fn checked(reason: &str) -> String {
    if !is_reason(reason) {
        panic!(
            "{reason:?} cannot be a reason: PascalCase such as ImageNotAllowed, at most {REASON_CHARS} characters"
        );
    }
    reason.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_ceilings_the_least_and_of_several_floors_the_greatest_counts() {
        let decision =
            Decision::allow().deadline_at_most(60).deadline_at_most(90).ttl_at_least(5).ttl_at_least(9);
        let Decision::Allow(overrides) = decision else { panic!("not allowed") };
        assert_eq!(overrides.active_deadline_seconds.at_most, Some(60));
        assert_eq!(overrides.ttl_seconds_after_finished.at_least, Some(9));
        assert_eq!(overrides.backoff_limit, Bounds::default());
    }

    #[test]
    fn labels_come_out_sorted_and_each_key_once() {
        let decision = Decision::allow().label("b", "1").label("a", "2").label("b", "3");
        let Decision::Allow(overrides) = decision else { panic!("not allowed") };
        let labels: Vec<_> = overrides.labels.iter().map(|e| (e.key.as_str(), e.value.as_str())).collect();
        assert_eq!(labels, [("a", "2"), ("b", "3")]);
    }

    #[test]
    fn constraints_leave_a_denial_as_it_is() {
        assert_eq!(
            Decision::deny("No", "no").deadline_at_most(1).label("a", "b"),
            Decision::deny("No", "no")
        );
    }

    #[test]
    fn a_message_and_a_hold_stay_within_the_contract() {
        let Decision::Hold(hold) = Decision::hold("Later", "x".repeat(2000), u32::MAX) else {
            panic!("no hold")
        };
        assert_eq!((hold.message.chars().count(), hold.retry_after_seconds), (1024, 2_592_000));
        let Decision::Hold(hold) = Decision::hold("Later", "", 0) else { panic!("no hold") };
        assert_eq!(hold.retry_after_seconds, 1);
    }

    #[test]
    #[should_panic(expected = "cannot be a reason")]
    fn a_reason_that_is_not_pascal_case_is_a_mistake() {
        Decision::deny("not allowed", "");
    }
}
