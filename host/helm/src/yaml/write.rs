//! From JSON values to YAML that every reader reads the same.

use std::fmt::Write as _;

use serde_json::{Map, Number, Value};

use super::resolve::is_doubtful;
use crate::text::is_unprintable;

/// The order in which people expect an object's fields.
const FIRST: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

/// Bytes of a key that may stand before its colon: YAML allows 1,024 characters with the quotes and escapes.
const MAX_SIMPLE_KEY_BYTES: usize = 200;

pub(super) fn document(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => entries(&mut out, map, 0, true),
        Value::Array(list) if !list.is_empty() => items(&mut out, list, 0),
        scalar => {
            inline(&mut out, scalar, 0);
            out.push('\n');
        }
    }
    out
}

/// The entries of a map. The first line is indented already.
fn entries(out: &mut String, map: &Map<String, Value>, indent: usize, at_top: bool) {
    let rank = |key: &str| {
        let first = if at_top { FIRST.iter().position(|first| *first == key) } else { None };
        first.unwrap_or(FIRST.len())
    };
    let mut sorted: Vec<(&String, &Value)> = map.iter().collect();
    sorted.sort_by(|(a, _), (b, _)| (rank(a), a).cmp(&(rank(b), b)));
    for (i, (key, value)) in sorted.into_iter().enumerate() {
        if i > 0 {
            pad(out, indent);
        }
        if key.len() > MAX_SIMPLE_KEY_BYTES {
            out.push_str("? ");
            double_quoted(out, key);
            out.push('\n');
            pad(out, indent);
            out.push(':');
        } else {
            text(out, key);
            out.push(':');
        }
        match value {
            Value::Object(map) if !map.is_empty() => {
                out.push('\n');
                pad(out, indent + 2);
                entries(out, map, indent + 2, false);
            }
            // Kubernetes' custom: a list is not indented under its key.
            Value::Array(list) if !list.is_empty() => {
                out.push('\n');
                pad(out, indent);
                items(out, list, indent);
            }
            scalar => {
                out.push(' ');
                inline(out, scalar, indent + 2);
                out.push('\n');
            }
        }
    }
}

/// The items of a list. The first line is indented already.
fn items(out: &mut String, list: &[Value], indent: usize) {
    for (i, item) in list.iter().enumerate() {
        if i > 0 {
            pad(out, indent);
        }
        out.push_str("- ");
        match item {
            Value::Object(map) if !map.is_empty() => entries(out, map, indent + 2, false),
            Value::Array(list) if !list.is_empty() => items(out, list, indent + 2),
            scalar => {
                inline(out, scalar, indent + 2);
                out.push('\n');
            }
        }
    }
}

/// A scalar or an empty collection; of a block of text all but the last line's end.
fn inline(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(value) => number(out, value),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
        Value::String(value) if is_block(value) => block(out, value, indent.max(2)),
        Value::String(value) => text(out, value),
    }
}

/// A number that YAML 1.1, too, takes for one: with a point before the exponent and a sign in it.
fn number(out: &mut String, value: &Number) {
    let digits = value.to_string();
    match digits.split_once('e') {
        None => out.push_str(&digits),
        Some((mantissa, exponent)) => {
            out.push_str(mantissa);
            if !mantissa.contains('.') {
                out.push_str(".0");
            }
            out.push('e');
            if !exponent.starts_with(['-', '+']) {
                out.push('+');
            }
            out.push_str(exponent);
        }
    }
}

/// Whether a text of several lines can stand as it is: nothing at the start or the end of a line that a reader, an
/// editor or a copy would change.
fn is_block(value: &str) -> bool {
    let Some((first, _)) = value.split_once('\n') else { return false };
    !first.is_empty()
        && !first.starts_with([' ', '\t'])
        && !value.ends_with("\n\n")
        && value
            .lines()
            .all(|line| !line.ends_with([' ', '\t']) && !line.chars().any(|c| c != '\t' && is_escaped(c)))
        && !value.contains('\r')
}

fn block(out: &mut String, value: &str, indent: usize) {
    out.push_str(if value.ends_with('\n') { "|" } else { "|-" });
    for line in value.lines() {
        out.push('\n');
        if !line.is_empty() {
            pad(out, indent);
            out.push_str(line);
        }
    }
}

/// A text on one line, quoted if it needs to be.
fn text(out: &mut String, value: &str) {
    if is_plain(value) {
        out.push_str(value);
    } else if value.contains(['"', '\\']) && !value.contains('\'') && !value.chars().any(is_escaped) {
        out.push('\'');
        out.push_str(value);
        out.push('\'');
    } else {
        double_quoted(out, value);
    }
}

/// Whether the text needs no quotes in block style, for any reader.
fn is_plain(value: &str) -> bool {
    if is_doubtful(value) || value.ends_with([' ', ':']) {
        return false;
    }
    let common = |c: char| c.is_ascii_alphanumeric() || " _-./@+=,:;$()%*&!?'\"<>|~^[]{}\\".contains(c);
    value.chars().all(common) && !value.contains(": ")
}

fn double_quoted(out: &mut String, value: &str) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if !is_escaped(c) => out.push(c),
            c if u32::from(c) <= 0xff => _ = write!(out, "\\x{:02x}", u32::from(c)),
            c if u32::from(c) <= 0xffff => _ = write!(out, "\\u{:04x}", u32::from(c)),
            c => _ = write!(out, "\\U{:08x}", u32::from(c)),
        }
    }
    out.push('"');
}

/// Characters that YAML does not print, that some reader takes for the end of a line, or that hide how a text reads.
fn is_escaped(c: char) -> bool {
    is_unprintable(c)
        || matches!(c, '\u{a0}' | '\u{ad}' | '\u{202f}' | '\u{fff0}'..='\u{ffff}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..)
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}
