//! A *snapshot* is what Flux wrote of a release record into the history of its HelmRelease: which revision it is, in which
//! state, and its digest.
//!
//! The digest shows whether a record is the one that Flux saw Helm store. Who can write Secrets, but not the HelmRelease's
//! status, can so not make hookhost run a pod of theirs.
//!
//! # What is not covered
//! Flux leaves hooks of the event `test` out of its digest, so that `helm test` may record its runs. Whatever such a hook
//! says is unproven: see [`Hook::is_covered`](crate::Hook::is_covered). All else that hookhost takes from a record is covered.
//!
//! # How it is computed
//! Flux encodes the release with Go's JSON encoder, less the chart's files, and takes the SHA-256. Helm stored the record
//! with the same encoder, so the tokens of the record's own text are put together here as they stand: nothing is decoded
//! and encoded again, and no escape, number or order of keys can come out otherwise.

mod digest;
#[cfg(test)]
mod tests;

pub(crate) use digest::TEST;
use digest::Unset;
pub use digest::{DigestError, digest};
pub use digest::{Pairs, Text};

use crate::status::Status;

/// The version of snapshots whose digest Flux itself checks: since helm-controller 1.5.
const API_VERSION: &str = "v2";

/// How a digest that can be checked begins.
const ALGORITHM: &str = "sha256:";

/// What Flux wrote of one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The version of the way in which the digest is made; none before helm-controller 1.5.
    pub api_version: Option<String>,
    /// The record's digest, "sha256:…".
    pub digest: String,
    /// The release's name.
    pub name: String,
    /// The namespace that it is installed in.
    pub namespace: String,
    /// Helm's revision.
    pub revision: u32,
    /// Its state when Flux last acted.
    pub status: Status,
    /// The chart's name.
    pub chart_name: String,
    /// The chart's version.
    pub chart_version: String,
    /// The digest of the OCI artifact that the chart came from; it is part of the record's digest.
    pub oci_digest: Option<String>,
}

impl Snapshot {
    /// Whether an older Flux wrote it, of which the way to the digest is not certain.
    pub fn is_legacy(&self) -> bool {
        self.api_version.as_deref() != Some(API_VERSION)
    }
}

/// Whether a record is the one of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verification {
    /// It is, but for its test hooks.
    Verified,
    /// It is not.
    Mismatch {
        /// The digest that Flux wrote.
        expected: String,
        /// The digest that the record has.
        found: String,
    },
    /// It cannot be told, so it must not be believed either.
    Unverifiable {
        /// Why, and what to do.
        why: String,
    },
}

/// Whether the record in `json` is the one of which Flux wrote the snapshot.
pub fn verify(json: &[u8], snapshot: &Snapshot) -> Verification {
    let unverifiable = |why: String| Verification::Unverifiable { why };
    if !snapshot.digest.starts_with(ALGORITHM) {
        return unverifiable("the HelmRelease's history has no SHA-256 digest".to_owned());
    }
    let oci_digest = snapshot.oci_digest.as_deref();
    let found = match digest(json, oci_digest) {
        Ok(found) if found == snapshot.digest => return Verification::Verified,
        Ok(found) => found,
        Err(error) => return unverifiable(error.to_string()),
    };
    // A person's `helm test` with Helm 3 writes the record of Flux's Helm 4 anew, with "" for times that are not set. Flux,
    // which decodes the record, sees no difference, and there is none in meaning.
    if digest::digest_with(json, oci_digest, Unset::LeftOut).is_ok_and(|found| found == snapshot.digest) {
        return Verification::Verified;
    }
    if !digest::is_compact(json) {
        return unverifiable("its JSON has blanks, which Helm never writes".to_owned());
    }
    if snapshot.is_legacy() {
        return unverifiable(format!(
            "its digest is {found}, but the HelmRelease's history, written by a Flux before helm-controller 1.5, has {}",
            crate::text::quote(&snapshot.digest)
        ));
    }
    Verification::Mismatch { expected: snapshot.digest.clone(), found }
}
