//! An *answer* is what a guest gave back, before and after it is held to the contract's bounds.

use std::collections::BTreeMap;

use hookhost_core::decision::{check, limits::MESSAGE_CHARS};
use hookhost_core::{Bounds, Decision, Denial, Overrides, Postponement};
use hookhost_helm::text::{printable, quote};
use serde_json::Value;

use crate::limits::{NAME_CHARS, SCHEMA_BYTES, SETTINGS_ERRORS};
use crate::text::clean;
use crate::wit::types as wit;

/// What a policy says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Its name; at most [`NAME_CHARS`] characters.
    pub name: String,
    /// Its version; at most [`NAME_CHARS`] characters.
    pub version: String,
    /// What it does, in a sentence.
    pub summary: String,
    /// JSON Schema of its settings.
    pub settings_schema: Value,
}

/// What a policy finds wrong with its settings, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// Path into the settings, for example `organisations.acme.max`; empty for the settings as a whole.
    pub path: String,
    /// What was found, what is expected.
    pub message: String,
}

/// Takes a decision, or says how it breaks the contract.
pub(crate) fn decision(answer: wit::Decision) -> Result<Decision, String> {
    let decision = match answer {
        wit::Decision::Allow(overrides) => Decision::Allow(Overrides {
            active_deadline_seconds: bounds(overrides.active_deadline_seconds),
            backoff_limit: bounds(overrides.backoff_limit),
            ttl_seconds_after_finished: bounds(overrides.ttl_seconds_after_finished),
            labels: entries("labels", overrides.labels)?,
            annotations: entries("annotations", overrides.annotations)?,
        }),
        wit::Decision::Deny(wit::Denial { reason, message }) => {
            Decision::Deny(Denial { reason, message: printable(&message) })
        }
        wit::Decision::Hold(wit::Postponement { reason, message, retry_after_seconds }) => {
            Decision::Hold(Postponement { reason, message: printable(&message), retry_after_seconds })
        }
    };
    match check(&decision) {
        Ok(()) => Ok(decision),
        Err(bad) => Err(format!("at {}: found {}, expected {}", bad.path, bad.found, bad.expected)),
    }
}

/// Takes a description, or says how it breaks the contract.
pub(crate) fn description(answer: wit::Description) -> Result<Description, String> {
    let wit::Description { name, version, summary, settings_schema } = answer;
    for (what, text, most) in
        [("name", &name, NAME_CHARS), ("version", &version, NAME_CHARS), ("summary", &summary, MESSAGE_CHARS)]
    {
        if text.trim().is_empty() || text.chars().nth(most).is_some() {
            return Err(format!("its {what} is empty or longer than {most} characters"));
        }
    }
    if settings_schema.len() > SCHEMA_BYTES {
        return Err(format!(
            "its settings schema has {} bytes; the limit is {SCHEMA_BYTES}",
            settings_schema.len()
        ));
    }
    let settings_schema: Value = serde_json::from_str(&settings_schema)
        .map_err(|e| format!("its settings schema is not JSON: {e}"))?;
    if !settings_schema.is_object() && !settings_schema.is_boolean() {
        return Err("its settings schema is neither an object nor a boolean".into());
    }
    Ok(Description {
        name: clean(&name, NAME_CHARS),
        version: clean(&version, NAME_CHARS),
        summary: clean(&summary, MESSAGE_CHARS),
        settings_schema,
    })
}

/// Takes what a policy finds wrong with its settings: the first 64, each cut to a message's length.
pub(crate) fn settings_errors(
    answer: Result<(), Vec<wit::SettingsError>>,
) -> Result<Vec<SettingsError>, String> {
    match answer {
        Ok(()) => Ok(Vec::new()),
        Err(errors) if errors.is_empty() => Err("it refuses the settings without saying why".into()),
        Err(errors) => Ok(errors
            .into_iter()
            .take(SETTINGS_ERRORS)
            .map(|e| SettingsError {
                path: clean(&e.path, MESSAGE_CHARS),
                message: clean(&e.message, MESSAGE_CHARS),
            })
            .collect()),
    }
}

fn bounds(bounds: wit::Bounds) -> Bounds {
    Bounds { exactly: bounds.exactly, at_most: bounds.at_most, at_least: bounds.at_least }
}

/// A list as a map; the contract has each key once.
fn entries(what: &str, list: Vec<wit::EntryResult>) -> Result<BTreeMap<String, String>, String> {
    let mut map = BTreeMap::new();
    for wit::EntryResult { key, value } in list {
        if let Some(again) = map.insert(key, value) {
            return Err(format!("at allow.{what}: one key has two values, one of them {}", quote(&again)));
        }
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use hookhost_core::decision::limits;
    use hookhost_helm::name;
    use proptest::prelude::*;

    use super::*;
    use crate::bounds;

    #[test]
    fn the_sdks_limits_are_those_that_answers_are_held_to() {
        use hook_policy::limits as sdk;
        assert_eq!(sdk::NUMBER, limits::NUMBER);
        assert_eq!(sdk::REASON_CHARS, limits::REASON_CHARS);
        assert_eq!(sdk::MESSAGE_CHARS, limits::MESSAGE_CHARS);
        assert_eq!(sdk::ENTRIES, limits::ENTRIES);
        assert_eq!(sdk::LABEL_CHARS, name::DNS_LABEL_BYTES);
        assert_eq!(sdk::DOMAIN_CHARS, name::DNS_SUBDOMAIN_BYTES);
        assert_eq!(sdk::ANNOTATION_VALUE_BYTES, limits::ANNOTATION_VALUE_BYTES);
        assert_eq!(sdk::HOLD_SECONDS, limits::RETRY_AFTER_SECONDS);
        assert_eq!(sdk::LOG_LINES, bounds::LOG_LINES);
        assert_eq!(sdk::LOG_LINE_CHARS, bounds::LOG_LINE_CHARS);
        assert_eq!(sdk::SETTINGS_ERRORS, bounds::SETTINGS_ERRORS);
    }

    /// What the host says to an answer, as `hookhost policy test` and an Operation have it.
    fn host(answer: &hook_policy::Decision) -> Result<(), String> {
        let number = |it: &hook_policy::Bounds| wit::Bounds {
            exactly: it.exactly,
            at_most: it.at_most,
            at_least: it.at_least,
        };
        let entries = |list: &[hook_policy::Entry]| {
            let entry =
                |it: &hook_policy::Entry| wit::EntryResult { key: it.key.clone(), value: it.value.clone() };
            list.iter().map(entry).collect()
        };
        let answer = match answer {
            hook_policy::Decision::Allow(it) => wit::Decision::Allow(wit::Overrides {
                active_deadline_seconds: number(&it.active_deadline_seconds),
                backoff_limit: number(&it.backoff_limit),
                ttl_seconds_after_finished: number(&it.ttl_seconds_after_finished),
                labels: entries(&it.labels),
                annotations: entries(&it.annotations),
            }),
            hook_policy::Decision::Deny(it) => {
                wit::Decision::Deny(wit::Denial { reason: it.reason.clone(), message: it.message.clone() })
            }
            hook_policy::Decision::Hold(it) => wit::Decision::Hold(wit::Postponement {
                reason: it.reason.clone(),
                message: it.message.clone(),
                retry_after_seconds: it.retry_after_seconds,
            }),
        };
        decision(answer)
            .map(drop)
            .map_err(|problem| crate::Error::BadOutput { problem, logs: Vec::new() }.to_string())
    }

    /// Texts around every limit and rule: keys, values, reasons and messages.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            "[A-Za-z0-9._/ -]{0,8}",
            "[A-Z][A-Za-z0-9]{0,6}",
            "([a-z0-9.-]{1,4}/)?[A-Za-z0-9]{1,2}",
            "\\PC{0,6}[\u{202e}\"\\\\\n]?",
            (prop_oneof![Just(63_usize), Just(253), Just(1024), Just(4096)], 0..3_usize, "[aé.]")
                .prop_map(|(most, more, unit)| unit
                    .repeat((most + more - 1) / unit.len() + usize::from(unit.len() > 1))),
            (250..256_usize).prop_map(|length| format!("{}/x", "a".repeat(length))),
        ]
    }

    fn number() -> impl Strategy<Value = hook_policy::Bounds> {
        let end = || {
            prop::option::weighted(
                0.3,
                prop_oneof![
                    Just(-1_i64),
                    Just(0),
                    Just(limits::NUMBER),
                    Just(limits::NUMBER + 1),
                    Just(i64::MIN)
                ],
            )
        };
        (end(), end(), end()).prop_map(|(exactly, at_most, at_least)| hook_policy::Bounds {
            exactly,
            at_most,
            at_least,
        })
    }

    fn entries() -> impl Strategy<Value = Vec<hook_policy::Entry>> {
        let some = prop::collection::vec((text(), text()), 0..3).prop_map(|list| {
            list.into_iter().map(|(key, value)| hook_policy::Entry { key, value }).collect()
        });
        let many = (63..67_usize).prop_map(|count| {
            (0..count).map(|n| hook_policy::Entry { key: format!("k{n:02}"), value: String::new() }).collect()
        });
        prop_oneof![5 => some, 1 => many]
    }

    fn answers() -> impl Strategy<Value = hook_policy::Decision> {
        let retry =
            prop_oneof![0..3_u32, Just(limits::RETRY_AFTER_SECONDS), Just(limits::RETRY_AFTER_SECONDS + 1)];
        prop_oneof![
            (number(), number(), number(), entries(), entries()).prop_map(
                |(
                    active_deadline_seconds,
                    backoff_limit,
                    ttl_seconds_after_finished,
                    labels,
                    annotations,
                )| {
                    hook_policy::Decision::Allow(hook_policy::Overrides {
                        active_deadline_seconds,
                        backoff_limit,
                        ttl_seconds_after_finished,
                        labels,
                        annotations,
                    })
                }
            ),
            (text(), text()).prop_map(|(reason, message)| {
                hook_policy::Decision::Deny(hook_policy::Denial { reason, message })
            }),
            (text(), text(), retry).prop_map(|(reason, message, retry_after_seconds)| {
                hook_policy::Decision::Hold(hook_policy::Postponement {
                    reason,
                    message,
                    retry_after_seconds,
                })
            }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn the_sdks_check_of_an_answer_says_what_the_host_says(answer in answers()) {
            prop_assert_eq!(hook_policy::testing::check(&answer), host(&answer));
        }
    }
}
