//! An *entry* of a corpus is one release record with a verdict on each of its hooks that is a Job or a Pod.

use std::collections::BTreeMap;

use hookhost_core::object::ObjectRef;
use hookhost_helm::hook::Hook;
use hookhost_helm::record::Record;
use hookhost_helm::text::printable;
use serde_json::{Value, json};

use super::end::{End, Way};
use super::verdict::{Verdict, is_meant};
use crate::run::say;

/// A release record.
pub(super) struct Entry {
    /// The file's name.
    pub(super) file: String,
    /// The chart's name and version.
    pub(super) chart: (String, String),
    /// The release's name, namespace and revision.
    pub(super) release: (String, String, u32),
    /// Its Jobs and Pods, in Helm's order.
    pub(super) hooks: Vec<Judged>,
}

/// A hook, and what is said of it.
pub(super) struct Judged {
    name: String,
    kind: String,
    path: String,
    events: Vec<String>,
    /// Whether it can be run.
    pub(super) verdict: Verdict,
    /// The other hooks that it needs.
    closure: Vec<ObjectRef>,
    /// How its run ended, where there was a cluster.
    pub(super) end: Option<End>,
}

impl Entry {
    /// The entry of a file's record, whose hooks are given, since listing them takes a while; and whether hookhost makes
    /// objects without a namespace.
    pub(super) fn of(file: &str, record: &Record, hooks: &[Hook], cluster_objects: bool) -> Entry {
        let meant = hooks.iter().filter(|hook| is_meant(hook));
        Entry {
            file: file.to_owned(),
            chart: (record.chart.name.clone(), record.chart.version.clone()),
            release: (record.name.clone(), record.namespace.clone(), record.revision),
            hooks: meant.map(|hook| Judged::of(hook, hooks, record, cluster_objects)).collect(),
        }
    }

    /// Objects without a namespace that hookhost has to be installed for, so that what is said of the hooks is so.
    pub(super) fn cluster_objects(&self) -> impl Iterator<Item = String> {
        let verdicts = self.hooks.iter().map(|hook| &hook.verdict);
        let each = verdicts.flat_map(|verdict| match verdict {
            Verdict::WithClosure(cluster_objects) => &cluster_objects[..],
            _ => &[],
        });
        each.cloned()
    }

    /// Tells what became of its hooks, once all have come to an end.
    pub(super) fn tell(&self) {
        let ends: Vec<&End> = self.hooks.iter().filter_map(|hook| hook.end.as_ref()).collect();
        if ends.len() < self.hooks.len() {
            return;
        }
        let mut ways: BTreeMap<&str, usize> = BTreeMap::new();
        ends.iter().for_each(|end| *ways.entry(end.way.word()).or_default() += 1);
        let ways: Vec<String> = ways.iter().map(|(way, count)| format!("{count} {way}")).collect();
        say(&format!(
            "   {}: {}",
            self.file,
            if ways.is_empty() { "no hooks".to_owned() } else { ways.join(", ") }
        ));
        for hook in &self.hooks {
            if let Some(End { way: way @ (Way::Stuck | Way::Failed), reason, message }) = &hook.end {
                say(&printable(&format!("      {} {}: {reason}: {message}", hook.name, way.word())));
            }
        }
    }

    /// For programs.
    pub(super) fn to_json(&self) -> Value {
        let (chart, version) = &self.chart;
        let (release, namespace, revision) = &self.release;
        json!({
            "file": self.file, "chart": chart, "chartVersion": version,
            "release": release, "namespace": namespace, "revision": revision,
            "hooks": self.hooks.iter().map(Judged::to_json).collect::<Vec<_>>(),
        })
    }
}

impl Judged {
    fn of(hook: &Hook, hooks: &[Hook], record: &Record, cluster_objects: bool) -> Judged {
        let (verdict, closure) = Verdict::of(hook, hooks, record, cluster_objects);
        Judged {
            name: hook.name.clone(),
            kind: hook.kind.clone(),
            path: hook.path.clone(),
            events: hook.events.clone(),
            verdict,
            closure,
            end: None,
        }
    }

    fn to_json(&self) -> Value {
        let mut json = json!({
            "name": self.name, "kind": self.kind, "path": self.path, "events": self.events,
            "verdict": self.verdict.word(), "reason": self.verdict.reason(), "closure": self.closure,
        });
        if let Some(end) = &self.end {
            json["end"] = json!({"way": end.way.word(), "reason": end.reason, "message": end.message});
        }
        json
    }
}
