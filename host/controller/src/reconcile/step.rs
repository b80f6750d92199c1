//! Each *step* of an event is decided again just before it starts: the step before it may have taken hours, and policies, or what
//! they go by, may have changed since.
//!
//! A policy that denies it ends the event there; what holds it back, a policy or a release that is being worked on, is waited for.
//! What has run stays what it is. Its deadline, too, is settled then: a maintenance window leaves less of it, and of the time that
//! the Operation gives the whole event the steps before it have used a part.

use std::sync::Arc;
use std::time::Duration;

use hookhost_core::claim::Claim;
use hookhost_core::keys::APPROVED_BY;
use hookhost_core::keys::CLAIM;
use hookhost_core::loan::Expected;
use hookhost_core::object::ObjectRef;
use hookhost_core::operation::{Approvals, Operation};
use hookhost_core::outcome::Outcome;
use hookhost_core::plan::{self, Staging};
use hookhost_core::refusal::{Refusal, Then};
use hookhost_core::request::{self, Request};
use hookhost_core::selection::{Selection, select};
use hookhost_core::status::{self, Run, State};
use hookhost_core::step::Step;
use hookhost_core::target::Readiness;
use hookhost_core::{Reason, approval, wait};
use hookhost_helm::record::Record;
use jiff::Timestamp;
use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::prepare::Stop;
use super::stage::AGAIN;
use super::start::rejected;
use super::{Context, Subject};
use crate::looks::Action;
use hookhost_cluster::error::{Error, Result};
use hookhost_cluster::job::Job;
use hookhost_cluster::records::Kept;
use hookhost_cluster::resolve::{Awaited, Resolver};
use hookhost_cluster::write::{Renewed, Why};

/// A step that may start now.
struct Decided {
    /// What may change its Job.
    renewal: Option<plan::Renewal>,
    /// The temporary objects that it uses.
    used: Vec<ObjectRef>,
    /// What has to be the chart's when it starts.
    expected: Vec<Expected>,
    /// As long as it is there these may be kept.
    _kept: Kept,
}

/// What of a step's Job changes before it starts.
enum Change {
    /// It is as it is decided now.
    Nothing,
    /// This.
    Renewed(Renewed),
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
        let started = match self.check_job_namespace(&job.namespace) {
            // For good: the Jobs that wait would keep hookhost's RoleBinding, and whoever takes that away waits for its end.
            Err(refusal) => Err(Refusal { then: Then::Fail, ..refusal }.into()),
            Ok(()) => match self.decide_again(subject, jobs, &run, step, &mut awaited).await {
                Ok(decided) => self.start_decided(subject, job, decided).await,
                Err(stop) => Err(stop),
            },
        };
        match started.map_err(|stop| stop.of_step(&run.hook, Some(step))) {
            Ok(action) => {
                self.targets.forget(&subject.key);
                Ok(action)
            }
            Err(Stop::Refused(refusal)) => {
                self.await_targets(subject, &refusal, awaited);
                self.hold_step(subject, jobs, n, refusal).await
            }
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// What the policies say now of the step that this is the run of. The approval, and whose turn it is, were settled for the whole
    /// event when it began; so was that the target is ready, which hooks of the event may change until the last has run.
    async fn decide_again(
        &self,
        subject: &Subject,
        jobs: &[Arc<Job>],
        run: &Run,
        step: Step,
        awaited: &mut Vec<Awaited>,
    ) -> Result<Decided, Stop> {
        let operation = subject.operation()?;
        let (began, now) = (began(subject, jobs), Timestamp::now());
        let left = operation.parameters.time_left(began, now);
        if left.is_some_and(|left| left < 1) {
            return Err(time_is_over(&operation).into());
        }
        let approved = Operation { approvals: Approvals::default(), ..operation.clone() };
        let mut resolver = Resolver::new(&self.reader, self, &subject.key.namespace, awaited);
        let (target, location) = resolver.target(&approved, Readiness::Passed).await?;
        self.check_place(subject, &location.namespace)?;
        if Some(location.revision) != run.revision || location.release != run.release {
            return Err(is_changed(run, &location.release, location.revision).into());
        }
        let wanted = operation.clone();
        let choose = move |record: &Record| select(record, &wanted);
        let selection = resolver.select(&location, choose, Selection::bytes).await?;
        // Its part of the budget is kept as long as anything of it is.
        let (Selection { release, hooks, .. }, share) = selection.into_parts();
        self.check_place(subject, &release.namespace)?;
        let chosen = hooks.get(step.number.wrapping_sub(1)).filter(|_| hooks.len() == step.of);
        let Some(selected) = chosen.filter(|chosen| chosen.hook.name == run.hook) else {
            return Err(is_changed(run, &release.name, release.revision).into());
        };
        self.check_hook(subject, &location, &selected.hook)?;
        let mut request = Request::build(request::Inputs {
            operation: &operation,
            approved_by: self.approved_at_first(&operation, run, began.unwrap_or(now)),
            target,
            release,
            hook: &selected.hook,
            hooks: &selected.others,
            organisation: self.organisation(&subject.key.namespace),
            cluster_id: self.config.cluster_id.clone(),
            now,
        })?;
        if left.is_some() {
            request.requested.active_deadline_seconds = left;
        }
        // What the hooks of an event use together was created with the first that does.
        let created = jobs.iter().filter_map(|job| job.borrowed()).flat_map(|borrowed| &borrowed.objects);
        let created: Vec<ObjectRef> = created.cloned().collect();
        let uncovered = self.uncovered(&location, &selected.hook);
        let (used, expected) = self.uses(subject, &operation, selected, &request, &created, uncovered)?;
        let staging = Staging { step: Some(step), ..Staging::default() };
        let renewal = plan::Renewal::of(&self.decide(subject, &request, staging)?);
        drop((request, hooks));
        // From here on the API server is asked, which may take long: nothing is left of the record but what that takes.
        let bytes = expected.iter().map(Expected::bytes).chain(renewal.as_ref().map(plan::Renewal::bytes));
        let kept = self.reader.keep(&subject.key.namespace, bytes.sum())?;
        drop(share);
        Ok(Decided { renewal, used, expected, _kept: kept })
    }

    /// Who approved the Operation when its event began. The control plane's key may be another one since, or the claim; a Job that was
    /// made before hookhost wrote down who it was does not say it.
    fn approved_at_first(&self, operation: &Operation, run: &Run, began: Timestamp) -> Option<String> {
        if let Some(approved_by) = run.decision.get(APPROVED_BY).and_then(Value::as_str) {
            return Some(approved_by.to_owned());
        }
        let key = self.config.approval_key.as_deref();
        approval::check(&operation.approvals, key, &operation.name, began).ok().flatten()
    }

    /// Starts a step, if it still waits, and all that it may read is the chart's in this very moment.
    async fn start_decided(&self, subject: &Subject, job: &Job, decided: Decided) -> Result<Action, Stop> {
        let change = match &decided.renewal {
            Some(renewal) => self.renew(subject, job, renewal).await?,
            None => Change::Nothing,
        };
        let renewed = match change {
            Change::Nothing => None,
            Change::Renewed(renewed) => Some(renewed),
            Change::Again => return Ok(Action::requeue(AGAIN)),
            Change::Refused(refusal) => return Err(refusal.into()),
        };
        let Some(job) = self.read_waiting(subject, job).await? else { return Ok(Action::requeue(AGAIN)) };
        self.check_content(&decided.expected, &decided.used).await??;
        let started = match self.let_start(&subject.uid, &job, renewed).await {
            Ok(action) => Ok(Ok(action)),
            Err(error) => not_let_start(&job, &error).map_or(Err(error), |refusal| Ok(Err(refusal))),
        };
        // As with a Job that cannot be created, what comes again and again is reported, and waited for no longer than may be.
        Ok(self.or_refused(subject, started, |error| {
            let message =
                format!("hookhost cannot let the Job {}/{} start now: {error}", job.namespace, job.name);
            Err(Refusal::wait(error.reason(), message))
        })??)
    }

    /// A step's Job as the API server has it, if it still waits for its turn and the Operation is still wanted: the watch may not have
    /// told yet that it was let start, or that the Operation was cancelled.
    async fn read_waiting(&self, subject: &Subject, job: &Job) -> Result<Option<Arc<Job>>> {
        let keys = self.keyring.needed()?;
        let now = self.read_again(subject, job).await?;
        Ok(now.filter(|now| now.is_unopened(&keys) && !now.is_deleted()))
    }

    /// What of the Job changes by what is decided now, with a claim over that.
    async fn renew(&self, subject: &Subject, job: &Job, renewal: &plan::Renewal) -> Result<Change> {
        let Some(whole) = self.reader.whole_job(&job.namespace, &job.name).await? else {
            return Ok(Change::Again);
        };
        // There is one tree of it, whatever it has.
        let DynamicObject { metadata, data: mut now, .. } = whole;
        now["metadata"] = json!(metadata);
        let keys = self.keyring.needed()?;
        let spec = now.get("spec").unwrap_or(&Value::Null);
        let is_genuine = Claim::of_job(&now, spec).is_some_and(|claim| claim.is_genuine(&keys));
        let version = metadata.resource_version.unwrap_or_default();
        if metadata.uid.as_ref() != Some(&job.uid) || !is_genuine {
            return Ok(Change::Again);
        }
        let mut patch = match renewal.patch(&now) {
            Ok(Some(patch)) => patch,
            Ok(None) => return Ok(Change::Nothing),
            Err(error) => return Ok(Change::Refused(error.into())),
        };
        if let (Some(into), Some(annotations)) = (
            now.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut),
            patch.pointer("/metadata/annotations").and_then(Value::as_object),
        ) {
            into.extend(annotations.clone());
        }
        patch["metadata"]["annotations"][CLAIM] = keys.claim_job(&subject.uid, &now).into();
        Ok(Change::Renewed(Renewed { patch, version }))
    }

    /// Reports why the next step does not start now; or ends the event there.
    async fn hold_step(
        &self,
        subject: &Subject,
        jobs: &[Arc<Job>],
        n: usize,
        refusal: Refusal,
    ) -> Result<Action> {
        let Some((before, job)) = n.checked_sub(1).and_then(|last| jobs.get(last)).zip(jobs.get(n)) else {
            // Nothing of the event has run: its wait is that of any Operation.
            return match jobs.get(n) {
                Some(job) if self.read_waiting(subject, job).await?.is_none() => Ok(Action::requeue(AGAIN)),
                _ => self.refuse(subject, refusal).await,
            };
        };
        let last = n - 1;
        let done = self.observe(subject, before, &before.object()).await?;
        let ended = match &done {
            Outcome::Succeeded { completed, .. } => *completed,
            _ => None,
        };
        let timeout = wait::Timeout::of(&subject.object.data, self.config.wait_timeout);
        // Where nobody knows when the one before ended, from when it was first told that it had.
        let since = ended.or_else(|| status::not_running_since(&subject.status));
        let rest = timeout.rest(since, Timestamp::now());
        let refusal = match rest {
            None if !refusal.is_final() => timeout.refusal_of_step(&refusal),
            _ => refusal,
        };
        if refusal.is_final() {
            if self.read_waiting(subject, job).await?.is_none() {
                return Ok(Action::requeue(AGAIN));
            }
            let run = self.run(subject, jobs, last, None);
            return self.write(subject, &State::EventStopped(refusal), run.as_ref()).await;
        }
        let run = self.run(subject, jobs, last, Some(&done));
        let pause = self.pause(subject, &refusal);
        let began = began(subject, jobs);
        let left = subject.operation().ok().and_then(|it| it.parameters.time_left(began, Timestamp::now()));
        let left = left.map(|left| Duration::from_secs(left.max(1).unsigned_abs()));
        let written = self.write(subject, &State::StepHeld(refusal), run.as_ref()).await?;
        Ok(pause.into_iter().chain(rest).chain(left).fold(written, Action::or_sooner))
    }
}

/// Why the API server does not let a step's Job start, where admission denies it or what it would be is wrong.
fn not_let_start(job: &Job, error: &Error) -> Option<Refusal> {
    let Error::Api(error) = error else { return None };
    let (why, message) = Why::of(error).filter(|(why, _)| *why != Why::Forbidden)?;
    Some(rejected(&job.namespace, &job.name, message, why))
}

/// When the first step of these began: as the Operation says, since a Job that is suspended begins anew when it is resumed.
fn began(subject: &Subject, jobs: &[Arc<Job>]) -> Option<Timestamp> {
    let first = jobs.first().and_then(|job| Run::of(&job.object())?.started);
    status::started_at(&subject.status).into_iter().chain(first).min()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use hookhost_cluster::client::{self, Call, Verb};
    use hookhost_cluster::resource::job_resource;

    #[test]
    fn a_hook_that_admission_denies_waits_and_one_that_is_no_job_any_more_ends_the_event() {
        let job = json!({"metadata": {"namespace": "shop", "name": "rollback-2", "uid": "u"}, "spec": {}});
        let job = Job::read(&job.to_string()).unwrap();
        let call = Call::of_resource(Verb::Patch, &job_resource(), Some("shop"), "rollback-2");
        let message = "not on Sundays".to_owned();
        let told = |error: client::Error| not_let_start(&job, &Error::Api(error));
        let denied = told(client::Error::Denied { call: call.clone(), message: message.clone() }).unwrap();
        assert_eq!((denied.reason, denied.then), (Reason::AdmissionDenied, Then::Wait));
        assert!(denied.message.contains("shop/rollback-2: not on Sundays"), "{denied}");
        let wrong = client::Error::Rejected { call: call.clone(), code: 422, message: message.clone() };
        let wrong = told(wrong).unwrap();
        assert_eq!((wrong.reason, wrong.then), (Reason::JobRejected, Then::Fail));
        assert_eq!(told(client::Error::Busy { call, retry_after: None, message }), None, "tried again");
    }
}
