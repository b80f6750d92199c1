//! `org-labels`: labels and annotations for runs, with values of the request filled in.

mod template;

use std::collections::BTreeMap;

use hook_policy::limits::{ANNOTATION_VALUE_BYTES, ENTRIES, LABEL_CHARS};
use hook_policy::{Decision, Policy, Request, Selector, SettingsError, label_value, log};
use schemars::JsonSchema;
use serde::Deserialize;

use template::Template;

/// Keys that the host or Kubernetes sets itself: exact, or all that begin so where they end in a slash.
const OWNED_KEYS: [&str; 11] = [
    "hookhost.vworkspace.io/",
    "app.vworkspace.io/",
    "ops.vworkspace.io/",
    "batch.kubernetes.io/",
    "helm.sh/",
    "meta.helm.sh/",
    "helm.toolkit.fluxcd.io/",
    "kustomize.toolkit.fluxcd.io/",
    "argocd.argoproj.io/",
    "controller-uid",
    "job-name",
];

/// Labels and annotations to add to runs.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("examples" = [{"rules": [{"labels": {"example.com/organisation": "${organisation}"}}]}]))]
pub struct Settings {
    /// Rules; all that fit a run apply. Where two give the same key, the later one counts.
    rules: Vec<Rule>,
    /// When a label's value, filled in, is not what Kubernetes allows.
    #[serde(default)]
    illegal_values: IllegalValues,
    /// When a placeholder has no value in the request, such as a label that the Operation does not have.
    #[serde(default)]
    missing_values: MissingValues,
}

/// Labels and annotations, and the runs that they are for.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    /// Which runs; left out: every run.
    #[serde(default, rename = "match")]
    selector: Selector,
    /// Labels for the Job and its pods: key and value, with placeholders such as ${organisation}.
    #[serde(default)]
    labels: BTreeMap<String, Template>,
    /// Annotations for the Job, likewise.
    #[serde(default)]
    annotations: BTreeMap<String, Template>,
}

/// What happens to a value that Kubernetes does not allow.
#[derive(Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum IllegalValues {
    /// What is not allowed becomes "-", ends are trimmed, what is too long is cut; a log line tells of it.
    #[default]
    Sanitise,
    /// The run is denied.
    Deny,
}

/// What happens to a label or annotation whose value is not there.
#[derive(Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum MissingValues {
    /// It is left out.
    #[default]
    Omit,
    /// The run is denied.
    Deny,
}

/// The policy.
pub struct OrgLabels;

impl Policy for OrgLabels {
    type Settings = Settings;

    fn evaluate(request: &Request, settings: &Settings) -> Decision {
        decide(request, settings)
            .unwrap_or_else(|Refusal { reason, message }| Decision::deny(reason, message))
    }

    fn validate(settings: &Settings) -> Vec<SettingsError> {
        let mut errors = Vec::new();
        for (at, rule) in settings.rules.iter().enumerate() {
            for (what, entries) in [("labels", &rule.labels), ("annotations", &rule.annotations)] {
                for (key, template) in entries {
                    let path = format!("rules[{at}].{what}.{key}");
                    errors.extend(key_problem(key).map(|message| SettingsError::at(&path, message)));
                    let literal = template.literal().filter(|_| what == "labels");
                    if let Some(value) = literal.filter(|value| label_value(value) != **value) {
                        let message =
                            format!("{value:?} cannot be a label's value; {:?} could", label_value(value));
                        errors.push(SettingsError::at(path, message));
                    }
                }
            }
        }
        for what in ["labels", "annotations"] {
            let all = settings.rules.iter().flat_map(|rule| match what {
                "labels" => rule.labels.keys(),
                _ => rule.annotations.keys(),
            });
            let count = all.collect::<std::collections::BTreeSet<_>>().len();
            if count > ENTRIES {
                let message = format!("{count} different {what}; a run can be given {ENTRIES}");
                errors.push(SettingsError::at("rules", message));
            }
        }
        errors
    }
}

/// Why a label cannot be given, so that the run is denied.
struct Refusal {
    reason: &'static str,
    message: String,
}

fn decide(request: &Request, settings: &Settings) -> Result<Decision, Refusal> {
    let mut decision = Decision::allow();
    for rule in settings.rules.iter().filter(|rule| rule.selector.matches(request)) {
        for (key, template) in &rule.labels {
            if let Some(value) = fill(key, template, request, settings)? {
                decision = decision.label(key, legal(key, value, settings)?);
            }
        }
        for (key, template) in &rule.annotations {
            if let Some(value) = fill(key, template, request, settings)? {
                decision = decision.annotation(key, cut(value));
            }
        }
    }
    Ok(decision)
}

/// The template's value in this request, none if it is to be left out.
fn fill(
    key: &str,
    template: &Template,
    request: &Request,
    settings: &Settings,
) -> Result<Option<String>, Refusal> {
    match template.fill(request) {
        Ok(value) => Ok(Some(value)),
        Err(placeholder) if settings.missing_values == MissingValues::Omit => {
            log::info(format!("{key} is left out: the request has no {placeholder}"));
            Ok(None)
        }
        Err(placeholder) => Err(Refusal {
            reason: "ValueMissing",
            message: format!(
                "{key:?} is made of {placeholder}, which this request does not have; \
                 set it, or let the policy's missingValues be omit"
            ),
        }),
    }
}

/// The label's value as Kubernetes allows it.
fn legal(key: &str, value: String, settings: &Settings) -> Result<String, Refusal> {
    let legal = label_value(&value);
    if legal == value {
        return Ok(value);
    }
    if settings.illegal_values == IllegalValues::Deny {
        return Err(Refusal {
            reason: "LabelValueIllegal",
            message: format!(
                "label {key:?} would be {value:?}; allowed are at most {LABEL_CHARS} letters, digits, '-', '_' and '.', \
                 with a letter or digit at both ends, for example {legal:?}"
            ),
        });
    }
    log::info(format!("label {key}: {value:?} became {legal:?}"));
    Ok(legal.into_owned())
}

/// An annotation's value within its bound, cut between characters.
fn cut(mut value: String) -> String {
    value.truncate(value.floor_char_boundary(ANNOTATION_VALUE_BYTES));
    value
}

/// Why a key cannot be used, if so.
fn key_problem(key: &str) -> Option<String> {
    let owned = |own: &&str| key == *own || (own.ends_with('/') && key.starts_with(*own));
    if let Some(own) = OWNED_KEYS.iter().find(|own| owned(own)) {
        return Some(format!("{own:?} belongs to the host or to Kubernetes; use a domain of your own"));
    }
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let name_fits = !name.is_empty() && label_value(name) == name;
    let part_fits = |part: &str| {
        let middle = part.trim_matches(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && middle.chars().all(|c| c == '-' || c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    let prefix_fits = prefix.is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(part_fits));
    (!name_fits || !prefix_fits).then(|| {
        "not a key that Kubernetes allows: a name of at most 63 letters, digits, '-', '_' and '.', \
         with a domain and '/' before it if you like"
            .to_owned()
    })
}

hook_policy::export!(OrgLabels);

#[cfg(test)]
mod tests;
