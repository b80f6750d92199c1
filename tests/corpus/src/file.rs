//! A *file* of a corpus may be a release record, or anything else that lies in such folders.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use hookhost_helm::limits::MAX_INFLATED_BYTES;
use hookhost_helm::text::printable;

/// Bytes of a file that are read: a record may lie there inflated.
const MAX_BYTES: u64 = MAX_INFLATED_BYTES as u64;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct File {
    path: PathBuf,
    /// Its path below the corpus' folder, fit to be shown.
    pub(super) name: String,
}

impl File {
    /// Every file below a folder, by name. Links are not followed: they may lead in circles.
    pub(super) fn all(dir: &Path) -> Result<Vec<File>> {
        let mut files = Vec::new();
        let mut folders = vec![dir.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = folder.read_dir().with_context(|| format!("cannot read {}", folder.display()))?;
            for entry in entries {
                let entry = entry.with_context(|| format!("cannot read {}", folder.display()))?;
                let (path, kind) = (entry.path(), entry.file_type()?);
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() {
                    let name = printable(&path.strip_prefix(dir).unwrap_or(&path).to_string_lossy());
                    files.push(File { path, name });
                }
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    /// What is in it.
    pub(super) fn read(&self) -> Result<Vec<u8>> {
        let file = fs::File::open(&self.path).context("it cannot be read")?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).context("it cannot be read")?;
        if bytes.len() as u64 > MAX_BYTES {
            bail!("it has more than {} MiB", MAX_BYTES >> 20);
        }
        Ok(bytes)
    }
}
