//! To *start* an Operation that has no Job: prepare one and create it, or say why not.

use std::time::Duration;

use hookhost_core::Reason;
use hookhost_core::refusal::Refusal;
use hookhost_core::status::{self, State};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::DynamicObject;

use super::prepare::{Prepared, Stop};
use super::{Context, Subject};
use crate::error::Result;
use crate::looks::Action;
use crate::watch::{Awaited, Job};
use crate::write::Created;

/// How long a Job may be without a pod before the Operation says that it is pending. The Job controller makes the pod
/// within a fraction of a second; writing that down each time would be a write for nothing.
pub(super) const PENDING_AFTER: Duration = Duration::from_secs(1);

/// How long to wait for a Job of our name that is not ours, but on its way out: that of a deleted Operation of the same
/// name.
const UNTIL_NAME_IS_FREE: u32 = 2;

impl Context {
    /// Starts the run, once everything allows it.
    pub(super) async fn start(&self, subject: &Subject) -> Result<Action> {
        if subject.is_cancelled() {
            self.write(subject, &State::Cancelled(subject.cancelled_by()), None).await?;
            return Ok(Action::await_change());
        }
        if let Some(job) = status::job_ref(&subject.status) {
            return self.find_again(subject, &job.namespace, &job.name).await;
        }
        let mut awaited = Vec::new();
        let prepared = self.prepare(subject, &mut awaited).await;
        match prepared {
            Ok(prepared) => {
                self.targets.forget(&subject.key);
                self.create(subject, prepared).await
            }
            Err(Stop::Refused(refusal)) => {
                if !refusal.is_final() || refusal.reason == Reason::HookNotFound {
                    self.targets.wait(&subject.key, awaited);
                }
                self.refuse(subject, refusal).await
            }
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// A Job was made for the Operation, but the watch has none.
    async fn find_again(&self, subject: &Subject, namespace: &str, name: &str) -> Result<Action> {
        let found = self.reader.job(namespace, name).await?.and_then(Job::new);
        if let Some(job) = found.filter(|job| job.operation == subject.uid) {
            let job = self.jobs.insert(job);
            return self.follow(subject, &job).await;
        }
        // Somebody took our finalizer off and deleted it.
        let nothing_left =
            State::ExternallyDeleted { pod: None, running: false, culprit: None, log: String::new() };
        self.write(subject, &nothing_left, None).await?;
        Ok(Action::await_change())
    }

    async fn create(&self, subject: &Subject, prepared: Prepared) -> Result<Action> {
        let Prepared { namespace, name, job } = prepared;
        match self.writes.create_job(&namespace, job).await? {
            Created::New(created) => {
                self.note_creation(subject, &created);
                if let Some(job) = Job::new(*created) {
                    self.jobs.insert(job);
                }
                // The watch tells of the first pod; this finds out if there is none.
                Ok(Action::requeue(PENDING_AFTER))
            }
            Created::Taken => self.adopt(subject, &namespace, &name).await,
            Created::Refused { message, is_final } => {
                let message = format!("the API server refuses the Job {namespace}/{name}: {message}");
                let refusal = if is_final {
                    Refusal::fail(Reason::JobRejected, message)
                } else {
                    Refusal::wait(Reason::JobRejected, message)
                };
                self.refuse(subject, refusal).await
            }
        }
    }

    /// There is a Job of our name: made by us before a crash, by another hookhost a moment ago, or by somebody else.
    async fn adopt(&self, subject: &Subject, namespace: &str, name: &str) -> Result<Action> {
        let Some(object) = self.reader.job(namespace, name).await? else {
            // Gone again: the next look creates it.
            return Ok(Action::requeue(Duration::ZERO));
        };
        let is_leaving = object.metadata.deletion_timestamp.is_some();
        match Job::new(object).filter(|job| job.operation == subject.uid) {
            Some(job) => {
                let job = self.jobs.insert(job);
                self.follow(subject, &job).await
            }
            None if is_leaving => {
                let message = format!(
                    "the Job {namespace}/{name} of an earlier Operation of this name is being deleted"
                );
                self.refuse(subject, Refusal::retry_after(UNTIL_NAME_IS_FREE, Reason::JobNameTaken, message))
                    .await
            }
            None => {
                let message = format!(
                    "there is a Job {namespace}/{name} that is not this Operation's. Make an Operation of another name, \
                     or delete that Job and make this Operation again"
                );
                self.refuse(subject, Refusal::fail(Reason::JobNameTaken, message)).await
            }
        }
    }

    fn note_creation(&self, subject: &Subject, job: &DynamicObject) {
        let created = subject.object.creation_timestamp().map(|time| time.0.as_second());
        let waited = created.map_or(0, |created| Timestamp::now().as_second() - created);
        self.metrics.job_created(Duration::from_secs(waited.try_into().unwrap_or(0)));
        tracing::info!(job_namespace = job.namespace(), job = job.name_any(), "created the Job");
    }
}

/// What an Operation's target and HelmRelease are, to be woken by their changes.
pub(super) fn awaited(kind: crate::watch::Kind, namespace: &str, name: &str) -> Awaited {
    Awaited { kind, namespace: namespace.to_owned(), name: name.to_owned() }
}
