//! A *problem* is why a policy cannot be asked, or gave no answer: for its status, its record and the Operations that
//! wait for it.

use hookhost_core::Reason;
use hookhost_core::refusal::chain;
use hookhost_helm::text::printable;

/// Bytes of a problem's message: several policies' problems fit one condition of an Operation.
const MESSAGE_BYTES: usize = 2048;

/// Why a policy cannot be asked or gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// The one word for programs.
    pub reason: Reason,
    /// What is wrong and what to do, on one line.
    pub message: String,
}

impl Problem {
    pub(super) fn new(reason: Reason, message: impl AsRef<str>) -> Problem {
        let mut message = printable(message.as_ref());
        if message.len() > MESSAGE_BYTES {
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES));
            message.push('…');
        }
        Problem { reason, message }
    }
}

/// The sandbox's errors, with what to do about them.
impl From<&hookhost_sandbox::Error> for Problem {
    fn from(error: &hookhost_sandbox::Error) -> Problem {
        Problem::new(error.reason(), format!("{}. {}", chain(error), error.advice()))
    }
}
