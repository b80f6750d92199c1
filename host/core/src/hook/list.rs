//! From what Helm stored to the objects in it.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::runnable::{self, NotRunnable};
use super::{Hook, LastRun};
use crate::record::MAX_HOOKS;
use crate::workload::at;
use crate::yaml::{self, Budget, YamlError};

/// A hook as Helm stored it: text, with what Helm's annotations said of it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredHook {
    /// metadata.name, as Helm read it.
    pub name: String,
    /// The kind, as Helm read it.
    pub kind: String,
    /// The template it was rendered from.
    pub path: String,
    /// Helm's events, as stored.
    pub events: Vec<String>,
    /// Helm's weight.
    pub weight: i32,
    /// Helm's delete policies, as stored.
    pub delete_policies: Vec<String>,
    /// When and how Helm itself last ran it.
    pub last_run: LastRun,
    /// YAML, usually one object.
    pub manifest: String,
}

/// Names what the hook is; never prints the manifest.
impl fmt::Debug for StoredHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredHook")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("path", &self.path)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

/// The objects of a release's hooks, in the order in which Helm runs those of one event: by weight, then by name, then
/// as stored. `release_namespace` is where the release is installed.
///
/// All manifests together are bounded as one YAML text is; those beyond the bound are listed as unreadable. At most
/// [`MAX_HOOKS`] objects are listed; what was stored with more is listed once more for them, as not runnable.
pub fn list(stored: &[StoredHook], release_namespace: &str) -> Vec<Hook> {
    let mut in_order: Vec<&StoredHook> = stored.iter().collect();
    in_order.sort_by(|a, b| (a.weight, &a.name).cmp(&(b.weight, &b.name)));
    let mut budget = Budget::default();
    let mut hooks = Vec::with_capacity(stored.len());
    let mut room = MAX_HOOKS;
    for hook in in_order {
        // One more than there is room for, so that it shows.
        match objects(&hook.manifest, room + 1, &mut budget) {
            Ok(objects) if objects.is_empty() => {
                hooks.push(unreadable(hook, NotRunnable::NotAnObject { missing: "it is empty" }));
            }
            Ok(objects) => {
                let all = objects.len();
                let listed = objects.into_iter().take(room);
                hooks.extend(listed.map(|manifest| object(hook, manifest, release_namespace)));
                if all > room {
                    hooks.push(unreadable(hook, NotRunnable::TooMany));
                }
                room = room.saturating_sub(all);
            }
            Err(error) => hooks.push(unreadable(hook, NotRunnable::Unreadable(error))),
        }
    }
    hooks
}

/// The objects of a manifest, at most `most`.
///
/// As kubectl and Helm do, the text is first cut at the lines that begin with three dashes, and of each piece the first
/// document counts: what follows a line of three dots is read by no one.
fn objects(manifest: &str, most: usize, budget: &mut Budget) -> Result<Vec<Value>, YamlError> {
    let mut objects = Vec::new();
    // Where the piece starts: its byte, and the lines before it.
    let (mut start, mut lines_before) = (0, 0);
    let mut at = 0;
    for (line_number, line) in manifest.split_inclusive('\n').enumerate() {
        if is_separator(line) {
            flatten(read_piece(&manifest[start..at], lines_before, budget)?, most, &mut objects);
            (start, lines_before) = (at + line.len(), line_number + 1);
        }
        at += line.len();
    }
    flatten(read_piece(&manifest[start..], lines_before, budget)?, most, &mut objects);
    Ok(objects)
}

fn is_separator(line: &str) -> bool {
    line.strip_prefix("---").map(str::trim_start).is_some_and(|rest| rest.is_empty() || rest.starts_with('#'))
}

/// A document that begins after so many lines of the manifest.
fn read_piece(text: &str, lines_before: usize, budget: &mut Budget) -> Result<Value, YamlError> {
    // A hook may be nothing but separators, and a parser for each would be dear.
    if text.trim_ascii().is_empty() {
        return Ok(Value::Null);
    }
    yaml::read_first_within(text, budget)
        .map_err(|error| YamlError { line: error.line + lines_before, ..error })
}

/// The objects of a document: itself, or what it lists, however deep.
///
/// As for kubectl, everything with a list of `items` is a List, and an item without a kind is of the List's: a
/// "ConfigMapList" lists ConfigMaps. At most `most` objects are taken.
fn flatten(document: Value, most: usize, objects: &mut Vec<Value>) {
    match document {
        Value::Null => {}
        Value::Object(mut map) if map.get("items").is_some_and(Value::is_array) => {
            let Some(Value::Array(items)) = map.remove("items") else { return };
            let kind = map.get("kind").and_then(Value::as_str).and_then(|kind| kind.strip_suffix("List"));
            let kind = kind.filter(|kind| !kind.is_empty()).map(str::to_owned);
            for mut item in items {
                if let (Some(kind), Value::Object(item)) = (&kind, &mut item)
                    && item.get("kind").is_none_or(Value::is_null)
                {
                    item.insert("kind".to_owned(), Value::from(kind.as_str()));
                    let api_version = map.get("apiVersion").cloned().unwrap_or_default();
                    item.insert("apiVersion".to_owned(), api_version);
                }
                flatten(item, most, objects);
            }
        }
        other if objects.len() < most => objects.push(other),
        _ => {}
    }
}

fn object(stored: &StoredHook, manifest: Value, release_namespace: &str) -> Hook {
    let runnable = runnable::check(&manifest, release_namespace);
    if !manifest.is_object() {
        // It keeps the name by which Helm knows it.
        return Hook { runnable, ..of(stored) };
    }
    let text = |path: &str| at(&manifest, path).and_then(Value::as_str).unwrap_or_default().to_owned();
    Hook {
        name: text("metadata.name"),
        kind: text("kind"),
        api_version: text("apiVersion"),
        runnable,
        manifest: Arc::new(manifest),
        ..of(stored)
    }
}

fn unreadable(stored: &StoredHook, why: NotRunnable) -> Hook {
    Hook { runnable: Err(why), ..of(stored) }
}

/// What is known of the hook before its manifest is read.
fn of(stored: &StoredHook) -> Hook {
    Hook {
        name: stored.name.clone(),
        kind: stored.kind.clone(),
        api_version: String::new(),
        path: stored.path.clone(),
        events: stored.events.iter().map(|event| super::find::canonical_event(event).to_owned()).collect(),
        weight: stored.weight,
        delete_policies: stored.delete_policies.clone(),
        last_run: stored.last_run.clone(),
        manifest: Arc::default(),
        runnable: Ok(()),
    }
}
