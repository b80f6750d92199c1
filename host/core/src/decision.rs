//! A *decision* is what one policy answers: allow with constraints, deny, or hold.
//!
//! The types mirror `wit/hook-policy.wit`, where every field's meaning, unit and bound is written. In JSON and YAML
//! (policy test cases, `policy eval`, decision logs) a decision is an object with one key:
//!
//! ```json
//! { "allow": { "activeDeadlineSeconds": { "atMost": 3600 }, "labels": { "team": "db" } } }
//! ```

mod check;

use std::collections::BTreeMap;

pub use check::{BadDecision, check};
use serde::{Deserialize, Serialize};

/// What one policy answers to one request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Decision {
    /// The hook may run, within these constraints.
    Allow(Overrides),
    /// The hook may not run.
    Deny(Denial),
    /// Not now: ask again later.
    Hold(Postponement),
}

/// What one policy demands of one number of the Job. All that is given must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bounds {
    /// This value and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exactly: Option<i64>,
    /// The ceiling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<i64>,
    /// The floor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<i64>,
}

impl Bounds {
    /// Whether nothing is demanded.
    pub fn is_empty(&self) -> bool {
        *self == Bounds::default()
    }
}

/// What an allowing policy demands of the fields that the host owns.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Overrides {
    /// Seconds the run may take.
    #[serde(default, skip_serializing_if = "Bounds::is_empty")]
    pub active_deadline_seconds: Bounds,
    /// Retries before the Job counts as failed.
    #[serde(default, skip_serializing_if = "Bounds::is_empty")]
    pub backoff_limit: Bounds,
    /// Seconds a finished Job is kept.
    #[serde(default, skip_serializing_if = "Bounds::is_empty")]
    pub ttl_seconds_after_finished: Bounds,
    /// Labels to add to the Job and its pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations to add to the Job.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Why a policy refuses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Denial {
    /// PascalCase, for programs.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// Why a policy wants to be asked again later, and when.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Postponement {
    /// PascalCase, for programs.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Seconds after the request's `now`.
    pub retry_after_seconds: u32,
}

/// The bounds of the contract that the host holds every answer to; stated in `wit/hook-policy.wit`.
pub mod limits {
    /// The greatest number: Kubernetes keeps the retries and the ttl in 32 bits, and multiplies a deadline into
    /// nanoseconds of 64, where much larger ones would wrap around.
    pub const NUMBER: i64 = i32::MAX as i64;
    /// Characters of a reason: a label value's length, so that a reason fits wherever Kubernetes wants one.
    pub const REASON_CHARS: usize = 63;
    /// Characters of a message: several of them fit one condition (32,768).
    pub const MESSAGE_CHARS: usize = 1024;
    /// Labels, and annotations, of one decision.
    pub const ENTRIES: usize = 64;
    /// Bytes of an annotation's value; 64 of them stay within Kubernetes' 256 KiB for all annotations.
    pub const ANNOTATION_VALUE_BYTES: usize = 4096;
    /// Seconds a policy may postpone: 30 days.
    pub const RETRY_AFTER_SECONDS: u32 = 30 * 24 * 60 * 60;
    /// Bytes of settings.
    pub const SETTINGS_BYTES: usize = 64 * 1024;
    /// Bytes of text of a whole request.
    pub const REQUEST_BYTES: usize = 1024 * 1024;
}
