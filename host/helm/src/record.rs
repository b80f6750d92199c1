//! A *release record* is what Helm stores of one revision of a release: the chart, its values, what was rendered, and
//! the hooks.
//!
//! ```text
//! Secret sh.helm.release.v1.NAME.vREVISION, type helm.sh/release.v1
//!   data.release: base64 (the API's) of base64 (Helm's) of gzip of JSON
//! ```
//!
//! Only what hookhost needs is built; the chart's templates, values and files, most of a record, are skipped.
//!
//! # Bounds
//! A record may come from anyone who can write Secrets. [`limits`](crate::limits) bounds what reading one takes, whatever the record says of
//! itself.
//!
//! # Secrets
//! A record holds the release's values. No error and no `Debug` output shows more of it than names.

use std::fmt;

use jiff::Timestamp;

use crate::snapshot::{self, Snapshot, Verification};
use crate::status::Status;

mod decode;
mod error;
mod json;
mod object;
mod stored_hook;
#[cfg(test)]
mod tests;

pub use error::RecordError;
pub use stored_hook::{LastRun, StoredHook};

/// One revision of a release, as Helm 3 or Helm 4 stored it.
#[derive(Clone, PartialEq)]
pub struct Record {
    /// The release's name.
    pub name: String,
    /// Where the release is installed, which need not be where its record is stored.
    pub namespace: String,
    /// Helm's revision, from 1.
    pub revision: u32,
    /// What Helm made of this revision so far.
    pub status: Status,
    /// When revision 1 was deployed.
    pub first_deployed: Option<Timestamp>,
    /// When this revision was deployed.
    pub last_deployed: Option<Timestamp>,
    /// When the release was uninstalled.
    pub deleted: Option<Timestamp>,
    /// The chart that was rendered.
    pub chart: Chart,
    /// The hooks as Helm stored them, in Helm's order. See [`Record::hooks`].
    pub stored_hooks: Vec<StoredHook>,
}

/// The chart of a release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chart {
    /// Its name, as in Chart.yaml.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of what it installs.
    pub app_version: Option<String>,
}

impl Record {
    /// Reads a record in any shape in which a person may hold it: the Secret or ConfigMap as YAML or JSON, with its value
    /// in `data` or `stringData`; a List with one of them; or the value alone: base64 text of one or two layers, gzip, or
    /// the JSON.
    ///
    /// # Errors
    /// If it is none of these, is damaged, is of another driver, or exceeds a bound.
    pub fn read(input: &[u8]) -> Result<Record, RecordError> {
        object::read(input)
    }

    /// Reads the value of a Secret's key `release`, as the API gives it once its own base64 is removed.
    ///
    /// # Errors
    /// As [`Record::read`].
    pub fn read_secret_value(value: &[u8]) -> Result<Record, RecordError> {
        json::read(&decode::inflated(value)?, None)
    }

    /// As [`Record::read_secret_value`], and whether it is the record that Flux wrote: record and digest are of the very
    /// same bytes.
    ///
    /// # Errors
    /// As [`Record::read`].
    pub fn read_verified(value: &[u8], snapshot: &Snapshot) -> Result<(Record, Verification), RecordError> {
        let json = decode::inflated(value)?;
        Ok((json::read(&json, None)?, snapshot::verify(&json, snapshot)))
    }
}

/// Names what the record is; never prints what is in it.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("name", &self.name)
            .field("namespace", &self.namespace)
            .field("revision", &self.revision)
            .field("status", &self.status)
            .field("chart", &self.chart)
            .field("hooks", &self.stored_hooks.len())
            .finish_non_exhaustive()
    }
}
