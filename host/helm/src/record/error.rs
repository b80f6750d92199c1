//! Why something is not a release record, where, and what to do.

use std::fmt::Display;

use crate::encoding::EncodingError;
use crate::limits::MAX_INFLATED_BYTES;
use crate::yaml::YamlError;

/// Why a record could not be read. Never shows more of it than names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// There is nothing.
    #[error(
        "the input is empty; give a release's Secret, for example from: kubectl get secret sh.helm.release.v1.NAME.v1 -o yaml"
    )]
    Empty,
    /// It begins with a byte order mark, and is not what that says.
    #[error("the input is no text. Give the release's Secret as YAML or JSON")]
    Encoding(#[source] EncodingError),
    /// Neither an object, nor base64, gzip or JSON.
    #[error(
        "the input is neither a Kubernetes object nor a release record. Give the release's Secret as YAML or JSON"
    )]
    Unrecognised,
    /// The base64 text is broken.
    #[error(
        "the base64 text is damaged at byte {offset} of {length}; was it cut short? Read the Secret again"
    )]
    Base64 {
        /// Where, in the text of this layer.
        offset: usize,
        /// How long the text is.
        length: usize,
    },
    /// The gzip stream is broken.
    #[error(
        "the gzip data is damaged after {inflated} bytes were inflated; was it cut short? Read the Secret again"
    )]
    Gzip {
        /// How far it could be read.
        inflated: usize,
    },
    /// The JSON is broken.
    #[error("the record's JSON is wrong at line {line}, byte {column}: {problem}. Read the Secret again")]
    Json {
        /// The line, from 1. Helm writes one.
        line: usize,
        /// The byte of that line.
        column: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// A field has another type than Helm or Kubernetes writes.
    #[error("{path} is wrong: {expected} is expected there. Read the Secret again")]
    Field {
        /// Where, for example `hooks[2].weight`.
        path: String,
        /// What may be there. What was found is not told: it may be a secret.
        expected: String,
    },
    /// The YAML of the object is broken.
    #[error("the input is neither a release record nor YAML. Give the release's Secret as YAML or JSON")]
    Yaml(#[source] YamlError),
    /// A field that every record has is not there.
    #[error("the record has no {field}{}", .advice.map(|advice| format!(". {advice}")).unwrap_or_default())]
    Missing {
        /// Its name in the record.
        field: &'static str,
        /// What to do.
        advice: Option<&'static str>,
    },
    /// More than one of the [`limits`](super::limits).
    #[error(
        "the record has {found} {what}, more than the {allowed} that hookhost reads. Charts stay far below that: this record \
         was made by something else than Helm, or its chart has to be split"
    )]
    TooLarge {
        /// What is too much, with its unit.
        what: String,
        /// How much there is; or at least, where it was not read to its end.
        found: String,
        /// How much there may be.
        allowed: usize,
    },
    /// A Kubernetes object, but not one with a Helm release in it.
    #[error("{found} holds no release record: {problem}")]
    OtherObject {
        /// The object's kind and name.
        found: String,
        /// What is there instead, and what to do.
        problem: String,
    },
    /// More than one release record.
    #[error("the input holds {count} release records; give one of them: {}", .names.join(", "))]
    Several {
        /// How many.
        count: usize,
        /// The names of the first of them.
        names: Vec<String>,
    },
}

impl RecordError {
    /// So many bytes once inflated; or at least, where it was not inflated to its end.
    pub(super) fn too_many_bytes(found: impl Display) -> RecordError {
        let what = "bytes once inflated".to_owned();
        RecordError::TooLarge { what, found: found.to_string(), allowed: MAX_INFLATED_BYTES }
    }
}
