//! The *properties* of a node are its anchor and its tag; directives say what tags stand for.

use super::YamlError;
use super::source::{Mark, Source};
use super::tokens::Kind;

/// The name of an anchor or alias, with its indicator before it.
pub(super) fn anchor(source: &mut Source<'_>) -> Result<String, YamlError> {
    let start = source.mark();
    source.skip();
    source.need(1)?;
    let mut name = String::new();
    read_name(source, &mut name)?;
    let is_over = source.is_blank_or_end(0)
        || matches!(source.byte(0), b'?' | b':' | b',' | b']' | b'}' | b'%' | b'@' | b'`');
    if name.is_empty() || !is_over {
        return Err(start.wrong("did not find expected alphabetic or numeric character"));
    }
    Ok(name)
}

fn read_name(source: &mut Source<'_>, name: &mut String) -> Result<(), YamlError> {
    while is_name(source.byte(0)) {
        source.read_run(name, 1, is_name);
        source.need(1)?;
    }
    Ok(())
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// A tag.
pub(super) fn tag(source: &mut Source<'_>) -> Result<Kind, YamlError> {
    let start = source.mark();
    source.need(2)?;
    let (handle, suffix) = if source.byte(1) == b'<' {
        source.skip();
        source.skip();
        let whole = tag_uri(source, None, start)?;
        if source.byte(0) != b'>' {
            return Err(start.wrong("did not find the expected '>'"));
        }
        source.skip();
        (String::new(), whole)
    } else {
        let handle = tag_handle(source, false, start)?;
        if handle.len() > 1 && handle.ends_with('!') {
            let suffix = tag_uri(source, None, start)?;
            (handle, suffix)
        } else {
            // It is the suffix's beginning.
            match tag_uri(source, Some(&handle), start)? {
                suffix if suffix.is_empty() => (String::new(), handle),
                suffix => ("!".to_owned(), suffix),
            }
        }
    };
    source.need(1)?;
    if !source.is_blank_or_end(0) {
        return Err(start.wrong("did not find expected whitespace or line break"));
    }
    Ok(Kind::Tag { handle, suffix })
}

fn tag_handle(source: &mut Source<'_>, is_directive: bool, start: Mark) -> Result<String, YamlError> {
    source.need(1)?;
    if source.byte(0) != b'!' {
        return Err(start.wrong("did not find expected '!'"));
    }
    let mut handle = String::new();
    source.read(&mut handle);
    source.need(1)?;
    read_name(source, &mut handle)?;
    if source.byte(0) == b'!' {
        source.read(&mut handle);
    } else if is_directive && handle != "!" {
        return Err(start.wrong("did not find expected '!'"));
    }
    Ok(handle)
}

/// What is behind the handle of a tag, or behind what looked like one.
fn tag_uri(source: &mut Source<'_>, head: Option<&str>, start: Mark) -> Result<String, YamlError> {
    let mut uri = head.and_then(|head| head.get(1..)).unwrap_or_default().as_bytes().to_vec();
    let mut is_any = head.is_some();
    source.need(1)?;
    let is_uri = |byte: u8| is_name(byte) || b";/?:@&=+$,.!~*'()[]%".contains(&byte);
    while is_uri(source.byte(0)) {
        if source.byte(0) == b'%' {
            uri_escape(source, &mut uri, start)?;
        } else {
            uri.push(source.byte(0));
            source.skip();
        }
        source.need(1)?;
        is_any = true;
    }
    if is_any {
        Ok(String::from_utf8_lossy(&uri).into_owned())
    } else {
        Err(start.wrong("did not find expected tag URI"))
    }
}

/// A character of a tag, escaped byte by byte.
fn uri_escape(source: &mut Source<'_>, uri: &mut Vec<u8>, start: Mark) -> Result<(), YamlError> {
    let mut left = 0;
    loop {
        source.need(3)?;
        let digit =
            |ahead| char::from(source.byte(ahead)).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let octet = match (source.byte(0), digit(1), digit(2)) {
            (b'%', Some(high), Some(low)) => high << 4 | low,
            _ => return Err(start.wrong("did not find URI escaped octet")),
        };
        left = match (left, octet) {
            (0, ..0x80) => 1,
            (0, 0xc0..0xe0) => 2,
            (0, 0xe0..0xf0) => 3,
            (0, 0xf0..0xf8) => 4,
            (0, _) => return Err(start.wrong("found an incorrect leading UTF-8 octet")),
            (left, 0x80..0xc0) => left,
            _ => return Err(start.wrong("found an incorrect trailing UTF-8 octet")),
        } - 1;
        uri.push(octet);
        (0..3).for_each(|_| source.skip());
        if left == 0 {
            return Ok(());
        }
    }
}

/// A directive with its whole line.
pub(super) fn directive(source: &mut Source<'_>) -> Result<Kind, YamlError> {
    let start = source.mark();
    source.skip();
    source.need(1)?;
    let mut name = String::new();
    read_name(source, &mut name)?;
    if name.is_empty() {
        return Err(start.wrong("could not find expected directive name"));
    }
    if !source.is_blank_or_end(0) {
        return Err(start.wrong("found unexpected non-alphabetical character"));
    }
    source.need(1)?;
    let kind = match &*name {
        "YAML" => {
            source.skip_blanks()?;
            let major = version_number(source, start)?;
            if source.byte(0) != b'.' {
                return Err(start.wrong("did not find expected digit or '.' character"));
            }
            source.skip();
            let minor = version_number(source, start)?;
            Kind::Version { is_known: (major, minor) == (1, 1) }
        }
        "TAG" => {
            source.skip_blanks()?;
            let handle = tag_handle(source, true, start)?;
            source.need(1)?;
            if !source.is_blank(0) {
                return Err(start.wrong("did not find expected whitespace"));
            }
            source.skip_blanks()?;
            let prefix = tag_uri(source, None, start)?;
            source.need(1)?;
            if !source.is_blank_or_end(0) {
                return Err(start.wrong("did not find expected whitespace or line break"));
            }
            Kind::TagDirective { handle, prefix }
        }
        _ => return Err(start.wrong("found unknown directive name")),
    };
    source.need(1)?;
    source.skip_blanks()?;
    source.skip_comment()?;
    source.end_of_line()?;
    Ok(kind)
}

/// A number of one or two digits.
fn version_number(source: &mut Source<'_>, start: Mark) -> Result<u8, YamlError> {
    source.need(1)?;
    let (mut value, mut length) = (0, 0);
    while source.byte(0).is_ascii_digit() {
        length += 1;
        if length > 2 {
            return Err(start.wrong("found extremely long version number"));
        }
        value = value * 10 + (source.byte(0) - b'0');
        source.skip();
        source.need(1)?;
    }
    if length == 0 { Err(start.wrong("did not find expected version number")) } else { Ok(value) }
}
