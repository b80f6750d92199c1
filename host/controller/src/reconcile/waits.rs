//! An Operation *waits* where something keeps it from running now: what that is, when it is asked for again, and when its wait is over.

use std::time::Duration;

use hookhost_core::refusal::{Refusal, Then};
use hookhost_core::status::{self, Run, State};
use hookhost_core::wait::WaitedFor;
use hookhost_core::{Reason, wait};
use jiff::Timestamp;

use super::{Context, Subject};
use crate::looks::Action;
use hookhost_cluster::error::Result;

/// The least time between two looks at an Operation that a policy holds: a policy that always says "in a second", with
/// another text each time, must not be a write a second.
const HOLD_FLOOR: Duration = Duration::from_secs(5);

/// From this pause on it is asked ever more seldom for what another run has been lent.
const LONG: Duration = Duration::from_secs(5);

/// But no more seldom than this: what has been given back may be in a namespace whose Jobs are not watched.
const LONGEST: Duration = Duration::from_secs(60);

impl Context {
    /// hookhost has found that the Operation waits for this, or for nothing. It is remembered, since others write statuses too; and those
    /// behind it in line may go past it now, or not any more.
    pub(super) fn note_wait(&self, subject: &Subject, reason: Option<Reason>) {
        if self.operations.note_wait(&subject.uid, reason) {
            self.note_operation(&subject.brief);
        }
    }

    /// Says why the Operation does not run, and when it is looked at again.
    pub(super) async fn refuse(&self, subject: &Subject, refusal: Refusal) -> Result<Action> {
        let (timeout, rest) = self.wait(subject);
        let refusal = match rest {
            None if !refusal.is_final() => {
                timeout.refusal(WaitedFor::Words(refusal.reason.as_str(), &refusal.message))
            }
            _ => refusal,
        };
        // Whatever ends it: it is not over beside a Job that may be its run.
        if refusal.is_final()
            && status::job_ref(&subject.status).is_none()
            && self.own_jobs(&subject.brief).is_empty()
        {
            let unproven = self.claimed_by(subject, self.jobs.of(&subject.uid));
            if let Some(action) = Box::pin(self.hidden_at_end(subject, &unproven)).await? {
                return Ok(action);
            }
        }
        // However it is woken: its wait ends then.
        let rest = rest.filter(|_| !refusal.is_final());
        let action = self.refuse_for(subject, refusal, None).await?;
        Ok(rest.into_iter().fold(action, Action::or_sooner))
    }

    /// The same, for as long as it takes. `run` is that of a Job that may be its own, where it does not run because of that.
    pub(super) async fn refuse_for(
        &self,
        subject: &Subject,
        refusal: Refusal,
        run: Option<&Run>,
    ) -> Result<Action> {
        self.claims.release(&subject.uid);
        if self.operations.waits_for(&subject.uid) != Some(refusal.reason) {
            // It waits for something else now.
            self.waits.forget(&subject.uid);
        }
        self.jobs.await_object(&subject.uid, refusal.object.as_deref());
        let pause = self.pause(subject, &refusal);
        let written = self.write(subject, &State::Refused(refusal), run).await?;
        Ok(pause.into_iter().fold(written, Action::or_sooner))
    }

    /// When an Operation that waits for this is reconciled again, if nothing happens.
    pub(super) fn pause(&self, subject: &Subject, refusal: &Refusal) -> Option<Duration> {
        match refusal.then {
            Then::Fail => None,
            Then::RetryAfter(seconds) if refusal.reason == Reason::PolicyHeld => {
                Some(Duration::from_secs(seconds.into()).max(HOLD_FLOOR))
            }
            Then::RetryAfter(seconds) => {
                let pause = Duration::from_secs(seconds.into());
                // A run may take hours with what this one cannot share; mostly its Job tells when that is removed.
                let grows = refusal.object.is_some() && pause >= LONG;
                Some(if grows { self.waits.slow(&subject.uid).min(LONGEST) } else { pause })
            }
            Then::Wait if is_unwatched(refusal.reason) => Some(self.waits.slow(&subject.uid)),
            Then::Wait => None,
        }
    }

    /// How long the Operation may wait for its run, and how much of that is left.
    pub(super) fn wait(&self, subject: &Subject) -> (wait::Timeout, Option<Duration>) {
        let timeout = wait::Timeout::of(&subject.object.data, self.config.wait_timeout);
        let rest = timeout.rest(subject.created(), Timestamp::now());
        (timeout, rest)
    }

    /// Why the Operation does not run any more, if its wait is over.
    pub(super) fn overdue(&self, subject: &Subject) -> Option<Refusal> {
        let (timeout, rest) = self.wait(subject);
        if rest.is_some() {
            return None;
        }
        // What another controller has written is not what hookhost waited for.
        let own = subject.blocked_reason().zip(status::message(&subject.status));
        let waited_for = match (own, self.operations.waits_for(&subject.uid)) {
            (Some((reason, message)), _) => WaitedFor::Words(reason, message),
            (None, Some(reason)) => WaitedFor::Reason(reason),
            (None, None) if subject.foreign.has_blocked() => WaitedFor::Unknown,
            (None, None) => WaitedFor::Nothing,
        };
        Some(timeout.refusal(waited_for))
    }
}

/// Whether what the Operation waits for may change without a watch that tells: then a timer asks again, ever more
/// seldom.
fn is_unwatched(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::TargetNotReady
            | Reason::HookNotFound
            | Reason::ConflictingOperation
            | Reason::TooManyOperations
            | Reason::AwaitingApproval
            | Reason::RestoredFromBackup
            | Reason::PolicyUnavailable
            | Reason::NamespaceNotManaged
            // Who changes these settings starts hookhost anew.
            | Reason::TargetKindDisabled
            | Reason::HookNotVerified
    )
}
