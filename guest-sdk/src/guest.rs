//! The *guest* is a policy as the host sees it: typed settings become JSON here, a panic becomes a log line.

use std::mem::ManuallyDrop;
use std::panic::PanicHookInfo;

use schemars::generate::SchemaSettings;

use crate::bindings::vworkspace::hook_policy::types::{Decision, Description, Request, SettingsError};
use crate::log::{Level, write};
use crate::policy::Policy;

/// JSON Schema (2020-12) of a policy's settings.
pub(crate) fn settings_schema<P: Policy>() -> serde_json::Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<P::Settings>().to_value()
}

/// What the policy says of itself.
pub fn describe<P: Policy>(name: &str, version: &str, summary: &str) -> Description {
    Description {
        name: name.to_owned(),
        version: version.to_owned(),
        summary: summary.to_owned(),
        settings_schema: settings_schema::<P>().to_string(),
    }
}

/// The settings, if types and `Policy::validate` accept them.
pub fn settings<P: Policy>(json: &str) -> Result<P::Settings, Vec<SettingsError>> {
    let settings = parse::<P>(json).map_err(|error| vec![error])?;
    let errors = P::validate(&settings);
    if errors.is_empty() { Ok(settings) } else { Err(errors) }
}

/// Decides with settings that were validated before.
#[expect(clippy::panic, reason = "a host that breaks the contract; the message goes to its log")]
pub fn evaluate<P: Policy>(request: &Request, json: &str) -> Decision {
    // Without the paths that `parse` keeps track of: they would cost more than the decision itself. And the settings are
    // not taken apart: the instance ends with this call.
    match serde_json::from_str(json) {
        Ok(settings) => P::evaluate(request, &ManuallyDrop::new(settings)),
        Err(error) => panic!("settings that were never validated: {error}"),
    }
}

fn parse<P: Policy>(json: &str) -> Result<P::Settings, SettingsError> {
    let mut json = serde_json::Deserializer::from_str(json);
    let settings = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = match error.path().to_string() {
            root if root == "." => String::new(),
            path => path,
        };
        settings_error(path, error.inner())
    })?;
    json.end().map_err(|error| settings_error(String::new(), &error))?;
    Ok(settings)
}

/// The error without its line and column: the author of settings wrote another document, in YAML.
fn settings_error(path: String, error: &serde_json::Error) -> SettingsError {
    let text = error.to_string();
    SettingsError::at(path, text.rfind(" at line ").map_or(text.as_str(), |at| &text[..at]))
}

/// Compiles only for a policy.
pub fn is_policy<P: Policy>() {}

/// Makes a panic's message reach the policy's author; without this only "unreachable" would.
pub fn log_panics() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| write(Level::Error, &info.to_string())));
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Settings {
        /// Seconds.
        max_seconds: u32,
        #[serde(default)]
        teams: Vec<String>,
    }

    struct Cap;

    impl Policy for Cap {
        type Settings = Settings;

        fn evaluate(_: &Request, settings: &Settings) -> Decision {
            Decision::allow().deadline_at_most(settings.max_seconds)
        }

        fn validate(settings: &Settings) -> Vec<SettingsError> {
            let empty = |(at, team): (usize, &String)| {
                team.is_empty().then(|| SettingsError::at(format!("teams[{at}]"), "an empty name"))
            };
            settings.teams.iter().enumerate().filter_map(empty).collect()
        }
    }

    fn errors(json: &str) -> Vec<(String, String)> {
        let errors = settings::<Cap>(json).err().unwrap_or_default();
        errors.into_iter().map(|error| (error.path, error.message)).collect()
    }

    #[test]
    fn a_settings_error_says_where_and_what() {
        let wrong = errors(r#"{"maxSeconds": 5, "teams": ["a", 7]}"#);
        assert_eq!(wrong, [("teams[1]".into(), "invalid type: integer `7`, expected a string".into())]);
        let missing = errors("{}");
        assert_eq!(missing, [(String::new(), "missing field `maxSeconds`".into())]);
        let unknown = errors(r#"{"maxSecond": 5}"#);
        let expected = "unknown field `maxSecond`, expected `maxSeconds` or `teams`";
        assert_eq!(unknown, [("maxSecond".into(), expected.into())]);
    }

    #[test]
    fn every_error_of_the_policys_own_check_is_told() {
        let wrong = errors(r#"{"maxSeconds": 5, "teams": ["", "b", ""]}"#);
        assert_eq!(wrong.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), ["teams[0]", "teams[2]"]);
    }

    #[test]
    fn text_after_the_settings_is_refused() {
        assert_eq!(errors(r#"{"maxSeconds": 5} x"#).len(), 1);
    }

    #[test]
    fn the_description_carries_the_schema_with_the_fields_doc_comments() {
        let schema: serde_json::Value =
            serde_json::from_str(&describe::<Cap>("cap", "1.0.0", "Caps.").settings_schema).unwrap();
        assert_eq!(schema["properties"]["maxSeconds"]["description"], "Seconds.");
        assert_eq!(schema["additionalProperties"], false);
    }
}
