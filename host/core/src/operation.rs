//! An *Operation* (`ops.vworkspace.io/v1alpha1`) is the wish to run one hook of one release once.
//!
//! It is written by people and by the control plane, so everything in it is checked here, and everything that is
//! wrong is said at once, each with its path, what was found and what is expected.

mod read;
mod restored;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
pub use restored::RUN_RESTORED;
use serde_json::{Map, Value};
pub use stored::{Stored, TooLarge};

use crate::reason::Reason;
use crate::refusal::Refusal;
use hookhost_helm::hook::{self, Hook};
use hookhost_helm::workload::Numbers;
use hookhost_helm::workload::at;
use strum::{Display, EnumString, IntoStaticStr, VariantArray, VariantNames};

/// The API version of the Operations this host reads.
pub const API_VERSION: &str = "ops.vworkspace.io/v1alpha1";
/// Their kind.
pub const KIND: &str = "Operation";
/// The engine that this host is. Operations of other engines are not its own.
pub const ENGINE: &str = "helmHookJob";

/// Annotation by which a person cancels an Operation, whatever its value but "false".
pub const CANCEL: &str = "ops.vworkspace.io/cancel";

/// Sizes of what is read. An Operation may be as large as etcd takes it (1.5 MiB), and its JSON takes up to ninety times as
/// much memory once it is parsed; so each part is measured as text, before anything is made of it.
pub mod limits {
    /// Bytes of all labels and annotations together, without kubectl's copy of the object: policies get them, and each can
    /// only read so many entries in its time. Kubernetes allows 256 KiB; those that people and tools write are a tenth of this.
    pub const METADATA_BYTES: usize = 32 * 1024;
    /// Bytes of spec.parameters: nine numbers, flags, names and paths.
    pub const PARAMETERS_BYTES: usize = 64 * 1024;
    /// Bytes of spec.approvals and of spec.targetRef: four texts of [`TEXT_BYTES`].
    pub const SPEC_PART_BYTES: usize = 16 * 1024;
    /// Bytes of status.conditions: the six that hookhost writes, each with the longest message that Kubernetes takes.
    pub const CONDITIONS_BYTES: usize = 6 * 33 * 1024;
    /// Bytes of status.outputs: the decision, and a row for each hook of an event.
    pub const OUTPUTS_BYTES: usize = 128 * 1024;
    /// Values in status.outputs, with those inside others: each takes about 100 bytes of memory besides its text.
    pub const OUTPUTS_VALUES: usize = 16 * 1024;
    /// Bytes of one text, for example a path: Linux' own limit for paths, and more than any name.
    pub const TEXT_BYTES: usize = 4096;
    /// Problems that are told at once; the rest is counted.
    pub const PROBLEMS: usize = 32;
}

/// The wish to run one hook of one release once, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// metadata.name.
    pub name: String,
    /// metadata.namespace; none where a file leaves it to `kubectl -n`.
    pub namespace: Option<String>,
    /// metadata.uid; none where the Operation has not been created yet.
    pub uid: Option<String>,
    /// metadata.labels.
    pub labels: BTreeMap<String, String>,
    /// metadata.annotations, without kubectl's last-applied-configuration, which repeats the rest.
    pub annotations: BTreeMap<String, String>,
    /// metadata.creationTimestamp; none where the Operation has not been created yet.
    pub created: Option<Timestamp>,
    /// spec.targetRef.
    pub target_ref: TargetRef,
    /// spec.type.
    pub type_of: OperationType,
    /// spec.parameters, typed.
    pub parameters: Parameters,
    /// spec.parameters as written, for policies.
    pub raw_parameters: Map<String, Value>,
    /// spec.approvals.
    pub approvals: Approvals,
    /// Fields of spec that this host does not know, as paths, with the known field that is nearest. They are left
    /// unread, as Kubernetes does, and a plan warns of them.
    pub unknown: Vec<String>,
}

/// What the hook belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetRef {
    /// For example "apps.vworkspace.io/v1alpha1".
    pub api_version: String,
    /// For example "ApplicationInstance".
    pub kind: String,
    /// Its name, in the Operation's namespace.
    pub name: String,
}

/// spec.parameters of an Operation for this engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// metadata.name of the hook in the rendered release; empty where its template alone tells it, or where all hooks of the
    /// event are meant.
    pub hook_name: String,
    /// Its kind, "Job" or "Pod", where a name alone does not tell hooks apart.
    pub hook_kind: Option<String>,
    /// The template it was rendered from, whole or its last parts.
    pub hook_path: Option<String>,
    /// The namespace in which Helm creates it, where the chart has hooks of one name in several.
    pub hook_namespace: Option<String>,
    /// One of Helm's events: the one whose hooks are run, or, beside a name, one that the hook has.
    pub event: Option<String>,
    /// activeDeadlineSeconds, backoffLimit and ttlSecondsAfterFinished.
    pub numbers: Numbers,
    /// Wait until the chart has the hook, instead of failing.
    pub wait_for_hook: bool,
    /// Make what the hook needs and Helm has deleted, for as long as it runs.
    pub closure: bool,
    /// How long it may wait from its creation until its Job is made, at most [`crate::wait::MAX_TIMEOUT`]; none: as long as the
    /// host lets it.
    pub wait_timeout: Option<Duration>,
}

impl Parameters {
    /// The event whose hooks are all to be run; none where one hook is named.
    pub fn whole_event(&self) -> Option<&str> {
        self.event.as_deref().filter(|_| self.hook_name.is_empty() && self.hook_path.is_none())
    }

    /// Where all hooks of an event are run: the seconds that are left of the time that the Operation gives them together, which
    /// counts from when the first of them `began`. What passes between two of them counts, too. None where it gives none; zero or
    /// less once that is over.
    pub fn time_left(&self, began: Option<Timestamp>, now: Timestamp) -> Option<i64> {
        let whole = self.numbers.active_deadline_seconds.filter(|_| self.whole_event().is_some())?;
        let passed = began.map_or(0, |began| now.as_second().saturating_sub(began.as_second()));
        Some(whole.saturating_sub(passed.max(0)))
    }
}

/// Whether an Operation, as the API server has it, names a hook, by its name or template. One that does not means all hooks of
/// an event.
pub fn names_hook(operation: &Value) -> bool {
    ["hookName", "hookPath"].into_iter().any(|parameter| {
        let value =
            at(operation, "spec.parameters").and_then(|parameters| parameters.get(parameter)?.as_str());
        value.is_some_and(|text| !text.is_empty())
    })
}

/// spec.approvals. Nothing here is verified yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Approvals {
    /// Whether the Operation may run only when approved.
    pub required: bool,
    /// The signed claim.
    pub claim: Option<String>,
    /// Who approved.
    pub approved_by: Option<String>,
    /// When.
    pub approved_at: Option<Timestamp>,
}

/// spec.type of an Operation.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Display,
    EnumString,
    IntoStaticStr,
    VariantArray,
    VariantNames,
)]
#[allow(missing_docs)] // the words are the API's own
pub enum OperationType {
    Backup,
    Restore,
    Upgrade,
    Migration,
    RunCommand,
    Runbook,
}

impl OperationType {
    /// All of them.
    pub const ALL: &[OperationType] = <OperationType as VariantArray>::VARIANTS;

    /// The names of all of them.
    pub const NAMES: &[&str] = <OperationType as VariantNames>::VARIANTS;

    /// As in the API.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl Operation {
    /// Reads an Operation from JSON, as the API server or a file gives it.
    pub fn from_json(value: Value) -> Result<Operation, OperationError> {
        read::operation(value)
    }

    /// The hook that it means, or all of its event in the order in which they are run.
    pub fn choose<'h>(&self, hooks: &'h [Hook]) -> Result<Vec<&'h Hook>, Refusal> {
        match self.parameters.whole_event() {
            Some(event) => Ok(hook::of_event(hooks, event)?),
            None => Ok(vec![hook::find(hooks, &self.selector())?]),
        }
    }

    /// How the hook that it names is found.
    pub fn selector(&self) -> hookhost_helm::hook::Selector<'_> {
        hookhost_helm::hook::Selector {
            name: &self.parameters.hook_name,
            kind: self.parameters.hook_kind.as_deref(),
            path: self.parameters.hook_path.as_deref(),
            event: self.parameters.event.as_deref(),
            namespace: self.parameters.hook_namespace.as_deref(),
        }
    }
}

/// Everything that is wrong with an Operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Operation is not valid: {}", list(.problems, *.more))]
pub struct OperationError {
    /// What is wrong, in the order of the fields; at most [`limits::PROBLEMS`].
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub more: usize,
    /// Whether a part of it is larger than is read.
    pub is_too_large: bool,
}

impl OperationError {
    /// [`Reason::OperationTooLarge`] where a part is, else [`Reason::ValidationFailed`].
    pub fn reason(&self) -> Reason {
        if self.is_too_large { Reason::OperationTooLarge } else { Reason::ValidationFailed }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, for example "spec.parameters.backoffLimit".
    pub path: String,
    /// What is there.
    pub found: String,
    /// What may be there.
    pub expected: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {}, expected {}", self.path, self.found, self.expected)
    }
}

fn list(problems: &[Problem], more: usize) -> String {
    let mut text = problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ");
    if more > 0 {
        text.push_str(&format!("; and {more} more"));
    }
    text
}

impl From<OperationError> for Refusal {
    fn from(error: OperationError) -> Refusal {
        Refusal::of_error(error.reason(), &error)
    }
}
