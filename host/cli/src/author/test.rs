//! `hookhost policy test`: a policy against the cases beside it.

use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use hookhost_core::Reason;
use hookhost_sandbox::{Policy, Sandbox};
use serde::Serialize;
use similar::TextDiff;

use super::build;
use super::cases::{self, Answer, Case, File};
use crate::exit::{Format, Outcome};
use crate::policies::Line;
use crate::problem::Problem;
use crate::{file, output, policies};

/// Run a policy's test cases in the sandbox
///
/// Builds the crate first. Cases are the YAML files in its folder `tests`: requests, settings, and the decisions that
/// are expected. Below each case are the lines that the policy logged. Exits with 1 if a case fails.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookhost policy test                              the policy in this folder
  hookhost policy test --filter backup              only cases with that in their name
  hookhost policy test --update                     write what the policy answers now into the files
  hookhost policy test cap.wasm --cases cases.yaml  a policy that is built already

A file of cases:
  settings: { max: 3600 }          # for every case; a case's own are merged into them
  request: { organisation: acme }  # likewise
  cases:
    - name: a long run is cut to an hour
      request: { requested: { activeDeadlineSeconds: 7200 } }
      expect:
        allow: { activeDeadlineSeconds: { atMost: 3600 } }")]
pub(crate) struct Args {
    /// Folders of policies' crates, or policies that are built already [default: this folder]
    #[arg(value_name = "DIR|FILE.wasm")]
    policies: Vec<PathBuf>,
    /// File of cases, or folder of such files [default: the crate's folder `tests`; for a FILE.wasm the folder `tests` of this
    /// folder, wherever the file is]
    #[arg(long, value_name = "PATH")]
    cases: Option<PathBuf>,
    /// Only cases whose name contains this
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Write what the policy answers now into `expect`; nothing else in the files changes, but that they become UTF-8
    #[arg(long)]
    update: bool,
    /// How to print the results
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub(super) output: Format,
}

/// A policy with the files of its cases.
struct Subject {
    policy: Policy,
    files: Vec<File>,
}

/// What became of a case.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tested {
    file: PathBuf,
    name: String,
    result: Verdict,
    expected: Option<Answer>,
    actual: Option<Answer>,
    /// Why the policy gave no answer.
    error: Option<String>,
    /// What it logged.
    logs: Vec<Line>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Verdict {
    Passed,
    Failed,
    Updated,
}

/// Runs the cases and prints the results.
pub(crate) fn run(args: Args) -> Result<Outcome> {
    let Args { policies, cases, filter, update, output } = args;
    let subjects = resolve(policies, cases.as_deref())?;
    let wanted = |case: &Case| filter.as_ref().is_none_or(|filter| case.name.contains(filter.as_str()));
    let mut tested = Vec::new();
    for Subject { policy, files } in &subjects {
        for file in files {
            let cases = file.cases.iter().enumerate().filter(|(_, case)| wanted(case));
            let mut results: Vec<(usize, Tested)> =
                cases.map(|(index, case)| (index, test(policy, file, case))).collect();
            if update {
                write(file, &mut results)?;
            }
            tested.extend(results.into_iter().map(|(_, tested)| tested));
        }
    }
    if tested.is_empty() {
        let why = filter
            .map_or("the files have none".to_owned(), |filter| format!("none has {filter:?} in its name"));
        return Err(Problem::new(Reason::UsageInvalid, format!("no cases to run: {why}")).into());
    }
    match output {
        Format::Json => output::json(&tested)?,
        Format::Table => output::result(&report(&tested)?)?,
    }
    let failed = tested.iter().any(|tested| tested.result == Verdict::Failed);
    Ok(if failed { Outcome::Failed } else { Outcome::Done })
}

/// Builds what must be built, loads the policies, reads their cases.
fn resolve(mut paths: Vec<PathBuf>, cases: Option<&Path>) -> Result<Vec<Subject>> {
    if paths.is_empty() {
        paths.push(PathBuf::from("."));
    }
    let (built, folders): (Vec<_>, Vec<_>) =
        paths.into_iter().partition(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    let mut subjects: Vec<(PathBuf, PathBuf)> =
        built.into_iter().map(|policy| (policy, cases.unwrap_or(Path::new("tests")).to_owned())).collect();
    if !folders.is_empty() {
        for (policy, component) in build::build(&build::find(folders, &[])?)? {
            file::write(&policy.policy(), &component)?;
            let beside = policy.manifest.with_file_name("tests");
            subjects.push((policy.policy(), cases.map_or(beside, Path::to_owned)));
        }
    }
    let sandbox = policies::sandbox()?;
    subjects.into_iter().map(|(policy, cases)| subject(&sandbox, &policy, &cases)).collect()
}

fn subject(sandbox: &Sandbox, policy: &Path, cases: &Path) -> Result<Subject> {
    let (policy, _) = policies::load(sandbox, policy)?;
    let files: Vec<File> = cases::files(cases)?.iter().map(|file| File::read(file)).collect::<Result<_>>()?;
    if files.is_empty() {
        let message = format!("there are no test cases in {}", cases.display());
        return Err(Problem::new(Reason::UsageInvalid, message)
            .with_advice("Write cases as YAML files there; `hookhost policy test --help` shows one.")
            .into());
    }
    Ok(Subject { policy, files })
}

fn test(policy: &Policy, file: &File, case: &Case) -> Tested {
    let mut tested = Tested {
        file: file.path.clone(),
        name: case.name.clone(),
        result: Verdict::Failed,
        expected: case.expect.clone(),
        actual: None,
        error: None,
        logs: Vec::new(),
    };
    match case.ask(policy) {
        Ok((actual, logs)) => {
            tested.logs = logs.iter().map(Line::from).collect();
            if case.expect.as_ref() == Some(&actual) {
                tested.result = Verdict::Passed;
            }
            tested.actual = Some(actual);
        }
        Err(error) => {
            tested.logs = error.logs().iter().map(Line::from).collect();
            tested.error = Some(format!("{:#}", anyhow::Error::new(error)));
        }
    }
    tested
}

/// Writes the answers of failed cases into their file. A case without an answer stays failed.
fn write(file: &File, results: &mut [(usize, Tested)]) -> Result<()> {
    let mut answers = Vec::new();
    for (index, tested) in results.iter_mut().filter(|(_, tested)| tested.result == Verdict::Failed) {
        if tested.actual.is_some() {
            tested.result = Verdict::Updated;
        }
        answers.extend(tested.actual.as_ref().map(|actual| (*index, actual)));
    }
    if answers.is_empty() {
        return Ok(());
    }
    file::write(&file.path, cases::update(&file.text, &answers)?.as_bytes())
}

const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();

fn painted(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

fn report(tested: &[Tested]) -> Result<String> {
    let mut text = String::new();
    let mut file: Option<&Path> = None;
    for case in tested {
        if file != Some(&case.file) {
            text.push_str(&format!("{}\n", output::escape(&case.file.to_string_lossy())));
            file = Some(&case.file);
        }
        let word = match case.result {
            Verdict::Passed => painted(GREEN, "ok     "),
            Verdict::Failed => painted(RED, "FAILED "),
            Verdict::Updated => painted(YELLOW, "updated"),
        };
        text.push_str(&format!("  {word} {}\n", output::escape(&case.name)));
        for line in &case.logs {
            text.push_str(&format!("         {}\n", output::escape(&line.to_string())));
        }
        if case.result == Verdict::Failed {
            text.push_str(&difference(case)?);
        }
    }
    let count = |verdict| tested.iter().filter(|case| case.result == verdict).count();
    let (passed, failed, updated) = (count(Verdict::Passed), count(Verdict::Failed), count(Verdict::Updated));
    text.push_str(&format!("{passed} passed, {failed} failed"));
    if updated > 0 {
        text.push_str(&format!(", {updated} updated"));
    }
    text.push('\n');
    Ok(text)
}

/// Lines around a difference: more than an answer can have.
const CONTEXT_LINES: usize = 1 << 20;

/// What was expected against what came, as a unified diff; or why nothing came.
fn difference(case: &Tested) -> Result<String> {
    if let Some(error) = &case.error {
        return Ok(format!("         {}\n", output::escape(error)));
    }
    let yaml = |answer: &Option<Answer>| answer.as_ref().map_or(Ok(String::new()), Answer::yaml);
    let (expected, actual) = (yaml(&case.expected)?, yaml(&case.actual)?);
    let diff = TextDiff::from_lines(&expected, &actual);
    let diff = diff.unified_diff().context_radius(CONTEXT_LINES).header("expected", "actual").to_string();
    let mut text = String::new();
    for line in diff.lines().filter(|line| !line.starts_with("@@")) {
        let line = output::escape(line);
        let line = match line.chars().next() {
            Some('+') => painted(GREEN, &line),
            Some('-') => painted(RED, &line),
            _ => line.into_owned(),
        };
        text.push_str(&format!("         {line}\n"));
    }
    Ok(text)
}
