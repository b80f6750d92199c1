//! A *corpus* is a folder of release records of any charts: what can be done with the hooks that people really have.
//!
//! Each hook that is a Job or a Pod gets a verdict by its record alone. With a cluster each hook that can be run is run.

mod boxed;
mod content;
mod end;
mod entry;
mod file;
mod operation;
mod prepared;
mod report;
mod round;
mod run;
mod runs;
mod script;
mod stand_in;
mod surroundings;
mod table;
mod verdict;
mod watch;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail, ensure};
use clap::{Parser, ValueEnum};
use hookhost_core::refusal::chain;
use hookhost_helm::record::Record;

use crate::run::{root, say};
use entry::Entry;
use file::File;
use report::Report;

/// Report on a folder of release records which of their hooks can be run; with --cluster, run each of them
#[derive(Parser)]
#[command(name = "cargo xtask corpus")]
struct Corpus {
    /// Folder of release Secrets, as YAML or JSON, or of bare records; with all folders below it [default: our own fixtures]
    dir: Option<PathBuf>,
    /// Run each hook on a cluster of this machine, with containers that look for their mounts, variables and token; needs root
    #[arg(long)]
    cluster: bool,
    /// Take hookhost as installed for all cluster roles and bindings that the hooks need, instead of for none
    #[arg(long)]
    cluster_objects: bool,
    /// How the report is printed
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// Files that are no records, and are named one by one.
const NAMED: usize = 8;

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people: a row a record
    Table,
    /// For programs: an entry a hook
    Json,
}

fn main() -> ExitCode {
    let corpus = Corpus::parse();
    match if corpus.cluster { boxed::play(&corpus) } else { report(&corpus) } {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("corpus: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Reports of each hook whether it can be run.
fn report(corpus: &Corpus) -> Result<()> {
    let (report, _) = judged(&corpus.dir(), corpus.cluster_objects)?;
    for (file, why) in report.others.iter().take(NAMED) {
        say(&format!("no record: {file}: {why}"));
    }
    if let Some(more) = report.others.len().checked_sub(NAMED).filter(|more| *more > 0) {
        say(&format!("and {more} more files that are no records: -o json names them"));
    }
    corpus.print(&report)
}

impl Corpus {
    fn dir(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(|| root().join("tests/fixtures/records"))
    }

    #[expect(clippy::print_stdout, reason = "the report is this task's result")]
    fn print(&self, report: &Report) -> Result<()> {
        match self.output {
            Format::Table => print!("{}", report.to_table()),
            Format::Json => println!("{}", serde_json::to_string_pretty(&report.to_json())?),
        }
        Ok(())
    }
}

/// The report on a folder, without a cluster, and the file of each of its records. Whether hookhost makes objects without a
/// namespace is given.
fn judged(dir: &Path, cluster_objects: bool) -> Result<(Report, Vec<File>)> {
    const GIVE: &str = "give a folder of release Secrets, as `kubectl get secret -o yaml` writes them";
    ensure!(dir.is_dir(), "{} is no folder: {GIVE}", dir.display());
    let mut report = Report::default();
    let mut files = Vec::new();
    for file in File::all(dir)? {
        match record(&file) {
            Ok(record) => {
                report.entries.push(Entry::of(&file.name, &record, &record.hooks(), cluster_objects));
                files.push(file);
            }
            Err(error) => report.others.push((file.name, format!("{error:#}"))),
        }
    }
    if report.entries.is_empty() {
        let others = report.others.iter().take(NAMED).map(|(file, why)| format!("\n  {file}: {why}"));
        bail!("no release record in {}: {GIVE}{}", dir.display(), others.collect::<String>());
    }
    Ok((report, files))
}

fn record(file: &File) -> Result<Record> {
    Record::read(&file.read()?).map_err(|error| anyhow!(chain(&error)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The report on our own fixtures is a file to be read and compared. After a change that is meant to change it:
    /// HOOKHOST_UPDATE_GOLDEN=1 cargo test --workspace --bin corpus
    #[test]
    fn the_report_on_the_fixtures_is_the_golden_one() {
        let fixtures = root().join("tests/fixtures");
        let report = judged(&fixtures.join("records"), false).unwrap().0.to_table();
        let golden = fixtures.join("corpus.txt");
        if std::env::var_os("HOOKHOST_UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &report).unwrap();
        }
        assert_eq!(report, fs::read_to_string(&golden).unwrap());
    }

    #[test]
    fn with_cluster_objects_no_closure_of_the_fixtures_is_refused() {
        let [without, with] =
            [false, true].map(|with| judged(&root().join("tests/fixtures/records"), with).unwrap().0);
        assert!(without.cluster_objects().is_empty());
        let names = ["closure-admission", "closure-never-run-admission"];
        let each =
            ["ClusterRole", "ClusterRoleBinding"].map(|kind| names.map(|name| format!("{kind}/{name}")));
        assert_eq!(with.cluster_objects(), each.into_iter().flatten().collect());
        let refused =
            |report: &Report| report.to_table().matches("closure has cluster-scoped objects").count();
        assert_eq!((refused(&without), refused(&with)), (4, 0));
        assert_eq!(with.count("withClosure"), without.count("withClosure") + 4);
    }

    #[test]
    fn what_is_no_record_is_named_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("below")).unwrap();
        fs::write(dir.path().join("below/notes.txt"), "a: [").unwrap();
        fs::write(dir.path().join("empty"), "").unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("circle")).unwrap();
        let nothing = judged(dir.path(), false).err().unwrap().to_string();
        assert!(
            nothing.contains("no release record in") && nothing.contains("below/notes.txt: "),
            "{nothing}"
        );
        let file = judged(&dir.path().join("empty"), false).err().unwrap().to_string();
        assert!(file.contains("is no folder"), "{file}");

        let record = root().join("tests/fixtures/records/helm4/hooks-only.v1.yaml");
        fs::copy(record, dir.path().join("release.yaml")).unwrap();
        let (report, _) = judged(dir.path(), false).unwrap();
        let names: Vec<&str> = report.others.iter().map(|(file, _)| file.as_str()).collect();
        assert_eq!((names, report.entries.len()), (vec!["below/notes.txt", "empty"], 1));
    }
}
