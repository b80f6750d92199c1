//! What a plain scalar means, by go-yaml v2's table and Go's number syntax.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

use super::YamlProblem;

/// A scalar once its meaning is known.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    /// Only above [`i64::MAX`].
    Uint(u64),
    Float(f64),
    Text(String),
}

impl Scalar {
    /// Bytes of its text, where that is not its meaning.
    pub(super) fn text_bytes(&self) -> usize {
        match self {
            Scalar::Text(text) => text.len(),
            _ => 0,
        }
    }
}

/// The scalar with this text: not quoted and without a tag, or with a tag of YAML's own (`int` for `!!int`).
pub(super) fn resolve(text: String, tag: Option<&str>) -> Result<Scalar, YamlProblem> {
    let plain = |text: String| match guess(&text) {
        Some(scalar) => scalar,
        None => Scalar::Text(text),
    };
    let refuse = |name| Err(YamlProblem::Tag(name));
    match tag {
        None => Ok(plain(text)),
        Some("str") => Ok(Scalar::Text(text)),
        Some("null") => match plain(text) {
            Scalar::Null => Ok(Scalar::Null),
            _ => refuse("null"),
        },
        Some("bool") => match plain(text) {
            scalar @ Scalar::Bool(_) => Ok(scalar),
            _ => refuse("boolean"),
        },
        Some("int") => match plain(text) {
            scalar @ (Scalar::Int(_) | Scalar::Uint(_)) => Ok(scalar),
            _ => refuse("whole number"),
        },
        Some("float") => match plain(text) {
            #[expect(clippy::cast_precision_loss, reason = "as Go does")]
            Scalar::Int(value) => Ok(Scalar::Float(value as f64)),
            scalar @ Scalar::Float(_) => Ok(scalar),
            _ => refuse("number"),
        },
        Some("timestamp") if is_timestamp(&text) => Ok(Scalar::Text(text)),
        Some("timestamp") => refuse("timestamp"),
        Some("binary") => {
            let digits: Vec<u8> = text.bytes().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
            let bytes = BASE64.decode(digits).map_err(|_| YamlProblem::Tag("base64 text"))?;
            Ok(Scalar::Text(go_text(&bytes)))
        }
        Some(_) => Ok(Scalar::Text(text)),
    }
}

/// Whether the text is a time as go-yaml knows it: a day, and with it, if given, a time behind blanks or one with a zone
/// behind a `T`.
fn is_timestamp(text: &str) -> bool {
    // A number of one or two digits, and what is behind it.
    fn number(text: &str) -> Option<(u32, &str)> {
        let digits = text.bytes().take(2).take_while(u8::is_ascii_digit).count();
        let (digits, rest) = text.split_at(digits);
        Some((digits.parse().ok()?, rest))
    }
    fn time(text: &str) -> Option<&str> {
        let (hour, rest) = number(text)?;
        let (minute, rest) = number(rest.strip_prefix(':')?)?;
        let (second, rest) = number(rest.strip_prefix(':')?)?;
        let rest = match rest
            .strip_prefix(['.', ','])
            .map(|rest| (rest, rest.trim_start_matches(|c: char| c.is_ascii_digit())))
        {
            Some((digits, rest)) if rest.len() < digits.len() => rest,
            _ => rest,
        };
        (hour < 24 && minute < 60 && second < 60).then_some(rest)
    }
    fn is_zone(text: &str) -> bool {
        let offset = |text: &str| {
            let (hours, minutes) = text.split_once(':')?;
            let two = |text: &str| {
                number(text).filter(|_| text.len() == 2).map(|(number, rest)| (number, rest.is_empty()))
            };
            Some(matches!((two(hours)?, two(minutes)?), ((..=24, true), (..=60, true))))
        };
        text == "Z" || text.strip_prefix(['+', '-']).is_some_and(|text| offset(text).unwrap_or(false))
    }
    let day = || {
        let year =
            text.get(..4).filter(|year| year.bytes().all(|b| b.is_ascii_digit()))?.parse::<u32>().ok()?;
        let (month, rest) = number(text.get(4..)?.strip_prefix('-')?)?;
        let (day, rest) = number(rest.strip_prefix('-')?)?;
        let is_leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
        let days = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 => 28 + u32::from(is_leap),
            _ => 0,
        };
        (1..=days).contains(&day).then_some(rest)
    };
    day().is_some_and(|rest| match rest.as_bytes().first() {
        None => true,
        Some(b'T' | b't') => time(&rest[1..]).is_some_and(is_zone),
        Some(b' ') => time(rest.trim_start_matches(' ')).is_some_and(str::is_empty),
        Some(_) => false,
    })
}

/// Base64 as Go reads it: bits beyond the last byte say nothing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Bytes as Go writes them in JSON: one replacement character for each byte that is not UTF-8.
fn go_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

/// What the text means if it is not itself.
fn guess(text: &str) -> Option<Scalar> {
    let named = match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Scalar::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Scalar::Bool(false)
        }
        ".nan" | ".NaN" | ".NAN" => Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Scalar::Float(f64::NEG_INFINITY),
        _ => return number(text),
    };
    Some(named)
}

fn number(text: &str) -> Option<Scalar> {
    match text.as_bytes().first()? {
        b'.' => {
            // Go's own float syntax: underscores only between digits.
            let between = |i: usize| {
                let digit =
                    |i: Option<usize>| i.and_then(|i| text.as_bytes().get(i)).is_some_and(u8::is_ascii_digit);
                digit(i.checked_sub(1)) && digit(i.checked_add(1))
            };
            if text.bytes().enumerate().any(|(i, b)| b == b'_' && !between(i)) {
                return None;
            }
            decimal(&text.replace('_', "")).map(Scalar::Float)
        }
        b'0'..=b'9' | b'+' | b'-' => {
            // A date is text either way; Go looks for one first.
            let plain = text.replace('_', "");
            whole(&plain).or_else(|| decimal(&plain).map(Scalar::Float)).or_else(|| binary(&plain))
        }
        _ => None,
    }
}

/// strconv.ParseInt and ParseUint with base 0: decimal, 0x, 0o, 0b, and a leading 0 for octal.
fn whole(text: &str) -> Option<Scalar> {
    let (sign, digits) = match text.as_bytes() {
        [b'-', ..] => ("-", &text[1..]),
        [b'+', ..] => ("+", &text[1..]),
        _ => ("", text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'b' | b'B', _, ..] => (2, &digits[2..]),
        [b'0', b'o' | b'O', _, ..] => (8, &digits[2..]),
        [b'0', b'x' | b'X', _, ..] => (16, &digits[2..]),
        [b'0'] => (10, digits),
        [b'0', ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    // Rust would take a second sign here.
    if !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    if let Ok(value) = i64::from_str_radix(&format!("{sign}{digits}"), radix) {
        return Some(Scalar::Int(value));
    }
    if sign.is_empty() { u64::from_str_radix(digits, radix).ok().map(Scalar::Uint) } else { None }
}

/// go-yaml's float: `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, if it is finite.
fn decimal(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let well_formed = digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent));
    if !well_formed {
        return None;
    }
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// What go-yaml still takes for binary after Go's own parsing: a sign after the prefix.
fn binary(text: &str) -> Option<Scalar> {
    if let Some(digits) = text.strip_prefix("0b") {
        let value = i64::from_str_radix(digits, 2).map(Scalar::Int);
        return value.or_else(|_| u64::from_str_radix(digits, 2).map(Scalar::Uint)).ok();
    }
    let digits = text.strip_prefix("-0b")?;
    i64::from_str_radix(&format!("-{digits}"), 2).ok().map(Scalar::Int)
}

/// A float as a key: Go's FormatFloat(value, 'g', -1, 32).
pub(super) fn float_key(value: f64) -> String {
    if value.is_nan() {
        return ".nan".to_owned();
    }
    #[expect(clippy::cast_possible_truncation, reason = "as Go does")]
    let value = value as f32;
    if value.is_infinite() {
        return if value > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    // Go's bounds for the shortest form.
    if (-4..6).contains(&exponent) {
        return value.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// Whether any reader of YAML 1.1 or 1.2 may take this unquoted text for something other than itself.
pub(super) fn is_doubtful(text: &str) -> bool {
    match text.as_bytes().first() {
        // Numbers, dates and times, of every schema. A letter that no number has makes it text: "10Gi", "5m30s".
        Some(b'0'..=b'9') => {
            let telling = |b: u8| matches!(b.to_ascii_lowercase(), b'g'..=b'n' | b'p'..=b'w' | b'y' | b'z');
            text.contains(':') || !text.bytes().any(telling)
        }
        Some(first) if first.is_ascii_alphabetic() || matches!(first, b'_' | b'/') => guess(text).is_some(),
        _ => true,
    }
}
