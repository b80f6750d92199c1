//! Writing how a run has *ended*.

use jiff::Timestamp;
use serde_json::json;

use super::Draft;
use crate::api::*;
use crate::outcome::{Culprit, PodRef};
use crate::status::conditions::time;
use crate::status::message::{self, Failure, Noted};
use crate::status::read::{job_ref, text};
use crate::status::{CancelledBy, EventKind, MESSAGE_BYTES, NOTE_BYTES, Run, State};
use hookhost_helm::text::clean;

/// How a run was lost.
pub(super) struct Lost<'a> {
    /// A sentence.
    pub(super) what: String,
    pub(super) reason: &'static str,
    pub(super) culprit: Option<&'a Culprit>,
    pub(super) pod: Option<&'a PodRef>,
    pub(super) finished: Option<Timestamp>,
    pub(super) log: &'a str,
    /// Whether it is said, or does not matter, how a pod ended.
    pub(super) has_end: bool,
}

impl<'a> Lost<'a> {
    /// By the deletion of the Job, or of its namespace; `job` is how messages call the Job.
    pub(super) fn by_deletion(job: &str, state: &'a State) -> Lost<'a> {
        let lost = Lost {
            what: format!("The namespace of {job} is being deleted, and it had not ended."),
            reason: EXTERNAL_DELETION,
            culprit: None,
            pod: None,
            finished: None,
            log: "",
            has_end: true,
        };
        let State::ExternallyDeleted { pod, running, went_on, uncounted, culprit, log } = state else {
            return lost;
        };
        let when = if *running { "while its pod was still at work" } else { "before it had ended" };
        let mut what = format!("{job} was deleted by somebody else {when}.");
        if let Some(PodRef { name, .. }) = went_on {
            let name = clean(name, 253);
            what.push_str(&format!(
                " The pod {name} went on without it and ended with exit code 0: what the hook does may be done."
            ));
        }
        if let Some(PodRef { name, .. }) = uncounted {
            let name = clean(name, 253);
            what.push_str(&format!(
                " The pod {name} had ended with exit code 0, but the Job's controller had not counted it: what the hook does may \
                 be done, or somebody has made that pod."
            ));
        }
        let has_end = culprit.is_some() || went_on.is_some() || uncounted.is_some();
        Lost { what, culprit: culprit.as_ref(), pod: pod.as_ref(), log, has_end, ..lost }
    }
}

impl Draft {
    pub(super) fn succeeded(
        &mut self,
        run: Option<&Run>,
        completed: Option<Timestamp>,
        pod: Option<&PodRef>,
    ) {
        let completed = completed.unwrap_or(self.now);
        self.accept(run);
        self.end(run, SUCCEEDED, JOB_SUCCEEDED, completed);
        let message = message::succeeded(&self.status, completed);
        self.set(SUCCEEDED, true, JOB_SUCCEEDED, &message);
        self.output("completionTime", json!(time(completed)));
        self.output("exitCode", json!(0));
        if let Some(pod) = pod {
            self.logs(pod);
        }
        self.event(EventKind::Normal, OPERATION_SUCCEEDED, &message);
    }

    pub(super) fn failed(&mut self, run: Option<&Run>, lost: &Lost<'_>) {
        // Read before the end overwrites it.
        let noted = if self.is_other_job(run) {
            Noted::none()
        } else if self.conditions.is_true(RUNNING) {
            self.noted(true, JOB_ACTIVE)
        } else {
            self.noted(false, PENDING)
        };
        let culprit = lost.culprit;
        self.accept(run);
        self.end(run, FAILED, lost.reason, lost.finished.unwrap_or(self.now));
        let (what, has_end) = (lost.what.clone(), lost.has_end);
        let failure = Failure { what, culprit, noted: &noted, log: lost.log, has_end };
        let message = failure.told(MESSAGE_BYTES);
        self.set(FAILED, true, lost.reason, &message);
        if lost.reason == EXTERNAL_DELETION {
            self.set(CANCELLED, true, EXTERNAL_DELETION, &lost.what);
        }
        if let Some(code) = culprit.and_then(|culprit| culprit.exit_code) {
            self.output("exitCode", json!(code));
        }
        if let Some(pod) = lost.pod {
            self.logs(pod);
        }
        self.event(EventKind::Warning, OPERATION_FAILED, &failure.told(NOTE_BYTES));
    }

    /// Its pods may take their whole grace period to end: until then the phase stays.
    pub(super) fn cancelling(&mut self, run: Option<&Run>, by: CancelledBy) {
        self.accept(run);
        if text(&self.status, "phase").is_none() {
            self.phase(PENDING);
        }
        let is_running = self.conditions.is_true(RUNNING);
        let message = message::cancelling(&self.status, by);
        self.set(RUNNING, is_running, CANCELLED_BY_USER, &message);
    }

    pub(super) fn cancelled(&mut self, run: Option<&Run>, by: CancelledBy) {
        let has_job = run.is_some() || job_ref(&self.status).is_some();
        if has_job {
            self.accept(run);
        }
        self.end(run, CANCELLED, CANCELLED_BY_USER, self.now);
        let message = message::cancelled(&self.status, by);
        if !has_job {
            self.set(ACCEPTED, false, CANCELLED_BY_USER, &message);
        }
        self.set(CANCELLED, true, CANCELLED_BY_USER, &message);
        self.event(EventKind::Normal, OPERATION_CANCELLED, &message);
    }

    /// What holds of every run that is over.
    pub(super) fn end(&mut self, run: Option<&Run>, phase: &str, reason: &str, finished: Timestamp) {
        self.phase(phase);
        self.unblock();
        if run.is_some_and(|run| run.started.is_some()) {
            self.started(run, finished);
        }
        self.status["finishedAt"] = json!(time(finished));
        if job_ref(&self.status).is_some() || self.conditions.get(RUNNING).is_some() {
            self.set(RUNNING, false, reason, &message::ended(&self.status));
        }
    }
}
