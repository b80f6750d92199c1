//! To *follow* a run is to mirror its Job onto the Operation until it is over, then to keep the result and let the Job go.

use std::sync::Arc;
use std::time::Duration;

use hookhost_core::outcome::{self, Culprit, LogSource, Outcome, Warnings};
use hookhost_core::status::{self, Run, State};
use serde_json::Value;

use super::start::PENDING_AFTER;
use super::{Context, Subject};
use crate::looks::Action;
use crate::stop::{Orphaned, add};
use hookhost_cluster::error::Result;
use hookhost_cluster::job::Job;
use hookhost_cluster::read::{PodsOf, Which};

impl Context {
    /// Mirrors the Job.
    pub(super) async fn follow(&self, subject: &Subject, job: &Arc<Job>) -> Result<Action> {
        self.started.note(&subject.uid, job);
        self.lender.owe(job);
        let object = job.object();
        let run = Run::of(&object);
        if subject.is_cancelled() && !job.is_finished() {
            return self.cancel(subject, job, run.as_ref()).await;
        }
        let outcome = self.observe(subject, job, &object).await?;
        let is_over = outcome.is_over();
        if !is_over && let Some(lost) = self.lost_with_namespace(subject, job, run.as_ref()).await? {
            return Ok(lost);
        }
        let written = self.mirror(subject, job, outcome, run.as_ref()).await?;
        if is_over {
            self.let_go(job).await?;
        }
        Ok(written)
    }

    /// Gives up a run whose namespace is being deleted, while hookhost still has its rights there: everything in it goes, and
    /// nobody could take the finalizer off the Job later.
    pub(super) async fn lost_with_namespace(
        &self,
        subject: &Subject,
        job: &Job,
        run: Option<&Run>,
    ) -> Result<Option<Action>> {
        if !self.gated.is_terminating(&job.namespace) {
            return Ok(None);
        }
        let written = self.write(subject, &State::NamespaceDeleted, run).await?;
        self.let_go(job).await?;
        Ok(Some(written))
    }

    /// How the Job goes; `object` is what it says.
    pub(super) async fn observe(&self, subject: &Subject, job: &Job, object: &Value) -> Result<Outcome> {
        let pods = self.pods_of(subject, job).await?;
        let pods: Vec<&Value> = pods.iter().map(AsRef::as_ref).collect();
        self.keep_log(subject, object, &pods).await;
        let warnings = self.warnings(job, &pods);
        Ok(outcome::observe(object, &pods, warnings.borrow()))
    }

    /// Writes down how the Job goes.
    pub(super) async fn mirror(
        &self,
        subject: &Subject,
        job: &Job,
        outcome: Outcome,
        run: Option<&Run>,
    ) -> Result<Action> {
        // Its first pod, or word of it, is on its way: writing before it comes would be a write for nothing.
        let is_about_to_tell = matches!(
            outcome,
            Outcome::NotStarted { why: None } | Outcome::Running { pod: None, waiting: None }
        );
        if is_about_to_tell && job.known_since.elapsed() < PENDING_AFTER {
            return Ok(Action::requeue(PENDING_AFTER));
        }
        let is_suspended = matches!(outcome, Outcome::Suspended { .. });
        if is_suspended != status::is_suspended(&subject.status) && !outcome.is_over() {
            // Whoever may change the Job can suspend and resume it any number of times.
            if let Some(rest) = self.suspensions.rest(&subject.uid) {
                return Ok(Action::requeue(rest));
            }
            self.suspensions.slow(&subject.uid);
        }
        if job.is_deleted() && !outcome.is_over() {
            // Somebody deleted it in the background, which ends its pods only once hookhost lets it go.
            self.stopper.stop(job, Orphaned::RunOn).await?;
            let written = self.write(subject, &State::of(outcome, String::new()), run).await?;
            return Ok(written.or_sooner(UNTIL_PODS_END));
        }
        let log = match outcome.culprit() {
            Some(culprit) => self.log(subject, culprit).await,
            None => String::new(),
        };
        self.write(subject, &State::of(outcome, log), run).await
    }

    /// Stops the run: its Job is deleted with its pods, and once that is under way the Operation says so.
    pub(super) async fn cancel(
        &self,
        subject: &Subject,
        job: &Arc<Job>,
        run: Option<&Run>,
    ) -> Result<Action> {
        if !self.gated.is_terminating(&job.namespace) && !self.stopper.stop(job, Orphaned::Deleted).await? {
            if !job.is_deleted() {
                tracing::info!(
                    job_namespace = job.namespace,
                    job = job.name,
                    "deleted the Job of a cancelled Operation"
                );
            }
            // The watches tell when the Job is on its way and its pods have ended; should they not, this does.
            let written = self.write(subject, &State::Cancelling(subject.cancelled_by()), run).await?;
            return Ok(written.or_sooner(UNTIL_PODS_END));
        }
        self.write(subject, &State::Cancelled(subject.cancelled_by()), run).await?;
        self.let_go(job).await?;
        Ok(Action::await_change())
    }

    /// Takes back what the Job borrows, then takes our finalizer off: the result is on the Operation, and Kubernetes may
    /// remove the Job when its time comes.
    pub(super) async fn let_go(&self, job: &Job) -> Result<()> {
        if !job.is_indebted() {
            // Somebody took the finalizer off.
            return if self.lender.owes(job) { self.lender.take_back(job).await } else { Ok(()) };
        }
        self.lender.take_back(job).await?;
        match self.writes.release_job(job).await? {
            Some(released) => {
                tracing::info!(job_namespace = job.namespace, job = job.name, "let the Job go");
                self.jobs.insert(released);
            }
            None => self.jobs.remove(job),
        }
        Ok(())
    }

    /// The Job's pods: as their watch has them while it runs. Once it is over they are asked for: they may go at any time,
    /// and their watch may be behind that of the Jobs. Of those that are gone by then the watch's last state counts.
    async fn pods_of(&self, subject: &Subject, job: &Job) -> Result<Vec<Arc<Value>>> {
        let watched = self.pods.of(&job.namespace, &subject.uid);
        if !job.is_over {
            return Ok(watched.unwrap_or_default());
        }
        let (namespace, of) = (&job.namespace, PodsOf::Job(&job.uid));
        match self.reader.pods(namespace, of, Which::All).await {
            Ok(mut found) => {
                // What its conditions say holds whatever else its pods say. Of a Job that was deleted it has to be known whether one
                // still runs.
                if !job.is_finished() {
                    add(&mut found.pods, self.stopper.at_work(job).await?);
                }
                add(&mut found.pods, gone(job, watched.unwrap_or_default(), found.is_cut));
                Ok(self.pods.with_owners(namespace, found.pods))
            }
            Err(error) => watched.filter(|pods| !pods.is_empty()).ok_or(error),
        }
    }

    /// What the cluster last warned of: about the Job, and about its newest pod. What is older than that pod has passed.
    fn warnings(&self, job: &Job, pods: &[&Value]) -> Warned {
        let text = |pod: &&Value, path: &str| {
            pod.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let there = pods.iter().filter(|pod| !outcome::is_gone(pod));
        let newest = there.max_by_key(|pod| text(pod, "/metadata/creationTimestamp"));
        let since = newest.map(|pod| text(pod, "/metadata/creationTimestamp")).unwrap_or_default();
        let pod =
            newest.and_then(|pod| self.pods.warning(&job.namespace, &text(pod, "/metadata/uid"), &since));
        Warned { job: self.pods.warning(&job.namespace, &job.uid, &since), pod }
    }

    /// Reads the log of a pod that may be gone before the run has ended: once for each pod, and once more when it is whole.
    async fn keep_log(&self, subject: &Subject, job: &Value, pods: &[&Value]) {
        let Some(mut source) = outcome::log_at_risk(job, pods) else { return };
        let kept = self.logs.of(&subject.uid, &source.pod);
        if kept.as_ref().is_some_and(|(kept, _)| kept.has_ended || !source.has_ended) {
            return;
        }
        let log = self.read_log(&source).await;
        match (log, kept) {
            // It was removed meanwhile: what was read before is all that there is.
            (Some(log), Some((_, kept))) if log.is_empty() && !kept.is_empty() => {
                self.logs.keep(&subject.uid, source, kept);
            }
            (Some(log), _) => self.logs.keep(&subject.uid, source, log),
            // What could not be read is tried once more when the run has ended.
            (None, None) => {
                source.has_ended = false;
                self.logs.keep(&subject.uid, source, String::new());
            }
            (None, Some(_)) => {}
        }
    }

    /// The last lines of the log of the container that failed: as they are now, or as they were kept where nothing more came to them
    /// or the pod is gone.
    async fn log(&self, subject: &Subject, culprit: &Culprit) -> String {
        let Culprit { pod, container, previous, is_gone, .. } = culprit;
        let kept = self.logs.of(&subject.uid, pod).filter(|(kept, _)| {
            // What was read before its last end may be of a try that is the previous one by now.
            let is_that_try = *previous == kept.previous || !kept.has_ended;
            container.as_ref().is_none_or(|one| *one == kept.container && is_that_try)
        });
        let is_whole = kept.as_ref().is_some_and(|(source, _)| source.has_ended);
        let kept = kept.map(|(_, log)| log).unwrap_or_default();
        let Some(container) = container.clone().filter(|_| !is_gone && !is_whole) else { return kept };
        let source = LogSource { pod: pod.clone(), container, previous: *previous, has_ended: true };
        self.read_log(&source).await.filter(|log| !log.is_empty()).unwrap_or(kept)
    }

    async fn read_log(&self, source: &LogSource) -> Option<String> {
        let lines = self.config.log_lines;
        if lines == 0 {
            return Some(String::new());
        }
        let log = self.reader.log(source, lines).await?;
        Some(outcome::tail(log.as_bytes(), lines as usize, status::LOG_BYTES))
    }
}

/// The Job's pods that are not in the API server any more, of those that the watch has told of; `is_cut` is whether the API server has
/// more than were listed, so that one which was not listed may be there.
fn gone(job: &Job, watched: Vec<Arc<Value>>, is_cut: bool) -> Vec<Arc<Value>> {
    let is_its = |pod: &Arc<Value>| {
        outcome::is_controlled(pod)
            && outcome::job_uid_of_pod(pod) == Some(&job.uid)
            && (!is_cut || outcome::is_gone(pod))
    };
    let mut gone: Vec<Arc<Value>> = watched.into_iter().filter(is_its).collect();
    gone.iter_mut().for_each(|pod| outcome::mark_gone(Arc::make_mut(pod)));
    gone
}

/// How long to wait for the pods of a run whose Job is deleted before they are asked for again. Their watch tells when they
/// have ended, so this is only for what it misses.
pub(super) const UNTIL_PODS_END: Duration = Duration::from_secs(5);

/// What the cluster last warned of.
struct Warned {
    job: Option<String>,
    pod: Option<String>,
}

impl Warned {
    fn borrow(&self) -> Warnings<'_> {
        Warnings { job: self.job.as_deref(), pod: self.pod.as_deref() }
    }
}
