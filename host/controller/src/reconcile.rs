//! To *reconcile* an Operation is to look at what is there (its status, its Job, the Job's pods) and to do the one thing
//! that comes next.
//!
//! ```text
//!                       ┌ no Job ──► start: prepare, then create the Job, or say why not
//!  Operation ─ unfinished ┤
//!        │              └ a Job ───► follow: mirror it; when it is over, keep its result, then let it go
//!        └ finished ───────────────► finished: let the Job go, keep the status what it was
//! ```
//!
//! # Exactly once
//! - The Job's name follows from the Operation alone, so a second create of it is refused by the API server.
//! - The Job carries a finalizer until its result is on the Operation. So whoever crashes, and whoever deletes: as long as
//!   the Operation has no result, the Job is there to be found, by its label with the Operation's UID.
//! - A Job is ours by its [claim](hookhost_core::claim), and by nothing else. One that says that it is ours and cannot prove it is
//!   neither followed nor made again: the Operation waits.
//! - A Job that borrows is made suspended, and opened once all of that is there. Until then nothing of it has run, so it
//!   may be withdrawn and made again.
//!
//! Nothing is remembered between two reconciles that a restart could not do without; the log of a pod that is gone is all that may be
//! missing then.

mod ahead;
mod blind;
mod claimed;
mod decide;
mod event;
mod finished;
mod follow;
mod hidden;
mod logs;
mod lookup;
mod needs;
mod overwritten;
mod place;
mod prepare;
mod stage;
mod start;
mod step;
mod subject;
mod turn;
mod upgrade;
mod waits;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hookhost_core::claim::Keys;
use hookhost_core::status::{self, Evidence, Run, State};
use jiff::Timestamp;
use serde_json::Value;
use tracing::Instrument;

use crate::backoff::Backoff;
use crate::bindings::Bindings;
use crate::claim_key::Keyring;
use crate::claims::Claims;
use crate::config::Config;
use crate::event::Events;
use crate::in_flight::InFlight;
use crate::lender::Lender;
use crate::looks::Action;
use crate::metrics::Metrics;
use crate::organisation::Organisations;
use crate::orphans::Orphans;
use crate::policy::Policies;
use crate::search::Unsearched;
use crate::started::Started;
use crate::stop::Stopper;
use crate::telemetry;
use crate::watch::{Jobs, Namespaces, Operations, Pods, Targets};
use crate::written::Written;
pub(crate) use ahead::Trails;
use hookhost_cluster::client;
use hookhost_cluster::error::{Error, Result, chain};
use hookhost_cluster::job::Job;
use hookhost_cluster::key::OperationKey;
use hookhost_cluster::operation::Brief;
use hookhost_cluster::read::Reader;
use hookhost_cluster::write::{Writes, is_conflict};
pub(crate) use logs::{KeptLogs, LOGS_BYTES};
pub(crate) use lookup::Lookups;
pub(crate) use overwritten::Overwrites;
use overwritten::Turn;
pub(crate) use subject::Subject;
pub(crate) use turn::Turns;

/// What a look at an Operation works with; one for all.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) operations: Operations,
    /// The namespaces whose Operations are served.
    pub(crate) served: Namespaces,
    /// The namespaces in which Jobs may be.
    pub(crate) gated: Namespaces,
    pub(crate) organisations: Organisations,
    /// Where Jobs may be that no watch tells of.
    pub(crate) unsearched: Unsearched,
    pub(crate) jobs: Jobs,
    pub(crate) pods: Pods,
    pub(crate) orphans: Orphans,
    /// Where hookhost is losing its rights.
    pub(crate) bindings: Bindings,
    pub(crate) stopper: Stopper,
    pub(crate) targets: Targets,
    pub(crate) policies: Arc<Policies>,
    pub(crate) reader: Reader,
    /// Where things were found the last time.
    pub(crate) trails: Trails,
    /// Which hooks targets have for which Operations wait.
    pub(crate) lookups: Lookups,
    pub(crate) writes: Writes,
    pub(crate) lender: Lender,
    /// By which it recognises what it made.
    pub(crate) keyring: Keyring,
    pub(crate) written: Written,
    pub(crate) claims: Claims,
    pub(crate) started: Started,
    pub(crate) turns: Turns,
    /// Pauses after errors.
    pub(crate) errors: Backoff,
    /// Pauses of Operations that wait for what is not watched.
    pub(crate) waits: Backoff,
    /// Pauses of Operations whose Job was made and withdrawn: it is not made again in the middle of one, whatever else asks for a
    /// look.
    pub(crate) withdrawals: Backoff,
    /// Pauses before it is reported that a Job was suspended by somebody else, or resumed.
    pub(crate) suspensions: Backoff,
    pub(crate) overwrites: Overwrites,
    /// Logs of pods that may be gone before their run has ended.
    pub(crate) logs: KeptLogs,
    pub(crate) in_flight: InFlight,
    pub(crate) events: Events,
    pub(crate) metrics: Metrics,
}

/// How often a Job is asked for that its watch does not tell of: somebody took off it the label by which it is found.
const UNWATCHED: Duration = Duration::from_secs(10);

/// After a conflict: the newer form is on its way through the watch.
const AFTER_CONFLICT: Duration = Duration::from_millis(100);

/// Looks in a row that fail before the Operation says so: half a minute, which a restart of the API server takes.
const TELL_AFTER: u32 = 6;

/// Looks at one Operation, and says when to look again.
pub(crate) async fn reconcile(key: OperationKey, context: Arc<Context>) -> Action {
    let brief = context.operations.get(&key);
    if let Some(brief) = brief.as_ref().filter(|brief| !context.is_ours(brief)) {
        // Its namespace may have lost the gate since, or this shard the namespace: then nobody waits for it.
        context.note_operation(brief);
        context.claims.release(&brief.uid);
        context.jobs.await_object(&brief.uid, None);
        return Action::await_change();
    }
    let kept = brief.as_ref().and_then(|brief| context.operations.whole(&brief.uid));
    let whole = match (kept, &brief) {
        (Some(whole), _) => whole,
        (None, Some(brief)) if brief.is_settled && context.jobs.of(&brief.uid).is_empty() => {
            return Action::await_change();
        }
        // Its text is not kept; or it is not known at all, and has a Job.
        (None, _) => match context.reader.operation(&key.namespace, &key.name).await {
            Ok(Some(whole)) if brief.as_ref().is_none_or(|brief| whole.brief.uid == brief.uid) => whole,
            // That it is gone is on its way through the watch.
            Ok(_) => return Action::await_change(),
            Err(error) => {
                // Of one that is not known nothing but its name.
                let of = brief.as_ref().map_or_else(|| name(&key), |brief| brief.uid.clone());
                return context.after(&of, &error);
            }
        },
    };
    if brief.is_none() {
        context.errors.forget(&name(&key));
        if !context.is_ours(&whole.brief) {
            return Action::await_change();
        }
        if context.own_jobs(&whole.brief).iter().any(|job| job.is_held()) {
            context.operations.keep_started(&whole.brief);
        }
    }
    let subject = Subject::new(context.written.latest(whole));
    let begun = Instant::now();
    let span = telemetry::reconcile_span(&subject.key.namespace, &subject.key.name, &subject.uid);
    span.record("org_id", context.organisation(&subject.key.namespace));
    span.record("application_instance", subject.instance());
    let result = context.look(&subject).instrument(span.clone()).await;
    if brief.is_some() && context.operations.by_uid(&subject.uid).is_none() {
        // Deleted while it was looked at: what the look has taken since is given back.
        context.forget(&subject.brief);
    }
    context.metrics.reconciled(begun.elapsed());
    match result {
        Ok(action) => {
            context.errors.forget(&subject.uid);
            action
        }
        // Once is what happens to everybody; again and again means that the watch does not tell, which is an error.
        Err(error) if is_conflict(&error) && !context.errors.is_known(&subject.uid) => {
            context.errors.next(&subject.uid);
            Action::requeue(AFTER_CONFLICT)
        }
        Err(error) => {
            let action = span.in_scope(|| context.after(&subject.uid, &error));
            context.explain_failure(&subject, &error).instrument(span).await;
            action
        }
    }
}

impl Context {
    /// When to look again after an error.
    fn after(&self, of: &str, error: &Error) -> Action {
        let pause = self.errors.next(of);
        self.metrics.reconcile_error(error.reason());
        tracing::warn!(
            reason = error.reason().as_str(),
            error = chain(error),
            again_in_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            "an Operation could not be looked at to the end"
        );
        Action::requeue(pause)
    }

    /// Says on the Operation what keeps hookhost from going on with it: at once where an administrator must help, else where it
    /// has for long.
    async fn explain_failure(&self, subject: &Subject, error: &Error) {
        const WHAT: &str = "hookhost cannot go on with it, and tries again";
        let is_forbidden =
            matches!(error, Error::Api(client::Error::Forbidden { .. } | client::Error::Denied { .. }));
        // Once: an error has other words each time, and what is written makes for a look at once.
        let is_told = subject.blocked_reason() == Some(error.reason().as_str());
        if is_told || (!is_forbidden && self.errors.times(&subject.uid) < TELL_AFTER) {
            return;
        }
        let advice = match error {
            Error::Api(error) if is_forbidden => format!(". {}", error.advice()),
            _ => String::new(),
        };
        let message = format!("{WHAT}: {}{advice}", chain(error));
        if let Err(error) = self.obstruct(subject, error.reason(), message).await {
            tracing::debug!(error = chain(&error), "cannot say so on the Operation");
        }
    }

    /// Whether the Operation is for this engine, this cluster and this hookhost; or has a run under way, which is followed to
    /// its end, whatever its labels say by then and whether or not its namespace is still served.
    pub(crate) fn is_ours(&self, operation: &Brief) -> bool {
        let is_meant = operation.is_of_engine()
            && operation.is_for_cluster(&self.config.cluster_id)
            && self.served.contains(&operation.key.namespace);
        is_meant || self.own_jobs(operation).iter().any(|job| job.is_held())
    }

    /// The Jobs that hookhost made for an Operation.
    pub(crate) fn own_jobs(&self, operation: &Brief) -> Vec<Arc<Job>> {
        let Some(keys) = self.keyring.keys() else { return Vec::new() };
        let mut jobs = self.jobs.of(&operation.uid);
        jobs.retain(|job| job.is_of(&operation.uid, &operation.key, &keys));
        jobs
    }

    /// Forgets an Operation that is gone. Its Jobs, where it had any, are looked after as orphans.
    pub(crate) fn forget(&self, operation: &Brief) {
        let uid = &operation.uid;
        self.targets.forget(&operation.key);
        self.claims.release(uid);
        self.started.forget(uid);
        self.turns.leave(uid);
        self.jobs.unwant(uid);
        self.jobs.await_object(uid, None);
        self.in_flight.forget(uid, &self.metrics);
        self.errors.forget(uid);
        self.waits.forget(uid);
        self.withdrawals.forget(uid);
        self.suspensions.forget(uid);
        self.written.forget(uid);
        self.overwrites.forget(uid);
        self.logs.forget(uid);
        for job in self.jobs.of(uid) {
            self.orphans.suspect(&job.namespace, &job.name);
        }
    }

    async fn look(&self, subject: &Subject) -> Result<Action> {
        // Woken when the namespace's Jobs are known; and, for whoever stands by, when it leads.
        if !self.writes.is_allowed() {
            return Ok(Action::await_change());
        }
        if !self.jobs.is_synced(&subject.key.namespace) {
            return self.explain_delay(subject).await;
        }
        let Some(keys) = self.keyring.keys() else { return self.explain_no_key(subject).await };
        self.in_flight.note(&subject.uid, &subject.status, &self.metrics);
        let (jobs, others): (Vec<_>, Vec<_>) = self
            .jobs
            .of(&subject.uid)
            .into_iter()
            .partition(|job| job.is_of(&subject.uid, &subject.key, &keys));
        let others = self.claimed_by(subject, others);
        if let Some(action) = self.explain_blindness(subject, &jobs).await? {
            return Ok(action);
        }
        let jobs = self.whole(subject, jobs, &keys).await?;
        let are_watched = jobs.iter().all(|job| job.is_watched);
        let action = self.go_on(subject, &jobs, &others, &keys).await?;
        Ok(if are_watched { action } else { action.or_sooner(UNWATCHED) })
    }

    /// Those of these Jobs that may be the Operation's though hookhost cannot prove it: by their names, in its own namespace or in
    /// another one of its organisation. Whoever may create Jobs elsewhere has no say in it: what has hookhost's finalizer there is
    /// treated as a Job without an Operation.
    fn claimed_by(&self, subject: &Subject, jobs: Vec<Arc<Job>>) -> Vec<Arc<Job>> {
        let (may_be, others): (Vec<_>, Vec<_>) =
            jobs.into_iter().partition(|job| self.may_be_its(subject, &job.namespace, &job.name));
        for job in others.iter().filter(|job| job.is_held()) {
            self.orphans.suspect(&job.namespace, &job.name);
        }
        may_be
    }

    fn may_be_its(&self, subject: &Subject, namespace: &str, job: &str) -> bool {
        self.organisations.may_be_job(&subject.key, &subject.uid, namespace, job)
    }

    /// The whole of each of the Operation's Jobs, and as it is now: what is kept, if nothing is left out and the watch tells of
    /// each change; else what the API server has.
    async fn whole(&self, subject: &Subject, jobs: Vec<Arc<Job>>, keys: &Keys) -> Result<Vec<Arc<Job>>> {
        let mut whole = Vec::new();
        for job in jobs {
            if job.is_whole() && job.is_watched {
                whole.push(job);
                continue;
            }
            let now = self.reader.job(&job.namespace, &job.name).await?;
            let is_it = |now: &Job| now.uid == job.uid && now.is_of(&subject.uid, &subject.key, keys);
            match now.filter(is_it) {
                Some(now) => whole.push(self.jobs.insert(now)),
                None => self.jobs.remove(&job),
            }
        }
        Ok(whole)
    }

    /// Does what comes next; `others` are Jobs that only say that they are the Operation's.
    async fn go_on(
        &self,
        subject: &Subject,
        jobs: &[Arc<Job>],
        others: &[Arc<Job>],
        keys: &Keys,
    ) -> Result<Action> {
        if status::is_finished(&subject.status) {
            return self.finished(subject, jobs, others).await;
        }
        match jobs {
            // Its Job may be in a namespace that is not known yet. Woken when the last one is.
            [] if !self.jobs.are_all_known() => Ok(Action::await_change()),
            [] => self.start(subject, others).await,
            // Some of an event's may be in namespaces that are not known yet, too.
            [first, ..]
                if first.step.is_some_and(|step| jobs.len() < step.of) && !self.jobs.are_all_known() =>
            {
                Ok(Action::await_change())
            }
            [first, ..] if first.step.is_some() => self.event(subject, jobs).await,
            // There is but one: a copy of it has another name, for which its claim does not hold.
            [job, ..] if job.is_untouched(keys) => self.restage(subject, std::slice::from_ref(job)).await,
            [job, ..] => self.follow(subject, job).await,
        }
    }

    /// Writes the state to the Operation, if that changes anything, with its events. A result is written at once; what
    /// somebody else has written over comes back when it is time for it.
    async fn write(&self, subject: &Subject, state: &State, run: Option<&Run>) -> Result<Action> {
        let now = Timestamp::now();
        self.note_wait(subject, state.waits_for());
        let reported = self.overwrites.reported(&subject.uid);
        let evidence = Evidence { foreign: subject.foreign, reported };
        let update = status::next(&subject.status, evidence, state, run, subject.generation, now);
        let Some(mut update) = update else { return Ok(Action::await_change()) };
        let (was_finished, is_finished) =
            (status::is_finished(&subject.status), status::is_finished(&update.status));
        let is_answer = subject.foreign.has_blocked();
        let turn = match (was_finished, is_finished) {
            (true, _) => self.overwrites.may_restore(&subject.uid, Instant::now()),
            (false, true) => Ok(Turn::First),
            (false, false) => {
                self.overwrites.may_write(&subject.uid, &update.status, is_answer, Instant::now())
            }
        };
        match turn {
            Ok(Turn::First) => {}
            Ok(Turn::Again) => {
                status::note_overwritten(&mut update.status, subject.other_writer.as_deref(), now);
            }
            Err(rest) => return Ok(Action::requeue(rest)),
        }
        let written = self.writes.status(&subject.object, &update.status).await?;
        self.written.keep(written);
        let says =
            |status| (status::phase(status).unwrap_or_default(), status::reason(status).unwrap_or_default());
        let (phase, reason) = says(&update.status);
        let mut is_new = says(&subject.status) != (phase, reason);
        if was_finished {
            let is_reported = status::is_overwritten(&subject.status);
            self.overwrites.restored(&subject.uid, is_reported, Instant::now());
        } else if !is_finished {
            // What another controller has written in between is no phase that it was in.
            is_new &= self.overwrites.wrote(&subject.uid, &update.status, Instant::now());
        }
        self.overwrites.report(&subject.uid, state.waits_for());
        if is_new {
            self.metrics.transition(phase, reason);
        }
        tracing::info!(phase, reason, "wrote the Operation's status");
        for event in update.events {
            self.events.publish(&subject.object, event);
        }
        self.in_flight.note(&subject.uid, &update.status, &self.metrics);
        if is_finished {
            self.settle(subject, &update.status);
        }
        Ok(Action::await_change())
    }

    /// The Operation, with this status, is finished: it holds nothing, and waits for nothing but the hook that its chart
    /// may get.
    fn settle(&self, subject: &Subject, status: &Value) {
        self.claims.release(&subject.uid);
        self.started.forget(&subject.uid);
        self.turns.leave(&subject.uid);
        self.jobs.unwant(&subject.uid);
        self.jobs.await_object(&subject.uid, None);
        self.waits.forget(&subject.uid);
        self.withdrawals.forget(&subject.uid);
        self.suspensions.forget(&subject.uid);
        self.overwrites.settle(&subject.uid);
        self.logs.forget(&subject.uid);
        if !status::lacks_hook(status) {
            self.targets.forget(&subject.key);
        }
    }

    /// The organisation of a namespace: its label's value, else its name.
    pub(crate) fn organisation(&self, namespace: &str) -> String {
        self.organisations.of(namespace)
    }
}

fn name(key: &OperationKey) -> String {
    format!("{}/{}", key.namespace, key.name)
}
