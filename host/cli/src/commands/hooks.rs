//! `hookhost hooks`: what hooks a release has, and which of them can be run.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;
use hookhost_core::closure::ClosureObject;
use hookhost_core::closure::{ClosureError, closure, describe};
use hookhost_core::json::json_bytes;
use hookhost_core::selection::Reader;
use hookhost_helm::hook::{self, Hook, NotRunnable};
use hookhost_helm::record::Record;
use hookhost_helm::workload::Workload;
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::cluster::Place;
use crate::exit::{ErrorFormat, Outcome};
use crate::output::{self, Table};
use crate::record;

/// List the hooks of a release that can be run on demand, and when Helm runs them
///
/// With --all also those that cannot be run, such as the service accounts, roles and config maps of others, with why. One
/// whose manifest cannot be read is always listed, with the line and what is wrong there.
///
/// NEEDS counts the other hooks that a hook needs: its service account, its roles and their bindings, the Secrets, config maps and
/// claims that its pod names, the network policies that select its pod. `run --closure` creates them for the run.
///
/// RELEASE is a release's name in the cluster; or a file: the Secret (or ConfigMap) in which Helm keeps the release, as YAML
/// or JSON, or the record in it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookhost hooks shop -n acme
  hookhost hooks shop -n acme --all
  hookhost hooks shop -n acme --revision 3 -o wide
  kubectl get secret sh.helm.release.v1.shop.v3 -o yaml > shop.yaml && hookhost hooks shop.yaml
  kubectl get secret sh.helm.release.v1.shop.v3 -o json | hookhost hooks -
  hookhost hooks shop.yaml -o json | jq -r '.hooks[] | select(.runnable) | .name'")]
pub(crate) struct Args {
    /// Name of the release, or file with it, `-` for stdin; what is a file here is taken as one
    release: PathBuf,
    /// Revision of the release in the cluster [default: the newest that is deployed]
    #[arg(long, value_name = "N")]
    revision: Option<u32>,
    /// List also the hooks that cannot be run, with why; JSON has them all anyway
    #[arg(short, long)]
    all: bool,
    /// How to print the hooks
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(flatten)]
    place: Place,
}

/// How hooks are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Table,
    /// For people, with where each comes from, how Helm last ran it, and what to do about one that cannot be run
    Wide,
    /// For programs: everything, manifests included; the fields stay as they are
    Json,
}

/// A release and its hooks, for programs.
#[derive(Serialize)]
struct Listing<'a> {
    release: Release<'a>,
    hooks: Rows<'a>,
}

/// The hooks for programs, one after the other: all of them in full at once may be more than there is memory.
struct Rows<'a>(&'a hook::Listing<'a>);

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.heads().len()))?;
        each_row(self.0, |row| list.serialize_element(&row))?;
        list.end()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Release<'a> {
    name: &'a str,
    namespace: &'a str,
    revision: u32,
    status: &'a str,
    chart: &'a str,
    chart_version: &'a str,
    app_version: Option<&'a str>,
}

/// One hook, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    name: &'a str,
    kind: &'a str,
    api_version: &'a str,
    path: &'a str,
    events: &'a [String],
    weight: i32,
    delete_policies: &'a [String],
    /// What the chart's own Job declares; null where it declares none, or the manifest's number is wrong.
    active_deadline_seconds: Option<i64>,
    backoff_limit: Option<i32>,
    ttl_seconds_after_finished: Option<i32>,
    runnable: bool,
    /// Why it is not runnable, and what to do about it.
    why_not: Option<String>,
    /// The same for the narrow table.
    #[serde(skip)]
    summary: Option<String>,
    /// The namespace that its manifest names, where that is not the release's.
    #[serde(skip)]
    elsewhere: Option<&'a str>,
    /// Whether nobody knows what it is, so that it may be the one that is looked for.
    #[serde(skip)]
    is_unreadable: bool,
    /// The other hooks that it needs, as `plan -o json` has them; null where it is not runnable, and beyond
    /// [`CLOSURES_BYTES`].
    closure: Option<Vec<ClosureObject>>,
    /// How many those are.
    #[serde(skip)]
    needs: Option<usize>,
    last_run: LastRun<'a>,
    manifest: &'a Value,
}

/// How Helm itself last ran the hook in this revision.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LastRun<'a> {
    phase: &'a str,
    started_at: Option<String>,
    completed_at: Option<String>,
}

/// Bytes of JSON of all closures together: a record in which thousands of hooks share one large closure must not become
/// gigabytes. `plan -o json` has that of any one hook.
const CLOSURES_BYTES: usize = 16 * 1024 * 1024;

impl Args {
    /// How errors are printed.
    pub(super) fn error_format(&self) -> ErrorFormat {
        if self.output == Format::Json { ErrorFormat::Json } else { ErrorFormat::Text }
    }
}

/// Lists the hooks.
pub(crate) fn run(args: Args) -> Result<Outcome> {
    let Args { release, revision, all, place, output } = args;
    let release = record::Release::of(&release);
    release.check_option(revision.map(|_| "--revision").or_else(|| place.given()))?;
    let (record, warning) = release.read(&place, revision)?;
    if let Some(warning) = warning {
        output::message(&format!("warning: {}\n", output::escape(&warning.message)));
    }
    let listing = record.listing();
    match output {
        Format::Json => output::json(&Listing { release: described(&record), hooks: Rows(&listing) })?,
        Format::Table | Format::Wide if listing.heads().is_empty() => {
            output::message(&format!("The release {} has no hooks.\n", output::escape(&record.name)));
        }
        Format::Table => people(&listing, all, NARROW, narrow)?,
        Format::Wide => people(&listing, all, WIDE, wide)?,
    }
    Ok(Outcome::Done)
}

/// Prints the table, and what it leaves out.
fn people<const N: usize>(
    listing: &hook::Listing<'_>,
    all: bool,
    headings: [&str; N],
    cells: impl Fn(&Row<'_>) -> [String; N],
) -> Result<()> {
    let mut table = Table::new(&headings);
    let (mut shown, mut left_out) = (0, BTreeMap::<String, usize>::new());
    let Ok(()) = each_row::<Infallible>(listing, |row| {
        match &row.summary {
            Some(why) if !all && !row.is_unreadable => *left_out.entry(why.clone()).or_default() += 1,
            _ => {
                shown += 1;
                table.row(cells(&row).each_ref().map(String::as_str));
            }
        }
        Ok(())
    });
    if shown > 0 {
        output::result(&table.render())?;
    }
    if !left_out.is_empty() {
        let counted: Vec<String> = left_out.iter().map(|(why, count)| format!("{count} {why}")).collect();
        output::message(&format!(
            "{} of {} hooks cannot be run and are not listed ({}); --all lists them too\n",
            left_out.values().sum::<usize>(),
            listing.heads().len(),
            output::escape(&counted.join(", "))
        ));
    }
    Ok(())
}

fn described(record: &Record) -> Release<'_> {
    Release {
        name: &record.name,
        namespace: &record.namespace,
        revision: record.revision,
        status: record.status.as_str(),
        chart: &record.chart.name,
        chart_version: &record.chart.version,
        app_version: record.chart.app_version.as_deref(),
    }
}

/// Hands over the row of each hook, within what a run of it may take.
fn each_row<E>(listing: &hook::Listing<'_>, mut take: impl FnMut(Row<'_>) -> Result<(), E>) -> Result<(), E> {
    let mut reader = Reader::new(listing);
    let mut left = CLOSURES_BYTES;
    for head in listing.heads() {
        reader.forget();
        let hook = reader.hook(head);
        let mut row = row(&hook);
        if row.runnable {
            match needed(&mut reader, &hook, listing.release_namespace()) {
                Ok(closure) => {
                    row.needs = Some(closure.len());
                    let room = left.checked_sub(json_bytes(&closure, left));
                    left = room.unwrap_or_default();
                    row.closure = room.map(|_| closure);
                }
                Err(error) => {
                    row.runnable = false;
                    row.why_not = Some(chain(&error));
                    row.summary = Some(match error {
                        ClosureError::Unreadable { .. } => "needs what cannot be read".to_owned(),
                        _ => "needs too much".to_owned(),
                    });
                }
            }
        }
        take(row)?;
    }
    Ok(())
}

/// The other hooks that a hook needs, as policies are told of them.
fn needed(
    reader: &mut Reader<'_, '_>,
    hook: &Hook,
    namespace: &str,
) -> Result<Vec<ClosureObject>, ClosureError> {
    let others = reader.others(hook)?;
    describe(&closure(Workload::of(&hook.manifest), namespace, &others)?)
}

fn row(hook: &Hook) -> Row<'_> {
    let declared = Workload::of(&hook.manifest).declared().unwrap_or_default();
    Row {
        name: &hook.name,
        kind: &hook.kind,
        api_version: &hook.api_version,
        path: &hook.path,
        events: &hook.events,
        weight: hook.weight,
        delete_policies: &hook.delete_policies,
        active_deadline_seconds: declared.active_deadline_seconds,
        backoff_limit: declared.backoff_limit,
        ttl_seconds_after_finished: declared.ttl_seconds_after_finished,
        runnable: hook.runnable.is_ok(),
        why_not: hook.runnable.as_ref().err().map(|why| chain(why)),
        summary: hook.runnable.as_ref().err().map(|why| match why {
            NotRunnable::Unreadable(error) => format!("cannot be read: {error}"),
            why => why.summary().to_owned(),
        }),
        elsewhere: hook.is_elsewhere.then_some(hook.namespace.as_str()),
        is_unreadable: matches!(hook.runnable, Err(NotRunnable::Unreadable(_) | NotRunnable::TooMany)),
        closure: None,
        needs: None,
        last_run: LastRun {
            phase: &hook.last_run.phase,
            started_at: hook.last_run.started_at.map(|time| time.to_string()),
            completed_at: hook.last_run.completed_at.map(|time| time.to_string()),
        },
        manifest: &hook.manifest,
    }
}

/// An error with its causes on one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// Headings of the narrow table.
const NARROW: [&str; 7] = ["NAME", "KIND", "EVENTS", "WEIGHT", "DEADLINE", "NEEDS", "RUNNABLE"];

fn narrow(row: &Row<'_>) -> [String; 7] {
    let [name, kind, events, weight, deadline, needs] = cells(row);
    let runnable = row.summary.as_ref().map_or_else(|| yes(row), |why| format!("no: {why}"));
    [name, kind, events, weight, deadline, needs, runnable]
}

/// That it can be run, and where, if not in the release's namespace.
fn yes(row: &Row<'_>) -> String {
    row.elsewhere.map_or("yes".to_owned(), |namespace| format!("yes, in the namespace {namespace}"))
}

/// Headings of the wide table.
const WIDE: [&str; 12] = [
    "NAME", "KIND", "EVENTS", "WEIGHT", "DEADLINE", "NEEDS", "BACKOFF", "TTL", "DELETE", "LAST RUN", "PATH",
    "RUNNABLE",
];

fn wide(row: &Row<'_>) -> [String; 12] {
    let [name, kind, events, weight, deadline, needs] = cells(row);
    let runnable = row.why_not.as_ref().map_or_else(|| yes(row), |why| format!("no: {why}"));
    let number = |n: Option<i32>| n.map_or("-".to_owned(), |n| n.to_string());
    let (backoff, ttl) = (number(row.backoff_limit), number(row.ttl_seconds_after_finished));
    let [delete, phase] = [row.delete_policies.join(","), row.last_run.phase.to_owned()]
        .map(|text| if text.is_empty() { "-".to_owned() } else { text });
    let path = row.path.to_owned();
    [name, kind, events, weight, deadline, needs, backoff, ttl, delete, phase, path, runnable]
}

fn cells(row: &Row<'_>) -> [String; 6] {
    [
        if row.name.is_empty() { "-".to_owned() } else { row.name.to_owned() },
        row.kind.to_owned(),
        row.events.join(","),
        row.weight.to_string(),
        row.active_deadline_seconds.map_or("-".to_owned(), |seconds| format!("{seconds}s")),
        row.needs.map_or("-".to_owned(), |needs| needs.to_string()),
    ]
}
