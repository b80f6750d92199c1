//! A *file* is what a person named: with its name in every error.

use std::fs::File;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};

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
