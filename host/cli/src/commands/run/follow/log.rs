//! The *logs* of a run: which containers there are, which of them are being read, and which line came from where.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::Step;

/// Logs that are read at once. Each is a connection; a hook has one pod with one container, most often.
const MAX_OPEN: usize = 10;

/// How often the log of one container is read on after it ended early: the kubelet was started anew, or a proxy closed the
/// connection.
const MAX_REOPENED: u32 = 20;

/// How long a log that ended is left alone: a container's end is known a moment after its log's.
const REOPEN_AFTER: Duration = Duration::from_secs(2);

/// One run of a container, which has one log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Source {
    /// The pod's namespace: the hooks of an event may be in several.
    pub(in super::super) namespace: String,
    pub(in super::super) pod: String,
    pub(in super::super) container: String,
    /// How often the container was started before.
    pub(in super::super) restarts: u64,
}

/// The logs of a run.
#[derive(Debug, Default)]
pub(super) struct Logs {
    pods: BTreeMap<String, Pod>,
    read: BTreeMap<Source, Read>,
    /// Whether pods run beside each other, so that lines need their names.
    is_parallel: bool,
    cannot_watch: bool,
    has_skipped: bool,
    has_shown_any: bool,
    /// Why logs could not be read, so far.
    problems: BTreeSet<String>,
}

#[derive(Debug)]
struct Pod {
    /// Containers, init containers included.
    containers: usize,
    has_ended: bool,
}

#[derive(Debug, Default)]
struct Read {
    /// When its reading ended.
    ended: Option<Duration>,
    reopened: u32,
    /// Whether the container still runs.
    runs: bool,
}

impl Read {
    fn is_open(&self) -> bool {
        self.ended.is_none()
    }
}

impl Logs {
    /// Takes note of a pod: begins to read the log of each container that has started.
    pub(super) fn pod(&mut self, pod: &Value, is_gone: bool, now: Duration, steps: &mut Vec<Step>) {
        let Some(name) = pod.pointer("/metadata/name").and_then(Value::as_str) else { return };
        let namespace = pod.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
        let phase = pod.pointer("/status/phase").and_then(Value::as_str);
        let has_ended = is_gone || matches!(phase, Some("Succeeded" | "Failed"));
        let count = |path: &str| pod.pointer(path).and_then(Value::as_array).map_or(0, Vec::len);
        let containers = count("/spec/containers") + count("/spec/initContainers");
        self.pods.insert(name.to_owned(), Pod { containers, has_ended });
        let statuses = ["/status/initContainerStatuses", "/status/containerStatuses"]
            .into_iter()
            .filter_map(|path| pod.pointer(path).and_then(Value::as_array))
            .flatten();
        for status in statuses {
            let Some(container) = status.get("name").and_then(Value::as_str) else { continue };
            let runs = status.pointer("/state/running").is_some() && !is_gone;
            if !runs && status.pointer("/state/terminated").is_none() {
                continue;
            }
            let restarts = status.get("restartCount").and_then(Value::as_u64).unwrap_or(0);
            let (namespace, pod, container) = (namespace.to_owned(), name.to_owned(), container.to_owned());
            let source = Source { namespace, pod, container, restarts };
            self.begin(source, runs, is_gone, now, steps);
        }
    }

    fn begin(&mut self, source: Source, runs: bool, is_gone: bool, now: Duration, steps: &mut Vec<Step>) {
        if let Some(read) = self.read.get_mut(&source) {
            read.runs = runs;
            return;
        }
        let open: Vec<&Source> =
            self.read.iter().filter(|(_, read)| read.is_open()).map(|(source, _)| source).collect();
        if is_gone || open.len() >= MAX_OPEN {
            self.read.insert(source, Read { ended: Some(now), reopened: MAX_REOPENED, runs });
            if !is_gone && !std::mem::replace(&mut self.has_skipped, true) {
                let text =
                    format!("more than {MAX_OPEN} containers run at once: not all of their logs are shown");
                steps.push(Step::Tell(text));
            }
            return;
        }
        self.is_parallel |= open.iter().any(|other| other.pod != source.pod);
        if !self.read.keys().any(|other| other.pod == source.pod) {
            steps.push(Step::Tell(format!("The pod {} runs.", source.pod)));
        }
        self.read.insert(source.clone(), Read { runs, ..Read::default() });
        steps.push(Step::ReadLog(source));
    }

    /// A line, with where it came from, where that is not plain.
    pub(super) fn line(&mut self, source: &Source, text: &str) -> String {
        self.has_shown_any = true;
        let has_several = self.pods.get(&source.pod).is_some_and(|pod| pod.containers > 1);
        match (self.is_parallel, has_several) {
            (false, false) => text.to_owned(),
            (false, true) => format!("[{}] {text}", source.container),
            (true, false) => format!("[{}] {text}", source.pod),
            (true, true) => format!("[{} {}] {text}", source.pod, source.container),
        }
    }

    pub(super) fn ended(
        &mut self,
        source: &Source,
        why: Option<String>,
        now: Duration,
        steps: &mut Vec<Step>,
    ) {
        if let Some(read) = self.read.get_mut(source) {
            read.ended = Some(now);
        }
        // A log is read on while its container runs; what keeps going wrong is said once.
        if let Some(why) = why
            && self.problems.insert(why.clone())
        {
            steps.push(Step::Tell(format!("cannot read the log of the pod {}: {why}", source.pod)));
        }
    }

    /// Reads on what ended though its container still runs.
    pub(super) fn reopen(&mut self, now: Duration, steps: &mut Vec<Step>) {
        for (source, read) in &mut self.read {
            let is_due = read.ended.is_some_and(|ended| now >= ended + REOPEN_AFTER);
            if is_due && read.runs && read.reopened < MAX_REOPENED {
                read.reopened += 1;
                read.ended = None;
                steps.push(Step::ReadLog(source.clone()));
            }
        }
    }

    pub(super) fn cannot_watch(&mut self, why: &str, steps: &mut Vec<Step>) {
        if !std::mem::replace(&mut self.cannot_watch, true) {
            steps.push(Step::Tell(format!("the hook's log is not shown: {why}")));
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.read.values().any(Read::is_open)
    }

    pub(super) fn has_shown_any(&self) -> bool {
        self.has_shown_any
    }

    /// Whether everything that an Operation with this status has logged was read: nothing is being read, and the pod that
    /// it names has been seen to its end. One that was cancelled has no pods any more.
    pub(super) fn are_complete(&self, status: &Value) -> bool {
        if self.is_open() {
            return false;
        }
        let pod = status.pointer("/logsRef/name").and_then(Value::as_str);
        let is_cancelled = status.get("phase").and_then(Value::as_str) == Some("Cancelled");
        match pod {
            Some(pod) if !self.cannot_watch && !is_cancelled => {
                self.pods.get(pod).is_some_and(|pod| pod.has_ended)
            }
            _ => true,
        }
    }
}
