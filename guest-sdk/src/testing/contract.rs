//! The *contract's check* of an answer, as the host does it: what the types of a decision cannot say. hookhost's own tests compare
//! the two, answer by answer and word by word.

use std::collections::BTreeMap;

use crate::bindings::vworkspace::hook_policy::types::{Bounds, Decision, Entry};
use crate::limits;
use crate::text::{is_label_key, is_label_value, is_reason};

const LABEL_KEY_RULE: &str = "a label key: optional DNS prefix and \"/\", then 1 to 63 of [A-Za-z0-9-_.], a letter or digit at both ends";
const LABEL_VALUE_RULE: &str =
    "a label value: at most 63 of [A-Za-z0-9-_.], a letter or digit at both ends, or empty";

/// Holds an answer to the contract's limits and to Kubernetes' syntax.
///
/// # Errors
/// The first thing that a host would reject, in its words.
pub fn check(decision: &Decision) -> Result<(), String> {
    match decision {
        Decision::Allow(overrides) => {
            let labels = entries("labels", &overrides.labels)?;
            let annotations = entries("annotations", &overrides.annotations)?;
            check_bounds("allow.activeDeadlineSeconds", &overrides.active_deadline_seconds)?;
            check_bounds("allow.backoffLimit", &overrides.backoff_limit)?;
            check_bounds("allow.ttlSecondsAfterFinished", &overrides.ttl_seconds_after_finished)?;
            check_count("allow.labels", labels.len())?;
            check_count("allow.annotations", annotations.len())?;
            for (key, value) in labels {
                check_key("allow.labels", key)?;
                if !is_label_value(value) {
                    return Err(bad(
                        &format!("allow.labels[{}]", quote(key)),
                        &quote(value),
                        LABEL_VALUE_RULE,
                    ));
                }
            }
            for (key, value) in annotations {
                check_key("allow.annotations", key)?;
                let (bytes, most) = (value.len(), limits::ANNOTATION_VALUE_BYTES);
                if bytes > most {
                    let path = format!("allow.annotations[{}]", quote(key));
                    return Err(bad(&path, &format!("{bytes} bytes"), &format!("at most {most} bytes")));
                }
            }
            Ok(())
        }
        Decision::Deny(denial) => check_words("deny", &denial.reason, &denial.message),
        Decision::Hold(hold) => {
            check_words("hold", &hold.reason, &hold.message)?;
            let (seconds, most) = (hold.retry_after_seconds, limits::HOLD_SECONDS);
            if (1..=most).contains(&seconds) {
                return Ok(());
            }
            Err(bad("hold.retryAfterSeconds", &seconds.to_string(), &format!("1 to {most} (30 days)")))
        }
    }
}

fn bad(path: &str, found: &str, expected: &str) -> String {
    format!("the policy's answer breaks the contract: at {path}: found {found}, expected {expected}")
}

/// A list as a map; the contract has each key once.
fn entries<'e>(what: &str, list: &'e [Entry]) -> Result<BTreeMap<&'e str, &'e str>, String> {
    let mut map = BTreeMap::new();
    for Entry { key, value } in list {
        if let Some(again) = map.insert(key.as_str(), value.as_str()) {
            return Err(format!(
                "the policy's answer breaks the contract: at allow.{what}: one key has two values, one of them {}",
                quote(again)
            ));
        }
    }
    Ok(map)
}

fn check_bounds(path: &str, bounds: &Bounds) -> Result<(), String> {
    for (field, value) in
        [("exactly", bounds.exactly), ("atMost", bounds.at_most), ("atLeast", bounds.at_least)]
    {
        if let Some(value) = value.filter(|value| !(0..=limits::NUMBER).contains(value)) {
            let path = format!("{path}.{field}");
            return Err(bad(&path, &value.to_string(), &format!("0 to {}", limits::NUMBER)));
        }
    }
    Ok(())
}

fn check_count(path: &str, count: usize) -> Result<(), String> {
    if count > limits::ENTRIES {
        return Err(bad(path, &format!("{count} entries"), &format!("at most {}", limits::ENTRIES)));
    }
    Ok(())
}

fn check_key(path: &str, key: &str) -> Result<(), String> {
    if is_label_key(key) { Ok(()) } else { Err(bad(path, &quote(key), LABEL_KEY_RULE)) }
}

fn check_words(path: &str, reason: &str, message: &str) -> Result<(), String> {
    if !is_reason(reason) {
        let expected =
            format!("a PascalCase word of at most {} characters, [A-Z][A-Za-z0-9]*", limits::REASON_CHARS);
        return Err(bad(&format!("{path}.reason"), &quote(reason), &expected));
    }
    let chars = message.chars().count();
    if chars > limits::MESSAGE_CHARS {
        let expected = format!("at most {}", limits::MESSAGE_CHARS);
        return Err(bad(&format!("{path}.message"), &format!("{chars} characters"), &expected));
    }
    Ok(())
}

/// Characters of a text that a message repeats, as the host does.
const QUOTED_CHARS: usize = 80;

/// A text in quotes, cut, with what steers a terminal escaped.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for (n, c) in text.chars().enumerate() {
        if n == QUOTED_CHARS {
            quoted.push('…');
            break;
        }
        if c == '"' || c == '\\' || is_unprintable(c) {
            quoted.extend(c.escape_debug());
        } else {
            quoted.push(c);
        }
    }
    quoted.push('"');
    quoted
}

/// Control characters, and the format characters that reorder or hide text.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}
