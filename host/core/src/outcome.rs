//! An *outcome* is how a run goes, read from its Job and the Job's pods.
//!
//! Job and pods are JSON as the API server gives it; a field that is missing or is not what Kubernetes says is absent. The
//! order of the pods does not matter. What Kubernetes has decided is told in its own words, made fit to be shown.
//!
//! # What counts
//! - Only the Job's conditions Complete and Failed end a run; SuccessCriteriaMet and FailureTarget come before them.
//! - A Job that is being deleted gets no condition any more (the Job controller has stopped): then what the controller had
//!   decided and counted before is all that will ever be known. A pod alone proves no success: anybody who may create pods can
//!   make one with the Job as its owner. In the moment between the last pod's end and the controller's count that may be unjust to
//!   a run; so such a pod is told.
//! - A pod that still runs is the run: it is not over before its pods have ended, even where the Job was deleted without them
//!   (`kubectl delete job --cascade=orphan`). What a pod does after its Job was deleted does not make the run a success.
//! - A pod may be gone before its Job is marked Failed: at the backoff limit of restartPolicy OnFailure, at a deadline, when its node
//!   is drained or somebody deletes it. The last state that was seen of it ([`mark_gone`]) tells how it ended. Such a pod is not at
//!   work.
//! - A container that cannot start is told at once, not when the deadline has passed.

mod culprit;
mod job;
mod log;
mod pod;
#[cfg(test)]
mod tests;

pub use culprit::{Culprit, LogSource, log_at_risk};
use jiff::Timestamp;
pub use job::{has_finalizer, is_deleting, is_finished};
pub(crate) use job::{is_parallel, source_hook};
pub use log::{LINE_BYTES, tail};
use pod::{Pod, Pods};
pub use pod::{is_gone, mark_gone};
use serde_json::Value;

use hookhost_helm::text::clean;

/// Bytes of one text that Kubernetes gives: a condition's or an event's message, a container's reason. The longest of them that
/// a person needs, a scheduler's list of what each kind of node lacks, is a few hundred.
pub(crate) const WORDS_BYTES: usize = 1024;

/// Bytes of a name: Kubernetes' longest.
const NAME_BYTES: usize = 253;

/// How a run goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The Job is there and has never had a pod.
    NotStarted {
        /// Why none can be made, in the API server's words; none where nothing stands in the way yet.
        why: Option<String>,
    },
    /// Somebody else has suspended the Job, a queue of Jobs for one: it has no pod at work, and gets none until that is over.
    Suspended {
        /// Kubernetes' reason and message.
        why: String,
    },
    /// A pod has been made, and the run has not ended: the pod is pending, runs, or will be followed by another one.
    Running {
        /// The newest pod that has not ended, else the newest that is not gone; none where there is none of these.
        pod: Option<PodRef>,
        /// Why the pod, one of its containers, or the next pod cannot start, or what keeps the pod from ending; none where
        /// nothing stands in the way.
        waiting: Option<String>,
    },
    /// The Job is complete.
    Succeeded {
        /// When.
        completed: Option<Timestamp>,
        /// The newest pod that succeeded, if any is left.
        pod: Option<PodRef>,
    },
    /// The Job has failed.
    Failed {
        /// Kubernetes' reason and message: BackoffLimitExceeded, DeadlineExceeded, PodFailurePolicy, …
        why: String,
        /// The container or pod that failed; none where no pod is known that tells.
        culprit: Option<Culprit>,
        /// The culprit's pod, else the newest that is left.
        pod: Option<PodRef>,
        /// When.
        finished: Option<Timestamp>,
    },
    /// The Job was deleted before it had ended, and none of its pods runs any more. Nothing more will be known than this.
    Deleted {
        /// The culprit's pod, else the newest that is left.
        pod: Option<PodRef>,
        /// Whether a pod was still at work when the Job was deleted.
        running: bool,
        /// A pod that went on without its Job and succeeded. The Job had not: nobody counted it.
        went_on: Option<PodRef>,
        /// A pod that had succeeded before, and that the Job's controller had not counted when the Job was deleted. It may be the
        /// run's last, or one that somebody has put beside the run's own.
        uncounted: Option<PodRef>,
        /// The container or pod that had failed, if one had.
        culprit: Option<Culprit>,
    },
}

impl Outcome {
    /// The container or pod that failed, where there is one.
    pub fn culprit(&self) -> Option<&Culprit> {
        match self {
            Outcome::Failed { culprit, .. } | Outcome::Deleted { culprit, .. } => culprit.as_ref(),
            Outcome::NotStarted { .. }
            | Outcome::Suspended { .. }
            | Outcome::Running { .. }
            | Outcome::Succeeded { .. } => None,
        }
    }

    /// Whether nothing more will come: the run has ended, or its Job was deleted and its pods have ended.
    pub fn is_over(&self) -> bool {
        match self {
            Outcome::Succeeded { .. } | Outcome::Failed { .. } | Outcome::Deleted { .. } => true,
            Outcome::NotStarted { .. } | Outcome::Suspended { .. } | Outcome::Running { .. } => false,
        }
    }
}

/// A pod, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodRef {
    /// metadata.namespace.
    pub namespace: String,
    /// metadata.name.
    pub name: String,
}

/// What the newest Warning events say. Kubernetes keeps them for an hour only, and keeps the reason why no pod could be created
/// nowhere else. One that is older than the newest pod tells of something that has passed: leave it out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Warnings<'a> {
    /// The message of the newest one about the Job (FailedCreate: a quota, Pod Security or a webhook refuses the pod).
    pub job: Option<&'a str>,
    /// The message of the newest one about the newest pod (FailedMount, FailedCreatePodSandBox, …).
    pub pod: Option<&'a str>,
}

/// How the run of `job` goes.
///
/// Of `pods` only those count that the Job controls. A pod that merely has the Job's label may be one whose owner was taken
/// away with the Job, or anybody's: as long as it runs, a Job that was deleted is not over; it is no evidence of a result.
pub fn observe(job: &Value, pods: &[&Value], warnings: Warnings<'_>) -> Outcome {
    let pods = Pods::of(job, pods);
    if let Some(condition) = job::condition(job, "Failed") {
        return failed(job, condition, &pods);
    }
    if let Some(condition) = job::condition(job, "Complete") {
        let completed =
            job::time(job, "/status/completionTime").or_else(|| job::time(condition, "/lastTransitionTime"));
        return Outcome::Succeeded { completed, pod: pods.newest_succeeded() };
    }
    if job::is_deleting(job) {
        return deleted(job, &pods);
    }
    // The pods that it had are deleted, those that end meanwhile count as ever.
    if pods.iter().all(|pod| pod.has_ended() || pod.is_leaving())
        && let Some(why) = job::suspended(job)
    {
        return Outcome::Suspended { why };
    }
    if pods.is_empty() && !job::has_had_pods(job) {
        return Outcome::NotStarted { why: warnings.job.and_then(shown) };
    }
    let pod = pods.newest_at_work();
    let waiting = match pod {
        Some(pod) => pod.waiting(warnings.pod).or_else(|| pods.waiting_beside(pod)),
        // Between two pods: the next one may be what cannot be created.
        None => warnings.job.and_then(shown),
    };
    Outcome::Running { pod: pod.or_else(|| pods.newest_present()).map(Pod::to_ref), waiting }
}

fn failed(job: &Value, condition: &Value, pods: &Pods<'_>) -> Outcome {
    let mut why = job::words(condition, "Failed");
    if let Some(indexes) = job::text(job, "/status/failedIndexes") {
        why.push_str(&format!(" (failed indexes: {})", clean(indexes, WORDS_BYTES)));
    }
    let culprit = pods.culprit(Some(condition));
    let pod = culprit.as_ref().map(|culprit| culprit.pod.clone()).or_else(|| pods.newest().map(Pod::to_ref));
    Outcome::Failed { why, culprit, pod, finished: job::time(condition, "/lastTransitionTime") }
}

fn deleted(job: &Value, pods: &Pods<'_>) -> Outcome {
    if let Some(pod) = pods.newest_at_work().or_else(|| pods.stray_at_work()) {
        let does = if is_deleting(pod.0) { "is being stopped and has" } else { "has" };
        let name = clean(pod.name(), NAME_BYTES);
        let waiting =
            format!("the Job was deleted, but its pod {name} {does} not ended: the run is not over before");
        let shown = pods.newest_at_work().or_else(|| pods.newest_present()).map(Pod::to_ref);
        return Outcome::Running { pod: shown, waiting: Some(waiting) };
    }
    if let Some(condition) = job::condition(job, "FailureTarget") {
        return failed(job, condition, pods);
    }
    // Whoever deletes a Job in the moment between its last pod's count and its Complete has not stopped anything.
    if pods.have_completed(job) {
        return Outcome::Succeeded { completed: pods.last_success(), pod: pods.newest_succeeded() };
    }
    let culprit = pods.culprit(None);
    let pod = culprit.as_ref().map(|culprit| culprit.pod.clone()).or_else(|| pods.newest().map(Pod::to_ref));
    let went_on = pods.newest_that_went_on(job).map(Pod::to_ref);
    let uncounted = pods.newest_uncounted(job).map(Pod::to_ref);
    Outcome::Deleted { pod, running: pods.were_at_work(job), went_on, uncounted, culprit }
}

/// Whether a pod's containers have all ended for good, or the pod is gone.
pub fn pod_has_ended(pod: &Value) -> bool {
    Pod(pod).has_ended()
}

/// Whether a Job, or something else, controls a pod. Deleting a Job without its pods takes that away.
pub fn is_controlled(pod: &Value) -> bool {
    Pod(pod).is_controlled()
}

/// The UID of a pod's controller; where it has none, of the Job that its label names.
pub fn job_uid_of_pod(pod: &Value) -> Option<&str> {
    Pod(pod).job_uid()
}

/// A text of Kubernetes' that says something.
fn shown(text: &str) -> Option<String> {
    Some(clean(text, WORDS_BYTES)).filter(|text| !text.is_empty())
}
