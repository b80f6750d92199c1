//! A *file* is an input that a person named: read whole, within a limit, with its name in every error.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use hookhost_core::Reason;
use hookhost_helm::encoding;

use crate::problem::Problem;

/// Reads a file of at most `limit` bytes; `-` is stdin. `what` names the kind of input in errors.
pub(crate) fn read(path: &Path, what: &str, limit: u64) -> Result<Vec<u8>> {
    if path == Path::new("-") {
        return stdin(what, limit);
    }
    let name = path.display().to_string();
    let file = File::open(path).with_context(|| format!("cannot open the {what} {name}"))?;
    bounded(file, what, &name, limit)
}

/// What stdin was read for. It can be read once.
static STDIN: OnceLock<String> = OnceLock::new();

/// Reads stdin, if nothing has read it yet.
fn stdin(what: &str, limit: u64) -> Result<Vec<u8>> {
    if STDIN.set(what.to_owned()).is_err() {
        let first = STDIN.get().map_or("other input", String::as_str);
        let message = format!("the {first} and the {what} cannot both be stdin");
        return Err(Problem::new(Reason::UsageInvalid, message)
            .with_advice("Give one of them as a file.")
            .into());
    }
    bounded(io::stdin().lock(), what, "stdin", limit)
}

/// Reads a file of text, UTF-8 or what its byte order mark says, of at most `limit` bytes; `-` is stdin.
pub(crate) fn read_text(path: &Path, what: &str, limit: u64) -> Result<String> {
    let bytes = read(path, what, limit)?;
    encoding::text(bytes).map_err(|error| {
        Problem::new(Reason::ValidationFailed, format!("cannot read the {what} {}", path.display()))
            .with_source(error)
            .with_advice("Save it as UTF-8, or as UTF-16 with a byte order mark.")
            .into()
    })
}

fn bounded(from: impl Read, what: &str, name: &str, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than allowed is enough to know; a pipe that never ends is not read to its end.
    let read = from.take(limit + 1).read_to_end(&mut bytes);
    read.with_context(|| format!("cannot read the {what} {name}"))?;
    if bytes.len() as u64 > limit {
        let message = format!("the {what} {name} is larger than {limit} bytes");
        return Err(Problem::new(Reason::ValidationFailed, message)
            .with_advice(format!("Check that it is the {what} you meant."))
            .into());
    }
    Ok(bytes)
}

/// Writes a file so that a reader sees the old one or the new one, never a part; makes the folder if needed.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let place = || format!("cannot write {}", path.display());
    std::fs::create_dir_all(folder).with_context(place)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(place)?;
    io::Write::write_all(&mut file, bytes).with_context(place)?;
    share(file.as_file()).with_context(place)?;
    file.persist(path).map_err(|error| error.error).with_context(place)?;
    Ok(())
}

/// A temporary file is its owner's alone; a result is everyone's to read.
#[cfg(unix)]
fn share(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn share(_: &File) -> io::Result<()> {
    Ok(())
}
