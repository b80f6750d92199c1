//! A *run* is what a Job that hookhost has made says of where it comes from.

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::api::{FAILED, PENDING, RUNNING, SKIPPED, SUCCEEDED};
use crate::json::entry;
use crate::keys::{DECISION, DECISION_BYTES};
use crate::loan::Borrowed;
use crate::object::ObjectRef;
use crate::outcome::{self, Outcome, source_hook};
use crate::step::Step;

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
    /// What the Job borrows, or all those of the event, as "Kind/name"; at most [`MAX_LOANS`](crate::loan::MAX_LOANS).
    pub closure: Vec<String>,
    /// When the Job controller began.
    pub started: Option<Timestamp>,
    /// Whether the Job may have several pods that are no tries of the same: at once, or one for each index.
    pub is_parallel: bool,
    /// Where all hooks of an event are run: which of them this is, and how it stands with each.
    pub steps: Option<Steps>,
}

/// How it stands with the hooks of an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Steps {
    /// The event.
    pub event: String,
    /// Which of them the Job is.
    pub step: Step,
    /// One for each, in the order in which they run.
    pub rows: Vec<StepRow>,
}

/// One hook of an event.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepRow {
    /// Its name in the chart.
    pub hook: String,
    /// Its Job.
    pub job_name: String,
    /// Where that is, if it is not in the Operation's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_namespace: Option<String>,
    /// Pending, Running, Succeeded, Failed; or Skipped, because an earlier one did not succeed.
    pub phase: &'static str,
    /// The newest pod that tells of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// When it was complete.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "seconds")]
    pub completion_time: Option<Timestamp>,
    /// Of the container that failed, or 0 where it succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
}

fn seconds<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(super::conditions::time).serialize(serializer)
}

impl StepRow {
    /// A hook whose Job goes as `outcome` says.
    pub fn of(run: &Run, outcome: &Outcome) -> StepRow {
        let mut row = StepRow {
            hook: run.hook.clone(),
            job_name: run.job_name.clone(),
            job_namespace: None,
            phase: PENDING,
            pod: None,
            completion_time: None,
            exit_code: None,
        };
        let pod = match outcome {
            Outcome::NotStarted { .. } | Outcome::Suspended { .. } => &None,
            Outcome::Running { pod, .. } => {
                row.phase = RUNNING;
                pod
            }
            Outcome::Succeeded { completed, pod } => {
                (row.phase, row.completion_time, row.exit_code) = (SUCCEEDED, *completed, Some(0));
                pod
            }
            Outcome::Failed { culprit, pod, .. } | Outcome::Deleted { culprit, pod, .. } => {
                row.phase = FAILED;
                row.exit_code = culprit.as_ref().and_then(|culprit| culprit.exit_code);
                pod
            }
        };
        row.pod = pod.as_ref().map(|pod| pod.name.clone());
        row
    }

    /// A hook that is not run any more.
    pub fn skipped(run: &Run) -> StepRow {
        let not_started = Outcome::NotStarted { why: None };
        StepRow { phase: SKIPPED, ..StepRow::of(run, &not_started) }
    }
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
        let borrowed = Borrowed::from_job(job).map(|borrowed| borrowed.objects).unwrap_or_default();
        let revision = decision.pointer("/release/revision").and_then(Value::as_u64);
        Some(Run {
            job_name: text(job, "/metadata/name").filter(|name| !name.is_empty())?,
            job_namespace: text(job, "/metadata/namespace").unwrap_or_default(),
            hook: source_hook(job).unwrap_or_default().into_owned(),
            release: text(&decision, "/release/name").unwrap_or_default(),
            revision: revision.and_then(|revision| u32::try_from(revision).ok()),
            closure: borrowed.iter().map(ObjectRef::kind_and_name).collect(),
            started: text(job, "/status/startTime").and_then(|time| time.parse().ok()),
            decision,
            is_parallel: outcome::is_parallel(job),
            steps: None,
        })
    }
}
