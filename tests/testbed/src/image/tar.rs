//! The little of the *tar* format (POSIX.1-1988, "ustar") that an image needs: files, folders, symbolic links, all of
//! root and of the beginning of time.

use std::io::{Error, ErrorKind, Result, Write};

const BLOCK: usize = 512;

/// What is added to an archive.
pub(super) enum Entry<'a> {
    File(&'a [u8]),
    Link(&'a str),
    Folder,
}

/// An archive being written.
pub(super) struct Archive<W> {
    to: W,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(to: W) -> Archive<W> {
        Archive { to }
    }

    /// Adds an entry. Names longer than 255 bytes, or with a last part over 100, do not fit the format.
    pub(super) fn add(&mut self, name: &str, mode: u32, entry: &Entry<'_>) -> Result<()> {
        let (kind, content, target): (u8, &[u8], &str) = match entry {
            Entry::File(content) => (b'0', content, ""),
            Entry::Link(target) => (b'2', &[], target),
            Entry::Folder => (b'5', &[], ""),
        };
        let (prefix, name) =
            split(name).ok_or_else(|| Error::new(ErrorKind::InvalidInput, "its name is too long"))?;
        let mut header = [0; BLOCK];
        put(&mut header[..100], name.as_bytes())?;
        put(&mut header[100..107], format!("{mode:07o}").as_bytes())?;
        put(&mut header[108..115], b"0000000")?;
        put(&mut header[116..123], b"0000000")?;
        put(&mut header[124..135], format!("{:011o}", content.len()).as_bytes())?;
        put(&mut header[136..147], b"00000000000")?;
        header[156] = kind;
        put(&mut header[157..257], target.as_bytes())?;
        put(&mut header[257..265], b"ustar\x0000")?;
        put(&mut header[345..500], prefix.as_bytes())?;
        // The sum counts its own field as spaces.
        put(&mut header[148..156], b"        ")?;
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        put(&mut header[148..155], format!("{sum:06o}\0").as_bytes())?;
        self.to.write_all(&header)?;
        self.to.write_all(content)?;
        self.to.write_all(&[0; BLOCK][..content.len().next_multiple_of(BLOCK) - content.len()])
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Result<W> {
        self.to.write_all(&[0; 2 * BLOCK])?;
        Ok(self.to)
    }
}

/// A name as the format keeps it: up to 155 bytes of folders, and up to 100 after the slash between.
fn split(name: &str) -> Option<(&str, &str)> {
    if name.len() <= 100 {
        return Some(("", name));
    }
    let slashes = name.match_indices('/').map(|(place, _)| name.split_at(place));
    let mut halves = slashes.map(|(prefix, rest)| (prefix, &rest[1..]));
    halves.find(|(prefix, rest)| prefix.len() <= 155 && rest.len() <= 100)
}

fn put(field: &mut [u8], value: &[u8]) -> Result<()> {
    match field.get_mut(..value.len()) {
        Some(start) => {
            start.copy_from_slice(value);
            Ok(())
        }
        None => Err(Error::new(ErrorKind::InvalidInput, "it is too large")),
    }
}
