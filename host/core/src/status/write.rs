//! Writing a status.

mod ended;
mod steps;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::conditions::{Condition, Conditions, time};
use super::message::{self, Noted};
use super::read::{is_finished, lacks_hook, text};
use super::{Event, EventKind, Evidence, NOTE_BYTES, Run, State, Steps, Update};
use crate::api::*;
use crate::outcome::PodRef;
use crate::reason::Reason;
use crate::refusal::{Refusal, Then};
use ended::Lost;
use hookhost_helm::text::{clean, cut};

/// What is to be written so that `current`, an Operation's status, says `state`; nothing where it does, or where it may not
/// because the Operation has ended.
///
/// `evidence` is what is known of `current` besides. `run` is what the Operation's Job says, where there is one. `generation` is the
/// Operation's metadata.generation.
pub fn next(
    current: &Value,
    evidence: Evidence,
    state: &State,
    run: Option<&Run>,
    generation: i64,
    now: Timestamp,
) -> Option<Update> {
    let mut draft = Draft::of(current, evidence, generation, now);
    if is_finished(current) {
        return match state {
            State::HookAvailable { revision } if draft.hook_available(*revision) => draft.finish(current),
            // One that failed for want of the hook has no Job, so nothing is left to do for it.
            State::Obstructed { reason, message } if !lacks_hook(current) => {
                draft.obstructed(*reason, message);
                draft.finish(current)
            }
            _ => None,
        };
    }
    let runs = draft.conditions.is_true(RUNNING);
    match state {
        State::Refused(refusal) if refusal.is_final() => draft.refused(refusal),
        // A Job that runs is neither held nor without a pod: what says so was looked up before. But it may be that hookhost
        // cannot tell any more whether it runs.
        State::Refused(refusal) if runs && !is_about_proof(refusal.reason) => return None,
        State::Pending { .. } if runs && !draft.is_other_job(run) => return None,
        State::Refused(refusal) => draft.blocked(refusal, run),
        State::StepHeld(refusal) => draft.step_held(refusal, run),
        State::EventStopped(refusal) => draft.event_stopped(refusal, run),
        State::Pending { why } => draft.pending(run, why.as_deref()),
        State::Suspended { why } => draft.suspended(run, why),
        State::Running { pod, waiting } => draft.running(run, pod.as_ref(), waiting.as_deref()),
        State::Succeeded { completed, pod } => draft.succeeded(run, *completed, pod.as_ref()),
        State::Failed { why, culprit, pod, finished, log } => {
            let what = format!("{} failed: {}.", draft.job(run), clean(why, 2048).trim_end_matches('.'));
            let has_end = culprit.is_some();
            let (culprit, pod) = (culprit.as_ref(), pod.as_ref());
            let lost = Lost { what, reason: JOB_FAILED, culprit, pod, finished: *finished, log, has_end };
            draft.failed(run, &lost);
        }
        State::Cancelling(by) => draft.cancelling(run, *by),
        State::Cancelled(by) => draft.cancelled(run, *by),
        State::Obstructed { reason, message } => draft.obstructed(*reason, message),
        State::ExternallyDeleted { .. } | State::NamespaceDeleted => {
            let lost = Lost::by_deletion(&draft.job(run), state);
            draft.failed(run, &lost);
        }
        State::HookAvailable { .. } => return None,
    }
    draft.finish(current)
}

/// A status that is being written.
struct Draft {
    /// Without the conditions; always a mapping.
    status: Value,
    conditions: Conditions,
    evidence: Evidence,
    events: Vec<Event>,
    generation: i64,
    now: Timestamp,
}

impl Draft {
    fn of(current: &Value, evidence: Evidence, generation: i64, now: Timestamp) -> Draft {
        let mut status = current.as_object().cloned().unwrap_or_default();
        status.remove("conditions");
        let mut conditions = Conditions::of(current);
        // Of a result it counts whoever reports it.
        for of_type in [ACCEPTED, BLOCKED, RUNNING] {
            if evidence.foreign.has(of_type) {
                conditions.remove(of_type);
            }
        }
        Draft { status: Value::Object(status), conditions, evidence, events: Vec::new(), generation, now }
    }

    fn finish(mut self, current: &Value) -> Option<Update> {
        let mut status = self.status;
        status["conditions"] = self.conditions.into_json();
        // Each Event costs a write. Where the Operation is accepted and has a pod by the time of one status, as in a plain run, that is
        // one transition and one Event: the first one's, since it is what tells that hookhost has taken the Operation.
        if let [accepted, next, ..] = &mut self.events[..]
            && (accepted.reason, next.reason) == (OPERATION_ACCEPTED, OPERATION_RUNNING)
        {
            accepted.note = cut(&format!("{} {}", accepted.note, next.note), NOTE_BYTES);
            self.events.remove(1);
        }
        (status != *current).then_some(Update { status, events: self.events })
    }

    fn set(&mut self, of_type: &str, is_true: bool, reason: &str, message: &str) {
        let condition = Condition { of_type, is_true, reason, message };
        self.conditions.set(&condition, Some(self.generation), self.now);
    }

    fn event(&mut self, kind: EventKind, reason: &'static str, note: &str) {
        self.events.push(Event { kind, reason, note: cut(note, NOTE_BYTES) });
    }

    fn phase(&mut self, phase: &str) {
        self.status["phase"] = json!(phase);
    }

    /// Blocked=False, where it was True, or another controller has written something there.
    fn unblock(&mut self) {
        let is_cleared = self.evidence.foreign.has(BLOCKED) && self.conditions.get(BLOCKED).is_none();
        if self.conditions.is_true(BLOCKED) || is_cleared {
            self.set(BLOCKED, false, UNBLOCKED, message::UNBLOCKED);
        }
    }

    // === refused ===

    fn refused(&mut self, refusal: &Refusal) {
        let (reason, message) = (refusal.reason.as_str(), &refusal.message);
        self.phase(FAILED);
        self.set(ACCEPTED, false, reason, message);
        if refusal.reason == Reason::HookNotFound {
            self.set(BLOCKED, true, reason, message);
        } else {
            self.unblock();
        }
        if self.conditions.is_true(RUNNING) {
            self.set(RUNNING, false, reason, &message::ended(&self.status));
        }
        self.set(FAILED, true, reason, message);
        self.status["finishedAt"] = json!(time(self.now));
        self.event(EventKind::Warning, OPERATION_FAILED, &format!("{reason}: {message}"));
    }

    fn blocked(&mut self, refusal: &Refusal, run: Option<&Run>) {
        if let Some(run) = run {
            // Its Job may be there. Once it is named, none is made in its place.
            self.refer("engineRef", "Job", &run.job_namespace, &run.job_name);
        }
        if !self.conditions.is_true(RUNNING) {
            self.phase(PENDING);
        }
        self.block(refusal);
    }

    /// Blocked=True, with its event where that is new.
    fn block(&mut self, refusal: &Refusal) {
        let (reason, message) = (refusal.reason.as_str(), &refusal.message);
        let is_told = self.conditions.says(BLOCKED, true, reason);
        if is_told && message::counts_down(self.conditions.message(BLOCKED), message) {
            return;
        }
        self.set(BLOCKED, true, reason, message);
        if !is_told && !self.has_reported(refusal.reason) {
            // What ends by itself in time is nothing to warn of.
            let ends_by_itself = matches!(refusal.then, Then::RetryAfter(_));
            let kind = if ends_by_itself { EventKind::Normal } else { EventKind::Warning };
            self.event(kind, OPERATION_BLOCKED, &format!("{reason}: {message}"));
        }
    }

    /// Blocked=True beside whatever else holds.
    fn obstructed(&mut self, why: Reason, message: &str) {
        let reason = why.as_str();
        if self.conditions.says(BLOCKED, true, reason) {
            // Once: an error has other words each time.
            return;
        }
        self.set(BLOCKED, true, reason, message);
        if !self.has_reported(why) {
            self.event(EventKind::Warning, OPERATION_BLOCKED, &format!("{reason}: {message}"));
        }
    }

    /// Whether hookhost has published that the Operation waits for this, though another controller may have written over it.
    fn has_reported(&self, reason: Reason) -> bool {
        self.evidence.foreign.has(BLOCKED) && self.evidence.reported == Some(reason)
    }

    /// Whether the Operation has ended for want of the hook, and does not say yet that the hook is there.
    fn hook_available(&mut self, revision: u32) -> bool {
        let missed = Reason::HookNotFound.as_str();
        let was_missed =
            self.conditions.says(FAILED, true, missed) || self.conditions.says(ACCEPTED, false, missed);
        let is_news = was_missed && !self.conditions.says(BLOCKED, false, HOOK_AVAILABLE);
        if is_news {
            let message = format!(
                "Revision {revision} of the release has the hook. This Operation has ended and does not run again: make a \
                 new one."
            );
            self.set(BLOCKED, false, HOOK_AVAILABLE, &message);
        }
        is_news
    }

    // === accepted ===

    /// What holds from the moment that the Job is made.
    fn accept(&mut self, run: Option<&Run>) {
        self.accept_run(run);
        self.unblock();
    }

    /// Accepted=True, whatever blocks it.
    fn accept_run(&mut self, run: Option<&Run>) {
        let is_new = self.refer_to(run);
        let message = message::accepted(&self.status);
        if is_new {
            self.event(EventKind::Normal, OPERATION_ACCEPTED, &message);
        }
        self.set(ACCEPTED, true, TEMPLATE_VALIDATED, &message);
    }

    /// Makes the status refer to the run; whether it did not before.
    fn refer_to(&mut self, run: Option<&Run>) -> bool {
        if self.is_other_job(run) {
            self.remove_logs();
        }
        let is_new = match run {
            Some(run) => self.refer("engineRef", "Job", &run.job_namespace, &run.job_name),
            None => !self.conditions.is_true(ACCEPTED),
        };
        if let Some(run) = run {
            for (key, name) in [("jobName", &run.job_name), ("hook", &run.hook), ("release", &run.release)] {
                if !name.is_empty() {
                    self.output(key, json!(name));
                }
            }
            if let Some(revision) = run.revision {
                self.output("revision", json!(revision));
            }
            if !run.closure.is_empty() {
                self.output("closure", json!(run.closure));
            }
            if let Some(Steps { event, step, rows }) = &run.steps {
                self.output("event", json!(event));
                self.output("step", json!(step.to_string()));
                self.output("hooks", json!(rows));
            }
            // The decision of a Job changes only before it is named here, when a step of an event starts. Written once, it does not
            // matter how the API server keeps its nulls.
            let is_there = !is_new && self.status.pointer("/outputs/decision").is_some_and(Value::is_object);
            if run.decision.is_object() && !is_there {
                self.output("decision", run.decision.clone());
            }
        }
        is_new
    }

    fn pending(&mut self, run: Option<&Run>, why: Option<&str>) {
        self.accept(run);
        self.phase(PENDING);
        let mut noted = self.noted(false, PENDING);
        if let Some(why) = why {
            noted.add_new(why, self.now);
        }
        let message = noted.under(&message::pending(&self.status));
        self.set(RUNNING, false, PENDING, &message);
    }

    fn suspended(&mut self, run: Option<&Run>, why: &str) {
        self.accept(run);
        self.phase(PENDING);
        if !self.conditions.says(RUNNING, false, JOB_SUSPENDED) {
            let message = message::suspended(&self.status, why);
            self.set(RUNNING, false, JOB_SUSPENDED, &message);
        }
    }

    fn running(&mut self, run: Option<&Run>, pod: Option<&PodRef>, waiting: Option<&str>) {
        let is_new = !self.conditions.is_true(RUNNING);
        // It is no news that one which had begun goes on.
        let is_resumed =
            self.conditions.says(RUNNING, false, JOB_SUSPENDED) && text(&self.status, "startedAt").is_some();
        // What was noted of the step before is not this one's.
        let is_other = self.is_other_job(run);
        let is_parallel = run.is_some_and(|run| run.is_parallel);
        let is_told = self.conditions.says(RUNNING, true, JOB_ACTIVE) && !is_other;
        self.accept(run);
        self.phase(RUNNING);
        self.started(run, self.now);
        let mut noted = if is_other { Noted::none() } else { self.noted(true, JOB_ACTIVE) };
        let shown = self.status.get("logsRef").and_then(|logs| text(logs, "name")).map(str::to_owned);
        if let Some(pod) = pod {
            match shown {
                // The first of them stays named: another is no successor, and the result tells of the one that matters.
                Some(_) if is_told && is_parallel => {}
                Some(shown) if is_told && shown != pod.name => {
                    if noted.has_room() {
                        noted.add(&format!("pod {} came after pod {shown}", pod.name), self.now);
                        self.logs(pod);
                    }
                }
                _ => self.logs(pod),
            }
        }
        if let Some(waiting) = waiting {
            noted.add_new(waiting, self.now);
        }
        let first_line = message::running(&self.status, is_parallel);
        self.set(RUNNING, true, JOB_ACTIVE, &noted.under(&first_line));
        if is_new && !is_resumed {
            let note = noted.under(&first_line);
            self.event(EventKind::Normal, OPERATION_RUNNING, &note);
        }
    }

    // === fields ===

    /// Whether the status is of another Job than the run's: of the step before it.
    fn is_other_job(&self, run: Option<&Run>) -> bool {
        let told = super::job_ref(&self.status);
        run.is_some_and(|run| told.is_some_and(|told| told.name != run.job_name))
    }

    fn started(&mut self, run: Option<&Run>, otherwise: Timestamp) {
        if text(&self.status, "startedAt").is_none() {
            let started = run.and_then(|run| run.started).unwrap_or(otherwise);
            self.status["startedAt"] = json!(time(started));
        }
    }

    /// What the Running condition has noted, if this is what it says.
    fn noted(&self, is_true: bool, reason: &str) -> Noted {
        if self.conditions.says(RUNNING, is_true, reason) {
            Noted::of(self.conditions.message(RUNNING))
        } else {
            Noted::none()
        }
    }

    /// How messages call the Job, before engineRef may name it.
    fn job(&self, run: Option<&Run>) -> String {
        match run {
            Some(run) => {
                message::job(&json!({"engineRef": reference("Job", &run.job_namespace, &run.job_name)}))
            }
            None => message::job(&self.status),
        }
    }

    fn logs(&mut self, pod: &PodRef) {
        self.refer("logsRef", "Pod", &pod.namespace, &pod.name);
        self.output("logsRef", reference("Pod", &pod.namespace, &pod.name));
    }

    /// The logs of the step before are not this one's.
    fn remove_logs(&mut self) {
        for at in ["", "/outputs"] {
            if let Some(map) = self.status.pointer_mut(at).and_then(Value::as_object_mut) {
                map.remove("logsRef");
            }
        }
    }

    /// Makes `field` refer to an object; whether it did not before. What else is in a reference that does, a url for one,
    /// stays.
    fn refer(&mut self, field: &str, kind: &str, namespace: &str, name: &str) -> bool {
        let there = self.status.get(field).unwrap_or(&Value::Null);
        let is = |key, value: &str| there.get(key).and_then(Value::as_str).unwrap_or_default() == value;
        if is("kind", kind) && is("namespace", namespace) && is("name", name) {
            return false;
        }
        self.status[field] = reference(kind, namespace, name);
        true
    }

    /// Sets one of status.outputs; outputs that are no mapping become one.
    fn output(&mut self, key: &str, value: Value) {
        let outputs = &mut self.status["outputs"];
        if !outputs.is_object() {
            *outputs = json!({});
        }
        outputs[key] = value;
    }
}

/// Whether it says that hookhost cannot tell what of the run is its own.
fn is_about_proof(reason: Reason) -> bool {
    matches!(reason, Reason::ClaimInvalid | Reason::ClaimKeyUnavailable)
}

fn reference(kind: &str, namespace: &str, name: &str) -> Value {
    json!({"kind": kind, "namespace": namespace, "name": name})
}
