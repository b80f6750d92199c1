//! The *kept logs* are the ends of logs that were read while their pods were being deleted: at the backoff limit of restartPolicy
//! OnFailure, at a deadline, when a node is drained or somebody deletes a pod, the pod is gone before its Job is marked Failed. They
//! are kept until the end of their Operation is reported, in memory only: a host that starts anew reports the end without them.

use std::collections::VecDeque;

use hookhost_core::outcome::{LogSource, PodRef};
use parking_lot::Mutex;

/// Bytes of all logs that are kept: hundreds of the usual length, 64 of the longest. Beyond, the oldest are dropped.
pub(crate) const LOGS_BYTES: usize = 1 << 20;

/// Bytes that a log takes besides its text: names as long as they may be, and a UID.
const LOG_BESIDES: usize = 1024;

/// The logs of all Operations, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct KeptLogs(Mutex<VecDeque<Kept>>);

#[derive(Debug)]
struct Kept {
    /// The UID of the Operation.
    operation: String,
    source: LogSource,
    text: String,
}

impl KeptLogs {
    /// Keeps the end of a log; also that there was nothing to be read, so that it is not read again.
    pub(super) fn keep(&self, operation: &str, source: LogSource, text: String) {
        let mut kept = self.0.lock();
        kept.retain(|one| !(one.operation == operation && one.source.pod == source.pod));
        kept.push_back(Kept { operation: operation.to_owned(), source, text });
        while kept.iter().map(|one| one.text.len() + LOG_BESIDES).sum::<usize>() > LOGS_BYTES {
            kept.pop_front();
        }
    }

    /// What is kept of a pod's log.
    pub(super) fn of(&self, operation: &str, pod: &PodRef) -> Option<(LogSource, String)> {
        let kept = self.0.lock();
        let found = kept.iter().find(|one| one.operation == operation && one.source.pod == *pod)?;
        Some((found.source.clone(), found.text.clone()))
    }

    /// The Operation's end is reported, or it is gone.
    pub(super) fn forget(&self, operation: &str) {
        self.0.lock().retain(|one| one.operation != operation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(pod: &str) -> LogSource {
        let pod = PodRef { namespace: "org".to_owned(), name: pod.to_owned() };
        LogSource { pod, container: "main".to_owned(), previous: false, has_ended: true }
    }

    #[test]
    fn a_log_is_kept_until_its_operation_ends_and_of_all_a_bounded_number() {
        let logs = KeptLogs::default();
        logs.keep("op", source("a"), "the schema is locked".to_owned());
        let text = |operation: &str, pod: &str| logs.of(operation, &source(pod).pod).map(|(_, text)| text);
        assert_eq!(text("op", "a").as_deref(), Some("the schema is locked"));
        assert_eq!((text("op", "b"), text("another", "a")), (None, None));
        logs.keep("op", source("a"), String::new());
        assert_eq!(text("op", "a").as_deref(), Some(""), "once for each pod");
        logs.forget("op");
        assert_eq!(text("op", "a"), None);
        let long = 16 << 10;
        for number in 0..2 * LOGS_BYTES / long {
            logs.keep(&format!("op-{number}"), source("a"), "x".repeat(long));
        }
        let bytes: usize = logs.0.lock().iter().map(|one| one.text.len() + LOG_BESIDES).sum();
        assert!(bytes <= LOGS_BYTES && bytes > LOGS_BYTES - 2 * long, "{bytes}");
        assert!(text("op-0", "a").is_none() && text("op-127", "a").is_some(), "the newest stay");
    }
}
