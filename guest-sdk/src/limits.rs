//! The *limits* of the contract: what a host accepts of an answer. They are stated in `wit/hook-policy.wit`, and hookhost's tests
//! compare these numbers with those that the host goes by.

/// The greatest number of a Job: 32 bits, the most that Kubernetes keeps of retries and retention.
pub const NUMBER: i64 = i32::MAX as i64;
/// Characters of a reason.
pub const REASON_CHARS: usize = 63;
/// Characters of a message.
pub const MESSAGE_CHARS: usize = 1024;
/// Labels, and annotations, of one decision.
pub const ENTRIES: usize = 64;
/// Characters of a label's value, and of the name in a key: Kubernetes' own limit.
pub const LABEL_CHARS: usize = 63;
/// Characters of the domain before the "/" of a key: Kubernetes' own limit.
pub const DOMAIN_CHARS: usize = 253;
/// Bytes of an annotation's value.
pub const ANNOTATION_VALUE_BYTES: usize = 4096;
/// Seconds that a run can be held at a time: 30 days.
pub const HOLD_SECONDS: u32 = 30 * 24 * 60 * 60;
/// Lines that an evaluation may log.
pub const LOG_LINES: usize = 64;
/// Characters of a line that it logs.
pub const LOG_LINE_CHARS: usize = 1024;
/// Errors that are read of what a policy finds wrong with its settings.
pub const SETTINGS_ERRORS: usize = 64;
