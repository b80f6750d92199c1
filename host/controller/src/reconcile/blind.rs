//! hookhost is *blind* where it cannot see an Operation's Job, or cannot tell that it is its: without its key, and where the API
//! server does not tell it the Jobs of a namespace. It does nothing then but say so, for a Job may be there.
//!
//! An Operation that has no Job waits there for no longer than elsewhere. So when its wait is over, its Job is asked for by
//! its names: where there is none, nothing can have run, and the Operation fails. Else it stays as it is.

use std::sync::Arc;

use hookhost_core::Reason;
use hookhost_core::clone;
use hookhost_core::refusal::Refusal;
use hookhost_core::status::{self, State};
use hookhost_core::wait::WaitedFor;

use super::{Context, Subject};
use crate::looks::Action;
use hookhost_cluster::error::{Result, chain};
use hookhost_cluster::job::Job;

/// Namespaces that are asked for an Operation's Job, beside its own. Where more are not known, it is the API server that has to be
/// helped first.
const MAX_ASKED: usize = 8;

impl Context {
    /// Without its key hookhost cannot tell its own Jobs from others, so it does nothing. Where it cannot be had, the Operation
    /// says so.
    pub(super) async fn explain_no_key(&self, subject: &Subject) -> Result<Action> {
        let Some(why) = self.keyring.problem() else { return Ok(Action::await_change()) };
        if status::is_finished(&subject.status) {
            return Ok(Action::await_change());
        }
        let message = format!(
            "hookhost cannot have the key by which it recognises what it made, in the Secret {}: {why}. Its Helm chart makes that \
             Secret, empty, and lets hookhost fill it",
            self.keyring.secret()
        );
        let refusal = Refusal::wait(Reason::ClaimKeyUnavailable, message);
        self.wait_blindly(subject, State::Refused(refusal.clone()), &refusal).await
    }

    /// Nothing is done before the namespace's Jobs are known: one may be this Operation's. Where the API server does not
    /// tell them, the Operation says so.
    pub(super) async fn explain_delay(&self, subject: &Subject) -> Result<Action> {
        let namespace = &subject.key.namespace;
        let Some((reason, why)) = self.jobs.broken(namespace) else { return Ok(Action::await_change()) };
        let message = cannot_see(namespace, reason, &why);
        if status::is_finished(&subject.status) {
            // One that has no Job is nothing to look after.
            let has_job = status::job_ref(&subject.status).is_some();
            return if has_job {
                self.obstruct(subject, reason, message).await
            } else {
                Ok(Action::await_change())
            };
        }
        let refusal = Refusal::wait(reason, &message);
        self.wait_blindly(subject, obstructed(subject, reason, message), &refusal).await
    }

    /// A run is under way where hookhost may not see its Job any more: what it last saw is not what is there now.
    pub(super) async fn explain_blindness(
        &self,
        subject: &Subject,
        jobs: &[Arc<Job>],
    ) -> Result<Option<Action>> {
        if status::is_finished(&subject.status) {
            return Ok(None);
        }
        for job in jobs {
            if let Some((reason @ Reason::AccessForbidden, why)) = self.jobs.broken(&job.namespace) {
                let message = format!(
                    "{}. The Job {} goes on, and its result is told here once hookhost may see it",
                    cannot_see(&job.namespace, reason, &why),
                    job.name
                );
                return self.obstruct(subject, reason, message).await.map(Some);
            }
        }
        Ok(None)
    }

    /// Says on the Operation what keeps hookhost from it. A run that is under way, or its result, stays as it was told.
    pub(super) async fn obstruct(
        &self,
        subject: &Subject,
        reason: Reason,
        message: String,
    ) -> Result<Action> {
        self.write(subject, &obstructed(subject, reason, message), None).await
    }

    /// Says why nothing is done for the Operation, for as long as it may wait, and longer where it may have a Job.
    async fn wait_blindly(&self, subject: &Subject, state: State, refusal: &Refusal) -> Result<Action> {
        let (timeout, rest) = self.wait(subject);
        if let Some(rest) = rest {
            return Ok(self.write(subject, &state, None).await?.or_sooner(rest));
        }
        if self.cannot_have_run(subject).await {
            let over = timeout.refusal(WaitedFor::Words(refusal.reason.as_str(), &refusal.message));
            return self.write(subject, &State::Refused(over), None).await;
        }
        // Should it become known that it has none.
        let pause = self.waits.slow(&subject.uid);
        Ok(self.write(subject, &state, None).await?.or_sooner(pause))
    }

    fn has_job(&self, subject: &Subject) -> bool {
        let own = self.own_jobs(&subject.brief);
        !own.is_empty() || !self.claimed_by(subject, self.jobs.of(&subject.uid)).is_empty()
    }

    /// Whether there is no Job of the Operation, and none is known to have been.
    async fn cannot_have_run(&self, subject: &Subject) -> bool {
        if status::has_started(&subject.status) || self.has_job(subject) {
            return false;
        }
        let own = &subject.key.namespace;
        let Some(mut unknown) = self.jobs.unlisted() else { return false };
        unknown.extend(self.unsearched.namespaces());
        unknown.retain(|namespace| namespace != own);
        if unknown.len() > MAX_ASKED {
            return false;
        }
        // Of an event the first is there before the others.
        let step = subject.whole_event().map(|_| 1);
        for namespace in std::iter::once(own).chain(&unknown) {
            for name in clone::job_names(&subject.key.name, &subject.uid, namespace == own, step) {
                match self.reader.job(namespace, &name).await {
                    Ok(None) => {}
                    Ok(Some(_)) if !self.may_be_its(subject, namespace, &name) => {}
                    Ok(Some(_)) => return false,
                    Err(error) => {
                        tracing::debug!(error = chain(&error), "cannot find out whether there is a Job");
                        return false;
                    }
                }
            }
        }
        true
    }
}

/// What keeps hookhost from the Operation: beside its run, where it has one, or its result.
fn obstructed(subject: &Subject, reason: Reason, message: String) -> State {
    let has_run = status::job_ref(&subject.status).is_some();
    match has_run || status::is_finished(&subject.status) {
        true => State::Obstructed { reason, message },
        false => State::Refused(Refusal::wait(reason, message)),
    }
}

/// What is wrong where the Jobs of a namespace are not known, and what to do.
fn cannot_see(namespace: &str, reason: Reason, why: &str) -> String {
    let advice = match reason {
        Reason::AccessForbidden => {
            "If it is RBAC, bind hookhost's role there: its Helm chart does so for the namespaces in its value `namespaces`"
        }
        _ => "hookhost asks again until it can",
    };
    format!("hookhost cannot see the Jobs of the namespace {namespace}: {why}. {advice}")
}
