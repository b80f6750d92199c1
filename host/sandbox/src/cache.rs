//! The *cache* keeps compiled code on disk, so that a policy is compiled once on a machine.
//!
//! Loading code is running code, so the directory and each file in it must be this user's and writable by nobody
//! else; the seal (code.rs) finds damage. Files appear whole, by renaming. The cache is bounded; what was not used
//! for the longest time goes first.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::OFlags;

use crate::Error;
use crate::code::{Key, Sealed};

/// Files kept: more than an organisation has policies, several versions of each.
const MAX_FILES: usize = 256;
/// Bytes kept. A policy of the SDK takes a few hundred KiB.
const MAX_BYTES: u64 = 256 << 20;
/// Bytes of one file: as much as is taken from the compiler.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// How the files of the cache end.
const SUFFIX: &str = "code";
/// Others may not write: group and world write bits.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// A directory of compiled code.
#[derive(Clone, Debug)]
pub struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// Opens a cache, making the directory (mode 0700) if it is not there. One that is a link, belongs to somebody else
    /// or can be written by others is [`Error::CacheUnsafe`].
    pub fn open(dir: impl Into<PathBuf>) -> Result<Cache, Error> {
        let dir = dir.into();
        let failed =
            |e: io::Error| Error::host(format!("the policy cache {} cannot be opened", dir.display()), e);
        DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
        let metadata = fs::symlink_metadata(&dir).map_err(failed)?;
        let problem =
            if metadata.is_dir() { not_ours(&metadata) } else { Some("it is not a directory".into()) };
        match problem {
            Some(problem) => Err(Error::CacheUnsafe { dir, problem }),
            None => Ok(Cache { dir }),
        }
    }

    /// The directory for a person's own use: `$XDG_CACHE_HOME/hookhost/policies`, else
    /// `$HOME/.cache/hookhost/policies`; none where neither variable is set to an absolute path.
    pub fn default_dir() -> Option<PathBuf> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
        Some(base.join("hookhost/policies"))
    }

    /// Code for a key, if it is there and unbroken. Whatever is wrong with a file, the policy is compiled again.
    pub(crate) fn get(&self, key: Key) -> Option<Sealed> {
        let path = self.path(key);
        let bytes = match read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a file in the policy cache cannot be used");
                return None;
            }
        };
        let sealed = Sealed::check(bytes, key);
        if sealed.is_none() {
            tracing::warn!(path = %path.display(), "a file in the policy cache is damaged; compiling again");
        }
        sealed
    }

    /// Keeps code. A full or read-only disk costs time later, not the policy now.
    pub(crate) fn put(&self, key: Key, code: &Sealed) {
        if let Err(error) = self.write(key, code).and_then(|()| self.tidy()) {
            tracing::warn!(dir = %self.dir.display(), %error, "compiled code of a policy cannot be kept");
        }
    }

    fn path(&self, key: Key) -> PathBuf {
        self.dir.join(format!("{key}.{SUFFIX}"))
    }

    fn write(&self, key: Key, code: &Sealed) -> io::Result<()> {
        // A name that no other writer has, even one of another container with the same process id. What a killed
        // process leaves is tidied like any other file.
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_nanos());
        let temporary = self.dir.join(format!("{key}.{}-{nanos}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        let written = file.write_all(code.bytes()).and_then(|()| fs::rename(&temporary, self.path(key)));
        if written.is_err() {
            // Nothing more can be done about a file that cannot be removed.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    /// Removes what is too much, oldest first.
    fn tidy(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_file() {
                files.push((metadata.modified()?, metadata.len(), entry.path()));
            }
        }
        files.sort();
        let mut count = files.len();
        let mut bytes: u64 = files.iter().map(|(_, len, _)| len).sum();
        for (_, len, path) in files {
            if count <= MAX_FILES && bytes <= MAX_BYTES {
                break;
            }
            match fs::remove_file(path) {
                // Another process tidies as well.
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            count -= 1;
            bytes -= len;
        }
        Ok(())
    }
}

/// Reads a file of the cache that nobody else can have written, and marks it as used.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    // A link or a pipe in this place was not put there by us.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags.cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    if let Some(problem) = not_ours(&metadata) {
        return Err(io::Error::other(problem));
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(io::Error::other("it is too large"));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    (&file).take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    mark_used(&file);
    Ok(bytes)
}

fn mark_used(file: &File) {
    // On a read-only file system the oldest file is just the one written first.
    let _ = file.set_modified(SystemTime::now());
}

/// Why something is not this user's alone to write.
fn not_ours(metadata: &Metadata) -> Option<String> {
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        return Some(format!("it belongs to user {}, not to {user}", metadata.uid()));
    }
    let mode = metadata.mode() & 0o777;
    (mode & WRITABLE_BY_OTHERS != 0).then(|| format!("others may write to it (mode {mode:03o})"))
}
