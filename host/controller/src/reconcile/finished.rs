//! A *finished* Operation never runs again. What is left to do: let its Job go, and keep the status what it was.

use std::sync::Arc;
use std::time::Instant;

use hookhost_core::status::{self, State};
use hookhost_core::wait;
use jiff::Timestamp;

use super::follow::UNTIL_PODS_END;
use super::lookup::{Choice, Looked};
use super::{Context, Subject};
use crate::error::Result;
use crate::looks::Action;
use crate::stop::Orphaned;
use crate::watch::Job;

impl Context {
    /// Does what is left to do for a finished Operation. `jobs` are its own, `unproven` those that only say that they are: nobody
    /// waits for their result.
    pub(super) async fn finished(
        &self,
        subject: &Subject,
        jobs: &[Arc<Job>],
        unproven: &[Arc<Job>],
    ) -> Result<Action> {
        self.settle(subject, &subject.status);
        let mut is_left = false;
        for job in unproven.iter().filter(|job| job.is_held()) {
            match self.writes.release_job(job).await? {
                Some(released) if released.is_watched => drop(self.jobs.insert(released)),
                _ => self.jobs.remove(job),
            }
        }
        for job in jobs {
            // The Operation has ended with a step, or because one is lost, or without the Job, for example refused before a crash
            // could be told from none: it must not run on.
            let is_in_the_way = (job.step.is_some() || !is_result_of(&subject.status, job))
                && !job.is_finished()
                && !self.gated.is_terminating(&job.namespace);
            if is_in_the_way && !self.stopper.stop(job, Orphaned::Deleted).await? {
                is_left = true;
                continue;
            }
            self.let_go(job).await?;
        }
        if is_left {
            return Ok(Action::requeue(UNTIL_PODS_END));
        }
        if let Some(restored) = status::restore(&subject.status, Timestamp::now()) {
            match self.quarrels.turn(&subject.uid, Instant::now()) {
                Err(rest) => return Ok(Action::requeue(rest)),
                Ok(()) => {
                    let written = self.writes.status(&subject.object, &restored).await?;
                    self.written.keep(written);
                    tracing::info!("restored the conditions of a finished Operation");
                    return Ok(Action::await_change());
                }
            }
        }
        if self.operations.is_past(&subject.uid) {
            self.targets.forget(&subject.key);
        } else if status::lacks_hook(&subject.status) && !subject.is_deleted() {
            return self.look_for_hook(subject).await;
        }
        Ok(Action::await_change())
    }

    /// Says so when the chart has the hook that the Operation failed for want of, for as long as that is told. It is not run: the
    /// person who asked may long have done something else.
    async fn look_for_hook(&self, subject: &Subject) -> Result<Action> {
        let Some(rest) = wait::hook_is_awaited_for(&subject.status, Timestamp::now()) else {
            self.targets.forget(&subject.key);
            self.operations.stop_awaiting_hook(&subject.uid);
            return Ok(Action::await_change());
        };
        let Ok(operation) = subject.operation() else {
            return Ok(Action::await_change());
        };
        let mut awaited = Vec::new();
        let looked = self.look_up(subject, &operation, &mut awaited).await?;
        self.targets.wait(&subject.key, awaited);
        match looked {
            Looked::Found(Ok(found)) if matches!(found.choose(&operation), Choice::Found) => {
                let revision = found.revision;
                // Another controller may write over it, again and again.
                if let Err(rest) = self.quarrels.turn(&subject.uid, Instant::now()) {
                    return Ok(Action::requeue(rest));
                }
                self.write(subject, &State::HookAvailable { revision }, None).await?;
            }
            Looked::Later(pause) => return Ok(Action::requeue(pause)),
            Looked::Found(_) => {}
        }
        Ok(Action::requeue(rest))
    }
}

/// Whether the status tells the result of this Job.
fn is_result_of(status: &serde_json::Value, job: &Job) -> bool {
    status::job_ref(status)
        .is_some_and(|of| of.name == job.name && (of.namespace == job.namespace || of.namespace.is_empty()))
}
