//! A *finished* Operation never runs again. What is left to do is to remove hookhost's finalizer from its Job, and to put its status
//! back where another controller overwrites it.

use std::sync::Arc;
use std::time::Instant;

use hookhost_core::status::{self, Evidence, State};
use hookhost_core::wait;
use jiff::Timestamp;

use super::follow::UNTIL_PODS_END;
use super::lookup::{Choice, Looked};
use super::overwritten::Turn;
use super::{Context, Subject};
use crate::looks::Action;
use crate::stop::Orphaned;
use hookhost_cluster::error::Result;
use hookhost_cluster::job::Job;

impl Context {
    /// Does what is left to do for a finished Operation. `jobs` are its own. `unproven` are those that say they are its own and that
    /// hookhost cannot prove to be: their result counts for nothing.
    pub(super) async fn finished(
        &self,
        subject: &Subject,
        jobs: &[Arc<Job>],
        unproven: &[Arc<Job>],
    ) -> Result<Action> {
        self.settle(subject, &subject.status);
        let (mut is_left, mut failed) = (false, None);
        for job in jobs {
            // A Job must not run on if the Operation has ended without its result: a step of an event that ended with an earlier
            // step, or because a step was lost; or the Job of an Operation that was, for example, rejected after a restart before
            // hookhost knew that it had created the Job.
            let is_in_the_way = (job.step.is_some() || !is_result_of(&subject.status, job))
                && !job.is_finished()
                && !self.gated.is_terminating(&job.namespace);
            if is_in_the_way && !self.stopper.stop(job, Orphaned::Deleted).await? {
                is_left = true;
                continue;
            }
            self.let_go(job).await?;
        }
        // After its own: what others have made must not keep those.
        for job in unproven.iter().filter(|job| job.is_held()) {
            match self.writes.release_job(job).await {
                Ok(Some(released)) if released.is_watched => drop(self.jobs.insert(released)),
                Ok(_) => self.jobs.remove(job),
                Err(error) => failed = Some(error),
            }
        }
        if is_left {
            return Ok(Action::requeue(UNTIL_PODS_END));
        }
        let action = self.finished_status(subject).await?;
        failed.map_or(Ok(action), Err)
    }

    /// Does what is left to do for the status of a finished Operation.
    async fn finished_status(&self, subject: &Subject) -> Result<Action> {
        let (mut revision, mut action) = (None, Action::await_change());
        if self.operations.is_past(&subject.uid) {
            self.targets.forget(&subject.key);
        } else if status::lacks_hook(&subject.status) && !subject.is_deleted() {
            (revision, action) = self.look_for_hook(subject).await?;
        }
        let now = Timestamp::now();
        let restored = status::restore(&subject.status, subject.foreign, now);
        let current = restored.as_ref().unwrap_or(&subject.status);
        let news = revision.and_then(|revision| {
            let state = State::HookAvailable { revision };
            status::next(current, Evidence::default(), &state, None, subject.generation, now)
        });
        let Some(mut next) = news.map(|news| news.status).or(restored) else { return Ok(action) };
        // Another controller may overwrite the status again and again.
        match self.overwrites.may_restore(&subject.uid, Instant::now()) {
            Err(rest) => return Ok(action.or_sooner(rest)),
            Ok(Turn::First) => {}
            Ok(Turn::Again) => {
                status::note_overwritten(&mut next, subject.other_writer.as_deref(), now);
            }
        }
        let is_reported = status::is_overwritten(&subject.status);
        let written = self.writes.status(&subject.object, &next).await?;
        self.written.keep(written);
        self.overwrites.restored(&subject.uid, is_reported, Instant::now());
        tracing::info!("wrote the conditions of a finished Operation");
        Ok(action)
    }

    /// Which revision of the chart has the hook for the lack of which the Operation failed, if that is within a week; and when to ask
    /// again. The hook is not run: the person who wanted it may have done something else long ago.
    async fn look_for_hook(&self, subject: &Subject) -> Result<(Option<u32>, Action)> {
        let Some(rest) = wait::hook_is_awaited_for(&subject.status, Timestamp::now()) else {
            self.targets.forget(&subject.key);
            self.operations.stop_awaiting_hook(&subject.uid);
            return Ok((None, Action::await_change()));
        };
        let Ok(operation) = subject.operation() else {
            return Ok((None, Action::await_change()));
        };
        let mut awaited = Vec::new();
        let looked = self.look_up(subject, &operation, &mut awaited).await?;
        self.targets.wait(&subject.key, awaited);
        match looked {
            Looked::Found(Ok(found)) if matches!(found.choose(&operation), Choice::Found) => {
                Ok((Some(found.revision), Action::requeue(rest)))
            }
            Looked::Later(pause) => Ok((None, Action::requeue(pause))),
            Looked::Found(_) => Ok((None, Action::requeue(rest))),
        }
    }
}

/// Whether the status reports the result of this Job.
fn is_result_of(status: &serde_json::Value, job: &Job) -> bool {
    status::job_ref(status)
        .is_some_and(|of| of.name == job.name && (of.namespace == job.namespace || of.namespace.is_empty()))
}
