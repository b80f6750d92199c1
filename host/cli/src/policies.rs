//! A *policy in use*: a file opened in the sandbox, with the settings that it accepted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use hookhost_controller::policy::stock;
use hookhost_core::{Reason, Request};
use hookhost_helm::text::list;
use hookhost_helm::yaml;
use hookhost_sandbox::{
    Cache, Compiler, Description, Level, Limits, LogLine, Policy, Sandbox, SettingsError,
};
use serde::Serialize;
use serde_json::Value;

use crate::problem::Problem;
use crate::{file, output};

/// Bytes of a policy's file: four times what the sandbox takes, so that its own error, which says more, comes first.
const POLICY_BYTES: u64 = 16 << 20;
/// Bytes of a file that a person writes: settings, requests, test cases, Operations.
const DOCUMENT_BYTES: u64 = 4 << 20;

/// Time of one call of a policy. A host gives 50 ms by default; here the machine may be busy building, and what is asked
/// for is the answer. `policy bench` shows what an evaluation takes.
const PATIENCE: Duration = Duration::from_secs(1);

/// A host's limits, but with time enough for a busy machine.
pub(crate) fn limits() -> Result<Limits> {
    Ok(Limits::default()
        .with_timeout(PATIENCE)
        .map_err(|error| problem("cannot set the time limit", error))?)
}

/// Adds the cache for this person's own use; without one policies are compiled each time, with a note.
pub(crate) fn cached(sandbox: Sandbox) -> Sandbox {
    let Some(dir) = Cache::default_dir() else {
        output::message("note: policies are compiled each time: neither XDG_CACHE_HOME nor HOME is set\n");
        return sandbox;
    };
    match Cache::open(dir) {
        Ok(cache) => sandbox.with_cache(cache),
        Err(error) => {
            let why = format!("{:#}", anyhow::Error::new(error));
            output::message(&format!("note: policies are compiled each time: {}\n", output::escape(&why)));
            sandbox
        }
    }
}

/// A sandbox for single evaluations: nothing is reserved ahead.
pub(crate) fn sandbox() -> Result<Sandbox> {
    Ok(cached(
        Sandbox::unpooled(Compiler::this_program())
            .map_err(|error| problem("cannot make the sandbox", error))?,
    ))
}

/// The folder of the stock policies: the one that the environment names, else the one beside the program.
pub(crate) fn stock_dir() -> Option<PathBuf> {
    let chosen = std::env::var_os(stock::ENV).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    chosen.or_else(stock::beside_program)
}

/// The file of a policy: the one that was typed, or else, by its name, that of a stock policy.
fn find(typed: &Path) -> Result<PathBuf> {
    let Some(name) = typed.to_str().filter(|name| stock::is_name(name)) else { return Ok(typed.to_owned()) };
    if typed.is_file() {
        return Ok(typed.to_owned());
    }
    let dir = stock_dir();
    let file = dir.as_ref().map(|dir| dir.join(stock::file(name))).filter(|file| file.is_file());
    Ok(file.ok_or_else(|| {
        let message =
            format!("{name} is neither a file here nor a stock policy: {}", stock::known(dir.as_deref()));
        Problem::new(Reason::PolicyModuleMissing, message)
            .with_advice("Give the path of a policy's file (NAME.wasm), or the name of a stock policy.")
    })?)
}

/// Opens a policy's file, or a stock policy by its name; gives back its bytes too.
pub(crate) fn load(sandbox: &Sandbox, path: &Path) -> Result<(Policy, Vec<u8>)> {
    load_within(sandbox, path, limits()?)
}

/// The same with the limits that a HookPolicy gives its policy, but with time enough for a busy machine.
pub(crate) fn load_patiently(sandbox: &Sandbox, path: &Path, limits: Limits) -> Result<(Policy, Vec<u8>)> {
    let timeout = limits.timeout().max(PATIENCE);
    let limits = limits.with_timeout(timeout).map_err(|error| problem("cannot set the time limit", error))?;
    load_within(sandbox, path, limits)
}

fn load_within(sandbox: &Sandbox, path: &Path, limits: Limits) -> Result<(Policy, Vec<u8>)> {
    let path = &find(path)?;
    let wasm = file::read(path, "policy", POLICY_BYTES)?;
    let name = path.display();
    let policy = sandbox
        .load(&wasm, limits)
        .map_err(|error| problem(format!("cannot load the policy {name}"), error))?;
    Ok((policy, wasm))
}

/// The digest by which a policy is pinned, as `policy build` prints it.
pub(crate) fn digest(policy: &Policy) -> String {
    format!("sha256:{}", policy.digest())
}

/// What a policy says of itself. `name` is what it is called in errors.
pub(crate) fn describe(policy: &Policy, name: &str) -> Result<Description> {
    Ok(policy
        .describe()
        .inspect_err(|error| logs(error.logs()))
        .map_err(|error| problem(format!("{name} does not say what it is"), error))?)
}

/// An error of the sandbox, with what was being done.
pub(crate) fn problem(doing: impl Into<String>, error: hookhost_sandbox::Error) -> Problem {
    let (reason, advice) = (error.reason(), error.advice());
    Problem::new(reason, doing).with_source(error).with_advice(advice)
}

/// Reads one YAML (or JSON) document that a person wrote.
pub(crate) fn document(path: &Path, what: &str) -> Result<Value> {
    parse(&file::read_text(path, what, DOCUMENT_BYTES)?, path, what)
}

/// Reads a text of YAML documents that a person wrote, and gives the text too.
pub(crate) fn text(path: &Path, what: &str) -> Result<String> {
    file::read_text(path, what, DOCUMENT_BYTES)
}

/// The one document of a text.
pub(crate) fn parse(text: &str, path: &Path, what: &str) -> Result<Value> {
    let wrong =
        || Problem::new(Reason::ValidationFailed, format!("the {what} {} is not readable", path.display()));
    Ok(yaml::read_one(text).map_err(|error| wrong().with_source(error))?)
}

/// A value as a type, with the path of a field that does not fit.
pub(crate) fn typed<T: serde::de::DeserializeOwned>(value: Value, place: &str) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let at = if path == "." { String::new() } else { format!(" at {path}") };
        let problem = Problem::new(Reason::ValidationFailed, format!("{place}{at}: {}", error.inner()));
        let is_time = path.rsplit('.').next().is_some_and(|field| TIMES.contains(&field));
        if is_time { problem.with_advice(TIME_RULE) } else { problem }
    })
}

/// Fields of a request that are times.
const TIMES: [&str; 4] = ["now", "created", "firstDeployed", "lastDeployed"];

/// How a time is written.
const TIME_RULE: &str = "Write a time as RFC 3339 has it, in UTC or with its offset: 2026-03-02T09:00:00Z or 2026-03-02T10:00:00+01:00.";

/// A request from a file.
pub(crate) fn request(path: &Path) -> Result<Request> {
    Ok(typed(document(path, "request")?, &format!("the request {}", path.display()))?)
}

/// Settings from a file as JSON text; `{}` without one.
pub(crate) fn settings(path: Option<&PathBuf>) -> Result<String> {
    Ok(match path {
        Some(path) => document(path, "settings")?.to_string(),
        None => "{}".to_owned(),
    })
}

/// Has a policy check settings. `name` is what the policy is called in errors.
pub(crate) fn check_settings(policy: &Policy, name: &str, settings: &str) -> Result<()> {
    let errors = policy
        .validate_settings(settings)
        .inspect_err(|error| logs(error.logs()))
        .map_err(|error| problem(format!("cannot check the settings of {name}"), error))?;
    if errors.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = errors.iter().map(|error| place(&error.path, &error.message)).collect();
    Err(Problem::new(
        Reason::PolicySettingsInvalid,
        format!("{name} refuses its settings: {}", lines.join("; ")),
    )
    .with_advice(settings_advice(policy, name))
    .into())
}

/// What to do about settings that a policy refuses: which it needs, and an example, as far as its schema says so.
fn settings_advice(policy: &Policy, name: &str) -> String {
    let schema = policy.describe().map(|described| described.settings_schema).unwrap_or_default();
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let required: Vec<&str> = required.collect();
    let needed = match required[..] {
        [] => String::new(),
        _ => format!(
            " It needs {}; `hookhost plan` takes a file of settings after a policy: --policy {name}=SETTINGS.yaml.",
            list(&required)
        ),
    };
    let mut advice =
        format!("Correct the settings; `hookhost policy inspect` shows what they may be.{needed}");
    if let Some(example) = schema["examples"].get(0).and_then(|example| yaml_text(example).ok()) {
        advice.push_str(&format!("\nAn example of such a file:\n{}", example.trim_end()));
    }
    output::escape(&advice).into_owned()
}

fn place(path: &str, message: &str) -> String {
    if path.is_empty() { message.to_owned() } else { format!("{path}: {message}") }
}

/// What is wrong with settings, as cases and JSON have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Invalid {
    #[serde(default)]
    pub(crate) path: String,
    pub(crate) message: String,
}

impl From<SettingsError> for Invalid {
    fn from(SettingsError { path, message }: SettingsError) -> Invalid {
        Invalid { path, message }
    }
}

/// A log line, as JSON has it.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    level: &'static str,
    message: String,
}

impl From<&LogLine> for Line {
    fn from(line: &LogLine) -> Line {
        let level = match line.level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        Line { level, message: line.message.clone() }
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.level, self.message)
    }
}

/// Shows what a policy logged to the person who waits.
pub(crate) fn logs(lines: &[LogLine]) {
    for line in lines {
        output::message(&format!("{}\n", output::escape(&Line::from(line).to_string())));
    }
}

/// A value as YAML, for people.
pub(crate) fn yaml_text(value: &impl Serialize) -> Result<String> {
    Ok(yaml::write(&serde_json::to_value(value).context("cannot write the result as JSON")?))
}
