//! A *glob* is a pattern for names, with two wildcards.
//!
//! `*` stands for any run of characters, the empty one included, `/` and `.` included; `?` for exactly one character.
//! Everything else stands for itself, case and all. The whole text must match: `db-*` matches `db-migrate`, not
//! `old-db-migrate`. There is no escape, since no name in Kubernetes or Helm can contain a wildcard.
//! A match takes at most (length of the pattern) × (length of the text) steps, never more.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};

/// Characters of a glob in settings: longer than any name that it could match.
const GLOB_CHARS: usize = 253;

/// Whether the whole of `text` matches `pattern`; the rules are this module's.
pub fn matches(pattern: &str, text: &str) -> bool {
    // Where the last `*` was, and how much of the text it has swallowed: only the last one ever needs to give way.
    let mut retry: Option<(&str, &str)> = None;
    let (mut pattern, mut text) = (pattern, text);
    loop {
        let (mut p, mut t) = (pattern.chars(), text.chars());
        match (p.next(), t.next()) {
            (Some('*'), _) => {
                retry = Some((p.as_str(), text));
                pattern = p.as_str();
                continue;
            }
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {
                (pattern, text) = (p.as_str(), t.as_str());
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        let Some((after_star, swallowed)) = retry else { return false };
        let mut rest = swallowed.chars();
        if rest.next().is_none() {
            return false;
        }
        retry = Some((after_star, rest.as_str()));
        (pattern, text) = (after_star, rest.as_str());
    }
}

/// A glob in settings: 1 to 253 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// A glob of a policy's own, for defaults.
    pub fn new(pattern: impl Into<String>) -> Self {
        Glob(pattern.into())
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        matches(&self.0, text)
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pattern = String::deserialize(deserializer)?;
        match pattern.chars().count() {
            0 => Err(D::Error::custom("an empty pattern matches no name; `*` matches every name")),
            1..=GLOB_CHARS => Ok(Glob(pattern)),
            chars => {
                Err(D::Error::custom(format_args!("a pattern of {chars} characters; at most {GLOB_CHARS}")))
            }
        }
    }
}

impl JsonSchema for Glob {
    fn schema_name() -> Cow<'static, str> {
        "Glob".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A name with wildcards: * for any characters, ? for one. All of the name must match.",
            "type": "string",
            "minLength": 1,
            "maxLength": GLOB_CHARS,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::matches;

    /// The definition, without regard for time.
    fn by_definition(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], []) => true,
            (['*', p @ ..], _) => (0..=text.len()).any(|n| by_definition(p, &text[n..])),
            (['?', p @ ..], [_, t @ ..]) => by_definition(p, t),
            ([c, p @ ..], [d, t @ ..]) => c == d && by_definition(p, t),
            _ => false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn a_match_is_what_the_definition_says(pattern in "[ab*?é]{0,8}", text in "[abé]{0,10}") {
            let (p, t): (Vec<_>, Vec<_>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(matches(&pattern, &text), by_definition(&p, &t));
        }
    }

    #[test]
    fn wildcards_cross_dots_and_slashes_and_the_whole_name_must_match() {
        assert!(matches("ghcr.io/*", "ghcr.io/acme/tool:1.2"));
        assert!(matches("*", ""));
        assert!(matches("db-?", "db-1"));
        assert!(!matches("db-?", "db-"));
        assert!(!matches("db-*", "old-db-migrate"));
        assert!(!matches("DB", "db"));
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        let pattern = "*a".repeat(126) + "b";
        assert!(!matches(&pattern, &"a".repeat(100_000)));
    }
}
