//! To *observe* is to count what is asked of the API server.

use std::fmt::Debug;

use strum::IntoStaticStr;

use crate::client::{Call, Error};

/// Counts.
pub trait Observe: Debug + Send + Sync {
    /// A write has ended.
    fn write(&self, call: &Call, outcome: WriteOutcome);

    /// This process holds the lease now, or does not.
    fn leads(&self, is_leader: bool);
}

/// How a write to the API server ended.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum WriteOutcome {
    /// Done.
    Ok,
    /// Not done, because somebody else had written.
    Conflict,
    /// Not done, because the API server or a webhook refused.
    Rejected,
    /// Not known: no answer, or given up with the lease.
    Unanswered,
}

impl WriteOutcome {
    /// The outcome of a write that ended with this error, or none.
    pub fn of(error: Option<&Error>) -> WriteOutcome {
        match error {
            None => WriteOutcome::Ok,
            Some(Error::Conflict { .. } | Error::AlreadyExists { .. }) => WriteOutcome::Conflict,
            Some(
                Error::Unreachable { .. }
                | Error::TimedOut { .. }
                | Error::Unreadable { .. }
                | Error::NotLeader(_),
            ) => WriteOutcome::Unanswered,
            Some(_) => WriteOutcome::Rejected,
        }
    }

    /// The label's value in metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
