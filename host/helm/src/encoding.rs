//! An *encoding* is how a text that a person hands over lies in its bytes: UTF-8, or what its byte order mark says.
//!
//! As for kubectl, UTF-8 may begin with a byte order mark, and UTF-16, which PowerShell writes by `>`, must. Bytes that no
//! encoding has are an error here, where kubectl would put a replacement character into an object's text.

use std::borrow::Cow;

/// UTF-8's own order mark, which says nothing but that it is UTF-8.
const UTF_8: &[u8] = &[0xef, 0xbb, 0xbf];
const UTF_16_BIG: &[u8] = &[0xfe, 0xff];
const UTF_16_LITTLE: &[u8] = &[0xff, 0xfe];

/// Why bytes are not the text that their byte order mark says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// Not UTF-8.
    #[error("it is not UTF-8 text: byte {0} is the first that is not")]
    Utf8(usize),
    /// Half of a character at a place where both should be.
    #[error("it is not the UTF-16 text that it begins as: byte {0} is the first that is not")]
    Utf16(usize),
}

/// The bytes as UTF-8 without a byte order mark, where they begin with one; as they are where they do not.
///
/// UTF-16 grows by half at most.
///
/// # Errors
/// If UTF-16 was begun and is not kept to.
pub fn without_mark(bytes: &[u8]) -> Result<Cow<'_, [u8]>, EncodingError> {
    if let Some(text) = bytes.strip_prefix(UTF_8) {
        return Ok(Cow::Borrowed(text));
    }
    let (units, is_big) = match (bytes.strip_prefix(UTF_16_BIG), bytes.strip_prefix(UTF_16_LITTLE)) {
        (Some(units), _) => (units, true),
        (None, Some(units)) => (units, false),
        (None, None) => return Ok(Cow::Borrowed(bytes)),
    };
    let of = |pair: &[u8; 2]| if is_big { u16::from_be_bytes(*pair) } else { u16::from_le_bytes(*pair) };
    let (pairs, rest) = units.as_chunks::<2>();
    let mut text = String::with_capacity(pairs.len());
    let mut at = bytes.len() - units.len();
    for c in char::decode_utf16(pairs.iter().map(of)) {
        let c = c.map_err(|_| EncodingError::Utf16(at))?;
        at += 2 * c.len_utf16();
        text.push(c);
    }
    if !rest.is_empty() {
        return Err(EncodingError::Utf16(at));
    }
    Ok(Cow::Owned(text.into_bytes()))
}

/// The text that bytes are.
///
/// # Errors
/// If they are neither UTF-8 nor the UTF-16 that their byte order mark says.
pub fn text(bytes: Vec<u8>) -> Result<String, EncodingError> {
    let bytes = match without_mark(&bytes)? {
        Cow::Borrowed(rest) if rest.len() == bytes.len() => bytes,
        other => other.into_owned(),
    };
    String::from_utf8(bytes).map_err(|error| EncodingError::Utf8(error.utf8_error().valid_up_to()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn utf16(text: &str, mark: &[u8], of: fn(u16) -> [u8; 2]) -> Vec<u8> {
        mark.iter().copied().chain(text.encode_utf16().flat_map(of)).collect()
    }

    #[test]
    fn what_is_not_what_it_begins_as_is_said_with_its_place() {
        assert_eq!(text(b"ab\xff".to_vec()), Err(EncodingError::Utf8(2)));
        // A byte too many, and half of a pair.
        assert_eq!(text(b"\xff\xfea\0b".to_vec()), Err(EncodingError::Utf16(4)));
        assert_eq!(text(b"\xfe\xff\0a\xd8\x3d\0b".to_vec()), Err(EncodingError::Utf16(4)));
        assert_eq!(text(b"\xff\xfe".to_vec()), Ok(String::new()));
        assert_eq!(text(b"\xff".to_vec()), Err(EncodingError::Utf8(0)));
        // Only the first mark is one.
        assert_eq!(text("\u{feff}\u{feff}a".into()), Ok("\u{feff}a".into()));
    }

    proptest! {
        #[test]
        fn a_text_is_read_whatever_it_lies_in(whole in "\\PC*") {
            let text_of = |bytes: Vec<u8>| text(bytes).unwrap();
            prop_assert_eq!(&text_of(utf16(&whole, UTF_16_BIG, u16::to_be_bytes)), &whole);
            prop_assert_eq!(&text_of(utf16(&whole, UTF_16_LITTLE, u16::to_le_bytes)), &whole);
            prop_assert_eq!(&text_of([UTF_8, whole.as_bytes()].concat()), &whole);
        }

        #[test]
        fn no_bytes_make_it_fail_otherwise_than_by_its_error(bytes: Vec<u8>) {
            let _ = text(bytes);
        }
    }
}
