//! A *case* is a request with settings and the answer that a policy is expected to give: one entry of a YAML file
//! beside the policy.
//!
//! ```yaml
//! settings: { max: 3600 }            # of every case; a case's own are merged into them
//! request: { organisation: acme }    # likewise
//! cases:
//!   - name: a long run is cut to an hour
//!     request: { requested: { activeDeadlineSeconds: 7200 } }
//!     expect:
//!       allow: { activeDeadlineSeconds: { atMost: 3600 } }
//!   - name: a misspelt setting is refused
//!     settings: { maxx: 1 }
//!     expect:
//!       invalidSettings:
//!         - { path: maxx, message: "unknown field" }
//! ```
//!
//! Merging is that of a JSON merge patch (RFC 7386): mappings merge key by key, null removes a key, all else replaces.

mod update;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use hookhost_core::{Decision, Reason, Request};
use hookhost_helm::text::quote;
use hookhost_sandbox::{LogLine, Policy, PreparedRequest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::policies::{self, Invalid};
use crate::problem::Problem;

pub(crate) use update::update;

/// A file of cases.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    /// As it is on disk.
    pub(crate) text: String,
    pub(crate) cases: Vec<Case>,
}

/// One case, with the file's defaults merged in.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// JSON text.
    settings: String,
    request: Request,
    /// None where the file says nothing yet.
    pub(crate) expect: Option<Answer>,
}

/// What a policy answers, or should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    /// It accepts the settings and decides.
    Decision(Decision),
    /// It refuses the settings.
    InvalidSettings {
        /// Why.
        #[serde(rename = "invalidSettings")]
        errors: Vec<Invalid>,
    },
}

/// A file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    settings: Value,
    #[serde(default)]
    request: Value,
    cases: Vec<WrittenCase>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCase {
    name: String,
    /// An explicit null is a value here: it replaces the file's settings.
    #[serde(default)]
    settings: Option<Value>,
    #[serde(default)]
    request: Value,
    #[serde(default)]
    expect: Value,
}

impl File {
    /// Reads a file of cases.
    pub(crate) fn read(path: &Path) -> Result<File> {
        let text = policies::text(path, "test file")?;
        let place = format!("the test file {}", path.display());
        let written: Written = policies::typed(policies::parse(&text, path, "test file")?, &place)?;
        let Written { settings, request, cases } = written;
        let mut names = BTreeSet::new();
        if let Some(twice) = cases.iter().find(|case| !names.insert(case.name.as_str())) {
            let what = format!("{place} has two cases of the name {}", quote(&twice.name));
            let advice = "Give each case a name of its own: a failure is reported by it.";
            return Err(Problem::new(Reason::ValidationFailed, what).with_advice(advice).into());
        }
        let cases = cases.into_iter().enumerate().map(|(index, case)| {
            let place = format!("{place} at cases[{index}] ({})", case.name);
            Ok(case.merged(&settings, &request, &place)?)
        });
        Ok(File { path: path.to_owned(), text, cases: cases.collect::<Result<_>>()? })
    }
}

impl WrittenCase {
    fn merged(self, settings: &Value, request: &Value, place: &str) -> Result<Case, Problem> {
        let mut all_settings = if settings.is_null() { Value::Object(Map::new()) } else { settings.clone() };
        if let Some(settings) = self.settings {
            merge(&mut all_settings, settings);
        }
        let mut all_request = if request.is_null() { Value::Object(Map::new()) } else { request.clone() };
        if !self.request.is_null() {
            merge(&mut all_request, self.request);
        }
        Ok(Case {
            settings: all_settings.to_string(),
            request: policies::typed(all_request, &format!("{place}, request"))?,
            expect: Answer::read(self.expect, &format!("{place}, expect"))?,
            name: self.name,
        })
    }
}

impl Answer {
    fn read(value: Value, place: &str) -> Result<Option<Answer>, Problem> {
        match value {
            Value::Null => Ok(None),
            Value::Object(mut fields) if fields.len() == 1 && fields.contains_key("invalidSettings") => {
                let errors = fields.remove("invalidSettings").unwrap_or_default();
                let errors = policies::typed(errors, &format!("{place}.invalidSettings"))?;
                Ok(Some(Answer::InvalidSettings { errors }))
            }
            value => policies::typed(value, place).map(Answer::Decision).map(Some).map_err(|problem| {
                problem.with_advice(
                    "An expectation has one key: allow, deny, hold or invalidSettings. `--update` writes what the \
                     policy answers now.",
                )
            }),
        }
    }

    /// As YAML, the way in which expectations are written.
    pub(crate) fn yaml(&self) -> Result<String> {
        policies::yaml_text(self)
    }
}

impl Case {
    /// Asks the policy; gives back its answer and what it logged. An error is a policy that gave no answer; what it logged goes with
    /// the error.
    pub(crate) fn ask(&self, policy: &Policy) -> Result<(Answer, Vec<LogLine>), hookhost_sandbox::Error> {
        let errors = policy.validate_settings(&self.settings)?;
        if !errors.is_empty() {
            let errors = errors.into_iter().map(Invalid::from).collect();
            return Ok((Answer::InvalidSettings { errors }, Vec::new()));
        }
        let prepared = PreparedRequest::new(&self.request)?;
        let evaluation = policy.evaluate(&prepared, &self.settings)?;
        Ok((Answer::Decision(evaluation.decision), evaluation.logs))
    }
}

/// Merges a patch into a value, as RFC 7386 says.
fn merge(into: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *into = patch;
        return;
    };
    if !into.is_object() {
        *into = Value::Object(Map::new());
    }
    let Value::Object(into) = into else { return };
    for (key, value) in patch {
        if value.is_null() {
            into.remove(&key);
        } else {
            merge(into.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// The files of cases that a path stands for: itself, or the YAML files of a folder, sorted.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    let entries = path.read_dir().map_err(|error| {
        let message = format!("cannot read the test cases in {}", path.display());
        Problem::new(Reason::HostFailed, message)
            .with_source(error)
            .with_advice("Write cases as YAML files there, or name them: --cases PATH")
    })?;
    for entry in entries {
        let file = entry?.path();
        let is_yaml = file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if is_yaml && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merging_follows_the_examples_of_rfc_7386() {
        let cases = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "foo"}), json!("bar"), json!("bar")),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ];
        for (mut value, patch, merged) in cases {
            merge(&mut value, patch.clone());
            assert_eq!(value, merged, "after {patch}");
        }
    }
}
