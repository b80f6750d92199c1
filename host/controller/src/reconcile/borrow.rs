//! A run that *borrows* has a Job that was made suspended. It is opened once all that it borrows is there.

use std::sync::Arc;
use std::time::Duration;

use hookhost_core::clone::DECISION;
use hookhost_core::loan::{Borrowed, Loan};
use hookhost_core::refusal::Refusal;
use hookhost_core::status::State;
use serde_json::Value;

use super::prepare::{Prepared, Stop};
use super::start::PENDING_AFTER;
use super::{Context, Subject};
use crate::error::Result;
use crate::looks::Action;
use crate::watch::Job;

/// When to look again at what is about to be told by a watch.
pub(super) const AGAIN: Duration = Duration::from_secs(2);

impl Context {
    /// Makes what the Job borrows, then lets it start. What cannot be made is told, and then nothing of the run is left.
    pub(super) async fn open(&self, subject: &Subject, job: &Arc<Job>, loans: &[Loan]) -> Result<Action> {
        if let Some(refusal) = self.lend(job, loans).await? {
            self.withdraw(job).await?;
            return self.refuse_withdrawn(subject, refusal).await;
        }
        self.let_start(job).await
    }

    /// Says why a Job that had been made was withdrawn. The next is not made at once: its own coming and going would ask for it.
    pub(super) async fn refuse_withdrawn(&self, subject: &Subject, refusal: Refusal) -> Result<Action> {
        let pause = self.withdrawals.slow(&subject.uid);
        Ok(self.refuse(subject, refusal).await?.or_sooner(pause))
    }

    /// Makes what the Job borrows; or says why it cannot be made.
    pub(super) async fn lend(&self, job: &Job, loans: &[Loan]) -> Result<Option<Refusal>> {
        for loan in loans {
            // One after the other: a binding is refused as long as its role is not there.
            let refusal = self.lender.lend(job, loan).await?;
            if refusal.is_some() {
                return Ok(refusal);
            }
        }
        Ok(None)
    }

    /// Lets a Job start that was held back.
    pub(super) async fn let_start(&self, job: &Job) -> Result<Action> {
        let Some(opened) = self.writes.open_job(job).await? else {
            // Somebody deleted it just now.
            self.lender.take_back(job).await?;
            self.jobs.remove(&job.namespace, &job.name);
            return Ok(Action::requeue(AGAIN));
        };
        let loans = job.borrowed().map_or(0, |borrowed| borrowed.objects.len());
        tracing::info!(job_namespace = job.namespace, job = job.name, loans, "let the Job start");
        if let Some(job) = Job::new(opened) {
            self.jobs.insert(job);
        }
        Ok(Action::requeue(PENDING_AFTER))
    }

    /// Goes on with a Job that was made but not opened, before a crash or an error, if it is still the one that would be made
    /// now. Else it is withdrawn: nothing of it has run.
    pub(super) async fn reopen(&self, subject: &Subject, job: &Arc<Job>) -> Result<Action> {
        if subject.is_cancelled() {
            self.withdraw(job).await?;
            return self.write(subject, &State::Cancelled(subject.cancelled_by()), None).await;
        }
        let Some(job) = self.read_again(subject, job).await? else { return Ok(Action::requeue(AGAIN)) };
        if !job.is_unopened() || (job.is_deleted() && !job.is_held()) {
            // It is something else by now, or somebody else's finalizer keeps it.
            return Ok(Action::requeue(AGAIN));
        }
        if job.is_deleted() {
            self.withdraw(&job).await?;
            return Ok(Action::requeue(Duration::ZERO));
        }
        let job = &job;
        let mut awaited = Vec::new();
        match self.prepare(subject, &mut awaited, std::slice::from_ref(job)).await {
            Ok(prepared) => match &prepared[..] {
                [prepared] if is_same(job, prepared) => self.open(subject, job, &prepared.loans).await,
                _ => {
                    self.withdraw(job).await?;
                    Ok(Action::requeue(Duration::ZERO))
                }
            },
            Err(Stop::Refused(refusal)) => {
                self.withdraw(job).await?;
                self.await_targets(subject, &refusal, awaited);
                self.refuse_withdrawn(subject, refusal).await
            }
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// The Job as it is now; none if it is gone, or its Operation is not to be run any more. This process may have slept while
    /// another ran it to its end.
    pub(super) async fn read_again(&self, subject: &Subject, job: &Job) -> Result<Option<Arc<Job>>> {
        let (object, is_wanted) =
            futures::try_join!(self.reader.job(&job.namespace, &job.name), self.is_still_wanted(subject))?;
        match object.and_then(Job::new).filter(|now| now.uid == job.uid) {
            Some(now) => Ok(Some(self.jobs.insert(now)).filter(|_| is_wanted)),
            None => {
                self.jobs.remove(&job.namespace, &job.name);
                Ok(None)
            }
        }
    }

    /// Removes a Job that was not opened, and what was made for it.
    pub(super) async fn withdraw(&self, job: &Job) -> Result<()> {
        if !job.is_deleted() {
            self.writes.withdraw_job(job).await?;
        }
        self.let_go(job).await
    }
}

/// Whether the Job is the one that was prepared: by the same policies, of the same revision, with the same loans.
pub(super) fn is_same(job: &Job, prepared: &Prepared) -> bool {
    let decision = |job: &Value| {
        let annotations = job.pointer("/metadata/annotations")?;
        annotations.get(DECISION)?.as_str().map(str::to_owned)
    };
    decision(&job.object()) == decision(&prepared.job)
        && job.borrowed() == Borrowed::of(&prepared.loans).as_ref()
}
