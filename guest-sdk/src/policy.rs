//! A *policy* is a function of a request and its settings; what it is called with is checked before.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

pub use crate::bindings::vworkspace::hook_policy::types::SettingsError;
use crate::bindings::vworkspace::hook_policy::types::{Decision, Request};

/// What a policy author writes. The crate's page has a complete example.
pub trait Policy {
    /// What an administrator can set. Use `#[serde(deny_unknown_fields)]`, so that a misspelt setting is found, and
    /// `#[serde(default)]` where there is a safe default. The schema that `hookhost policy inspect` shows, with the
    /// doc comments of the fields, comes from `#[derive(JsonSchema)]`. [`NoSettings`] if there is nothing to set.
    type Settings: DeserializeOwned + JsonSchema;

    /// Decides. The same request and settings must give the same decision: there is nothing here that could make
    /// them differ, and the host relies on it.
    fn evaluate(request: &Request, settings: &Self::Settings) -> Decision;

    /// Checks what the types of the settings cannot say; called once when settings change, before they are used.
    /// Every error found is worth returning, not just the first; at most 64 are read.
    fn validate(settings: &Self::Settings) -> Vec<SettingsError> {
        let _ = settings;
        Vec::new()
    }
}

/// The settings of a policy that has none.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoSettings {}

impl SettingsError {
    /// What is wrong at a path, for example `rules[2].deadline`: what was found, what is expected.
    pub fn at(path: impl Into<String>, message: impl Into<String>) -> Self {
        SettingsError { path: path.into(), message: message.into() }
    }
}
