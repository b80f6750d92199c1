//! A *status* is what an Operation's status says of its run: phase, conditions, outputs, and where the logs and the Job are.
//!
//! [`next`] is a function of the status that is there and the [`State`] that was found; it gives the whole new status, or nothing
//! where nothing is to be written. It may be called as often as one likes, by several hookhosts, at any time: the same state
//! again gives nothing.
//!
//! # What it keeps to
//! - A finished status stays as it is. Whether it is finished its finishedAt and its conditions tell, never its phase, which
//!   other controllers overwrite. [`restore`] puts back what they have overwritten.
//! - A phase Failed, Succeeded or Cancelled has the condition of that name, so the result is in two places.
//! - Conditions of other types and outputs that are not hookhost's are left alone. An Accepted, Blocked or Running that another
//!   controller has written ([`Foreign`]) tells nothing here, and does not outlast the next write.
//! - The number of writes does not grow with the time that a run takes. While the Job runs, its pods and what they wait for are
//!   told [`NOTICES`] times at most; then the next write is the result. Only who suspends and resumes the Job again and again makes
//!   for a write each time: hookhost waits ever longer before the next of these. While an Operation is blocked, a message that merely
//!   counts down is not written.

mod conditions;
mod message;
mod overwritten;
mod patch;
mod read;
mod restore;
mod run;
#[cfg(test)]
mod tests;
mod write;

use jiff::Timestamp;
pub use message::{NOTICES, gist, missed};
pub use overwritten::{note_overwritten, writer};
pub use patch::patch;
pub use read::{
    JobRef, blocked_reason, has_started, is_cancelling, is_finished, is_overwritten, is_running,
    is_suspended, job_ref, lacks_hook, message, not_running_since, phase, reason, started_at,
};
pub use restore::restore;
pub use run::{Run, StepRow, Steps};
use serde_json::Value;
use strum::IntoStaticStr;
pub use write::next;

pub use crate::foreign::{Evidence, Foreign};
use crate::outcome::{Culprit, Outcome, PodRef};
use crate::reason::Reason;
use crate::refusal::Refusal;

/// Bytes of a condition's message. Kubernetes takes so many characters.
pub const MESSAGE_BYTES: usize = 32 * 1024;
/// Bytes of an event's note: Kubernetes' limit.
pub const NOTE_BYTES: usize = 1024;
/// Bytes of a log in a message: half of it, so that all else that belongs there fits.
pub const LOG_BYTES: usize = MESSAGE_BYTES / 2;

/// What was found of an Operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It does not run now, or never will.
    Refused(Refusal),
    /// Hooks of its event have run, and the next does not now: the run is that of the last.
    StepHeld(Refusal),
    /// Hooks of its event have run, and the next never will: the run is that of the last.
    EventStopped(Refusal),
    /// Its Job is made and has no pod yet.
    Pending {
        /// Why none can be made.
        why: Option<String>,
    },
    /// Somebody else has suspended its Job, before it started or while it ran.
    Suspended {
        /// Kubernetes' reason and message.
        why: String,
    },
    /// Its Job has a pod.
    Running {
        /// The newest.
        pod: Option<PodRef>,
        /// Why it cannot start.
        waiting: Option<String>,
    },
    /// Its Job is complete.
    Succeeded {
        /// When.
        completed: Option<Timestamp>,
        /// The pod that succeeded.
        pod: Option<PodRef>,
    },
    /// Its Job has failed.
    Failed {
        /// Kubernetes' reason and message.
        why: String,
        /// The container or pod that failed.
        culprit: Option<Culprit>,
        /// The culprit's pod, else the newest.
        pod: Option<PodRef>,
        /// When.
        finished: Option<Timestamp>,
        /// The last lines of the culprit's log; [`crate::outcome::tail`] makes them. May be empty.
        log: String,
    },
    /// It was cancelled, and its Job and pods are being deleted.
    Cancelling(CancelledBy),
    /// It was cancelled, and nothing of it runs any more.
    Cancelled(CancelledBy),
    /// Something that an administrator must repair keeps hookhost from following its run, or from finishing what is left to do
    /// after it. What was known of the run stays.
    Obstructed {
        /// The word for programs.
        reason: Reason,
        /// What is wrong, where, and what to do.
        message: String,
    },
    /// Somebody else has deleted its Job before it ended.
    ExternallyDeleted {
        /// The culprit's pod, else the newest that was left.
        pod: Option<PodRef>,
        /// Whether a pod was still at work then.
        running: bool,
        /// A pod that went on without the Job and succeeded.
        went_on: Option<PodRef>,
        /// A pod that had succeeded before, but was not counted.
        uncounted: Option<PodRef>,
        /// The container or pod that had failed, if one had.
        culprit: Option<Culprit>,
        /// The last lines of the culprit's log. May be empty.
        log: String,
    },
    /// The namespace of its Job is being deleted, and the Job had not ended.
    NamespaceDeleted,
    /// It has failed because the chart did not have the hook, and now a revision of the release has it.
    HookAvailable {
        /// That revision.
        revision: u32,
    },
}

impl State {
    /// The state of an Operation whose Job nobody of ours deletes; `log` is the end of the culprit's log.
    pub fn of(outcome: Outcome, log: String) -> State {
        match outcome {
            Outcome::NotStarted { why } => State::Pending { why },
            Outcome::Suspended { why } => State::Suspended { why },
            Outcome::Running { pod, waiting } => State::Running { pod, waiting },
            Outcome::Succeeded { completed, pod } => State::Succeeded { completed, pod },
            Outcome::Failed { why, culprit, pod, finished } => {
                State::Failed { why, culprit, pod, finished, log }
            }
            Outcome::Deleted { pod, running, went_on, uncounted, culprit } => {
                State::ExternallyDeleted { pod, running, went_on, uncounted, culprit, log }
            }
        }
    }

    /// For what the Operation waits by this; none where it runs, is over, or waits for nothing but its pod.
    pub fn waits_for(&self) -> Option<Reason> {
        match self {
            State::Refused(refusal) | State::StepHeld(refusal) => {
                (!refusal.is_final()).then_some(refusal.reason)
            }
            State::Obstructed { reason, .. } => Some(*reason),
            _ => None,
        }
    }
}

/// How somebody cancelled an Operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelledBy {
    /// By the annotation for it.
    Annotation,
    /// By deleting the Operation.
    Deletion,
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// The whole new status.
    pub status: Value,
    /// The events to send once the status is written: one for each step that the Operation has made, in order. OperationAccepted is
    /// always among those of an Operation that has a Job; where its pod runs by then, the same event says so.
    pub events: Vec<Event>,
}

/// An event about the Operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Normal or Warning.
    pub kind: EventKind,
    /// One of the API's words, for example "OperationRunning".
    pub reason: &'static str,
    /// For people; at most [`NOTE_BYTES`].
    pub note: String,
}

/// The type of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[allow(missing_docs)] // the words are the API's own
pub enum EventKind {
    Normal,
    Warning,
}

impl EventKind {
    /// As in the API.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}
