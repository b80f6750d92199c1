//! To *start* an Operation that has no Job is to prepare a Job and create it, or to report why that is not done.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hookhost_core::Reason;
use hookhost_core::keys::CLAIM;
use hookhost_core::loan::Manifest;
use hookhost_core::operation::Operation;
use hookhost_core::refusal::Refusal;
use hookhost_core::status::{self, Run, State};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::DynamicObject;
use serde_json::Value;

use super::claimed::claimed;
use super::follow::UNTIL_PODS_END;
use super::lookup::{Choice, Looked};
use super::prepare::{AllPrepared, Prepared, Stop, waiting};
use super::turn::Asked;
use super::{Context, Subject, UNWATCHED};
use crate::claim_key::ClaimSecret;
use crate::looks::Action;
use hookhost_cluster::client;
use hookhost_cluster::error::{Error, Result, chain};
use hookhost_cluster::job::Job;
use hookhost_cluster::resolve::Awaited;
use hookhost_cluster::write::{Created, NewObject, Why};

/// How long a Job may be without a pod before the Operation reports that it is pending. The Job controller creates the pod within
/// a fraction of a second, on a busy machine within a few seconds: to report that each time would be a write for nothing. Where
/// the API server says why it creates no pod, that is reported at once.
pub(super) const PENDING_AFTER: Duration = Duration::from_secs(5);

/// Seconds until the next try where a Job of the same name is being deleted: that of an earlier Operation of this name.
const UNTIL_NAME_IS_FREE: u32 = 2;

/// Failed tries to create a Job, or one of its temporary objects, before the Operation reports that the API server does not create
/// it: a webhook that does not answer, an etcd that is full.
const PATIENCE: u32 = 3;

/// How long an answer of the API server counts that the Operation is still to be run: less than another hookhost needs to run a
/// hook to its end. To prepare a run takes some milliseconds, unless a policy takes long or this process is suspended.
const FRESH: Duration = Duration::from_millis(500);

/// Whether the API server answered that it does not do it.
fn is_refusal(error: &client::Error) -> bool {
    matches!(error, client::Error::Busy { .. } | client::Error::NotFound { .. })
}

/// The Job existed and is gone, and nobody knows how the run ended.
pub(super) fn nothing_left() -> State {
    State::ExternallyDeleted {
        pod: None,
        running: false,
        went_on: None,
        uncounted: None,
        culprit: None,
        log: String::new(),
    }
}

/// The Operation fails, because a Job of the name exists that is somebody else's.
pub(super) fn taken(namespace: &str, name: &str) -> Refusal {
    let message = format!(
        "there is a Job {namespace}/{name} that is not this Operation's. Make an Operation of another name, or delete that Job \
         and make this Operation again"
    );
    Refusal::fail(Reason::JobNameTaken, message)
}

/// Whether the Job of a name is an Operation's.
pub(super) enum Own {
    /// hookhost made it for the Operation.
    Proven(Arc<Job>),
    /// It says that it is the Operation's, but hookhost cannot prove that it made it.
    Unproven(Box<Job>),
    /// There is no such Job, or it is somebody else's.
    Missing,
}

/// Why an Operation waits while a Job exists that may be its own.
fn unproven(namespace: &str, name: &str, secret: &ClaimSecret, is_cancelled: bool) -> Refusal {
    let then = match is_cancelled {
        true => "this Operation was cancelled, and ends so once that Job is gone",
        false => "then this Operation ends as failed, and a new one can be made",
    };
    let message = format!(
        "hookhost cannot prove that the Job {namespace}/{name} is the one that it made for this Operation: its annotation {CLAIM} \
         does not hold. Somebody made or changed that Job, or the key in the Secret {secret} is not the one that it was made with. \
         As long as it is there, nothing is run. Put the key back, if it was lost; or look at what that Job has done and delete it: \
         {then}"
    );
    Refusal::wait(Reason::ClaimInvalid, message)
}

/// The API server did not create the Job, in these words.
pub(super) fn rejected(namespace: &str, name: &str, message: &str, why: Why) -> Refusal {
    let refused = format!("the API server refuses the Job {namespace}/{name}: {message}");
    match why {
        Why::Invalid => Refusal::fail(Reason::JobRejected, refused),
        Why::Forbidden => Refusal::wait(Reason::JobRejected, refused),
        Why::Admission => {
            let denied = format!("admission denies the Job {namespace}/{name}: {message}");
            Refusal::wait(Reason::AdmissionDenied, denied)
        }
    }
}

impl Context {
    /// Starts the run if everything allows it, else reports what does not.
    pub(super) async fn start(&self, subject: &Subject, unproven: &[Arc<Job>]) -> Result<Action> {
        let reported = status::job_ref(&subject.status).map(|job| (job.namespace, job.name));
        let started = || self.started.of(&subject.uid).map(|job| (job.namespace, job.name));
        if let Some((namespace, name)) = reported.or_else(started) {
            return self.find_again(subject, &namespace, &name).await;
        }
        if subject.is_cancelled()
            && let Some(action) = self.hidden_at_end(subject, unproven).await?
        {
            return Ok(action);
        }
        if subject.is_cancelled() {
            return self.write(subject, &State::Cancelled(subject.cancelled_by()), None).await;
        }
        if let Some(refusal) = self.overdue(subject) {
            return self.refuse(subject, refusal).await;
        }
        if let Some(rest) = self.withdrawals.rest(&subject.uid) {
            return Ok(Action::requeue(rest));
        }
        let operation = match subject.operation() {
            Ok(operation) => operation,
            Err(refusal) => return self.refuse(subject, refusal).await,
        };
        if let Some(refusal) = operation.refuse_restored() {
            return self.refuse(subject, refusal).await;
        }
        let _turn = match self.ask_for_turn(subject, &operation) {
            Asked::Begun(turn) => turn,
            Asked::Later => return Ok(Action::await_change()),
            Asked::Refused(refusal) => return self.wait_for_turn(subject, refusal).await,
        };
        if let Some(still) = self.still_waits(subject, &operation).await? {
            return Ok(still);
        }
        let mut awaited = Vec::new();
        let asked = Instant::now();
        let (prepared, is_wanted) = futures::join!(
            self.prepare(subject, &operation, &mut awaited, &[]),
            self.is_still_wanted(subject)
        );
        match prepared {
            Ok(prepared) => {
                self.targets.forget(&subject.key);
                let is_wanted = match is_wanted {
                    Ok(is_wanted) if asked.elapsed() < FRESH => is_wanted,
                    _ => self.is_still_wanted(subject).await?,
                };
                if !is_wanted {
                    return Ok(Action::requeue(PENDING_AFTER));
                }
                if let Some(action) = self.hidden_in_unsearched(subject).await? {
                    return Ok(action);
                }
                if subject.whole_event().is_some() {
                    return self.stage(subject, &[], prepared).await;
                }
                let AllPrepared { jobs, kept: _kept } = prepared;
                match jobs.into_iter().next() {
                    Some(prepared) => self.create(subject, prepared).await,
                    None => Ok(Action::await_change()),
                }
            }
            Err(Stop::Refused(refusal)) if refusal.reason == Reason::ConflictingOperation => {
                self.wait_for_turn(subject, refusal).await
            }
            Err(Stop::Refused(refusal)) => {
                self.await_targets(subject, &refusal, awaited);
                self.refuse(subject, refusal).await
            }
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// What to do if the Operation still waits for what it last reported: for its target to be ready, or for the chart to have its
    /// hook. One lookup answers that for all Operations that wait for the same. None if the wait may be over: then the Operation
    /// is reconciled in full.
    async fn still_waits(&self, subject: &Subject, operation: &Operation) -> Result<Option<Action>> {
        const SHARED: [Reason; 2] = [Reason::HookNotFound, Reason::TargetNotReady];
        // After a start nothing is remembered yet, and what hookhost has reported itself is as good: the lookup decides.
        let remembered = self.operations.waits_for(&subject.uid).map(Reason::as_str);
        let told = remembered.or(subject.blocked_reason());
        let Some(reason) = SHARED.into_iter().find(|reason| told == Some(reason.as_str())) else {
            return Ok(None);
        };
        let mut awaited = Vec::new();
        let refusal = match self.look_up(subject, operation, &mut awaited).await? {
            Looked::Found(Ok(found)) => match found.choose(operation) {
                Choice::Found | Choice::Unsure => None,
                Choice::Refused(refusal) => Some(waiting(operation, refusal)),
                // The status does not have the message that lists the hooks: another controller has written over it, or hookhost has
                // not written it yet.
                Choice::Missing if subject.blocked_reason() != Some(Reason::HookNotFound.as_str()) => None,
                Choice::Missing => {
                    // The message that it has, which lists the hooks that exist, stays.
                    let message = status::message(&subject.status).unwrap_or_default();
                    Some(waiting(operation, Refusal::fail(Reason::HookNotFound, message)))
                }
            },
            Looked::Found(Err(refusal)) => Some(refusal),
            Looked::Later(pause) => return Ok(Some(Action::requeue(pause))),
        };
        match refusal.filter(|refusal| refusal.reason == reason && !refusal.is_final()) {
            Some(refusal) => {
                self.await_targets(subject, &refusal, awaited);
                self.refuse(subject, refusal).await.map(Some)
            }
            None => Ok(None),
        }
    }

    /// Has the Operation reconciled again when one of the objects changes for which it waits.
    pub(super) fn await_targets(&self, subject: &Subject, refusal: &Refusal, awaited: Vec<Awaited>) {
        match refusal.reason {
            // No change of the target ends such a wait.
            Reason::ConflictingOperation | Reason::AwaitingApproval => self.targets.forget(&subject.key),
            Reason::HookNotFound => self.targets.wait(&subject.key, awaited),
            _ if !refusal.is_final() => self.targets.wait(&subject.key, awaited),
            _ => {}
        }
    }

    /// The Operation's Job of a name, as the API server has it: the watch of Jobs may not report it.
    pub(super) async fn own_job(&self, subject: &Subject, namespace: &str, name: &str) -> Result<Own> {
        let Some(job) = self.reader.job(namespace, name).await? else { return Ok(Own::Missing) };
        self.own(subject, job).await
    }

    /// Whether a Job is the Operation's.
    async fn own(&self, subject: &Subject, job: Job) -> Result<Own> {
        if !job.is_for_operation() {
            return Ok(Own::Missing);
        }
        if job.is_of(&subject.uid, &subject.key, &*self.keyring.needed()?) {
            return Ok(Own::Proven(self.jobs.insert(job)));
        }
        if !job.is_owned_by(&subject.uid) && !job.seems_of(&subject.uid) {
            return Ok(Own::Missing);
        }
        // The key may have been put back, or changed by somebody else.
        if let Err(error) = self.keyring.refresh().await {
            tracing::warn!(error = chain(&error), "cannot read the key of claims again");
        }
        if job.is_of(&subject.uid, &subject.key, &*self.keyring.needed()?) {
            return Ok(Own::Proven(self.jobs.insert(job)));
        }
        Ok(Own::Unproven(Box::new(job)))
    }

    /// Reports a Job that may be this Operation's, or that somebody made look like it. No Job is created while it exists; and since
    /// the status names it from then on, none is created once it is gone either.
    pub(super) async fn unproven(&self, subject: &Subject, job: &Job) -> Result<Action> {
        if job.is_deleted() {
            // Whosever it was, it is being deleted.
            return self.after_deletion(subject, &job.namespace).await;
        }
        let secret = self.keyring.secret();
        let refusal = unproven(&job.namespace, &job.name, secret, subject.is_cancelled());
        self.refuse_for(subject, refusal, Run::of(&job.object()).as_ref()).await
    }

    /// Goes on where the status names a Job that the watch of Jobs does not report.
    async fn find_again(&self, subject: &Subject, namespace: &str, name: &str) -> Result<Action> {
        let namespace = if namespace.is_empty() { &subject.key.namespace } else { namespace };
        match self.own_job(subject, namespace, name).await? {
            Own::Proven(job) => self.found_again(subject, job).await,
            Own::Unproven(job) => self.unproven(subject, &job).await,
            Own::Missing => self.after_deletion(subject, namespace).await,
        }
    }

    /// Goes on with a Job that the watch of Jobs does not report.
    pub(super) async fn found_again(&self, subject: &Subject, job: Arc<Job>) -> Result<Action> {
        let action = match job.step {
            Some(_) => self.event(subject, &[job]).await?,
            None => self.follow(subject, &job).await?,
        };
        // Somebody removed a label by which the watch selects Jobs, so it has to be read again from time to time.
        Ok(action.or_sooner(UNWATCHED))
    }

    /// Ends the Operation, whose Job is gone, once no pod of it runs any more.
    async fn after_deletion(&self, subject: &Subject, namespace: &str) -> Result<Action> {
        // Somebody removed hookhost's finalizer and deleted the Job; its pods may still run.
        if subject.is_cancelled() {
            if !self.stopper.stop_remains(namespace, &subject.uid).await? {
                return Ok(Action::requeue(UNTIL_PODS_END));
            }
            self.lender.take_back_of(&subject.uid).await?;
            return self.write(subject, &State::Cancelled(subject.cancelled_by()), None).await;
        }
        let remains = self.stopper.remains(namespace, &subject.uid).await?;
        if let Some(pod) = remains.first() {
            let name = pod.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            let waiting =
                format!("the Job is gone, but its pod {name} has not ended: the run is not over before");
            let running = State::Running { pod: None, waiting: Some(waiting) };
            return Ok(self.write(subject, &running, None).await?.or_sooner(UNTIL_PODS_END));
        }
        self.lender.take_back_of(&subject.uid).await?;
        self.write(subject, &nothing_left(), None).await
    }

    async fn create(&self, subject: &Subject, prepared: Prepared) -> Result<Action> {
        let Prepared { namespace, name, job, loans, expected } = prepared;
        match self.try_create(subject, &namespace, &job).await? {
            Created::New(created) => {
                self.note_creation(subject, &created);
                if let Some(job) = Job::new(&created) {
                    let job = self.jobs.insert(job);
                    if job.is_unopened(&*self.keyring.needed()?) {
                        return self.open(subject, &[(job, loans)], &expected).await;
                    }
                    self.started.note(&subject.uid, &job);
                }
                // The watch reports the first pod; this is for the case that none is created.
                Ok(Action::requeue(PENDING_AFTER))
            }
            Created::Taken => self.adopt(subject, &namespace, &name).await,
            Created::Refused { message, why } => {
                self.refuse(subject, rejected(&namespace, &name, &message, why)).await
            }
        }
    }

    /// Creates a Job, with its claim.
    pub(super) async fn try_create(
        &self,
        subject: &Subject,
        namespace: &str,
        job: &Manifest,
    ) -> Result<Created> {
        // From here until its Job is known, hookhost keeps its rights in the namespace.
        let Some(_creating) = self.bindings.begin(namespace) else {
            return Ok(Created::Refused { message: self.losing_rights(namespace), why: Why::Forbidden });
        };
        let new = {
            let mut job = job.value();
            let claim = self.keyring.needed()?.claim_job(&subject.uid, &job);
            job["metadata"]["annotations"][CLAIM] = claim.into();
            NewObject::of(&job)
        };
        let created = self.writes.create_job(namespace, new).await;
        if created.is_err() && !self.gated.contains(namespace) {
            // It may have been made all the same.
            self.jobs.follow_to_the_end(namespace);
        }
        let created = self.or_refused(subject, created, |error| Created::Refused {
            message: error.to_string(),
            why: Why::Forbidden,
        })?;
        match created {
            Created::New(job) => {
                if !self.gated.contains(namespace) {
                    // It has lost its label since; whatever comes, the Job is followed to its end.
                    self.jobs.follow_to_the_end(namespace);
                }
                let keys = self.keyring.needed()?;
                let job = claimed(&self.reader, &self.writes, &keys, &subject.uid, *job).await?;
                Ok(Created::New(Box::new(job)))
            }
            created => Ok(created),
        }
    }

    /// What the API server answered. An error that comes again and again counts as a rejection, which is reported.
    pub(super) fn or_refused<T>(
        &self,
        subject: &Subject,
        answer: Result<T>,
        refused: impl FnOnce(&client::Error) -> T,
    ) -> Result<T> {
        match answer {
            Err(Error::Api(error)) if self.errors.times(&subject.uid) >= PATIENCE && is_refusal(&error) => {
                Ok(refused(&error))
            }
            answer => answer,
        }
    }

    /// Goes on where a Job of the name exists: created by hookhost before a crash, by another hookhost a moment ago, or by somebody
    /// else.
    async fn adopt(&self, subject: &Subject, namespace: &str, name: &str) -> Result<Action> {
        let Some(job) = self.reader.job(namespace, name).await? else {
            // It is gone again: the next reconcile creates one.
            return Ok(Action::requeue(Duration::ZERO));
        };
        let is_leaving = job.is_deleted() || job.is_of_a_former(&subject.key.name);
        match self.own(subject, job).await? {
            Own::Proven(job) => {
                let keys = self.keyring.needed()?;
                if job.is_untouched(&keys) {
                    self.restage(subject, &[job]).await
                } else {
                    self.follow(subject, &job).await
                }
            }
            Own::Unproven(job) => self.unproven(subject, &job).await,
            Own::Missing if is_leaving => {
                let message = format!(
                    "the Job {namespace}/{name} of an earlier Operation of this name is being deleted"
                );
                self.refuse(subject, Refusal::retry_after(UNTIL_NAME_IS_FREE, Reason::JobNameTaken, message))
                    .await
            }
            Own::Missing => self.refuse(subject, taken(namespace, name)).await,
        }
    }

    /// Whether the Operation still exists, is not cancelled and not finished. The API server itself is asked, right before the Job is
    /// created: this process may have been suspended, or its watch silent, while another hookhost ran the Operation to its end.
    pub(super) async fn is_still_wanted(&self, subject: &Subject) -> Result<bool> {
        let now = self.reader.operation(&subject.key.namespace, &subject.key.name).await?;
        Ok(now.map(Subject::new).is_some_and(|now| {
            now.uid == subject.uid && !now.is_cancelled() && !status::is_finished(&now.status)
        }))
    }

    pub(super) fn note_creation(&self, subject: &Subject, job: &DynamicObject) {
        // What another controller says of it has blocked nothing.
        let is_unreported = status::phase(&subject.status).is_none() || subject.foreign.has_blocked();
        if is_unreported && self.operations.waits_for(&subject.uid).is_none() {
            let created = subject.object.creation_timestamp().map(|time| time.0.as_second());
            let waited = created.map_or(0, |created| Timestamp::now().as_second() - created);
            self.metrics.job_created(Duration::from_secs(waited.try_into().unwrap_or(0)));
        }
        tracing::info!(job_namespace = job.namespace(), job = job.name_any(), "created the Job");
    }
}
