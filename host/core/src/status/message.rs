//! What conditions and events say to people, and when what they say has not really changed.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use serde_json::Value;

use super::conditions::time;
use super::read::{job_ref, text};
use super::{CancelledBy, LOG_BYTES};
use crate::outcome::{Culprit, tail};
use crate::strip::QUEUE_LABEL;
use hookhost_helm::text::shortlist;
use hookhost_helm::text::{clean, cut};

/// How often, while a Job runs, its status tells of a newer pod or of a pod that cannot start. Each is one write to the API
/// server, so that a run of many retries costs no more than a bounded number; the result tells of the last pod anyway.
pub const NOTICES: usize = 2;
/// Bytes of one notice.
const NOTICE_BYTES: usize = 1024;
/// Objects that a message names; the outputs have them all.
const MAX_NAMED: usize = 8;
/// Bytes of a name in a message: Kubernetes' longest.
const NAME_BYTES: usize = 253;

/// A message's first line, and what happened while it stood: on lines of their own, with the time.
pub(super) struct Noted {
    lines: Vec<String>,
}

impl Noted {
    /// What `message` has noted.
    pub(super) fn of(message: &str) -> Noted {
        Noted { lines: message.split('\n').skip(1).take(NOTICES).map(str::to_owned).collect() }
    }

    /// Nothing.
    pub(super) fn none() -> Noted {
        Noted { lines: Vec::new() }
    }

    /// Whether there is room for one more.
    pub(super) fn has_room(&self) -> bool {
        self.lines.len() < NOTICES
    }

    /// Notes `what`, if there is room.
    pub(super) fn add(&mut self, what: &str, now: Timestamp) {
        if self.has_room() {
            self.lines.push(format!("{} {}", time(now), clean(what, NOTICE_BYTES)));
        }
    }

    /// Notes `what`, if there is room and the same is not noted already.
    pub(super) fn add_new(&mut self, what: &str, now: Timestamp) {
        let what = clean(what, NOTICE_BYTES);
        let is_noted = self.lines.iter().any(|line| {
            let (_, noted) = line.split_once(' ').unwrap_or_default();
            words_of_notice(noted) == words_of_notice(&what)
        });
        if !what.is_empty() && !is_noted {
            self.add(&what, now);
        }
    }

    /// The whole message.
    pub(super) fn under(&self, first_line: &str) -> String {
        let mut message = first_line.to_owned();
        for line in &self.lines {
            message.push('\n');
            message.push_str(line);
        }
        message
    }
}

/// The words of a notice that make it another one than before: not its numbers, nor the names in it that Kubernetes makes up.
fn words_of_notice(notice: &str) -> Vec<&str> {
    // The kubelet changes from one to the other and back at each try.
    if notice.contains("ErrImagePull") || notice.contains("ImagePullBackOff") {
        return vec!["ImagePullBackOff"];
    }
    let is_made_up = |word: &&str| word.contains('"') || word.bytes().any(|byte| byte.is_ascii_digit());
    notice.split_whitespace().filter(|word| !is_made_up(word)).collect()
}

/// Whether two messages say the same but for the time that is left, as in "opens in 5 minutes" and "opens in 1h30m".
pub(super) fn counts_down(before: &str, after: &str) -> bool {
    without_durations(before) == without_durations(after)
}

/// A number that is the same of two statuses which say the same but for the time that is left: phase, and the reason and message for it.
pub fn gist(status: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    let message = super::message(status).unwrap_or_default();
    (super::phase(status), super::reason(status), without_durations(message)).hash(&mut hasher);
    hasher.finish()
}

fn without_durations(message: &str) -> Vec<&str> {
    let mut kept = Vec::new();
    let mut words = message.split_whitespace().map(bare).peekable();
    while let Some(word) = words.next() {
        if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) {
            if words.next_if(|next| is_unit(next)).is_none() {
                kept.push(word);
            }
        } else if !is_duration(word) {
            kept.push(word);
        }
    }
    kept
}

fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

fn is_unit(word: &str) -> bool {
    const UNITS: [&str; 13] = [
        "s", "sec", "secs", "second", "seconds", "min", "mins", "minute", "minutes", "hour", "hours", "day",
        "days",
    ];
    UNITS.contains(&word)
}

/// Go's and people's short form: "1h30m", "90s", "2d".
fn is_duration(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
        && word.ends_with(['s', 'm', 'h', 'd'])
        && word.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b's' | b'm' | b'h' | b'd' | b'.'))
}

/// "Job shop/migrate", or "The Job" where the status does not tell.
pub(super) fn job(status: &Value) -> String {
    match job_ref(status) {
        Some(job) if job.namespace.is_empty() => format!("Job {}", clean(&job.name, NAME_BYTES)),
        Some(job) => format!("Job {}/{}", clean(&job.namespace, NAME_BYTES), clean(&job.name, NAME_BYTES)),
        None => "The Job".to_owned(),
    }
}

/// What is said of network policies of the chart, by their names, that select the pods of Helm's own run and not those of hookhost's.
pub fn missed(names: &str) -> String {
    format!(
        "The run's pods are not selected by {names}, though those of Helm's own run are: by the Job's name, or another label that \
         only they have. Where another policy isolates pods, the run may not reach what it needs. In the chart, select by a label of \
         the pod template."
    )
}

/// What Accepted says, from engineRef and outputs, so that it can be said again.
pub(super) fn accepted(status: &Value) -> String {
    let outputs = status.get("outputs").unwrap_or(&Value::Null);
    let name = |field| text(outputs, field).map(|name| clean(name, NAME_BYTES));
    let mut message = job(status);
    match name("hook") {
        Some(hook) => message.push_str(&format!(" runs the hook {hook}")),
        None => message.push_str(" runs the hook"),
    }
    if let Some(release) = name("release") {
        message.push_str(&format!(" of the release {release}"));
        if let Some(revision) = outputs.get("revision").and_then(Value::as_u64) {
            message.push_str(&format!(", revision {revision}"));
        }
    }
    if let (Some(step), Some(event)) = (name("step"), name("event")) {
        message.push_str(&format!(", as step {step} of its hooks of {event}"));
    }
    message.push('.');
    let made = outputs.get("closure").and_then(Value::as_array).into_iter().flatten();
    let made: Vec<String> = made.filter_map(|it| Some(clean(it.as_str()?, NAME_BYTES))).collect();
    if !made.is_empty() {
        message.push_str(&format!(
            " For the run hookhost has made, and takes back: {}.",
            shortlist(made, MAX_NAMED)
        ));
    }
    let named = |key: &str| -> Vec<String> {
        let named = outputs.get("decision").and_then(|decision| decision.get(key)?.as_array());
        named.into_iter().flatten().filter_map(|it| Some(clean(it.as_str()?, NAME_BYTES))).collect()
    };
    let without = named("without");
    if !without.is_empty() {
        message.push_str(&format!(
            " It runs without {}, which the chart has as a hook for its pods and Helm has deleted: where another policy isolates pods, it may \
             not reach what it needs. hookhost creates it for the run if the Operation asks for that (parameters.closure: true) and hookhost's installation allows it (Helm value closure.enabled).",
            shortlist(without, MAX_NAMED)
        ));
    }
    let missed = named("missed");
    if !missed.is_empty() {
        message.push_str(&format!(" {}", self::missed(&shortlist(missed, MAX_NAMED))));
    }
    if let Some(queue) = outputs.pointer("/decision/unqueued").and_then(Value::as_str) {
        message.push_str(&format!(
            " It is not in the queue {} of the chart's label {QUEUE_LABEL}: hookhost creates this Job suspended, and starts it itself when \
             its temporary objects are there and its turn has come; the queue would start it before that.",
            clean(queue, NAME_BYTES)
        ));
    }
    let unseen = named("unseen");
    if !unseen.is_empty() {
        message.push_str(&format!(
            " The chart has as hooks, which Helm deletes after their event, objects that the run needs in namespaces where hookhost may \
             not look: {}. If they do not exist, the run fails for want of them: create them there, or make them part of the release \
             proper.",
            shortlist(unseen, MAX_NAMED)
        ));
    }
    message
}

/// The first line of Running=True; `is_parallel` is whether the Job may have several pods that are no tries of the same.
pub(super) fn running(status: &Value, is_parallel: bool) -> String {
    let pod = status.get("logsRef").and_then(|logs| text(logs, "name"));
    match pod {
        Some(pod) if is_parallel => {
            format!("{} is active; one of its pods is {}.", job(status), clean(pod, NAME_BYTES))
        }
        Some(pod) => format!("{} is active in the pod {}.", job(status), clean(pod, NAME_BYTES)),
        None => format!("{} is active.", job(status)),
    }
}

/// The first line of Running=False/Pending.
pub(super) fn pending(status: &Value) -> String {
    format!("{} has no pod yet.", job(status))
}

/// What Running=False says of a Job that is suspended.
pub(super) fn suspended(status: &Value, why: &str) -> String {
    let job = job(status);
    let why = clean(why, NOTICE_BYTES);
    format!(
        "{job} was suspended by somebody else, a queue of Jobs for one, and goes on once they resume it: {why}"
    )
}

/// What Blocked=False/Unblocked says.
pub(super) const UNBLOCKED: &str = "Nothing holds the Operation up any more.";

/// What Succeeded says.
pub(super) fn succeeded(status: &Value, completed: Timestamp) -> String {
    format!("{} was complete at {}.", job(status), time(completed))
}

/// What Running says while the pods of a cancelled run are ending.
pub(super) fn cancelling(status: &Value, by: CancelledBy) -> String {
    format!(
        "{}: {} and its pods are being deleted. A process that ignores the signal to end has its pod's \
         terminationGracePeriodSeconds, after that it is killed.",
        how_cancelled(by),
        job(status)
    )
}

fn how_cancelled(by: CancelledBy) -> &'static str {
    match by {
        CancelledBy::Annotation => "The Operation was cancelled by its annotation",
        CancelledBy::Deletion => "The Operation was deleted before it ended",
    }
}

/// What Cancelled says.
pub(super) fn cancelled(status: &Value, by: CancelledBy) -> String {
    let how = how_cancelled(by);
    match job_ref(status) {
        Some(_) => format!("{how}; {} and its pods were deleted.", job(status)),
        None => format!("{how}; no Job had been made."),
    }
}

/// What Running=False says of a run that is over.
pub(super) fn ended(status: &Value) -> String {
    format!("{} does not run any more.", job(status))
}

/// A failure in parts, the important ones first.
pub(super) struct Failure<'a> {
    /// A sentence.
    pub(super) what: String,
    pub(super) culprit: Option<&'a Culprit>,
    /// What was noted while it ran; told where there is no culprit.
    pub(super) noted: &'a Noted,
    pub(super) log: &'a str,
    /// Whether `what` says how a pod ended, or that does not matter.
    pub(super) has_end: bool,
}

impl Failure<'_> {
    /// Whether a container's message is only the end of its log, as terminationMessagePolicy FallbackToLogsOnError makes it.
    fn is_logged(&self, message: &str) -> bool {
        let on_one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (log, message) = (on_one_line(self.log), on_one_line(message));
        !log.is_empty() && (log.contains(&message) || message.ends_with(&log))
    }

    /// The whole, at most `max` bytes: if need be the log loses its first lines.
    pub(super) fn told(&self, max: usize) -> String {
        let mut told = self.what.clone();
        match self.culprit {
            Some(culprit) => {
                let mut words = culprit.to_string();
                if let Some(first) = words.get_mut(..1) {
                    first.make_ascii_uppercase();
                }
                told.push_str(&format!(" {words}."));
                // A container that could not start has said why already.
                let message = culprit.message.trim();
                if culprit.exit_code.is_some() && !message.is_empty() && !self.is_logged(message) {
                    told.push_str(&format!(" It says: {message}"));
                }
                // What was killed when its time was over tells less than what it was waiting for.
                if self.what.contains("DeadlineExceeded") && !self.noted.lines.is_empty() {
                    told = self.noted.under(&format!("{told} Before that:"));
                }
            }
            None => {
                if !self.has_end {
                    told.push_str(" No pod is left that tells an exit code.");
                }
                if !self.noted.lines.is_empty() {
                    told = self.noted.under(&format!("{told} Before that:"));
                }
            }
        }
        const LOG: &str = "\nIts last log lines:\n";
        let mut told = cut(&told, max);
        let room = max.saturating_sub(told.len() + LOG.len()).min(LOG_BYTES);
        let log = tail(self.log.as_bytes(), usize::MAX, room);
        if !log.is_empty() {
            told.push_str(LOG);
            told.push_str(&log);
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn accepted_says_which_policies_miss_the_run_and_which_queue_it_is_not_in() {
        let status = json!({
            "engineRef": {"kind": "Job", "namespace": "acme", "name": "migrate"},
            "outputs": {"hook": "shop-migrate", "decision": {"missed": ["NetworkPolicy/by-name"], "unqueued": "batch"}},
        });
        let message = accepted(&status);
        for words in [
            "The run's pods are not selected by NetworkPolicy/by-name",
            "select by a label of the pod template",
            "not in the queue batch of the chart's label kueue.x-k8s.io/queue-name",
        ] {
            assert!(message.contains(words), "{words} in {message}");
        }
        let plain = accepted(&json!({"outputs": {"decision": {}}}));
        assert!(!plain.contains("queue") && !plain.contains("selected"), "{plain}");
    }
}
