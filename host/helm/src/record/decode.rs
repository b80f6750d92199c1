//! From a record's stored value to its JSON: base64 and gzip.

use crate::limits::MAX_INFLATED_BYTES;
use std::borrow::Cow;

use base64::engine::general_purpose::STANDARD;
use base64::{DecodeError, Engine as _};
use flate2::{Decompress, FlushDecompress, Status};

use super::RecordError;

/// What Helm looks for before it inflates.
const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 0x08];

/// No deflate stream inflates by more than this, so a stream's own word on its size is not believed beyond it.
const MAX_DEFLATE_RATIO: usize = 1032;

/// The largest window that deflate knows.
const GZIP_WINDOW_BITS: u8 = 15;

/// Layers of base64: Helm's own, and the API's where a Secret's `data` was copied as it is.
const MAX_LAYERS: usize = 2;

/// The JSON of a record's value, whatever of base64 and gzip is around it.
pub(super) fn inflated(value: &[u8]) -> Result<Cow<'_, [u8]>, RecordError> {
    let mut value = Cow::Borrowed(value.trim_ascii());
    for _ in 0..MAX_LAYERS {
        if is_gzip(&value) || value.starts_with(b"{") {
            break;
        }
        value = Cow::Owned(base64(&value)?);
    }
    match value {
        value if is_gzip(&value) => Ok(Cow::Owned(inflate(&value)?)),
        value if value.len() > MAX_INFLATED_BYTES => Err(RecordError::too_many_bytes(value.len())),
        // Helm stored plain JSON before it compressed.
        value => Ok(value),
    }
}

pub(super) fn is_gzip(value: &[u8]) -> bool {
    value.starts_with(&GZIP_MAGIC)
}

/// Whether the text has no byte that base64 does not have.
pub(super) fn is_base64_like(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'\n' | b'\r'))
}

/// Decodes as Go does: line ends within the text do not count.
fn base64(text: &[u8]) -> Result<Vec<u8>, RecordError> {
    let is_line_end = |b: u8| matches!(b, b'\n' | b'\r');
    match STANDARD.decode(text) {
        Ok(bytes) => Ok(bytes),
        // Helm writes none, so they are looked for only now.
        Err(_) if text.iter().any(|b| is_line_end(*b)) => {
            base64(&text.iter().copied().filter(|b| !is_line_end(*b)).collect::<Vec<u8>>())
        }
        Err(DecodeError::InvalidByte(offset, _) | DecodeError::InvalidLastSymbol { offset, .. }) => {
            Err(RecordError::Base64 { offset, length: text.len() })
        }
        Err(DecodeError::InvalidLength(_) | DecodeError::InvalidPadding) => {
            Err(RecordError::Base64 { offset: text.len(), length: text.len() })
        }
    }
}

/// Inflates all members of a gzip stream, as Go does; what follows them is an error.
///
/// In as few steps as there is room for, straight into the result: a fifth faster than with a reader in between.
fn inflate(stream: &[u8]) -> Result<Vec<u8>, RecordError> {
    let mut gzip = stream;
    let mut json = Vec::with_capacity(size_hint(stream));
    while !gzip.is_empty() {
        let mut member = Decompress::new_gzip(GZIP_WINDOW_BITS);
        loop {
            let (read, written) = (member.total_in(), json.len());
            let status = member.decompress_vec(gzip, &mut json, FlushDecompress::Finish);
            let progress = usize::try_from(member.total_in() - read).unwrap_or(gzip.len());
            gzip = gzip.get(progress..).unwrap_or_default();
            if json.len() > MAX_INFLATED_BYTES {
                // What the stream says of itself may be wrong, but then it is damaged anyhow.
                let found = said_size(stream).filter(|said| *said > MAX_INFLATED_BYTES);
                let found =
                    found.map_or_else(|| format!("more than {MAX_INFLATED_BYTES}"), |said| said.to_string());
                return Err(RecordError::too_many_bytes(found));
            }
            match status {
                Ok(Status::StreamEnd) => break,
                // No more room: go on with twice as much, or with what the limit leaves.
                Ok(_) if json.len() == json.capacity() => {
                    json.reserve_exact((MAX_INFLATED_BYTES + 1 - json.len()).min(json.len().max(1)));
                }
                Ok(_) if progress > 0 || json.len() > written => {}
                _ => return Err(RecordError::Gzip { inflated: json.len() }),
            }
        }
    }
    Ok(json)
}

/// What the stream's last four bytes say of its size, as far as it can be true. At least one byte, so that there is room to
/// begin, and one more than allowed, so that too much is seen without growing.
fn size_hint(stream: &[u8]) -> usize {
    let said = said_size(stream).unwrap_or_default();
    said.min(stream.len().saturating_mul(MAX_DEFLATE_RATIO)).clamp(1, MAX_INFLATED_BYTES + 1)
}

/// What the stream's last four bytes say of the size of its last member.
fn said_size(stream: &[u8]) -> Option<usize> {
    stream.last_chunk::<4>().map(|last| u32::from_le_bytes(*last) as usize)
}
