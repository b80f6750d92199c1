//! A *glob* is a pattern for names: `*` stands for any characters, `?` for one, all else for itself, case and all. The
//! whole name must match.
//!
//! These are the very rules by which the SDK matches globs in a policy's settings, so that a pattern means the same in
//! both places; tests compare the two.

/// Whether the whole of `text` matches `pattern`, in at most (length of the one) × (length of the other) steps.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // What follows the last `*`, and the text from where that is tried next: an earlier `*` never needs to give way.
    let mut last_star: Option<(&str, &str)> = None;
    loop {
        let (mut wanted, mut found) = (pattern.chars(), text.chars());
        match (wanted.next(), found.next()) {
            (Some('*'), _) => {
                pattern = wanted.as_str();
                last_star = Some((pattern, text));
            }
            (Some(one), Some(other)) if one == '?' || one == other => {
                (pattern, text) = (wanted.as_str(), found.as_str());
            }
            (None, None) => return true,
            _ => {
                let Some((after_star, tried)) = last_star else { return false };
                let mut rest = tried.chars();
                if rest.next().is_none() {
                    return false;
                }
                (pattern, text) = (after_star, rest.as_str());
                last_star = Some((pattern, text));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::matches;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn a_glob_means_here_what_it_means_in_a_policys_settings(
            pattern in "[ab*?é]{0,8}", text in "[abé]{0,10}"
        ) {
            prop_assert_eq!(matches(&pattern, &text), hook_policy::glob::matches(&pattern, &text));
        }
    }

    #[test]
    fn the_whole_name_must_match() {
        assert!(matches("db-*", "db-migrate") && matches("*", "") && matches("db-?", "db-1"));
        assert!(!matches("db-*", "old-db-migrate") && !matches("db-?", "db-") && !matches("DB", "db"));
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        assert!(!matches(&("*a".repeat(126) + "b"), &"a".repeat(100_000)));
    }
}
