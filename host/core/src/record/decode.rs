//! From a record's stored value to its JSON: base64 and gzip.

use std::borrow::Cow;
use std::io::Read;

use base64::engine::general_purpose::STANDARD;
use base64::{DecodeError, Engine as _};
use flate2::bufread::MultiGzDecoder;

use super::{MAX_INFLATED_BYTES, RecordError};

/// What Helm looks for before it inflates.
const GZIP_MAGIC: [u8; 3] = [0x1f, 0x8b, 0x08];

/// No deflate stream inflates by more than this, so a stream's own word on its size is not believed beyond it.
const MAX_DEFLATE_RATIO: usize = 1032;

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
        value if value.len() > MAX_INFLATED_BYTES => Err(RecordError::too_many_bytes()),
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
    let joined;
    let text = if text.iter().any(|b| matches!(b, b'\n' | b'\r')) {
        joined = text.iter().copied().filter(|b| !matches!(b, b'\n' | b'\r')).collect::<Vec<u8>>();
        &joined
    } else {
        text
    };
    STANDARD.decode(text).map_err(|error| {
        let offset = match error {
            DecodeError::InvalidByte(offset, _) | DecodeError::InvalidLastSymbol { offset, .. } => offset,
            DecodeError::InvalidLength(_) | DecodeError::InvalidPadding => text.len(),
        };
        RecordError::Base64 { offset, length: text.len() }
    })
}

/// Inflates all members of a gzip stream, as Go does; what follows them is an error.
fn inflate(gzip: &[u8]) -> Result<Vec<u8>, RecordError> {
    let limit = MAX_INFLATED_BYTES as u64;
    let mut json = Vec::with_capacity(size_hint(gzip));
    match MultiGzDecoder::new(gzip).take(limit + 1).read_to_end(&mut json) {
        Ok(_) if json.len() > MAX_INFLATED_BYTES => Err(RecordError::too_many_bytes()),
        Ok(_) => Ok(json),
        Err(_) => Err(RecordError::Gzip { inflated: json.len() }),
    }
}

/// What the stream's last four bytes say of its size, as far as it can be true. One byte more, so that the reader sees the end
/// without growing the buffer.
fn size_hint(gzip: &[u8]) -> usize {
    let Some(last) = gzip.last_chunk::<4>() else { return 0 };
    let said = u32::from_le_bytes(*last) as usize;
    said.min(gzip.len().saturating_mul(MAX_DEFLATE_RATIO)).min(MAX_INFLATED_BYTES) + 1
}
