//! To *run* is to know the places of this repository, and to talk to the person who waits.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// The repository's top folder: two above this crate's own.
pub(crate) fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here)
}

/// The folder of this program, with the other programs of the same build.
pub(crate) fn built() -> PathBuf {
    let here = std::env::current_exe().unwrap_or_default();
    here.parent().unwrap_or(Path::new("")).to_owned()
}

/// A line for the person who waits, on stderr; stdout is for the report.
#[expect(clippy::print_stderr, reason = "the one place where this program talks")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// A duration with one decimal.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
