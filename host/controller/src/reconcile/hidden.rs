//! A *hidden* Job is one that may be an Operation's, though none is known to be: it is in a namespace that could not be searched, a
//! label by which the watch finds it was taken off, or hookhost cannot prove that it made it. Its name follows from the Operation,
//! so it is asked for by that.

use std::sync::Arc;

use hookhost_core::clone;

use super::start::Own;
use super::{Context, Subject};
use crate::looks::Action;
use hookhost_cluster::client;
use hookhost_cluster::error::{Error, Result};
use hookhost_cluster::job::Job;

impl Context {
    /// What follows before an Operation ends without a run: it is not over beside a Job that may be its run. None if there is none.
    /// `unproven` are those that may be its, and cannot prove it.
    pub(super) async fn hidden_at_end(
        &self,
        subject: &Subject,
        unproven: &[Arc<Job>],
    ) -> Result<Option<Action>> {
        let own = &subject.key.namespace;
        if let Some(action) = self.hidden_in(subject, own).await? {
            return Ok(Some(action));
        }
        for job in unproven.iter().filter(|job| job.namespace != *own) {
            if let Some(action) = self.hidden_under(subject, &job.namespace, &job.name).await? {
                return Ok(Some(action));
            }
        }
        self.hidden_in_unsearched(subject).await
    }

    /// What follows from a Job of the Operation in a namespace that could not be searched yet; none if there is none.
    pub(super) async fn hidden_in_unsearched(&self, subject: &Subject) -> Result<Option<Action>> {
        for namespace in self.unsearched.namespaces() {
            if let Some(action) = self.hidden_in(subject, &namespace).await? {
                return Ok(Some(action));
            }
        }
        Ok(None)
    }

    async fn hidden_in(&self, subject: &Subject, namespace: &str) -> Result<Option<Action>> {
        let is_own = namespace == subject.key.namespace;
        // Of an event the first is there before the others.
        let step = subject.whole_event().map(|_| 1);
        for name in clone::job_names(&subject.key.name, &subject.uid, is_own, step) {
            if let Some(action) = self.hidden_under(subject, namespace, &name).await? {
                return Ok(Some(action));
            }
        }
        Ok(None)
    }

    async fn hidden_under(&self, subject: &Subject, namespace: &str, name: &str) -> Result<Option<Action>> {
        let job = match self.own_job(subject, namespace, name).await {
            // Without rights there nothing can be done for it.
            Err(Error::Api(client::Error::Forbidden { .. })) => return Ok(None),
            job => job?,
        };
        match job {
            Own::Missing => Ok(None),
            Own::Unproven(job) if !self.may_be_its(subject, namespace, &job.name) => Ok(None),
            Own::Unproven(job) => self.unproven(subject, &job).await.map(Some),
            Own::Proven(job) => {
                if !self.gated.contains(namespace) {
                    self.jobs.follow_to_the_end(namespace);
                }
                tracing::warn!(
                    job_namespace = job.namespace,
                    job = job.name,
                    "found a Job of the Operation of which no watch had told"
                );
                self.found_again(subject, job).await.map(Some)
            }
        }
    }
}
