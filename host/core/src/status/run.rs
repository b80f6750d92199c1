//! A *run* is what a Job that hookhost has made says of where it comes from.

use jiff::Timestamp;
use serde_json::Value;

use crate::clone::{DECISION, DECISION_BYTES, SOURCE_HOOK};
use crate::outcome::entry;

/// Which hook a Job runs, and by which decision; read from the Job, so that a hookhost that did not make it can tell too.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The Job's name.
    pub job_name: String,
    /// Its namespace.
    pub job_namespace: String,
    /// The hook's name in the chart; may be empty.
    pub hook: String,
    /// The release; may be empty.
    pub release: String,
    /// The release's revision.
    pub revision: Option<u32>,
    /// The decision as the Job keeps it; null where it does not.
    pub decision: Value,
    /// When the Job controller began.
    pub started: Option<Timestamp>,
}

impl Run {
    /// What `job` says; none where it has no name, as only what was never created has not.
    ///
    /// Whoever may write the Job can say anything in its annotations, so what cannot be right is left out.
    pub fn of(job: &Value) -> Option<Run> {
        let text = |of: &Value, pointer: &str| of.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let decision = entry(job, "annotations", DECISION)
            .filter(|text| text.len() <= DECISION_BYTES)
            .and_then(|text| serde_json::from_str::<Value>(text).ok())
            .filter(Value::is_object)
            .unwrap_or_default();
        // A hook's name that is no label value is whole in the annotation only.
        let hook = entry(job, "annotations", SOURCE_HOOK).or_else(|| entry(job, "labels", SOURCE_HOOK));
        let revision = decision.pointer("/release/revision").and_then(Value::as_u64);
        Some(Run {
            job_name: text(job, "/metadata/name").filter(|name| !name.is_empty())?,
            job_namespace: text(job, "/metadata/namespace").unwrap_or_default(),
            hook: hook.unwrap_or_default().to_owned(),
            release: text(&decision, "/release/name").unwrap_or_default(),
            revision: revision.and_then(|revision| u32::try_from(revision).ok()),
            started: text(job, "/status/startTime").and_then(|time| time.parse().ok()),
            decision,
        })
    }
}
