//! A *selector* says which runs a rule of a policy's settings is for.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use crate::bindings::vworkspace::hook_policy::types::Request;
use crate::glob::Glob;

/// Which runs a rule is for. All that is given must fit; what is left out fits every run.
///
/// ```yaml
/// match:
///   organisations: [acme, "team-*"]
///   hooks: ["*-migrate"]
///   events: [pre-upgrade, post-upgrade]
///   charts: [nextcloud]
///   types: [Migration]
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Selector {
    /// The organisation: one of these.
    pub organisations: Option<AnyOf<Glob>>,
    /// The hook's name: one of these.
    pub hooks: Option<AnyOf<Glob>>,
    /// The hook's events: at least one of them is one of these.
    pub events: Option<AnyOf<Event>>,
    /// The chart's name: one of these.
    pub charts: Option<AnyOf<Glob>>,
    /// The Operation's type: one of these.
    pub types: Option<AnyOf<OperationType>>,
}

impl Selector {
    /// Whether the rule is for this run.
    pub fn matches(&self, request: &Request) -> bool {
        let name = |globs: &Option<AnyOf<Glob>>, name: &str| {
            globs.as_ref().is_none_or(|globs| globs.iter().any(|glob| glob.matches(name)))
        };
        name(&self.organisations, &request.organisation)
            && name(&self.hooks, &request.hook.name)
            && name(&self.charts, &request.release.chart)
            && self.events.as_ref().is_none_or(|events| events.iter().any(|e| request.hook.has_event(e)))
            && self
                .types
                .as_ref()
                .is_none_or(|types| types.iter().any(|type_of| type_of.as_str() == request.operation.type_of))
    }
}

/// The selector in words, for messages: `hooks db-*, *-migrate on pre-upgrade`; "any hook" if it fits every run.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hooks {
            Some(hooks) => write!(f, "hooks {hooks}")?,
            None => f.write_str("any hook")?,
        }
        if let Some(events) = &self.events {
            write!(f, " on {events}")?;
        }
        if let Some(charts) = &self.charts {
            write!(f, " of charts {charts}")?;
        }
        if let Some(organisations) = &self.organisations {
            write!(f, " for organisations {organisations}")?;
        }
        if let Some(types) = &self.types {
            write!(f, " in Operations of type {types}")?;
        }
        Ok(())
    }
}

/// A list of which one must fit, and therefore never empty: in settings an empty one is an error, since it could be
/// read as "nothing" or as "everything".
#[derive(Clone, Debug, PartialEq)]
pub struct AnyOf<T>(Vec<T>);

impl<T> AnyOf<T> {
    /// A list of these; none if there are none.
    pub fn of(items: impl IntoIterator<Item = T>) -> Option<Self> {
        let items: Vec<T> = items.into_iter().collect();
        if items.is_empty() { None } else { Some(AnyOf(items)) }
    }

    /// What is in it.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }
}

/// A list of a policy's own, for defaults; not empty.
impl<T, const N: usize> From<[T; N]> for AnyOf<T> {
    fn from(items: [T; N]) -> Self {
        const { assert!(N > 0, "a list of which one must fit is never empty") };
        AnyOf(items.into())
    }
}

impl<T: fmt::Display> fmt::Display for AnyOf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for AnyOf<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        AnyOf::of(Vec::deserialize(deserializer)?).ok_or_else(|| {
            D::Error::custom("an empty list would match nothing; leave it out to match everything")
        })
    }
}

impl<T: JsonSchema> JsonSchema for AnyOf<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("AnyOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "array",
            "items": generator.subschema_for::<T>(),
            "minItems": 1,
        })
    }
}

/// An event at which Helm runs a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// Before the release's objects are made for the first time.
    PreInstall,
    /// After that.
    PostInstall,
    /// Before the release is uninstalled.
    PreDelete,
    /// After that.
    PostDelete,
    /// Before the release's objects are changed.
    PreUpgrade,
    /// After that.
    PostUpgrade,
    /// Before the release goes back to an earlier revision.
    PreRollback,
    /// After that.
    PostRollback,
    /// `helm test`.
    Test,
}

impl Event {
    /// As Helm writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Event::PreInstall => "pre-install",
            Event::PostInstall => "post-install",
            Event::PreDelete => "pre-delete",
            Event::PostDelete => "post-delete",
            Event::PreUpgrade => "pre-upgrade",
            Event::PostUpgrade => "post-upgrade",
            Event::PreRollback => "pre-rollback",
            Event::PostRollback => "post-rollback",
            Event::Test => "test",
        }
    }

    /// Whether hooks of this event are written to take something down or back: deletes and rollbacks.
    pub fn is_destructive(self) -> bool {
        matches!(self, Event::PreDelete | Event::PostDelete | Event::PreRollback | Event::PostRollback)
    }

    /// Every event there is.
    pub const ALL: [Event; 9] = [
        Event::PreInstall,
        Event::PostInstall,
        Event::PreDelete,
        Event::PostDelete,
        Event::PreUpgrade,
        Event::PostUpgrade,
        Event::PreRollback,
        Event::PostRollback,
        Event::Test,
    ];
}

impl AsRef<str> for Event {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The type of an Operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "vWorkspace's own words")]
pub enum OperationType {
    Backup,
    Restore,
    Upgrade,
    Migration,
    RunCommand,
    Runbook,
}

impl OperationType {
    /// As in the Operation's spec.type.
    pub fn as_str(self) -> &'static str {
        match self {
            OperationType::Backup => "Backup",
            OperationType::Restore => "Restore",
            OperationType::Upgrade => "Upgrade",
            OperationType::Migration => "Migration",
            OperationType::RunCommand => "RunCommand",
            OperationType::Runbook => "Runbook",
        }
    }
}

impl fmt::Display for OperationType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Event, OperationType, Selector};
    use crate::testing::request;

    fn selector(settings: Value) -> Selector {
        serde_json::from_value(settings).unwrap()
    }

    #[test]
    fn an_empty_selector_is_for_every_run() {
        assert!(selector(json!({})).matches(&request().build()));
    }

    #[test]
    fn everything_that_is_given_must_fit() {
        let both = selector(json!({"organisations": ["acme"], "events": ["pre-delete", "test"]}));
        assert!(both.matches(&request().organisation("acme").events(["post-upgrade", "test"]).build()));
        assert!(!both.matches(&request().organisation("acme").events(["post-upgrade"]).build()));
        assert!(!both.matches(&request().organisation("other").events(["test"]).build()));
        assert!(!selector(json!({"charts": ["x*"]})).matches(&request().chart("y").build()));
        assert!(
            !selector(json!({"types": ["Backup"]})).matches(&request().operation_type("Restore").build())
        );
    }

    #[test]
    fn an_empty_list_and_an_unknown_event_are_errors_that_help() {
        let error = |settings| serde_json::from_value::<Selector>(settings).unwrap_err().to_string();
        assert!(error(json!({"hooks": []})).contains("leave it out"));
        assert!(error(json!({"events": ["pre-upgade"]})).contains("`pre-upgrade`"));
    }

    #[test]
    fn a_selector_reads_as_words() {
        let all =
            selector(json!({"hooks": ["a", "b*"], "events": ["test"], "charts": ["c"], "types": ["Backup"]}));
        assert_eq!(all.to_string(), "hooks a, b* on test of charts c in Operations of type Backup");
    }

    #[test]
    fn the_types_of_operations_are_those_of_the_contract() {
        let wit = include_str!("../wit/hook-policy.wit");
        let error = serde_json::from_value::<OperationType>(json!("x")).unwrap_err().to_string();
        // "unknown variant `x`, expected one of `Backup`, …".
        let types: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
        for word in &types {
            assert_eq!(serde_json::from_value::<OperationType>(json!(word)).unwrap().as_str(), *word);
        }
        let (last, others) = types.split_last().unwrap();
        let sentence = format!("/// spec.type: {} or {last}.", others.join(", "));
        assert!(wit.contains(&sentence), "{sentence}");
    }

    #[test]
    fn events_read_as_they_are_written() {
        for event in Event::ALL {
            assert_eq!(serde_json::from_value::<Event>(json!(event.as_str())).unwrap(), event);
        }
    }
}
