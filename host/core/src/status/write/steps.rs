//! What a status says between two hooks of an event. `run` is that of the last hook which has run.

use super::super::{EventKind, Run, message};
use super::Draft;
use crate::api::*;
use crate::refusal::Refusal;

impl Draft {
    /// The next hook does not start now.
    pub(super) fn step_held(&mut self, refusal: &Refusal, run: Option<&Run>) {
        // It may be blocked already, and stays so.
        self.accept_run(run);
        self.started(run, self.now);
        self.phase(PENDING);
        self.set(RUNNING, false, PENDING, &message::ended(&self.status));
        self.block(refusal);
    }

    /// The next hook never starts.
    pub(super) fn event_stopped(&mut self, refusal: &Refusal, run: Option<&Run>) {
        let (reason, message) = (refusal.reason.as_str(), &refusal.message);
        self.accept(run);
        self.end(run, FAILED, reason, self.now);
        self.set(FAILED, true, reason, message);
        self.event(EventKind::Warning, OPERATION_FAILED, &format!("{reason}: {message}"));
    }
}
