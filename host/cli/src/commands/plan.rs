//! `hookhost plan`: the Job that an Operation would become, and why it looks as it does.
//!
//! Everything is decided by the same functions of the core as in the controller; this command reads the inputs, from files
//! or from a cluster, and asks the policies.

mod asked;
mod closure;
mod conflicts;
mod grants;
mod hook_policies;
mod in_cluster;
mod inputs;
mod runs;
mod secret;
pub(super) mod target;

use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;
use hookhost_core::Request;
use hookhost_core::operation::Operation;
use hookhost_core::plan::{self, Plan};
use hookhost_core::verdict::Outcome as VerdictOutcome;
use hookhost_helm::yaml;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cluster::Place;
use crate::exit::{ErrorFormat, Outcome};
use crate::output::{self, Table};
use crate::problem::Problem;
use asked::PolicyArgument;
use inputs::Inputs;
use runs::Run;

/// Show the Job that an Operation would become
///
/// With a file as --release no cluster is needed. With a release's name, or none, it is read from the cluster.
///
/// In a cluster the plan looks, as the controller does, for other Operations on the release, for the objects that the hook needs, and for
/// what the service account may create as which Flux applies the release; it warns where the run would wait. What the person may not
/// read, a warning names. The cluster's HookPolicies are asked, but for those whose modules
/// only hookhost can read; one that is given with --policy counts instead of the cluster's of its name.
///
/// Exits with 3 if a policy denies, or policies contradict each other; 4 if a policy holds the run, or it would be blocked for now:
/// the release is being changed, its target is not ready or may not be run here; 5 if there is no such hook, release or target.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookhost plan -f operation.yaml --release shop.yaml
  hookhost plan -f op.yaml --release shop.yaml --policy cap.wasm=cap.yaml -o explain
  hookhost plan -f op.yaml --release shop.yaml --policy deadline-cap
  hookhost plan -f op.yaml --release shop.yaml --policy hookpolicy.yaml
  hookhost plan -f op.yaml -o explain
  hookhost plan -f op.yaml --release shop -n acme --revision 3
  kubectl get secret sh.helm.release.v1.shop.v3 -o yaml \\
    | hookhost plan -f op.yaml --release - -o explain")]
pub(crate) struct Args {
    /// File with the Operation, `-` for stdin
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    operation: PathBuf,
    /// File with the release (Helm's Secret as YAML or JSON, or the record in it; `-` for stdin), or its name in the
    /// cluster [default: the release of the Operation's target in the cluster]
    #[arg(long, value_name = "FILE|NAME")]
    release: Option<PathBuf>,
    /// Revision of the release that --release names in the cluster [default: the newest that is deployed]
    #[arg(long, value_name = "N", requires = "release")]
    revision: Option<u32>,
    /// Policy to ask: a file or the name of a stock policy, with its settings, or the file of a HookPolicy; can be given more than
    /// once, in any order
    ///
    /// A HookPolicy is asked as in the cluster: if its match fits, within its limits, and only recorded in Audit. Of its module a stock
    /// policy is found by its name, and a file below $HOOKHOST_POLICY_DIR, or else in the folder of the HookPolicy's file. A module
    /// in a ConfigMap is given before it: --policy FILE.wasm=HOOKPOLICY.yaml.
    #[arg(long = "policy", value_name = "HOOKPOLICY.yaml|FILE.wasm|NAME[=SETTINGS.yaml]")]
    policies: Vec<PolicyArgument>,
    /// File with what the Operation's targetRef names, for its labels and annotations [default: as in the cluster, where
    /// that is asked]
    #[arg(long, value_name = "FILE")]
    target: Option<PathBuf>,
    /// Organisation that owns the Operation's namespace [default: the namespace's name]
    #[arg(long, value_name = "NAME", alias = "organization")]
    organisation: Option<String>,
    /// Id of the cluster [default: none]
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    cluster_id: String,
    /// Time that policies are told, for example 2026-03-02T09:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
    /// Print the values of Secrets that are made for the run, too
    #[arg(long)]
    show_secrets: bool,
    /// How to print the plan
    #[arg(short, long, value_enum, default_value_t = Format::Yaml)]
    output: Format,
    #[command(flatten)]
    place: Place,
}

/// How a plan is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The Job, as kubectl takes it; before it what is made for it, Secrets without their values
    Yaml,
    /// For programs: the Job, the verdict, where every value comes from, warnings, the hook's closure
    Json,
    /// For people: every value with where it comes from
    Explain,
}

impl Args {
    /// How errors are printed.
    pub(super) fn error_format(&self) -> ErrorFormat {
        if self.output == Format::Json { ErrorFormat::Json } else { ErrorFormat::Text }
    }
}

/// Plans, and prints the plan.
pub(crate) fn run(args: Args) -> Result<Outcome> {
    let (format, show_secrets) = (args.output, args.show_secrets);
    let Inputs { operation, runs, policies, hook_policies, warnings, mut is_blocked } =
        inputs::resolve(args)?;
    let mut planned = Vec::new();
    for Run { request, staging } in runs {
        let (mut answers, mut said) = asked::ask(&request, &policies)?;
        match hook_policies.as_ref().map(|policies| policies.ask(&request)) {
            Some(Ok((more, warnings))) => {
                answers.extend(more);
                said.extend(warnings);
            }
            Some(Err(refusal)) => {
                said.push(runs::would_wait(&refusal));
                is_blocked = true;
            }
            None => {}
        }
        let mut plan = plan::plan_staged(&request, &answers, staging).map_err(|error| {
            let message = format!("cannot plan the hook {}", request.hook.name);
            Problem::new(error.reason(), message).with_source(error)
        })?;
        plan.warnings.extend(warnings.clone());
        plan.warnings.extend(said);
        planned.push((plan, request));
    }
    print(&planned, &operation, format, show_secrets)?;
    let outcomes = || planned.iter().map(|(plan, _)| &plan.verdict.outcome);
    let is_denied = |outcome: &VerdictOutcome| {
        matches!(outcome, VerdictOutcome::Denied(_) | VerdictOutcome::Contradictory(_))
    };
    Ok(if outcomes().any(is_denied) {
        Outcome::Denied
    } else if is_blocked || outcomes().any(|outcome| matches!(outcome, VerdictOutcome::Held { .. })) {
        Outcome::Held
    } else {
        Outcome::Done
    })
}

/// One plan, or those of all hooks of an event.
fn print(
    planned: &[(Plan, Request)],
    operation: &Operation,
    format: Format,
    show_secrets: bool,
) -> Result<()> {
    let mut has_hidden = false;
    let mut hide = |object: &mut Value| has_hidden |= !show_secrets && secret::hide(object);
    match format {
        Format::Json => {
            let mut documents: Vec<Value> =
                planned.iter().map(|(plan, request)| document(plan, request)).collect();
            let made =
                documents.iter_mut().filter_map(|document| document["temporaryObjects"].as_array_mut());
            made.flatten().for_each(hide);
            match operation.parameters.whole_event() {
                Some(event) => output::json(&json!({"event": event, "steps": documents})),
                None => output::json(&documents.pop()),
            }
        }
        Format::Explain => {
            let texts: Vec<String> =
                planned.iter().map(|(plan, request)| explanation(plan, operation, request)).collect();
            output::result(&texts.join("\n"))
        }
        Format::Yaml => {
            let mut documents = Vec::new();
            for (plan, _) in planned {
                for warning in &plan.warnings {
                    output::message(&format!("warning: {}\n", output::escape(&warning.message)));
                }
                match &plan.job {
                    Some(job) => {
                        for loan in &plan.loans {
                            let mut object = loan.manifest.value();
                            hide(&mut object);
                            documents.push(yaml::write(&object));
                        }
                        documents.push(yaml::write(job));
                    }
                    None => output::message(&format!("hookhost: {}\n", output::escape(&plan.to_string()))),
                }
            }
            // None is run unless all may be.
            if planned.iter().any(|(plan, _)| plan.job.is_none()) {
                return Ok(());
            }
            output::result(&documents.join("---\n"))?;
            if has_hidden {
                output::message("note: the values of Secrets are hidden; --show-secrets prints them\n");
            }
            Ok(())
        }
    }
}

fn document(plan: &Plan, request: &Request) -> Value {
    let mut document = plan.to_json();
    document["closure"] = json!(request.hook.closure);
    document
}

fn explanation(plan: &Plan, operation: &Operation, request: &Request) -> String {
    let Plan { hook, release, job, explain, warnings, .. } = plan;
    let mut text = format!(
        "Operation {} runs the {} hook {} ({}) of the release {}/{}, revision {}\n{plan}\n",
        operation.name,
        hook.kind,
        hook.name,
        hook.events.join(", "),
        release.namespace,
        release.name,
        release.revision,
    );
    text = output::escape(&text).into_owned();
    if job.is_some() {
        let mut table = Table::new(&["FIELD", "VALUE", "FROM", "DETAILS"]);
        for row in explain {
            table.row([&row.field, &shown(&row.value), &row.source.to_string(), &row.details]);
        }
        text.push_str(&format!("\n{}", table.render()));
    }
    if !request.hook.closure.is_empty() {
        let mut table = Table::new(&["NEEDS", "NAME", "NAMESPACE", "GRANTS"]);
        for object in &request.hook.closure {
            let namespace = if object.namespace.is_empty() { "-" } else { &object.namespace };
            for (n, grant) in grants::of(object).iter().enumerate() {
                match n {
                    0 => table.row([&object.kind, &object.name, namespace, grant]),
                    _ => table.row(["", "", "", grant]),
                }
            }
        }
        text.push_str(&format!("\n{}", table.render()));
    }
    if !warnings.is_empty() {
        text.push('\n');
    }
    for warning in warnings {
        text.push_str(&format!("warning: {}\n", output::escape(&warning.message)));
    }
    text
}

/// Characters of a value in a table; `-o json` has it whole.
const SHOWN_CHARS: usize = 60;

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => return "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
