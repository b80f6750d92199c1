//! A *text* here is one that the contract or Kubernetes bounds: a message, a reason, a label's key or value.

use std::borrow::Cow;

use crate::limits::{DOMAIN_CHARS, LABEL_CHARS, REASON_CHARS};

/// The text, or as much of its beginning as fits `limit` characters with an ellipsis at the end.
pub(crate) fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    // No text has more characters than bytes, so the usual case costs nothing.
    if text.len() <= limit || text.chars().count() <= limit {
        return Cow::Borrowed(text);
    }
    let mut short: String = text.chars().take(limit.saturating_sub(1)).collect();
    short.push('…');
    Cow::Owned(short)
}

/// Whether it is a reason by the contract.
pub(crate) fn is_reason(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.chars().all(|c| c.is_ascii_alphanumeric())
        && text.len() <= REASON_CHARS
}

/// The nearest value that Kubernetes allows for a label: at most 63 letters, digits, `-`, `_` and `.` of ASCII, with a letter or
/// digit at both ends. Each other character becomes `-`, the ends are trimmed, and what is too long is cut. A value that is allowed
/// is returned as it is. Of a text without a letter or digit nothing is left; an empty value is allowed too.
///
/// For values that the request has from others, such as an annotation: a host rejects an answer with a label that Kubernetes would
/// not take.
///
/// ```
/// # use hook_policy::{Decision, label_value};
/// assert_eq!(label_value("Ada Lovelace <ada@example.com>"), "Ada-Lovelace--ada-example.com");
/// assert_eq!(label_value("team-db"), "team-db");
/// # let request = hook_policy::testing::request().build();
/// let owner = request.operation.annotation("example.com/owner").unwrap_or("nobody");
/// let decision = Decision::allow().label("example.com/owner", label_value(owner));
/// ```
pub fn label_value(text: &str) -> Cow<'_, str> {
    if is_label_value(text) {
        return Cow::Borrowed(text);
    }
    let legal = text.chars().map(|c| if is_inner(c) { c } else { '-' });
    let legal: String = legal.skip_while(|c| !c.is_ascii_alphanumeric()).take(LABEL_CHARS).collect();
    Cow::Owned(legal.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned())
}

/// Whether Kubernetes allows it as a label's value.
pub(crate) fn is_label_value(text: &str) -> bool {
    let is_edge = |c: char| c.is_ascii_alphanumeric();
    text.is_empty()
        || (text.len() <= LABEL_CHARS
            && text.chars().all(is_inner)
            && text.starts_with(is_edge)
            && text.ends_with(is_edge))
}

/// Whether Kubernetes allows it as the key of a label or annotation.
pub(crate) fn is_label_key(text: &str) -> bool {
    let name = match text.split_once('/') {
        Some((domain, name)) if is_domain(domain) => name,
        Some(_) => return false,
        None => text,
    };
    !name.is_empty() && is_label_value(name)
}

fn is_inner(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn is_domain(text: &str) -> bool {
    let is_edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_part = |part: &str| {
        part.starts_with(is_edge) && part.ends_with(is_edge) && part.chars().all(|c| is_edge(c) || c == '-')
    };
    text.len() <= DOMAIN_CHARS && text.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_cut_only_beyond_its_limit_and_then_to_exactly_it() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
    }

    #[test]
    fn a_label_value_keeps_what_is_allowed_and_is_cut_and_trimmed() {
        let long = format!("{}-x", "a".repeat(62));
        for (text, value) in [
            ("db", "db"),
            ("", ""),
            ("a b/c", "a-b-c"),
            ("-_.a.", "a"),
            ("Zoë", "Zo"),
            ("Zoë!s", "Zo--s"),
            ("***", ""),
            (long.as_str(), &"a".repeat(62)),
        ] {
            assert_eq!(label_value(text), value, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_text_becomes_a_label_value_and_every_label_value_stays_as_it_is(text in "\\PC{0,80}", legal in "([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?") {
            prop_assert!(is_label_value(&label_value(&text)), "{text:?}");
            prop_assert_eq!(label_value(&legal), legal.as_str());
        }
    }
}
