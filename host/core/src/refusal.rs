//! A *refusal* is why an Operation does not run now, and what follows from that: whether it has failed for good, waits for
//! something to change, or is looked at again after a time.
//!
//! Every check before a run answers with one of these, whatever error it began as, so that the controller has one thing
//! to write down and `hookhost plan` one thing to print.

use std::error::Error;
use std::fmt;

use crate::object::ObjectRef;
use crate::reason::{HasReason, Reason};
use crate::step::Step;
use hookhost_helm::hook::{EventError, FindError};
use hookhost_helm::record::RecordError;
use hookhost_helm::text::{printable, quote};

/// Bytes of a refusal's message. Kubernetes takes 32,768 characters in a condition; a quarter of that is more than a person
/// reads, and leaves room for what a status puts around it.
pub const MAX_MESSAGE_BYTES: usize = 8 * 1024;

/// Why an Operation does not run now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The one word for programs.
    pub reason: Reason,
    /// The words for people: what is wrong, where, and what to do. One line, at most [`MAX_MESSAGE_BYTES`].
    pub message: String,
    /// What becomes of the Operation.
    pub then: Then,
    /// The temporary object of another run that the Operation waits for: it is reconciled once that is removed.
    pub object: Option<Box<ObjectRef>>,
}

/// What becomes of an Operation that does not run now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It has failed: phase Failed, Accepted=False.
    Fail,
    /// It waits until something that is watched changes: phase Pending, Blocked=True.
    Wait,
    /// It waits, and is looked at again after so many seconds, from 1: phase Pending, Blocked=True.
    RetryAfter(u32),
}

impl Refusal {
    /// The Operation fails.
    pub fn fail(reason: Reason, message: impl AsRef<str>) -> Refusal {
        Refusal::new(reason, message.as_ref(), Then::Fail)
    }

    /// The Operation waits until something changes.
    pub fn wait(reason: Reason, message: impl AsRef<str>) -> Refusal {
        Refusal::new(reason, message.as_ref(), Then::Wait)
    }

    /// The Operation waits, and is looked at again after `seconds`; 0 counts as 1, so that nothing runs hot.
    pub fn retry_after(seconds: u32, reason: Reason, message: impl AsRef<str>) -> Refusal {
        Refusal::new(reason, message.as_ref(), Then::RetryAfter(seconds.max(1)))
    }

    /// The same refusal, of an Operation that waits for a temporary object of another run to be removed.
    #[must_use]
    pub fn until_removed(self, object: &ObjectRef) -> Refusal {
        Refusal { object: Some(object.clone().into()), ..self }
    }

    /// The same refusal, but where it would fail the Operation it lets it wait: for `parameters.waitForHook`.
    pub fn waiting(self) -> Refusal {
        match self.then {
            Then::Fail => Refusal { then: Then::Wait, ..self },
            Then::Wait | Then::RetryAfter(_) => self,
        }
    }

    /// The same refusal, which names the hook that it is of where a whole event is run.
    pub fn of_step(self, hook: &str, step: Option<Step>) -> Refusal {
        match step {
            Some(step) => {
                let named = format!("the hook {}", quote(hook));
                // Where the message begins with the hook, it is named once.
                let message = match self.message.strip_prefix(&format!("{named} ")) {
                    Some(rest) => format!("{named} (step {step}) {rest}"),
                    None => format!("{named} (step {step}): {}", self.message),
                };
                Refusal { object: self.object, ..Refusal::new(self.reason, &message, self.then) }
            }
            None => self,
        }
    }

    /// The same refusal in other words, within the same bounds.
    #[must_use]
    pub(crate) fn saying(self, message: impl AsRef<str>) -> Refusal {
        Refusal { object: self.object, ..Refusal::new(self.reason, message.as_ref(), self.then) }
    }

    /// Whether the Operation has failed for good.
    pub fn is_final(&self) -> bool {
        self.then == Then::Fail
    }

    /// The one word for programs.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    fn new(reason: Reason, message: &str, then: Then) -> Refusal {
        let mut message = printable(message);
        if message.len() > MAX_MESSAGE_BYTES {
            const CUT: &str = "…";
            message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES - CUT.len()));
            message.push_str(CUT);
        }
        Refusal { reason, message, then, object: None }
    }

    /// An error that the same Operation, record and hook would always give again.
    pub(crate) fn of_error(reason: Reason, error: &dyn Error) -> Refusal {
        Refusal::fail(reason, chain(error))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Refusal {}

/// Causes that a message tells. Errors of hookhost have at most three; one that is its own cause must not hang it.
const MAX_CAUSES: usize = 8;

/// The error and its causes on one line: "what: why: why".
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    for _ in 0..MAX_CAUSES {
        let Some(error) = cause else { break };
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// From the errors that the pure functions give. Each is final: the Operation never changes, and what a new revision of the
/// release would change is said in a condition, not run by itself.
macro_rules! refusal_from {
    ($($error:ty),+) => {
        $(impl From<$error> for Refusal {
            fn from(error: $error) -> Refusal {
                Refusal::of_error(error.reason(), &error)
            }
        })+
    };
}
refusal_from!(FindError, EventError, RecordError);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::operation::Operation;
    use hookhost_helm::hook::NotRunnable;

    #[test]
    fn an_errors_causes_are_told_on_one_line() {
        let error = FindError::NotRunnable {
            name: "migrate".into(),
            kind: "Job".into(),
            why: NotRunnable::ParallelismZero,
        };
        let refusal = Refusal::from(error);
        assert_eq!((refusal.reason, refusal.then), (Reason::HookNotRunnable, Then::Fail));
        assert!(
            refusal.message.starts_with("the hook \"migrate\" cannot be run: its spec.parallelism is 0"),
            "{refusal}"
        );
        let error = Operation::from_json(json!({"kind": "Operation"})).unwrap_err();
        assert_eq!(Refusal::from(error).reason, Reason::ValidationFailed);
        assert_eq!(Refusal::from(RecordError::Empty).reason, Reason::ReleaseRecordInvalid);
    }

    #[test]
    fn of_an_event_it_is_told_which_hook_is_refused() {
        let refusal = Refusal::retry_after(5, Reason::DependencyMissing, "there is no Secret");
        let told = refusal.clone().of_step("migrate", Some(Step { number: 2, of: 3 }));
        assert_eq!(told.message, "the hook \"migrate\" (step 2/3): there is no Secret");
        assert_eq!((told.reason, told.then), (refusal.reason, refusal.then));
        assert_eq!(refusal.clone().of_step("migrate", None), refusal);
        let named = Refusal::wait(Reason::HookNotVerified, "the hook \"migrate\" is a test hook");
        let told = named.of_step("migrate", Some(Step { number: 1, of: 2 }));
        assert_eq!(told.message, "the hook \"migrate\" (step 1/2) is a test hook");
    }

    #[test]
    fn a_message_is_one_short_line_whatever_went_into_it() {
        let refusal = Refusal::fail(Reason::HookNotFound, format!("a\nb\u{1b}[31m{}", "é".repeat(10_000)));
        assert!(refusal.message.starts_with("a b [31mé") && refusal.message.ends_with("é…"));
        assert!(refusal.message.len() <= MAX_MESSAGE_BYTES);
    }

    #[test]
    fn waiting_for_a_hook_turns_failing_into_waiting_only() {
        let failed = Refusal::fail(Reason::HookNotFound, "none");
        assert!(failed.is_final());
        assert_eq!(failed.waiting(), Refusal::wait(Reason::HookNotFound, "none"));
        let later = Refusal::retry_after(0, Reason::PolicyHeld, "held");
        assert_eq!(later.then, Then::RetryAfter(1), "never at once");
        assert_eq!(later.clone().waiting(), later);
    }
}
