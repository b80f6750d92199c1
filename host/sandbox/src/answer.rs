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
