//! A *culprit* is the container, or the whole pod, that made a run fail.

use std::cmp::Reverse;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::job::{self, text};
use super::pod::{Container, Pod, Pods, is_gone};
use super::{PodRef, WORDS_BYTES};
use hookhost_helm::text::clean;

/// Bytes of a container's termination message: the kubelet's own limit.
const MESSAGE_BYTES: usize = 4096;

/// The container or pod that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Culprit {
    /// Its pod.
    pub pod: PodRef,
    /// Whether that is gone.
    pub is_gone: bool,
    /// The pod's index in an Indexed Job.
    pub index: Option<String>,
    /// The container; none where the pod as a whole failed before any container could.
    pub container: Option<String>,
    /// Whether it is an init container.
    pub init: bool,
    /// Whether it was restarted since, so that its log is that from before the restart.
    pub previous: bool,
    /// What the container ended with; none where it could not start.
    pub exit_code: Option<i32>,
    /// The signal that ended it, where Kubernetes tells.
    pub signal: Option<i32>,
    /// Kubernetes' word: Error, OOMKilled, ImagePullBackOff, … May be empty.
    pub reason: String,
    /// The container's termination message, or why it could not start. May be empty.
    pub message: String,
    /// Why the pod as a whole was ended, where it was: evicted, preempted, deleted, its node gone.
    pub pod_reason: Option<String>,
}

impl Culprit {
    /// "exit code 137 (OOMKilled, SIGKILL)".
    pub(super) fn exit(exit_code: Option<i64>, signal: Option<i64>, reason: Option<&str>) -> String {
        // A shell's way to tell a signal; what a container runtime reports too.
        let by_code = exit_code.filter(|code| (129..=192).contains(code)).map(|code| code - 128);
        let mut details = Vec::new();
        // "Error" says no more than that the code is not 0.
        details.extend(reason.filter(|reason| *reason != "Error").map(|reason| clean(reason, WORDS_BYTES)));
        details.extend(signal.or(by_code).filter(|signal| *signal != 0).map(signal_name));
        let code = exit_code.map_or_else(|| "no exit code".to_owned(), |code| format!("exit code {code}"));
        if details.is_empty() { code } else { format!("{code} ({})", details.join(", ")) }
    }
}

fn signal_name(signal: i64) -> String {
    // Linux' numbers of what commonly ends a container, the same on all of Kubernetes' platforms.
    match signal {
        1 => "SIGHUP".to_owned(),
        2 => "SIGINT".to_owned(),
        3 => "SIGQUIT".to_owned(),
        4 => "SIGILL".to_owned(),
        6 => "SIGABRT".to_owned(),
        8 => "SIGFPE".to_owned(),
        9 => "SIGKILL".to_owned(),
        11 => "SIGSEGV".to_owned(),
        13 => "SIGPIPE".to_owned(),
        15 => "SIGTERM".to_owned(),
        other => format!("signal {other}"),
    }
}

/// One clause without a full stop, for example "container migrate of pod shop/migrate-x7k2p ended with exit code 3".
/// The termination message is not in it.
impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |name: &str| clean(name, 253);
        if let Some(container) = &self.container {
            let kind = if self.init { "init container" } else { "container" };
            write!(f, "{kind} {} of ", name(container))?;
        }
        write!(f, "pod {}/{}", name(&self.pod.namespace), name(&self.pod.name))?;
        if let Some(index) = &self.index {
            write!(f, " (index {})", name(index))?;
        }
        match (&self.container, self.exit_code) {
            (None, _) => write!(f, " failed")?,
            (Some(_), None) if self.signal.is_none() => {
                write!(f, " could not start")?;
                for words in [&self.reason, &self.message].into_iter().filter(|words| !words.is_empty()) {
                    write!(f, ": {}", clean(words, WORDS_BYTES))?;
                }
            }
            (Some(_), code) => {
                let reason = Some(self.reason.as_str()).filter(|reason| !reason.is_empty());
                let exit = Culprit::exit(code.map(i64::from), self.signal.map(i64::from), reason);
                write!(f, " ended with {exit}")?;
            }
        }
        match &self.pod_reason {
            Some(why) => write!(f, "; the pod was ended: {}", clean(why, 2 * WORDS_BYTES)),
            None => Ok(()),
        }
    }
}

/// Where the log is of a pod that may be gone before its run has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSource {
    /// The pod.
    pub pod: PodRef,
    /// The container that failed, else one that runs.
    pub container: String,
    /// Whether it is the log from before the container's last restart.
    pub previous: bool,
    /// Whether the container has ended for good, so that nothing comes to this log any more.
    pub has_ended: bool,
}

/// The log that has to be read now if it is to be reported when the run has failed: of a pod that is being deleted, or of any once
/// the Job's controller has decided that the Job fails, after which it deletes those that have not ended; and of a container that
/// has failed as often as it may, for then it decides so next. The end of a run that is finished is reported at once, and one that
/// succeeds needs no log.
pub fn log_at_risk(job: &Value, pods: &[&Value]) -> Option<LogSource> {
    if job::is_finished(job) {
        return None;
    }
    let pods = Pods::of(job, pods);
    let target = job::condition(job, "FailureTarget");
    let is_at_limit = pods.are_at_backoff_limit(job);
    let is_ending = |pod: Pod<'_>| job::is_deleting(pod.0) || target.is_some();
    let at_risk = |pod: &Pod<'_>| {
        let is_next = is_at_limit && pod.restarts_containers();
        !is_gone(pod.0) && !pod.has_succeeded() && (is_ending(*pod) || is_next)
    };
    let sources = pods.iter().filter(at_risk).filter_map(|pod| {
        let cause = target.map_or_else(|| Cause::guess(job, pod), |target| Cause::of(Some(target)));
        let suspect = Suspect::of(pod, &cause).filter(Suspect::has_failed);
        let (name, previous, has_ended) = match &suspect {
            // While it may be restarted its next try may be what is told.
            Some(suspect) => (suspect.container.name, suspect.previous, is_ending(pod)),
            None if !is_ending(pod) => return None,
            None => (
                pod.containers().filter(|one| one.is_running()).max_by_key(|one| !one.init)?.name,
                false,
                false,
            ),
        };
        let likelihood = cause.likelihood(pod, suspect.as_ref());
        let source = LogSource { pod: pod.to_ref(), container: name.to_owned(), previous, has_ended };
        Some(((suspect.is_some(), likelihood), source))
    });
    sources.max_by(|(one, _), (other, _)| one.cmp(other)).map(|(_, source)| source)
}

/// A pod that may be the culprit, by what makes it more likely; the greatest is it.
type Likelihood<'a> = (bool, bool, Option<Timestamp>, Option<Timestamp>, &'a str);

/// Why the Job has failed, by its condition.
struct Cause<'a> {
    /// Whether there is such a condition.
    is_known: bool,
    message: &'a str,
    /// Its activeDeadlineSeconds are over.
    by_deadline: bool,
    /// Its pods have failed too often.
    by_backoff: bool,
}

impl<'a> Cause<'a> {
    fn of(condition: Option<&'a Value>) -> Cause<'a> {
        let reason = condition.and_then(|condition| text(condition, "/reason"));
        Cause {
            is_known: condition.is_some(),
            message: condition.and_then(|condition| text(condition, "/message")).unwrap_or_default(),
            by_deadline: reason == Some("DeadlineExceeded"),
            by_backoff: reason == Some("BackoffLimitExceeded"),
        }
    }

    /// Why a pod is being deleted before the Job says anything: the Job's controller deletes pods before it writes its condition.
    fn guess(job: &Value, pod: Pod<'_>) -> Cause<'static> {
        let deadline =
            job::number(job, "/spec/activeDeadlineSeconds").zip(job::time(job, "/status/startTime"));
        let ends =
            deadline.and_then(|(seconds, start)| start.checked_add(SignedDuration::from_secs(seconds)).ok());
        let by_deadline = ends.zip(pod.stop_requested()).is_some_and(|(ends, requested)| requested >= ends);
        Cause { is_known: false, message: "", by_deadline, by_backoff: !by_deadline }
    }

    fn likelihood<'p>(&self, pod: Pod<'p>, suspect: Option<&Suspect<'p>>) -> Likelihood<'p> {
        let reference = pod.to_ref();
        let is_named = self.message.contains(&format!("{}/{} ", reference.namespace, reference.name));
        let finished = suspect.and_then(|suspect| suspect.finished);
        let ended_before = finished.zip(pod.stop_requested()).is_some_and(|(at, requested)| at < requested);
        let on_its_own = self.by_deadline || !pod.is_leaving() || ended_before;
        (is_named, on_its_own, pod.created(), finished, pod.name())
    }
}

impl<'a> Pods<'a> {
    /// What made the run fail, under the Job's condition that says so.
    ///
    /// The newest pod that failed; but the one that a pod failure policy's message names first, and one that was not itself
    /// ended because the run had failed already. A deadline ends the pod that counts.
    pub(super) fn culprit(&self, condition: Option<&Value>) -> Option<Culprit> {
        let cause = Cause::of(condition);
        let likelihood = |pod: Pod<'a>| -> Option<Likelihood<'a>> {
            let suspect = Suspect::of(pod, &cause);
            // The Job's controller counts a pod that was deleted as a failure, too.
            let ended_late =
                !pod.has_succeeded() && (cause.by_deadline || (cause.is_known && is_gone(pod.0)));
            let has_failed = pod.has_failed() || suspect.as_ref().is_some_and(Suspect::has_failed);
            (has_failed || ended_late).then(|| cause.likelihood(pod, suspect.as_ref()))
        };
        let (pod, _) = self
            .iter()
            .filter_map(|pod| Some((pod, likelihood(pod)?)))
            .max_by(|(_, one), (_, other)| one.cmp(other))?;
        Some(culprit(pod, Suspect::of(pod, &cause), &cause))
    }
}

/// A container that failed or cannot start.
struct Suspect<'a> {
    container: Container<'a>,
    /// state.terminated, lastState.terminated or state.waiting.
    state: &'a Value,
    exit_code: Option<i64>,
    signal: Option<i64>,
    finished: Option<Timestamp>,
    /// Whether it has been restarted since.
    previous: bool,
}

impl<'a> Suspect<'a> {
    /// The one of the pod's containers that failed: the one that the Job's message names, else the first to fail; a sidecar only
    /// where nothing else did. Where none failed, one that cannot start.
    fn of(pod: Pod<'a>, cause: &Cause<'_>) -> Option<Suspect<'a>> {
        let named = cause.message.strip_prefix("Container ").and_then(|rest| rest.split_once(" for pod "));
        let ended = pod.containers().filter_map(|container| {
            let ended = container.ended()?;
            // At the backoff limit the last try is stopped in the middle: why it came to that is how those before it ended.
            let before = container.ended_before().filter(|before| {
                before.is_failure()
                    && cause.by_backoff
                    && !ended.previous
                    && pod.was_stopped(ended.exit_code, ended.finished)
            });
            let ended = before.unwrap_or(ended);
            ended.is_failure().then_some(Suspect {
                container,
                state: ended.state,
                exit_code: ended.exit_code,
                signal: ended.signal,
                finished: ended.finished,
                previous: ended.previous,
            })
        });
        let first = ended.min_by_key(|suspect| {
            let is_named = named.is_some_and(|(name, _)| name == suspect.container.name);
            (Reverse(is_named), suspect.container.sidecar, suspect.finished.is_none(), suspect.finished)
        });
        first.or_else(|| {
            pod.containers().find_map(|container| {
                let state = container.stuck()?;
                Some(Suspect {
                    container,
                    state,
                    exit_code: None,
                    signal: None,
                    finished: None,
                    previous: false,
                })
            })
        })
    }

    fn has_failed(&self) -> bool {
        self.exit_code.is_some() || self.signal.is_some()
    }
}

fn culprit(pod: Pod<'_>, suspect: Option<Suspect<'_>>, cause: &Cause<'_>) -> Culprit {
    let int32 = |number: Option<i64>| number.and_then(|number| i32::try_from(number).ok());
    let field = |pointer, max| {
        let state = suspect.as_ref().map(|suspect| suspect.state);
        state.and_then(|state| text(state, pointer)).map(|text| clean(text, max)).unwrap_or_default()
    };
    let mut pod_reason = pod.ended_because();
    if pod_reason.is_none() && suspect.is_none() {
        // Without a container's word, the pod's own is the only one.
        pod_reason = pod.0.get("status").and_then(|status| {
            let message = text(status, "/message")?;
            Some(clean(message, WORDS_BYTES))
        });
    }
    let was_stopped = match &suspect {
        Some(suspect) => {
            suspect.has_failed() && !suspect.previous && pod.was_stopped(suspect.exit_code, suspect.finished)
        }
        None => is_gone(pod.0),
    };
    if pod_reason.is_none() && cause.by_backoff && was_stopped {
        pod_reason = Some("it was deleted".to_owned());
    }
    Culprit {
        pod: pod.to_ref(),
        is_gone: is_gone(pod.0),
        index: pod.index().map(|index| clean(index, 63)),
        container: suspect.as_ref().map(|suspect| suspect.container.name.to_owned()),
        init: suspect.as_ref().is_some_and(|suspect| suspect.container.init),
        previous: suspect.as_ref().is_some_and(|suspect| suspect.previous),
        exit_code: int32(suspect.as_ref().and_then(|suspect| suspect.exit_code)),
        signal: int32(suspect.as_ref().and_then(|suspect| suspect.signal)).filter(|signal| *signal != 0),
        reason: field("/reason", WORDS_BYTES),
        message: field("/message", MESSAGE_BYTES),
        pod_reason,
    }
}
