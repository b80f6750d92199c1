//! A *finished* Operation never runs again. What is left to do: let its Job go, and keep the status what it was.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hookhost_core::Reason;
use hookhost_core::refusal::Refusal;
use hookhost_core::status::{self, State};
use jiff::Timestamp;

use super::prepare::Stop;
use super::{Context, Subject};
use crate::error::Result;
use crate::looks::Action;
use crate::watch::Job;

/// The least time between two restorations of one Operation's status. The Go operator writes over the status of engines
/// that it does not know each 30 s; ours comes back each time, but no faster whatever writes against it.
const RESTORE_EVERY: Duration = Duration::from_secs(10);

/// Restorations that are remembered; beyond, the oldest are forgotten, since they are past their time.
const MAX_REMEMBERED: usize = 4096;

/// When each Operation's status was last restored, by its UID.
#[derive(Debug, Default)]
pub(crate) struct Restored(Mutex<HashMap<String, Instant>>);

impl Restored {
    /// Takes the turn to restore, or says how long to wait for it.
    pub(super) fn turn(&self, uid: &str, now: Instant) -> Result<(), Duration> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = last.get(uid)
            && let Some(rest) =
                RESTORE_EVERY.checked_sub(now.duration_since(*before)).filter(|rest| !rest.is_zero())
        {
            return Err(rest);
        }
        if last.len() >= MAX_REMEMBERED {
            last.retain(|_, before| now.duration_since(*before) < RESTORE_EVERY);
        }
        last.insert(uid.to_owned(), now);
        Ok(())
    }
}

impl Context {
    /// Does what is left to do for a finished Operation.
    pub(super) async fn finished(&self, subject: &Subject, jobs: &[Arc<Job>]) -> Result<Action> {
        self.settle(subject, &subject.status);
        for job in jobs {
            if !is_result_of(&subject.status, job) && !job.is_over {
                // Finished without it, for example refused before a crash could be told from none: it must not run on.
                self.writes.delete_job(job).await?;
            }
            self.let_go(job).await?;
        }
        if let Some(restored) = status::restore(&subject.status, Timestamp::now()) {
            match self.restored.turn(&subject.uid, Instant::now()) {
                Err(rest) => return Ok(Action::requeue(rest)),
                Ok(()) => {
                    let written = self.writes.status(&subject.object, &restored).await?;
                    self.written.keep(written);
                    tracing::info!(
                        "another controller had written over the result of a finished Operation; it is restored"
                    );
                    return Ok(Action::await_change());
                }
            }
        }
        if status::lacks_hook(&subject.status) && !subject.is_deleted() {
            return self.look_for_hook(subject).await;
        }
        Ok(Action::await_change())
    }

    /// Says so when the chart has the hook that the Operation failed for want of. It is not run: the person who asked may
    /// long have done something else.
    async fn look_for_hook(&self, subject: &Subject) -> Result<Action> {
        // Each change of the HelmRelease asks for this, and each look reads a whole record.
        if let Err(rest) = self.restored.turn(&subject.uid, Instant::now()) {
            return Ok(Action::requeue(rest));
        }
        let mut awaited = Vec::new();
        let found = self.find_hook(subject, &mut awaited).await;
        self.targets.wait(&subject.key, awaited);
        match found {
            Ok(revision) => {
                self.write(subject, &State::HookAvailable { revision }, None).await?;
            }
            Err(Stop::Refused(Refusal { reason: Reason::HookNotFound, .. })) => {}
            Err(Stop::Refused(refusal)) => {
                tracing::debug!(
                    operation_id = subject.uid,
                    reason = refusal.reason.as_str(),
                    "still no hook"
                );
            }
            Err(Stop::Failed(error)) => return Err(error),
        }
        Ok(Action::await_change())
    }
}

/// Whether the status tells the result of this Job.
fn is_result_of(status: &serde_json::Value, job: &Job) -> bool {
    status::job_ref(status)
        .is_some_and(|of| of.name == job.name && (of.namespace == job.namespace || of.namespace.is_empty()))
}
