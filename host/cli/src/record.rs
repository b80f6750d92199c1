//! A *release* as a person names it: a file with the record, or stdin.

use std::path::Path;

use anyhow::Result;
use hookhost_core::record::Record;

use crate::file;
use crate::problem::Problem;

/// Bytes of the file: a Secret holds 1 MiB, its base64 as YAML or JSON a third more, twice; a List holds several.
const RECORD_BYTES: u64 = 16 << 20;

/// Reads a release record.
pub(crate) fn read(path: &Path) -> Result<Record> {
    let bytes = file::read(path, "release", RECORD_BYTES)?;
    let record = Record::read(&bytes).map_err(|error| {
        let message = format!("cannot read the release {}", path.display());
        Problem::new(error.reason(), message).with_source(error)
    })?;
    Ok(record)
}
