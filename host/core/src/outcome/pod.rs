//! A Job's pods and their containers.

use crate::json::entry;
use crate::keys::{CONTROLLER_UID, INDEX};
use hookhost_helm::text::clean;
use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::job::{self, list, number, text, time, words};
use super::{Culprit, PodRef, shown};

/// A Job's backoffLimit where it has none.
const DEFAULT_BACKOFF_LIMIT: i64 = 6;

/// Marks a pod that is not in the API server any more; no object of Kubernetes has such a field, and of those that are read only
/// known fields are kept.
const GONE: &str = "gone";

/// Marks the last known state of a pod that is not in the API server any more. It counts as one that has ended: what it says of its
/// containers is evidence, and it is not at work, whatever its phase.
pub fn mark_gone(pod: &mut Value) {
    if let Some(pod) = pod.as_object_mut() {
        pod.insert(GONE.to_owned(), true.into());
    }
}

/// Whether this is the last known state of a pod that is not in the API server any more.
pub fn is_gone(pod: &Value) -> bool {
    pod.get(GONE) == Some(&Value::Bool(true))
}

/// The pods of one Job.
pub(super) struct Pods<'a> {
    /// Those that the Job controls, oldest first.
    pods: Vec<Pod<'a>>,
    /// Those that nothing controls and that have the Job's label, oldest first: deleting a Job without its pods takes their
    /// owner away and leaves the label. Whoever may write pods can give it to one of their own.
    strays: Vec<Pod<'a>>,
}

/// One pod.
#[derive(Clone, Copy)]
pub(super) struct Pod<'a>(pub(super) &'a Value);

/// One container of a pod, with its status.
#[derive(Clone, Copy)]
pub(super) struct Container<'a> {
    pub(super) name: &'a str,
    /// An init container. It may be a sidecar.
    pub(super) init: bool,
    /// An init container that runs beside the others (restartPolicy Always).
    pub(super) sidecar: bool,
    status: &'a Value,
}

/// How a container ended.
pub(super) struct Ended<'a> {
    pub(super) exit_code: Option<i64>,
    pub(super) signal: Option<i64>,
    pub(super) finished: Option<Timestamp>,
    /// state.terminated, or lastState.terminated.
    pub(super) state: &'a Value,
    /// Whether that was before the container was last restarted.
    pub(super) previous: bool,
}

impl Ended<'_> {
    pub(super) fn is_failure(&self) -> bool {
        self.exit_code.is_some_and(|code| code != 0) || self.signal.is_some_and(|signal| signal != 0)
    }
}

impl<'a> Pods<'a> {
    /// Those of `pods` that are `job`'s, or may be.
    pub(super) fn of(job: &Value, pods: &[&'a Value]) -> Pods<'a> {
        let uid = text(job, "/metadata/uid");
        let mut pods: Vec<Pod<'a>> = pods
            .iter()
            .map(|pod| Pod(pod))
            .filter(|pod| uid.is_some() && pod.job_uid() == uid && text(pod.0, "/metadata/name").is_some())
            .collect();
        pods.sort_by_cached_key(|pod| (pod.created(), pod.name().to_owned()));
        let (pods, mut strays): (Vec<_>, Vec<_>) = pods.into_iter().partition(|pod| pod.is_controlled());
        // It is no evidence, and does nothing any more.
        strays.retain(|pod| !is_gone(pod.0));
        Pods { pods, strays }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = Pod<'a>> {
        self.pods.iter().copied()
    }

    /// Whether their containers have failed as often as the Job's controller lets them, so that it deletes the pods: with
    /// restartPolicy OnFailure it counts restarts, and a limit of 0 allows for none.
    pub(super) fn are_at_backoff_limit(&self, job: &Value) -> bool {
        let limit = number(job, "/spec/backoffLimit").unwrap_or(DEFAULT_BACKOFF_LIMIT).max(1);
        let at_work = self.iter().filter(|pod| pod.restarts_containers() && !pod.has_ended());
        let failures = at_work.flat_map(Pod::containers).map(Container::failures);
        failures.fold(0, i64::saturating_add) >= limit
    }

    pub(super) fn newest(&self) -> Option<Pod<'a>> {
        self.iter().next_back()
    }

    /// The newest that is in the API server.
    pub(super) fn newest_present(&self) -> Option<Pod<'a>> {
        self.iter().rev().find(|pod| !is_gone(pod.0))
    }

    /// The newest pod that has not ended, one that is not on its way out first.
    pub(super) fn newest_at_work(&self) -> Option<Pod<'a>> {
        let at_work = || self.iter().rev().filter(|pod| !pod.has_ended());
        at_work().find(|pod| !job::is_deleting(pod.0)).or_else(|| at_work().next())
    }

    /// The newest pod at work of which only its label says that it is the Job's.
    pub(super) fn stray_at_work(&self) -> Option<Pod<'a>> {
        self.strays.iter().copied().rev().find(|pod| !pod.has_ended())
    }

    /// The newest pod that succeeded after the Job was deleted.
    pub(super) fn newest_that_went_on(&self, job: &Value) -> Option<Pod<'a>> {
        self.iter().rev().find(|pod| pod.has_succeeded() && !pod.succeeded_for(job))
    }

    /// Whether a pod was at work when the Job was deleted: one ended later, or the Job's controller had last counted one and it is
    /// not known how that ended.
    pub(super) fn were_at_work(&self, job: &Value) -> bool {
        let deleted = job::deleted_at(job);
        let ended_later =
            |pod: Pod<'a>| pod.finished().zip(deleted).is_some_and(|(at, deleted)| at > deleted);
        let is_counted = number(job, "/status/active").is_some_and(|active| active > 0);
        self.iter().any(ended_later) || (is_counted && self.newest_uncounted(job).is_none())
    }

    /// Why one of several pods at work cannot start, other than `shown`.
    pub(super) fn waiting_beside(&self, shown: Pod<'a>) -> Option<String> {
        let beside = self.iter().rev().filter(|pod| pod.name() != shown.name());
        beside.filter_map(|pod| Some(format!("pod {}: {}", pod.name(), pod.waiting(None)?))).next()
    }

    pub(super) fn newest_succeeded(&self) -> Option<PodRef> {
        self.iter().rev().find(|pod| pod.has_succeeded()).map(Pod::to_ref)
    }

    /// When the last container of a pod that succeeded ended.
    pub(super) fn last_success(&self) -> Option<Timestamp> {
        let succeeded = self.iter().filter(|pod| pod.has_succeeded());
        succeeded
            .flat_map(Pod::containers)
            .filter_map(|container| container.ended().and_then(|ended| ended.finished))
            .max()
    }

    /// Whether the Job's controller has counted all that the Job wants, though it has not said so by a condition, or only after the
    /// Job was deleted.
    ///
    /// A pod alone is no proof: whoever may create pods can put one beside the run's own that succeeds, with the Job as its owner.
    /// Only what the controller itself has written counts, and of that not what succeeded after the deletion.
    pub(super) fn have_completed(&self, job: &Value) -> bool {
        let later = self.iter().filter(|pod| pod.has_succeeded() && !pod.succeeded_for(job)).count();
        if job::criteria_were_met(job, later > 0) {
            return true;
        }
        let counted = job::succeeded(job).saturating_sub(later);
        match number(job, "/spec/completions") {
            Some(completions) => i64::try_from(counted).unwrap_or(i64::MAX) >= completions,
            // A work queue: its pods know among themselves when all is done.
            None => counted > 0 && number(job, "/status/active").unwrap_or(0) == 0,
        }
    }

    /// The newest pod that had succeeded before the Job was deleted and is not among those that the Job's controller has counted.
    pub(super) fn newest_uncounted(&self, job: &Value) -> Option<Pod<'a>> {
        let succeeded = || self.iter().filter(|pod| pod.succeeded_for(job));
        let seen = if job::is_indexed(job) {
            succeeded().filter_map(Pod::index).collect::<BTreeSet<_>>().len()
        } else {
            succeeded().count()
        };
        succeeded().next_back().filter(|_| seen > job::succeeded(job))
    }
}

impl<'a> Pod<'a> {
    pub(super) fn to_ref(self) -> PodRef {
        let namespace = text(self.0, "/metadata/namespace").unwrap_or_default();
        PodRef { namespace: namespace.to_owned(), name: self.name().to_owned() }
    }

    pub(super) fn name(self) -> &'a str {
        text(self.0, "/metadata/name").unwrap_or_default()
    }

    pub(super) fn created(self) -> Option<Timestamp> {
        time(self.0, "/metadata/creationTimestamp")
    }

    /// Its index in an Indexed Job.
    pub(super) fn index(self) -> Option<&'a str> {
        entry(self.0, "annotations", INDEX).or_else(|| entry(self.0, "labels", INDEX))
    }

    /// Whether the Job, or something else, controls it.
    pub(super) fn is_controlled(self) -> bool {
        job::controller(self.0).is_some()
    }

    /// When the last of its containers ended, as far as they tell.
    fn finished(self) -> Option<Timestamp> {
        self.containers().filter_map(|container| container.ended().and_then(|ended| ended.finished)).max()
    }

    /// Whether it succeeded, and that before its Job was deleted where it was: what ends afterwards may have been stopped, and
    /// some programs end with 0 then.
    fn succeeded_for(self, job: &Value) -> bool {
        let is_later = match (self.finished(), job::deleted_at(job)) {
            // Both are whole seconds.
            (Some(finished), Some(deleted)) if finished == deleted => job::is_deleting(self.0),
            (Some(finished), Some(deleted)) => finished > deleted,
            _ => false,
        };
        self.has_succeeded() && !is_later
    }

    /// The UID of its controller; where it has none, of the Job that its label names.
    pub(super) fn job_uid(self) -> Option<&'a str> {
        match job::controller(self.0) {
            Some(owner) => text(owner, "/uid"),
            None => entry(self.0, "labels", CONTROLLER_UID),
        }
    }

    /// Whether a container that failed is started again in it.
    pub(super) fn restarts_containers(self) -> bool {
        text(self.0, "/spec/restartPolicy") == Some("OnFailure")
    }

    fn phase(self) -> Option<&'a str> {
        text(self.0, "/status/phase")
    }

    pub(super) fn has_succeeded(self) -> bool {
        self.phase() == Some("Succeeded")
    }

    pub(super) fn has_failed(self) -> bool {
        self.phase() == Some("Failed")
    }

    pub(super) fn has_ended(self) -> bool {
        is_gone(self.0) || self.has_succeeded() || self.has_failed()
    }

    /// Whether it is being deleted, or gone.
    pub(super) fn is_leaving(self) -> bool {
        is_gone(self.0) || job::is_deleting(self.0)
    }

    /// When it was asked to end: metadata.deletionTimestamp is when it has to have done so. None once it was given no more time, as the
    /// kubelet does when all has ended: then that is another time.
    pub(super) fn stop_requested(self) -> Option<Timestamp> {
        let grace = number(self.0, "/metadata/deletionGracePeriodSeconds").filter(|grace| *grace > 0)?;
        job::deleted_at(self.0)?.checked_sub(SignedDuration::from_secs(grace)).ok()
    }

    /// Whether a container that ended so was ended because the whole pod was.
    pub(super) fn was_stopped(self, exit_code: Option<i64>, finished: Option<Timestamp>) -> bool {
        /// What a process ends with that SIGTERM or SIGKILL ends, or that ends by itself when it is told to.
        const STOPPED: [i64; 3] = [0, 137, 143];
        let is_stopped = match finished.zip(self.stop_requested()) {
            Some((at, requested)) => at >= requested,
            None => exit_code.is_some_and(|code| STOPPED.contains(&code)),
        };
        self.is_leaving() && is_stopped
    }

    /// Init containers first, as in the pod's spec where it lists them, so in the order in which they start.
    pub(super) fn containers(self) -> impl Iterator<Item = Container<'a>> {
        let of = move |field: &'static str, init: bool| {
            list(self.0, field).iter().filter_map(move |status| {
                let name = text(status, "/name")?;
                Some(Container { name, init, sidecar: init && self.is_sidecar(name), status })
            })
        };
        of("/status/initContainerStatuses", true).chain(of("/status/containerStatuses", false))
    }

    fn is_sidecar(self, name: &str) -> bool {
        list(self.0, "/spec/initContainers").iter().any(|container| {
            text(container, "/name") == Some(name) && text(container, "/restartPolicy") == Some("Always")
        })
    }

    /// Why the pod as a whole was ended by something else than its containers: evicted, preempted, its node gone.
    pub(super) fn ended_because(self) -> Option<String> {
        let status = self.0.get("status")?;
        if text(status, "/reason").is_some() {
            return Some(words(status, ""));
        }
        job::condition(self.0, "DisruptionTarget").map(|condition| words(condition, "DisruptionTarget"))
    }

    /// Why it, or a container of it, cannot start; or what it still runs for though the hook may have done its work.
    pub(super) fn waiting(self, warning: Option<&str>) -> Option<String> {
        if self.has_ended() {
            return None;
        }
        let scheduled = job::any_condition(self.0, "PodScheduled");
        let unscheduled =
            scheduled.filter(|condition| condition.get("status").and_then(Value::as_str) == Some("False"));
        if let Some(condition) = unscheduled {
            return Some(format!("the pod cannot be scheduled: {}", words(condition, "Unschedulable")));
        }
        if let Some(waiting) = self.containers().find_map(Container::cannot_start) {
            return Some(waiting);
        }
        if let Some(lingers) = self.lingers() {
            return Some(lingers);
        }
        let is_pending = self.phase().is_none_or(|phase| phase == "Pending");
        warning.filter(|_| is_pending).and_then(shown)
    }
}

impl Pod<'_> {
    /// What still runs beside a container that has done its work: a mesh's proxy that was put into the pod, for example, which
    /// never ends by itself.
    fn lingers(self) -> Option<String> {
        let main = || self.containers().filter(|container| !container.init);
        let done = main().find(|container| {
            container.status.pointer("/state/terminated/exitCode").and_then(Value::as_i64) == Some(0)
        })?;
        let still = main().find(|container| container.status.pointer("/state/running").is_some())?;
        Some(format!(
            "{} has ended with exit code 0, but {} still runs, and the run ends only when all of its containers do",
            done.called(),
            still.called()
        ))
    }
}

impl<'a> Container<'a> {
    /// How it ended: now, or before its last restart.
    pub(super) fn ended(self) -> Option<Ended<'a>> {
        self.ended_in("/state/terminated", false).or_else(|| self.ended_before())
    }

    /// How it ended before its last restart.
    pub(super) fn ended_before(self) -> Option<Ended<'a>> {
        self.ended_in("/lastState/terminated", true)
    }

    fn ended_in(self, pointer: &str, previous: bool) -> Option<Ended<'a>> {
        let state = self.status.pointer(pointer).filter(|state| state.is_object())?;
        Some(Ended {
            exit_code: number(state, "/exitCode"),
            signal: number(state, "/signal"),
            finished: time(state, "/finishedAt"),
            state,
            previous,
        })
    }

    /// How often it was restarted, and once more if it has just failed and will be.
    fn failures(self) -> i64 {
        let has_just_failed =
            self.ended_in("/state/terminated", false).is_some_and(|ended| ended.is_failure());
        number(self.status, "/restartCount").unwrap_or(0).saturating_add(has_just_failed.into())
    }

    /// Whether it runs.
    pub(super) fn is_running(self) -> bool {
        self.status.pointer("/state/running").is_some()
    }

    /// state.waiting, if what it waits for is not simply its turn.
    pub(super) fn stuck(self) -> Option<&'a Value> {
        let waiting = self.status.pointer("/state/waiting")?;
        let reason = text(waiting, "/reason")?;
        (!matches!(reason, "ContainerCreating" | "PodInitializing")).then_some(waiting)
    }

    /// "init container" or "container", with its name.
    pub(super) fn called(self) -> String {
        let kind = if self.init { "init container" } else { "container" };
        format!("{kind} {}", clean(self.name, 253))
    }

    fn cannot_start(self) -> Option<String> {
        let waiting = self.stuck()?;
        match (text(waiting, "/reason"), self.ended()) {
            // Kubernetes' own message only counts down to the next start.
            (Some("CrashLoopBackOff"), Some(ended)) => Some(format!(
                "{} waits to be restarted: it ended with {}",
                self.called(),
                Culprit::exit(ended.exit_code, ended.signal, text(ended.state, "/reason"))
            )),
            _ => Some(format!("{} cannot start: {}", self.called(), words(waiting, ""))),
        }
    }
}
