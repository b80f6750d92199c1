//! `hookhost run`: makes an Operation and follows it to its end.

mod check;
mod duration;
mod follow;
mod lines;
mod operation;
mod screen;
mod watch;

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use hookhost_cluster::client::{Call, Connection, Error, Verb};
use hookhost_core::operation::{CANCEL, OperationType};
use hookhost_core::{Reason, status, wait};
use hookhost_helm::yaml;
use jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::controller::given;
use crate::argument;
use crate::cluster::{self, Place};
use crate::exit::{ErrorFormat, Format, Outcome};
use crate::output;
use crate::problem::Problem;
use follow::{End, Follow, Options, Seen, Step, Until};
use operation::{Kind, Wish};
use screen::Screen;
use watch::{Incoming, Watches};

/// How often the line that shows the time changes.
const TICK: Duration = Duration::from_secs(1);

/// Run a hook, or all hooks of an event: make an Operation, follow it, show the hook's log, exit by its outcome
///
/// Target and hook are looked for first, as far as you may read them, so that a name that is not there makes no Operation.
///
/// The hook's log and the result go to stdout, everything else to stderr. Ctrl-C asks whether to cancel the Operation;
/// without a terminal it cancels. Whatever becomes of this command, the Operation goes on in the cluster.
///
/// Exits with 0 if the hook succeeded, 1 if it failed or was cancelled, 3 if a policy denied it, 4 if it is still blocked
/// when --timeout or --no-follow ends the waiting, 5 if there is no such hook, release or target, 6 if --timeout ends it, or the
/// Operation has waited for too long.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookhost run shop-migrate --target shop -n acme
  hookhost run shop-reindex --target shop -n acme --type RunCommand --deadline 30m --backoff 0
  hookhost run --event post-upgrade --target shop -n acme
  hookhost run backup --target-kind HelmRelease --target db -n acme --timeout 1h -o json
  hookhost run shop-migrate --target shop -n acme --annotation example.com/ticket=OPS-7
  hookhost run shop-migrate --target shop -n acme --dry-run | kubectl apply -f -")]
pub(crate) struct Args {
    /// The hook: its metadata.name in the release, as `hookhost hooks` lists it
    #[arg(required_unless_present_any = ["event", "path"])]
    hook: Option<String>,
    /// How to print the result: as a line for people, or as JSON with the Operation's outputs
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,

    /// What the hook belongs to, by name
    #[arg(long, value_name = "NAME", help_heading = "What runs")]
    target: String,
    /// What kind of thing that is
    #[arg(long, value_enum, value_name = "KIND", default_value_t = Kind::ApplicationInstance, ignore_case = true)]
    #[arg(help_heading = "What runs")]
    target_kind: Kind,
    /// What it does. An ApplicationInstance allows hooks by an annotation for each type: `ops.vworkspace.io/migration: helmHookJob` for
    /// this one. While an Upgrade, a Restore or a Backup runs, nothing else does on the target
    #[arg(long = "type", value_name = "TYPE", default_value = "Migration", ignore_case = true)]
    #[arg(value_parser = operation_type(), help_heading = "What runs")]
    type_of: OperationType,
    /// The hook's kind, Job or Pod, where several have its name
    #[arg(long, value_name = "KIND", help_heading = "What runs")]
    kind: Option<String>,
    /// The template that the hook comes from, whole or its last parts: where several have its name, or instead of a name that
    /// changes with each revision
    #[arg(long, value_name = "PATH", help_heading = "What runs")]
    path: Option<String>,
    /// The namespace that the hook's manifest names, where several have its name and none of them is in the release's
    #[arg(long, value_name = "NAMESPACE", help_heading = "What runs")]
    hook_namespace: Option<String>,
    /// Instead of a hook, all of one of Helm's events, one after the other: post-upgrade, test, …; beside a hook's name, its
    /// event, where several have that name
    #[arg(long, value_name = "EVENT", help_heading = "What runs")]
    event: Option<String>,

    /// Time that the run may take, as in 30m or 1800 [default: the chart's]
    ///
    /// With --event, time for all of its hooks together, from the start of the first, pauses between them included. Each hook has
    /// what is left when it starts, or the chart's own deadline where that is shorter; once nothing is left no other starts.
    #[arg(long, value_name = "TIME", value_parser = duration::parse, help_heading = "How it runs")]
    deadline: Option<Duration>,
    /// Retries before it counts as failed [default: the chart's]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "How it runs")]
    backoff: Option<u32>,
    /// Time that the finished Job is kept, as in 1h or 3600 [default: a day]
    #[arg(long, value_name = "TIME", value_parser = duration::parse, help_heading = "How it runs")]
    ttl: Option<Duration>,
    /// Wait until the chart has the hook, instead of failing
    #[arg(long, help_heading = "How it runs")]
    wait_for_hook: bool,
    /// Create, for as long as it runs, what the hook needs and Helm has deleted: its service account, roles and bindings, config
    /// maps, Secrets, claims, and the network policies that select its pods
    #[arg(long, help_heading = "How it runs")]
    closure: bool,
    /// Time that it may wait, from now until its Job is made, before it fails, as in 30m or 7d [default: as long as hookhost
    /// lets it, a week]
    #[arg(long, value_name = "TIME", value_parser = wait::parse_timeout, help_heading = "How it runs")]
    wait_timeout: Option<Duration>,
    /// Annotation of the Operation, which policies may read; can be given more than once
    #[arg(long = "annotation", value_name = "KEY=VALUE", value_parser = argument::annotation)]
    #[arg(help_heading = "How it runs")]
    annotations: Vec<(String, String)>,
    /// Label of the Operation, which policies may read; can be given more than once
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = argument::label, help_heading = "How it runs")]
    labels: Vec<(String, String)>,
    /// Id of the cluster, for the Operation's label app.vworkspace.io/cluster-id, which the vWorkspace operator's docs require; a
    /// hookhost of another id leaves the Operation alone [default: that of the target's label]
    #[arg(long, value_name = "ID", env = "HOOKHOST_CLUSTER_ID", value_parser = argument::label_value)]
    #[arg(help_heading = "How it runs")]
    cluster_id: Option<String>,
    /// Name of the Operation [default: made of target, hook and time]
    #[arg(long, value_name = "NAME", help_heading = "How it runs")]
    name: Option<String>,

    /// Only ask the API server whether it would take the Operation, and print it
    #[arg(long, conflicts_with_all = ["no_follow", "timeout"], help_heading = "How it is followed")]
    dry_run: bool,
    /// Do not wait for the end: only hear whether it is accepted, refused or blocked
    #[arg(long, conflicts_with = "timeout", help_heading = "How it is followed")]
    no_follow: bool,
    /// Time to wait for the end, as in 1h or 90; the Operation itself goes on [default: as long as it takes]
    #[arg(long, value_name = "TIME", value_parser = duration::parse, help_heading = "How it is followed")]
    timeout: Option<Duration>,

    #[command(flatten)]
    place: Place,
}

fn operation_type() -> impl TypedValueParser<Value = OperationType> {
    PossibleValuesParser::new(OperationType::NAMES.iter().copied()).try_map(|word| {
        let is = |type_of: &OperationType| type_of.as_str().eq_ignore_ascii_case(&word);
        OperationType::ALL.iter().copied().find(is).ok_or("no such type")
    })
}

/// An Operation that was made.
#[derive(Clone, Debug)]
struct Made {
    namespace: String,
    name: String,
    uid: String,
}

impl Args {
    /// How errors are printed.
    pub(super) fn error_format(&self) -> ErrorFormat {
        self.output.errors()
    }
}

/// Makes the Operation, and follows it.
pub(crate) fn run(args: Args) -> Result<Outcome> {
    let Args {
        hook,
        target,
        target_kind,
        type_of,
        kind,
        path,
        hook_namespace,
        event,
        deadline,
        backoff,
        ttl,
        wait_for_hook,
        closure,
        wait_timeout,
        annotations,
        labels,
        cluster_id,
        name,
        dry_run,
        no_follow,
        timeout,
        place,
        output,
    } = args;
    let wish = Wish {
        name,
        hook,
        target,
        target_kind,
        type_of,
        deadline,
        backoff,
        ttl,
        kind,
        path,
        hook_namespace,
        event,
        wait_for_hook,
        closure,
        wait_timeout,
        annotations: entries("--annotation", annotations)?,
        labels: entries("--label", labels)?,
        cluster_id: given(cluster_id),
    };
    cluster::block_on(async move {
        let connection = place.connect().await?;
        let name = wish.operation_name(Timestamp::now());
        let mut object = wish.object(&name, &connection.namespace)?;
        let target = check::check(&connection, &object).await?;
        wish.take_cluster_id(&mut object, target.as_ref());
        if dry_run {
            create(&connection, &object, true).await?;
            return print_dry(&object, output);
        }
        let until = if no_follow { Until::Word } else { Until::End };
        let mut screen = Screen::new(output);
        // Before the Operation is made, so that no Ctrl-C can leave one behind that nobody was asked about.
        let mut interrupts = pin!(tokio::signal::ctrl_c());
        let made = tokio::select! {
            biased;
            made = create(&connection, &object, false) => made?,
            _ = &mut interrupts => return Err(interrupted(&connection.namespace, &name).into()),
        };
        screen.tell(&format!("The Operation {}/{} is made.", made.namespace, made.name));
        let options = Options {
            namespace: made.namespace.clone(),
            name: made.name.clone(),
            until,
            timeout,
            can_ask: screen.can_ask(),
        };
        let ended = follow(connection, made.clone(), options, &mut screen).await.with_context(|| {
            format!(
                "the Operation {}/{} goes on in the cluster, but this cannot follow it",
                made.namespace, made.name
            )
        });
        screen.end();
        let Ended { follow, end, after } = ended?;
        match output {
            Format::Table => output::result(&format!("{}\n", output::escape(&follow.result(end, after))))?,
            Format::Json => output::json(&document(&made, &follow))?,
        }
        Ok(follow.outcome(end))
    })
}

/// What was given as KEY=VALUE, each key once.
fn entries(option: &str, given: Vec<(String, String)>) -> Result<BTreeMap<String, String>, Problem> {
    let mut entries = BTreeMap::new();
    for (key, value) in given {
        if entries.insert(key.clone(), value).is_some() {
            return Err(Problem::new(Reason::UsageInvalid, format!("{option} {key} is given twice")));
        }
    }
    Ok(entries)
}

fn interrupted(namespace: &str, name: &str) -> Problem {
    let message =
        format!("interrupted while the Operation {namespace}/{name} was being made; it may be there");
    Problem::new(Reason::HostFailed, message)
        .with_advice(format!("`kubectl get operation -n {namespace} {name}` tells; deleting it cancels it."))
}

/// Makes the Operation, or only asks whether it could be.
async fn create(connection: &Connection, object: &Value, dry_run: bool) -> Result<Made, Problem> {
    let object: DynamicObject = serde_json::from_value(object.clone()).map_err(|error| {
        Problem::new(Reason::HostFailed, "the Operation is no Kubernetes object").with_source(error)
    })?;
    let (namespace, name) = (connection.namespace.as_str(), object.name_any());
    let resource = watch::operations();
    let call = Call::of_resource(Verb::Create, &resource, Some(namespace), &name);
    let api: Api<DynamicObject> = Api::namespaced_with(connection.requests.clone(), namespace, &resource);
    let params = PostParams { dry_run, field_manager: Some("hookhost".to_owned()) };
    let made = cluster::write(&call, api.create(&params, &object)).await.map_err(|error| match error {
        Error::AlreadyExists { .. } => {
            Problem::new(Reason::ApiRejected, format!("there is an Operation {namespace}/{name} already"))
                .with_advice(
                    "Give another one with --name, or run it again in a second: its name has the time in it.",
                )
        }
        error @ (Error::Unreachable { .. } | Error::TimedOut { .. }) if !dry_run => {
            let message = format!("it is not known whether the Operation {namespace}/{name} was made");
            cluster::problem(message, error)
                .with_advice(format!("Look first: `kubectl get operation -n {namespace} {name}`."))
        }
        error => cluster::problem("cannot make the Operation", error),
    })?;
    Ok(Made { namespace: namespace.to_owned(), name, uid: made.uid().unwrap_or_default() })
}

/// Writes the wish to cancel on the Operation.
async fn cancel(connection: &Connection, made: &Made) -> Result<(), Error> {
    let resource = watch::operations();
    let call = Call::of_resource(Verb::Patch, &resource, Some(&made.namespace), &made.name);
    let api: Api<DynamicObject> =
        Api::namespaced_with(connection.requests.clone(), &made.namespace, &resource);
    // The uid makes sure that no other one of the same name is cancelled.
    let patch = json!({"metadata": {"uid": made.uid, "annotations": {CANCEL: "true"}}});
    cluster::write(&call, api.patch(&made.name, &PatchParams::default(), &Patch::Merge(&patch))).await?;
    Ok(())
}

/// How following ended.
struct Ended {
    follow: Follow,
    end: End,
    after: Duration,
}

async fn follow(connection: Connection, made: Made, options: Options, screen: &mut Screen) -> Result<Ended> {
    let began = Instant::now();
    let mut follow = Follow::new(options);
    let (mut watches, Incoming { mut states, mut lines }) = Watches::begin(connection, made);
    watches.interrupts();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let seen = tokio::select! {
            // What happens comes before what is only shown.
            biased;
            Some(seen) = states.recv() => seen?,
            _ = tick.tick() => Seen::Tick,
            Some(line) = lines.recv(), if !follow.is_asking() => line,
        };
        let after = began.elapsed();
        let is_answer = matches!(seen, Seen::Answered(_));
        let steps = follow.handle(seen, after);
        if is_answer {
            screen.answered();
        }
        for step in steps {
            match step {
                Step::Tell(text) => screen.tell(&text),
                Step::Log(text) => screen.log(&text)?,
                Step::WatchPods(namespace) => watches.pods(namespace),
                Step::ReadLog(source) => watches.log(source),
                Step::Ask => {
                    screen.ask("Cancel the Operation? [y/N] (Ctrl-C again: leave it alone and go) ");
                    watches.answer();
                }
                Step::Cancel => watches.cancel(),
                Step::End(end) => return Ok(Ended { follow, end, after }),
            }
        }
        screen.progress(&follow.progress(after));
    }
}

/// The Operation that was not made, as kubectl takes it.
fn print_dry(object: &Value, format: Format) -> Result<Outcome> {
    match format {
        Format::Table => output::result(&yaml::write(object))?,
        Format::Json => output::json(object)?,
    }
    Ok(Outcome::Done)
}

/// The result for programs.
fn document(made: &Made, follow: &Follow) -> Value {
    let Made { namespace, name, uid } = made;
    let status = follow.status();
    let (reason, message) = follow::reason(status).unzip();
    let mut document = json!({
        "name": name,
        "namespace": namespace,
        "uid": uid,
        "phase": status::phase(status),
        "reason": reason,
        "message": message,
        "outputs": status.get("outputs"),
    });
    if let Some(by) = follow.ended_by() {
        document["endedBy"] = by.into();
    }
    document
}
