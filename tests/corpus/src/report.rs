//! A *report* tells of a whole corpus: of each record how many of its hooks can be run, or did, and the sums.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::end::{End, Way};
use super::entry::{Entry, Judged};
use super::runs::Place;
use super::table::Table;
use super::verdict::Verdict;

/// What is told of a corpus.
#[derive(Default)]
pub(super) struct Report {
    /// Its records, by file.
    pub(super) entries: Vec<Entry>,
    /// Files that are no records, and why.
    pub(super) others: Vec<(String, String)>,
}

/// What hooks are counted by: the one word for programs, and the heading.
type Column = (&'static str, &'static str);

const VERDICTS: &[Column] = &[
    ("asItIs", "AS IT IS"),
    ("withClosure", "WITH CLOSURE"),
    ("refused", "REFUSED"),
    ("failsWithHelm", "FAILS WITH HELM"),
];
const ENDS: &[Column] = &[
    ("succeeded", "SUCCEEDED"),
    ("failed", "FAILED"),
    ("blocked", "BLOCKED"),
    ("refused", "REFUSED"),
    ("failsWithHelm", "FAILS WITH HELM"),
    ("stuck", "STUCK"),
];

/// Rows below the records': the sums and the shares.
const SUMS: usize = 2;

impl Report {
    /// For people: a row a record, then the sums.
    pub(super) fn to_table(&self) -> String {
        let mut table = Table::default();
        let headings = self.columns().iter().map(|(_, heading)| *heading);
        let headings = ["RECORD", "CHART", "RELEASE", "HOOKS"].into_iter().chain(headings).chain(["WHY"]);
        table.row(headings.map(str::to_owned));
        for entry in &self.entries {
            let Entry { file, chart: (chart, version), release: (release, namespace, revision), hooks } =
                entry;
            let names =
                [file.clone(), format!("{chart} {version}"), format!("{namespace}/{release} v{revision}")];
            table.row(names.into_iter().chain(self.counts(hooks.iter())).chain([why(hooks)]));
        }
        let names = [format!("{} records", self.entries.len()), String::new(), String::new()];
        table.row(names.into_iter().chain(self.counts(self.hooks())));
        table.row(["", "", "", ""].map(str::to_owned).into_iter().chain(self.shares()));
        let others = format!("{} other files, which are no records\n", self.others.len());
        let objects = match self.cluster_objects().len() {
            0 => String::new(),
            count => format!("{count} cluster roles and bindings for which hookhost is installed\n"),
        };
        format!("{}\n{others}{objects}", table.render(SUMS))
    }

    /// For programs.
    pub(super) fn to_json(&self) -> Value {
        let others = self.others.iter().map(|(file, why)| json!({"file": file, "reason": why}));
        let mut sums = json!({"records": self.entries.len(), "otherFiles": self.others.len(), "hooks": self.hooks().count()});
        for (word, _) in self.columns() {
            sums[*word] = json!(self.count(word));
        }
        json!({
            "records": self.entries.iter().map(Entry::to_json).collect::<Vec<_>>(),
            "otherFiles": others.collect::<Vec<_>>(),
            "clusterObjects": self.cluster_objects(),
            "sums": sums,
        })
    }

    /// Those of a record's hooks that are not among these places are not run, for the reason of their verdict.
    pub(super) fn refuse_all_but(&mut self, record: usize, places: &[usize]) {
        let entry = &mut self.entries[record];
        for (place, hook) in entry.hooks.iter_mut().enumerate() {
            if !places.contains(&place) {
                let way = match hook.verdict {
                    Verdict::FailsWithHelm(_) => Way::FailsWithHelm,
                    _ => Way::Refused,
                };
                hook.end = Some(End::new(way, hook.verdict.reason().unwrap_or_default(), ""));
            }
        }
        entry.tell();
    }

    /// None of a record's hooks is run: something is wrong with the release.
    pub(super) fn fail(&mut self, record: usize, message: &str) {
        let entry = &mut self.entries[record];
        for hook in &mut entry.hooks {
            hook.end = Some(End::new(Way::Failed, "not accepted", message));
        }
        entry.tell();
    }

    /// What became of a hook.
    pub(super) fn end(&mut self, (record, place): Place, end: End) {
        let entry = &mut self.entries[record];
        entry.hooks[place].end = Some(end);
        entry.tell();
    }

    /// How many hooks are, or ended, so.
    pub(super) fn count(&self, wanted: &str) -> usize {
        self.hooks().filter(|hook| word(hook) == wanted).count()
    }

    /// The cluster roles and bindings for which hookhost is installed.
    pub(super) fn cluster_objects(&self) -> BTreeSet<String> {
        self.entries.iter().flat_map(Entry::cluster_objects).collect()
    }

    fn hooks(&self) -> impl Iterator<Item = &Judged> {
        self.entries.iter().flat_map(|entry| &entry.hooks)
    }

    fn columns(&self) -> &'static [Column] {
        if self.hooks().any(|hook| hook.end.is_some()) { ENDS } else { VERDICTS }
    }

    /// How many there are, and how many of each column.
    fn counts<'a>(&self, hooks: impl Iterator<Item = &'a Judged>) -> Vec<String> {
        let words: Vec<&str> = hooks.map(word).collect();
        let of = |column: &Column| words.iter().filter(|word| **word == column.0).count();
        let counts = self.columns().iter().map(of);
        std::iter::once(words.len()).chain(counts).map(|count| count.to_string()).collect()
    }

    fn shares(&self) -> impl Iterator<Item = String> {
        let all = self.hooks().count().max(1) as f64;
        self.columns().iter().map(move |(word, _)| format!("{:.1} %", 100.0 * self.count(word) as f64 / all))
    }
}

/// What a hook is counted as: how its run ended, or else the verdict.
fn word(hook: &Judged) -> &'static str {
    hook.end.as_ref().map_or_else(|| hook.verdict.word(), |end| end.way.word())
}

/// Each reason once, with how often it is one.
fn why(hooks: &[Judged]) -> String {
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for hook in hooks {
        let reason = match &hook.end {
            Some(end) if end.way == Way::Succeeded => None,
            Some(end) => Some(format!("{}: {}", end.way.word(), end.reason)),
            None => hook.verdict.reason().map(str::to_owned),
        };
        if let Some(reason) = reason {
            *reasons.entry(reason).or_default() += 1;
        }
    }
    let each = reasons.iter().map(|(reason, count)| match count {
        1 => reason.clone(),
        _ => format!("{count} × {reason}"),
    });
    each.collect::<Vec<_>>().join("; ")
}
