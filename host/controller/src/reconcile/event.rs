//! All hooks of an *event* are run one after the other, as Helm would: each by a Job of its own, a step.
//!
//! All Jobs are made before the first may start, suspended, and all that they borrow: nothing is begun of which it is known by then
//! that it cannot be done, and what is left to do is in the API server. Each is [decided again](super::step), and let start, when the
//! one before it is complete; if one is not, the others are never started. Nor are they once another revision of the release is
//! deployed: their hooks are those of the revision that the event began with. Their Jobs are kept until the last is over, since they
//! are what is known of the steps that have been.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hookhost_core::loan::MAX_LOANS;
use hookhost_core::outcome::{self, Outcome, Warnings};
use hookhost_core::status::{self, Run, State, StepRow, Steps};
use hookhost_core::step::Step;
use serde_json::Value;

use super::start::{Own, nothing_left};
use super::{Context, Subject, UNWATCHED};
use crate::looks::Action;
use hookhost_cluster::error::Result;
use hookhost_cluster::job::Job;

impl Context {
    /// Goes on with an event of which Jobs were made.
    pub(super) async fn event(&self, subject: &Subject, jobs: &[Arc<Job>]) -> Result<Action> {
        let jobs = in_order(jobs);
        // The status names a Job only once one was let start: then those that are left do not begin anew.
        let has_begun = status::job_ref(&subject.status).is_some() || self.started.of(&subject.uid).is_some();
        let keys = self.keyring.needed()?;
        if jobs.iter().all(|job| job.is_untouched(&keys)) && !has_begun {
            return self.restage(subject, &jobs).await;
        }
        let jobs = match self.all_steps(subject, jobs).await? {
            AllSteps::Found(jobs) => jobs,
            AllSteps::Lost(action) => return Ok(action),
        };
        let are_watched = jobs.iter().all(|job| job.is_watched);
        jobs.iter().for_each(|job| self.lender.owe(job));
        let action = self.next_step(subject, &jobs).await?;
        Ok(if are_watched { action } else { action.or_sooner(UNWATCHED) })
    }

    /// Goes on with the steps of an event that has begun.
    async fn next_step(&self, subject: &Subject, jobs: &[Arc<Job>]) -> Result<Action> {
        let keys = self.keyring.needed()?;
        let Some(current) = jobs.iter().position(|job| !job.is_complete()) else {
            return self.tell(subject, jobs, jobs.len().saturating_sub(1)).await;
        };
        // The event cannot come to its end any more, and no Job of it may keep a namespace from being deleted. That of the current
        // step may be over all the same.
        let is_going = |n: &usize| *n != current && self.gated.is_terminating(&jobs[*n].namespace);
        if let Some(n) = (0..jobs.len()).find(is_going) {
            let run = self.run(subject, jobs, n, None);
            let written = self.write(subject, &State::NamespaceDeleted, run.as_ref()).await?;
            for job in jobs.iter().filter(|job| self.gated.is_terminating(&job.namespace)) {
                self.let_go(job).await?;
            }
            return Ok(written.or_sooner(Duration::ZERO));
        }
        let job = &jobs[current];
        if subject.is_cancelled() && !job.is_finished() {
            return self.cancel_step(subject, jobs, current).await;
        }
        if job.is_unopened(&keys) && !job.is_deleted() {
            return self.start_step(subject, jobs, current).await;
        }
        self.tell(subject, jobs, current).await
    }

    /// All steps, those that are not known as the API server has them: somebody took off them the label by which their watch finds
    /// them. If one is not there, somebody took our finalizer off it and deleted it: nobody knows how it went, so the Operation
    /// has failed, and what is left of it is stopped.
    async fn all_steps(&self, subject: &Subject, mut jobs: Vec<Arc<Job>>) -> Result<AllSteps> {
        let Some((of, base)) = jobs.first().and_then(|job| {
            let (of, (base, _)) = (job.step?.of, job.name.rsplit_once('-')?);
            Some((of, base.to_owned()))
        }) else {
            return Ok(AllSteps::Found(jobs));
        };
        let (known, mut is_lost) = (jobs.clone(), false);
        let others: BTreeSet<&str> = known.iter().map(|job| job.namespace.as_str()).collect();
        for number in 1..=of {
            if known.iter().any(|job| job.step == Some(Step { number, of })) {
                continue;
            }
            // The status may not have been written yet.
            let told = told_job(&subject.status, number);
            let name = told.map_or_else(|| format!("{base}-{number}"), |(name, _)| name.to_owned());
            let told_in = told.map(|(_, namespace)| namespace.unwrap_or(&subject.key.namespace));
            let namespaces =
                told_in.into_iter().chain(others.iter().copied().filter(|one| told_in != Some(*one)));
            let mut is_found = false;
            for namespace in namespaces {
                match self.own_job(subject, namespace, &name).await? {
                    Own::Proven(job) => jobs.push(job),
                    Own::Unproven(job) => return self.unproven(subject, &job).await.map(AllSteps::Lost),
                    Own::Missing => continue,
                }
                is_found = true;
                break;
            }
            is_lost |= !is_found;
        }
        let jobs = in_order(&jobs);
        if !is_lost {
            return Ok(AllSteps::Found(jobs));
        }
        let current = jobs.iter().position(|job| !job.is_complete()).unwrap_or_default();
        let run = self.run(subject, &jobs, current, None);
        self.write(subject, &nothing_left(), run.as_ref()).await.map(AllSteps::Lost)
    }

    /// Stops the step that is under way. Those after it are removed once the Operation says that it was cancelled.
    async fn cancel_step(&self, subject: &Subject, jobs: &[Arc<Job>], current: usize) -> Result<Action> {
        let job = &jobs[current];
        if job.is_unopened(&*self.keyring.needed()?) {
            // Between two steps.
            let run = self.run(subject, jobs, current.saturating_sub(1), None);
            return self.write(subject, &State::Cancelled(subject.cancelled_by()), run.as_ref()).await;
        }
        let run = self.run(subject, jobs, current, None);
        self.cancel(subject, job, run.as_ref()).await
    }

    /// Mirrors the step, with how it stands with all of them. What is left of the others is cleared away when the Operation is
    /// looked at as a finished one.
    async fn tell(&self, subject: &Subject, jobs: &[Arc<Job>], mut current: usize) -> Result<Action> {
        while let Some(job) = jobs.get(current) {
            let outcome = self.observe(subject, job, &job.object()).await?;
            // A Job that was deleted when its pod had just succeeded: it is not complete by its own words.
            if matches!(outcome, Outcome::Succeeded { .. })
                && let Some(next) = jobs.get(current + 1)
            {
                if next.is_unopened(&*self.keyring.needed()?) && !next.is_deleted() {
                    return self.start_step(subject, jobs, current + 1).await;
                }
                current += 1;
                continue;
            }
            let run = self.run(subject, jobs, current, Some(&outcome));
            if !outcome.is_over() && self.gated.is_terminating(&job.namespace) {
                let written = self.write(subject, &State::NamespaceDeleted, run.as_ref()).await?;
                for job in jobs {
                    self.let_go(job).await?;
                }
                return Ok(written);
            }
            return self.mirror(subject, job, outcome, run.as_ref()).await;
        }
        Ok(Action::await_change())
    }

    /// The step's run, with a row for each.
    pub(super) fn run(
        &self,
        subject: &Subject,
        jobs: &[Arc<Job>],
        current: usize,
        outcome: Option<&Outcome>,
    ) -> Option<Run> {
        let namespaces: BTreeSet<&str> = jobs.iter().map(|job| job.namespace.as_str()).collect();
        let pods = namespaces.iter().filter_map(|namespace| self.pods.of(namespace, &subject.uid)).flatten();
        let pods: Vec<Arc<Value>> = pods.collect();
        let pods: Vec<&Value> = pods.iter().map(AsRef::as_ref).collect();
        let is_lost =
            outcome.is_some_and(|outcome| outcome.is_over() && !matches!(outcome, Outcome::Succeeded { .. }));
        let mut closure: Vec<String> = Vec::new();
        let rows = jobs.iter().enumerate().filter_map(|(n, job)| {
            let object = job.object();
            let run = Run::of(&object)?;
            // All of it is there until the last step is over.
            for borrowed in &run.closure {
                if closure.len() < MAX_LOANS && !closure.contains(borrowed) {
                    closure.push(borrowed.clone());
                }
            }
            let is_skipped = n > current && (is_lost || outcome.is_none());
            let mut row = match outcome.filter(|_| n == current) {
                Some(outcome) => StepRow::of(&run, outcome),
                None if is_skipped => StepRow::skipped(&run),
                None => StepRow::of(&run, &outcome::observe(&object, &pods, Warnings::default())),
            };
            let is_elsewhere = job.namespace != subject.key.namespace;
            row.job_namespace = is_elsewhere.then(|| job.namespace.clone());
            // The pods of what is over are not watched any more.
            row.pod = row.pod.or_else(|| told_pod(&subject.status, &run.job_name));
            Some(row)
        });
        let rows = rows.collect();
        let mut run = Run::of(&jobs.get(current)?.object())?;
        let (event, step) = (subject.whole_event()?.to_owned(), jobs.get(current)?.step?);
        run.steps = Some(Steps { event, step, rows });
        run.closure = closure;
        Some(run)
    }
}

/// The steps of an event that has begun.
enum AllSteps {
    /// In their order.
    Found(Vec<Arc<Job>>),
    /// One is not there, or cannot be proven: what follows from that.
    Lost(Action),
}

/// The Jobs that are steps, in their order. A copy of one has another name, for which its claim does not hold.
fn in_order(jobs: &[Arc<Job>]) -> Vec<Arc<Job>> {
    let of_step: BTreeMap<Step, &Arc<Job>> = jobs.iter().filter_map(|job| Some((job.step?, job))).collect();
    of_step.into_values().cloned().collect()
}

/// The Job that the status tells of a step, from 1; and its namespace, if that is not the Operation's.
fn told_job(status: &Value, number: usize) -> Option<(&str, Option<&str>)> {
    let rows = status.pointer("/outputs/hooks")?.as_array()?;
    let row = rows.get(number.checked_sub(1)?)?;
    Some((row.get("jobName")?.as_str()?, row.get("jobNamespace").and_then(Value::as_str)))
}

/// The pod that the status tells of a step's Job.
fn told_pod(status: &Value, job: &str) -> Option<String> {
    let rows = status.pointer("/outputs/hooks")?.as_array()?;
    let row = rows.iter().find(|row| row.get("jobName").and_then(Value::as_str) == Some(job))?;
    row.get("pod")?.as_str().map(str::to_owned)
}
