//! A *name* is a word that Kubernetes accepts: of an object, a label key, a label value.
//!
//! The rules are Kubernetes' own (`apimachinery/pkg/util/validation`); they are checked here so that what is wrong is
//! said before anything is created, and by the path a person wrote it at.

use sha2::{Digest, Sha256};

use crate::text::hex;

/// Bytes of a DNS label (RFC 1123): also what a label value, and the name half of a label key, may have.
pub const DNS_LABEL_BYTES: usize = 63;
/// Bytes of a DNS subdomain (RFC 1123): an object's name, or the prefix of a label key.
pub const DNS_SUBDOMAIN_BYTES: usize = 253;
/// Hexadecimal digits that stand for what was cut off a name: 40 bits, so that among a million names that share the
/// kept part the chance of one collision is below one half, and of one for a given name below one in a million.
const HASH_DIGITS: usize = 10;

/// What [`is_label_key`] wants, for messages.
pub const LABEL_KEY_RULE: &str = "a label key: optional DNS prefix and \"/\", then 1 to 63 of [A-Za-z0-9-_.], a letter or digit at both ends";
/// What [`is_label_value`] wants, for messages.
pub const LABEL_VALUE_RULE: &str =
    "a label value: at most 63 of [A-Za-z0-9-_.], a letter or digit at both ends, or empty";
/// What [`is_label_selector`] wants, for messages.
pub const LABEL_SELECTOR_RULE: &str = "a label selector: one or more of KEY, !KEY, KEY=VALUE, KEY!=VALUE, KEY in (VALUE,…) and KEY notin (VALUE,…), with commas between";
/// What [`is_dns_subdomain`] wants, for messages.
pub const DNS_SUBDOMAIN_RULE: &str =
    "a name: at most 253 of [a-z0-9-.], a letter or digit at both ends of each part";
/// What [`is_dns_label`] wants, for messages.
pub const DNS_LABEL_RULE: &str = "a name: 1 to 63 of [a-z0-9-], a letter or digit at both ends";

/// Whether `name` is a DNS label, as a namespace's name must be.
pub fn is_dns_label(name: &str) -> bool {
    let dns = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= DNS_LABEL_BYTES && has_shape(name, dns, |b| dns(b) || b == b'-')
}

/// Whether `name` is a DNS subdomain, as most objects' names must be.
pub fn is_dns_subdomain(name: &str) -> bool {
    let dns = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= DNS_SUBDOMAIN_BYTES
        && name.split('.').all(|part| has_shape(part, dns, |b| dns(b) || b == b'-'))
}

/// Whether `key` may be the key of a label or annotation (a "qualified name").
pub fn is_label_key(key: &str) -> bool {
    let name = match key.split_once('/') {
        Some((prefix, name)) if is_dns_subdomain(prefix) => name,
        Some(_) => return false,
        None => key,
    };
    !name.is_empty() && is_label_value(name)
}

/// Whether `value` may be the value of a label.
pub fn is_label_value(value: &str) -> bool {
    let edge = |b: u8| b.is_ascii_alphanumeric();
    let inner = |b: u8| edge(b) || matches!(b, b'-' | b'_' | b'.');
    value.is_empty() || (value.len() <= DNS_LABEL_BYTES && has_shape(value, edge, inner))
}

/// Whether a text is a label selector, as kubectl and the API take it in one line. An empty one, which would select
/// everything, is none; nor is one that compares numbers.
pub fn is_label_selector(text: &str) -> bool {
    let mut depth = 0_u32;
    let mut requirements = text.split(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    requirements.all(|requirement| is_requirement(requirement.trim_matches(' ')))
}

/// Whether a text is one requirement of a label selector.
fn is_requirement(text: &str) -> bool {
    let trim = |text: &'_ str| text.trim_matches(' ').to_owned();
    if let Some(key) = text.strip_prefix('!') {
        return is_label_key(&trim(key));
    }
    if let Some((head, values)) = text.split_once('(') {
        let words: Vec<&str> = head.split(' ').filter(|word| !word.is_empty()).collect();
        let Some(values) = values.strip_suffix(')') else { return false };
        return matches!(words[..], [key, "in" | "notin"] if is_label_key(key))
            && values.split(',').all(|value| is_label_value(&trim(value)));
    }
    let equation = ["!=", "==", "="].iter().find_map(|sign| text.split_once(sign));
    match equation {
        Some((key, value)) => is_label_key(&trim(key)) && is_label_value(&trim(value)),
        None => is_label_key(text),
    }
}

/// Whether `text` is not empty, starts and ends with an `edge` byte and has only `inner` bytes.
fn has_shape(text: &str, edge: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|b| edge(*b))
        && bytes.last().is_some_and(|b| edge(*b))
        && bytes.iter().all(|b| inner(*b))
}

/// Whether a text is one segment of a URL's path and means nothing else there: what names of Kubernetes' objects are made of.
pub fn is_path_segment(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    !matches!(text, "" | "." | "..") && text.bytes().all(plain)
}

/// Whether an object of this name can be asked for by it. RBAC's names may have more in them.
pub fn is_object_name(text: &str) -> bool {
    text.len() <= DNS_SUBDOMAIN_BYTES && is_path_segment(text)
}

/// The value for a label that stands for `text`: `text` itself where it is a legal label value, else its legal
/// characters, cut, with a hash of the whole.
pub fn label_value(text: &str) -> String {
    if is_label_value(text) {
        return text.to_owned();
    }
    let legal: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' })
        .collect();
    cut(&legal, DNS_LABEL_BYTES, text)
}

/// The name of the Job that runs the Operation `name`: at most `max` bytes, so that Kubernetes can derive pod names,
/// hostnames and the `job-name` label from it.
///
/// `identity` is hashed into the name where `name` alone will not do: because it is too long, because it has dots
/// where `dots` are not allowed, or because `unique` asks for it. The same arguments always give the same name.
pub fn job_name(name: &str, identity: &str, max: usize, dots: bool, unique: bool) -> String {
    if !unique && name.len() <= max && (dots || !name.contains('.')) {
        return name.to_owned();
    }
    let legal = if dots { name.to_owned() } else { name.replace('.', "-") };
    cut(&legal, max, identity)
}

/// At most `max` bytes: the start of `text`, a dash, and a hash of `hashed`. `text` must be ASCII to be cut exactly.
fn cut(text: &str, max: usize, hashed: &str) -> String {
    let hash = short_hash(hashed);
    let room = max.saturating_sub(HASH_DIGITS + 1);
    let start: String = text.chars().take(room).collect();
    let start = start.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if start.is_empty() { hash } else { format!("{start}-{hash}") }
}

/// The first digits of the SHA-256 of `text`.
fn short_hash(text: &str) -> String {
    let mut digits = hex(Sha256::digest(text));
    digits.truncate(HASH_DIGITS);
    digits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn label_keys_follow_kubernetes() {
        for good in ["a", "A.b_c-1", "example.com/a", "x.y.z/Team", &"k".repeat(63)] {
            assert!(is_label_key(good), "{good}");
        }
        let (long, long_prefix) = ("k".repeat(64), format!("{}/a", "p".repeat(254)));
        for bad in ["", "-a", "a-", "a b", "/a", "a/", "a/b/c", "Example.com/a", "é", &long, &long_prefix] {
            assert!(!is_label_key(bad), "{bad}");
        }
    }

    #[test]
    fn label_selectors_follow_kubernetes() {
        for good in [
            "managed-by=vworkspace",
            "a",
            "!a",
            "! example.com/a",
            "a=",
            "a==b",
            "a != b , c",
            "x.y/z notin (a, b),c in (d)",
            "a in ()",
        ] {
            assert!(is_label_selector(good), "{good}");
        }
        for bad in [
            "",
            " ",
            "=a",
            "a,",
            ",a",
            "a b",
            "a=b c",
            "a in b",
            "a in (b",
            "a in (b),",
            "a in (b)c",
            "a>1",
            "A_/x",
            "é=a",
        ] {
            assert!(!is_label_selector(bad), "{bad}");
        }
    }

    #[test]
    fn object_names_follow_kubernetes() {
        assert!(is_dns_subdomain("a.b-c.1") && is_dns_label("a-1"));
        for bad in ["", "A", "a..b", ".a", "a.", "-a", "a_b", "a b"] {
            assert!(!is_dns_subdomain(bad), "{bad}");
        }
        assert!(!is_dns_label("a.b") && !is_dns_label(&"a".repeat(64)));
    }

    #[test]
    fn a_long_name_is_cut_and_told_apart_by_its_identity() {
        let long = format!("{}-{}", "a".repeat(51), "b".repeat(20));
        let one = job_name(&long, "uid-1", 63, true, false);
        let two = job_name(&long, "uid-2", 63, true, false);
        assert_eq!(one.len(), 62, "the dash at the cut is not doubled: {one}");
        assert_ne!(one, two);
        assert!(is_dns_label(&one));
        assert_eq!(job_name("short.name", "uid", 63, true, false), "short.name");
        assert!(job_name("short.name", "uid", 63, false, false).starts_with("short-name-"));
        assert!(job_name("short", "uid", 63, true, true).starts_with("short-"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn any_text_becomes_a_legal_label_value(text in any::<String>()) {
            prop_assert!(is_label_value(&label_value(&text)));
        }

        #[test]
        fn any_object_name_becomes_a_legal_job_name(
            name in "[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?){0,4}", identity in any::<String>(),
            max in 40usize..=63, dots in any::<bool>(), unique in any::<bool>(),
        ) {
            prop_assert!(is_dns_subdomain(&name));
            let job = job_name(&name, &identity, max, dots, unique);
            prop_assert!(job.len() <= max && is_dns_subdomain(&job) && is_label_value(&job));
            prop_assert!(dots || is_dns_label(&job));
        }
    }
}
