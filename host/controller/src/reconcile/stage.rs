//! To *stage* a run is to make Jobs that may not start yet, suspended: because they borrow, or because they are steps of an event.
//! They are opened, the first of them, once all are there and all that they borrow. Until then nothing has run, so they may be
//! withdrawn and made again.

use std::sync::Arc;
use std::time::Duration;

use hookhost_core::Reason;
use hookhost_core::json::entry;
use hookhost_core::keys::DECISION;
use hookhost_core::loan::{Borrowed, Expected, Loan};
use hookhost_core::object::ObjectRef;
use hookhost_core::refusal::Refusal;
use hookhost_core::status::State;

use super::prepare::{AllPrepared, Prepared, Stop};
use super::start::{Own, PENDING_AFTER, rejected, taken};
use super::turn::Asked;
use super::{Context, Subject};
use crate::looks::Action;
use hookhost_cluster::error::Result;
use hookhost_cluster::job::Job;
use hookhost_cluster::write::{Created, Renewed};

/// When to look again at what is about to be told by a watch.
pub(super) const AGAIN: Duration = Duration::from_secs(2);

impl Context {
    /// Makes what the Jobs borrow, then lets the first start. What cannot be made is told, and then nothing of the run is left.
    ///
    /// `expected` must be the chart's in this very moment, what was made for the run included: it was looked at before, but others
    /// may have written it since.
    pub(super) async fn open(
        &self,
        subject: &Subject,
        jobs: &[(Arc<Job>, Vec<Loan>)],
        expected: &[Expected],
    ) -> Result<Action> {
        let made = || jobs.iter().map(|(job, _)| job.clone()).collect::<Vec<Arc<Job>>>();
        for (job, loans) in jobs {
            if let Some(refusal) = self.lend(subject, job, loans).await? {
                return self.withdraw_all(subject, &made(), Some(refusal)).await;
            }
        }
        let loans = jobs.iter().flat_map(|(_, loans)| loans);
        let created: Vec<ObjectRef> = loans.map(|loan| loan.object.clone()).collect();
        if let Err(refusal) = self.check_content(expected, &created).await? {
            return self.withdraw_all(subject, &made(), Some(refusal)).await;
        }
        match jobs.first() {
            Some((first, _)) => {
                let started = self.let_start(&subject.uid, first, None).await;
                // The next may share what it has.
                self.jobs.await_object(&subject.uid, None);
                started
            }
            None => Ok(Action::await_change()),
        }
    }

    /// Says why a Job that had been made was withdrawn. The next is not made at once: its own coming and going would ask for it.
    async fn refuse_withdrawn(&self, subject: &Subject, refusal: Refusal) -> Result<Action> {
        let pause = self.withdrawals.slow(&subject.uid);
        Ok(self.refuse(subject, refusal).await?.or_sooner(pause))
    }

    /// Makes what the Job borrows; or says why it cannot be made.
    async fn lend(&self, subject: &Subject, job: &Job, loans: &[Loan]) -> Result<Option<Refusal>> {
        for loan in loans {
            // One after the other: a binding is refused as long as its role is not there.
            let lent = self.lender.lend(job, loan).await;
            let refusal = self.or_refused(subject, lent, |error| {
                let message =
                    format!("hookhost cannot make the {} now, which the hook needs: {error}", loan.object);
                Some(Refusal::wait(error.reason(), message))
            })?;
            if refusal.is_some() {
                return Ok(refusal);
            }
        }
        Ok(None)
    }

    /// Lets a Job start that was held back, with what has been decided of it since it was created.
    pub(super) async fn let_start(
        &self,
        operation_uid: &str,
        job: &Job,
        renewed: Option<Renewed>,
    ) -> Result<Action> {
        let proof = self.keyring.needed()?.opened(&job.namespace, &job.name, &job.uid);
        let Some(opened) = self.writes.open_job(job, proof, renewed).await? else {
            // Somebody deleted it just now.
            self.lender.take_back(job).await?;
            self.jobs.remove(job);
            return Ok(Action::requeue(AGAIN));
        };
        self.started.note(operation_uid, job);
        let loans = job.borrowed().map_or(0, |borrowed| borrowed.objects.len());
        tracing::info!(job_namespace = job.namespace, job = job.name, loans, "let the Job start");
        self.jobs.insert(opened);
        Ok(Action::requeue(PENDING_AFTER))
    }

    /// Makes the Jobs, as far as they are not there, and what they borrow; then lets the first start.
    pub(super) async fn stage(
        &self,
        subject: &Subject,
        made: &[Arc<Job>],
        prepared: AllPrepared,
    ) -> Result<Action> {
        let AllPrepared { jobs: prepared, kept: _kept } = prepared;
        let is_among = |job: &Arc<Job>| {
            prepared
                .iter()
                .any(|one| one.namespace == job.namespace && one.name == job.name && is_same(job, one))
        };
        if !made.iter().all(is_among) {
            return self.withdraw_all(subject, made, None).await;
        }
        let mut jobs: Vec<(Arc<Job>, Vec<Loan>)> = Vec::new();
        let mut expected: Vec<Expected> = Vec::new();
        let mut all = made.to_vec();
        for one in prepared {
            expected.extend(one.expected);
            if let Some(job) = made.iter().find(|job| job.name == one.name) {
                jobs.push((job.clone(), one.loans));
                continue;
            }
            match self.try_create(subject, &one.namespace, &one.job).await? {
                Created::New(created) => {
                    self.note_creation(subject, &created);
                    let Some(job) = Job::new(&created) else { return Ok(Action::requeue(AGAIN)) };
                    let job = self.jobs.insert(job);
                    all.push(job.clone());
                    jobs.push((job, one.loans));
                }
                Created::Taken => {
                    match self.own_job(subject, &one.namespace, &one.name).await? {
                        // Another hookhost makes them, too: the next look goes by what is there then.
                        Own::Proven(_) => return Ok(Action::requeue(AGAIN)),
                        Own::Unproven(job) => {
                            for made in &all {
                                self.withdraw(made).await?;
                            }
                            return self.unproven(subject, &job).await;
                        }
                        Own::Missing => {}
                    }
                    let refusal = taken(&one.namespace, &one.name);
                    return self.withdraw_all(subject, &all, Some(refusal)).await;
                }
                Created::Refused { message, why } => {
                    let refusal = rejected(&one.namespace, &one.name, &message, why);
                    return self.withdraw_all(subject, &all, Some(refusal)).await;
                }
            }
        }
        self.open(subject, &jobs, &expected).await
    }

    /// Goes on where Jobs were made and none was let start, before a crash or an error, if they are still those that would be made
    /// now. Else they are withdrawn: nothing of them has run.
    pub(super) async fn restage(&self, subject: &Subject, jobs: &[Arc<Job>]) -> Result<Action> {
        if subject.is_cancelled() {
            self.withdraw_all(subject, jobs, None).await?;
            return self.write(subject, &State::Cancelled(subject.cancelled_by()), None).await;
        }
        let keys = self.keyring.needed()?;
        let mut now = Vec::new();
        for job in jobs {
            match self.read_again(subject, job).await? {
                Some(job) if job.is_untouched(&keys) => now.push(job),
                _ => return Ok(Action::requeue(AGAIN)),
            }
        }
        let jobs = &now[..];
        if let Some(refusal) = self.overdue(subject) {
            return self.withdraw_all(subject, jobs, Some(refusal)).await;
        }
        if let Some(job) = jobs.iter().find(|job| job.is_deleted() && !job.is_held()) {
            let message = format!(
                "the Job {} is being deleted before anything of it has run, and a finalizer that is not hookhost's keeps it: see \
                 metadata.finalizers of the Job. Once it is gone the hook is run anew",
                job.name
            );
            return self.refuse(subject, Refusal::wait(Reason::JobNameTaken, message)).await;
        }
        if jobs.iter().any(|job| job.is_deleted()) {
            return self.withdraw_all(subject, jobs, None).await;
        }
        let operation = match subject.operation() {
            Ok(operation) => operation,
            Err(refusal) => return self.withdraw_all(subject, jobs, Some(refusal)).await,
        };
        let _turn = match self.ask_for_turn(subject, &operation) {
            Asked::Begun(turn) => turn,
            Asked::Later => return Ok(Action::await_change()),
            Asked::Refused(refusal) => {
                self.targets.forget(&subject.key);
                // Once they are withdrawn the Operation is reconciled like one that never had any.
                return self.withdraw_all(subject, jobs, Some(refusal)).await;
            }
        };
        let mut awaited = Vec::new();
        match self.prepare(subject, &operation, &mut awaited, jobs).await {
            Ok(prepared) => self.stage(subject, jobs, prepared).await,
            Err(Stop::Refused(refusal)) => {
                self.await_targets(subject, &refusal, awaited);
                self.withdraw_all(subject, jobs, Some(refusal)).await
            }
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// Removes Jobs of which none was let start; then says why, or begins anew.
    async fn withdraw_all(
        &self,
        subject: &Subject,
        jobs: &[Arc<Job>],
        refusal: Option<Refusal>,
    ) -> Result<Action> {
        for job in jobs {
            self.withdraw(job).await?;
        }
        match refusal {
            Some(refusal) => self.refuse_withdrawn(subject, refusal).await,
            None => Ok(Action::requeue(Duration::ZERO)),
        }
    }

    /// The Job as it is now; none if it is gone, or its Operation is not to be run any more. This process may have slept while
    /// another ran it to its end.
    pub(super) async fn read_again(&self, subject: &Subject, job: &Job) -> Result<Option<Arc<Job>>> {
        let (now, is_wanted) =
            futures::try_join!(self.reader.job(&job.namespace, &job.name), self.is_still_wanted(subject))?;
        let keys = self.keyring.needed()?;
        match now.filter(|now| now.uid == job.uid && now.is_genuine(&keys)) {
            Some(now) => Ok(Some(self.jobs.insert(now)).filter(|_| is_wanted)),
            None => {
                self.jobs.remove(job);
                Ok(None)
            }
        }
    }

    /// Removes a Job that was not opened, and what was made for it.
    async fn withdraw(&self, job: &Job) -> Result<()> {
        if !job.is_deleted() {
            self.writes.withdraw_job(job).await?;
        }
        self.let_go(job).await
    }
}

/// Whether the Job is the one that was prepared: by the same policies, of the same revision, with the same loans.
fn is_same(job: &Job, prepared: &Prepared) -> bool {
    entry(&job.object(), "annotations", DECISION) == entry(&prepared.job.value(), "annotations", DECISION)
        && job.borrowed() == Borrowed::of(&prepared.loans).as_ref()
}
