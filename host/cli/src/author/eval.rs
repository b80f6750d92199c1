//! `hookhost policy eval`: one policy's answer to one request.

use std::path::PathBuf;

use anyhow::Result;
use hookhost_core::{Decision, Request};
use hookhost_sandbox::{Evaluation, Policy, PreparedRequest};
use serde::Serialize;

use crate::exit::{Format, Outcome};
use crate::output;
use crate::policies::{self, Line};

/// Ask a policy about one request
///
/// Prints the decision; what the policy logs goes to stderr. Exits with 0 if it allows, 3 if it denies, 4 if it holds.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookhost policy eval deadline-cap.wasm --request request.yaml --settings settings.yaml
  hookhost policy eval deadline-cap.wasm --request - -o json < request.json")]
pub(crate) struct Args {
    /// The policy's file, or the name of a stock policy
    #[arg(value_name = "FILE.wasm|NAME")]
    policy: PathBuf,
    /// The request as YAML or JSON, `-` for stdin; every field may be left out
    #[arg(short, long, value_name = "FILE")]
    request: PathBuf,
    /// The policy's settings as YAML or JSON [default: none]
    #[arg(short, long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// How to print the decision: as YAML for people, or with the log lines as JSON
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub(super) output: Format,
}

/// What is evaluated.
struct Inputs {
    policy: Policy,
    request: Request,
    settings: String,
}

/// The answer, for programs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    decision: &'a Decision,
    logs: Vec<Line>,
    peak_memory_bytes: usize,
}

/// Asks, and prints the answer.
pub(crate) fn run(args: Args) -> Result<Outcome> {
    let Args { policy: path, request, settings, output } = args;
    let settings = policies::settings(settings.as_ref())?;
    let request = policies::request(&request)?;
    let (policy, _) = policies::load(&policies::sandbox()?, &path)?;
    let name = path.display().to_string();
    policies::check_settings(&policy, &name, &settings)?;
    let evaluation = evaluate(&Inputs { policy, request, settings }, &name)?;
    match output {
        Format::Json => output::json(&Answer {
            decision: &evaluation.decision,
            logs: evaluation.logs.iter().map(Line::from).collect(),
            peak_memory_bytes: evaluation.cost.peak_memory,
        })?,
        Format::Table => {
            policies::logs(&evaluation.logs);
            output::result(&output::escape(&policies::yaml_text(&evaluation.decision)?))?;
        }
    }
    Ok(match evaluation.decision {
        Decision::Allow(_) => Outcome::Done,
        Decision::Deny(_) => Outcome::Denied,
        Decision::Hold(_) => Outcome::Held,
    })
}

fn evaluate(inputs: &Inputs, name: &str) -> Result<Evaluation> {
    let Inputs { policy, request, settings } = inputs;
    let prepared =
        PreparedRequest::new(request).map_err(|error| policies::problem("cannot ask a policy", error))?;
    let evaluation = policy
        .evaluate(&prepared, settings)
        .inspect_err(|error| policies::logs(error.logs()))
        .map_err(|error| policies::problem(format!("{name} gave no decision"), error))?;
    Ok(evaluation)
}
