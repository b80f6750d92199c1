//! Each *step* of an event is decided again just before it starts: the step before it may have taken hours, and policies, or what
//! they go by, may have changed since.
//!
//! A policy that denies it ends the event there; what holds it back, a policy or a release that is being worked on, is waited for.
//! What has run stays what it is. Its deadline, too, is settled then: a maintenance window leaves less of it, and of the time that
//! the Operation gives the whole event the steps before it have used a part.

use std::sync::Arc;
use std::time::Duration;

use hookhost_core::claim::{CLAIM, Claim};
use hookhost_core::clone::Step;
use hookhost_core::operation::{Approvals, Operation};
use hookhost_core::outcome::Outcome;
use hookhost_core::plan::{self, Plan, Staging};
use hookhost_core::record::Record;
use hookhost_core::refusal::Refusal;
use hookhost_core::request::{self, Request};
use hookhost_core::selection::{Selected, Selection, select};
use hookhost_core::status::{Run, State};
use hookhost_core::{Reason, approval, wait};
use jiff::Timestamp;
use serde_json::Value;

use super::ahead::Ahead;
use super::prepare::Stop;
use super::stage::AGAIN;
use super::{Context, Subject};
use crate::error::Result;
use crate::looks::Action;
use crate::watch::{Awaited, Job, to_json};
use crate::write::Renewed;

/// What of a step's Job changes before it starts.
enum Renewal {
    /// It is as it is decided now.
    Nothing,
    /// This.
    Changes(Renewed),
    /// It was changed or deleted in this very moment: the next reconcile tells what it is.
    Again,
    /// The decision does not fit into it.
    Refused(Refusal),
}

impl Context {
    /// Starts a step whose turn it is, or reports why it does not start now.
    pub(super) async fn start_step(&self, subject: &Subject, jobs: &[Arc<Job>], n: usize) -> Result<Action> {
        let Some((job, run, step)) =
            jobs.get(n).and_then(|job| Some((job, Run::of(&job.object())?, job.step?)))
        else {
            return Ok(Action::await_change());
        };
        let mut awaited = Vec::new();
        let decided = self.decide_again(subject, &run, step, began(jobs), &mut awaited).await;
        match decided.map_err(|stop| stop.of_step(&run.hook, Some(step))) {
            Ok(plan) => {
                self.targets.forget(&subject.key);
                match self.renew(subject, job, &plan).await? {
                    Renewal::Nothing => self.let_start(job, None).await,
                    Renewal::Changes(renewed) => self.let_start(job, Some(renewed)).await,
                    Renewal::Again => Ok(Action::requeue(AGAIN)),
                    Renewal::Refused(refusal) => self.hold_step(subject, jobs, n, refusal).await,
                }
            }
            Err(Stop::Refused(refusal)) => {
                self.await_targets(subject, &refusal, awaited);
                self.hold_step(subject, jobs, n, refusal).await
            }
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// What the policies say now of the step that this is the run of. The approval, and whose turn it is, were settled for the whole
    /// event when it began.
    async fn decide_again(
        &self,
        subject: &Subject,
        run: &Run,
        step: Step,
        began: Option<Timestamp>,
        awaited: &mut Vec<Awaited>,
    ) -> Result<Plan, Stop> {
        let operation = subject.operation()?;
        let now = Timestamp::now();
        let left = operation.parameters.time_left(began, now);
        if left.is_some_and(|left| left < 1) {
            return Err(time_is_over(&operation).into());
        }
        let key = self.config.approval_key.as_deref();
        let approved_by =
            approval::check(&operation.approvals, key, &operation.name, began.unwrap_or(now)).ok().flatten();
        let approved = Operation { approvals: Approvals::default(), ..operation.clone() };
        let mut ahead = Ahead::never();
        let (target, location) = self.target(subject, &approved, awaited, &mut ahead).await?;
        self.check_place(subject, &location.namespace)?;
        if Some(location.revision) != run.revision || location.release != run.release {
            return Err(is_changed(run, &location.release, location.revision).into());
        }
        let wanted = operation.clone();
        let choose = move |record: &Record| select(record, &wanted);
        let selection = self.record(subject, &location, &mut ahead, choose, Selection::bytes).await?;
        // Its part of the budget is kept as long as it is.
        let (Selection { release, hooks, .. }, _share) = selection.into_parts();
        self.check_place(subject, &release.namespace)?;
        let chosen = hooks.get(step.number.wrapping_sub(1)).filter(|_| hooks.len() == step.of);
        let Some(Selected { hook, others }) = chosen.filter(|chosen| chosen.hook.name == run.hook) else {
            return Err(is_changed(run, &release.name, release.revision).into());
        };
        let mut request = Request::build(request::Inputs {
            operation: &operation,
            approved_by,
            target,
            release,
            hook,
            hooks: others,
            organisation: self.organisation(&subject.key.namespace),
            cluster_id: self.config.cluster_id.clone(),
            now,
        })?;
        if left.is_some() {
            request.requested.active_deadline_seconds = left;
        }
        let staging = Staging { step: Some(step), ..Staging::default() };
        Ok(self.decide(subject, &request, staging)?)
    }

    /// What of the Job changes by the plan, with a claim over that.
    async fn renew(&self, subject: &Subject, job: &Job, plan: &Plan) -> Result<Renewal> {
        let Some(whole) = self.reader.whole_job(&job.namespace, &job.name).await? else {
            return Ok(Renewal::Again);
        };
        let mut now = to_json(&whole);
        let keys = self.keyring.needed()?;
        let spec = now.get("spec").unwrap_or(&Value::Null);
        let is_genuine = Claim::of_job(&now, spec).is_some_and(|claim| claim.is_genuine(&keys));
        let version = whole.metadata.resource_version.unwrap_or_default();
        if whole.metadata.uid.as_ref() != Some(&job.uid) || !is_genuine {
            return Ok(Renewal::Again);
        }
        let mut patch = match plan::renewal(&now, plan) {
            Ok(Some(patch)) => patch,
            Ok(None) => return Ok(Renewal::Nothing),
            Err(error) => return Ok(Renewal::Refused(error.into())),
        };
        if let (Some(into), Some(annotations)) = (
            now.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut),
            patch.pointer("/metadata/annotations").and_then(Value::as_object),
        ) {
            into.extend(annotations.clone());
        }
        patch["metadata"]["annotations"][CLAIM] = keys.claim_job(&subject.uid, &now).into();
        Ok(Renewal::Changes(Renewed { patch, version }))
    }

    /// Reports why the next step does not start now; or ends the event there.
    async fn hold_step(
        &self,
        subject: &Subject,
        jobs: &[Arc<Job>],
        n: usize,
        refusal: Refusal,
    ) -> Result<Action> {
        let last = n.saturating_sub(1);
        let Some(before) = jobs.get(last) else { return Ok(Action::await_change()) };
        let done = self.observe(subject, before, &before.object()).await?;
        let ended = match &done {
            Outcome::Succeeded { completed, .. } => *completed,
            _ => None,
        };
        let timeout = wait::Timeout::of(&subject.object.data, self.config.wait_timeout);
        let rest = timeout.rest(ended.or(subject.created()), Timestamp::now());
        let refusal = match rest {
            None if !refusal.is_final() => timeout.refusal_of_step(&refusal),
            _ => refusal,
        };
        if refusal.is_final() {
            let run = self.run(subject, jobs, last, None);
            return self.write(subject, &State::EventStopped(refusal), run.as_ref()).await;
        }
        let run = self.run(subject, jobs, last, Some(&done));
        let pause = self.pause(subject, &refusal);
        let left =
            subject.operation().ok().and_then(|it| it.parameters.time_left(began(jobs), Timestamp::now()));
        let left = left.map(|left| Duration::from_secs(left.max(1).unsigned_abs()));
        let written = self.write(subject, &State::StepHeld(refusal), run.as_ref()).await?;
        Ok(pause.into_iter().chain(rest).chain(left).fold(written, Action::or_sooner))
    }
}

/// When the first step of these began.
fn began(jobs: &[Arc<Job>]) -> Option<Timestamp> {
    Run::of(&jobs.first()?.object())?.started
}

fn time_is_over(operation: &Operation) -> Refusal {
    let whole = operation.parameters.numbers.active_deadline_seconds.unwrap_or_default();
    let message = format!(
        "the {whole} seconds that the Operation gives all hooks of the event (parameters.activeDeadlineSeconds) were over before \
         this one could start"
    );
    Refusal::fail(Reason::DeadlineExceeded, message)
}

fn is_changed(run: &Run, release: &str, revision: u32) -> Refusal {
    let before = run.revision.unwrap_or_default();
    let message = format!(
        "the event began with the hooks of revision {before} of the release {}, and now revision {revision} of {release} is deployed, or \
         the Operation asks for other hooks: those that are left are not run. Make a new Operation",
        run.release
    );
    Refusal::fail(Reason::ReleaseChanged, message)
}
