//! Where every field of a Job comes from.

use serde::Serialize;
use serde_json::{Value, json};

use crate::clone::{self, Cloned, Keys};
use crate::keys;
use crate::keys::CLOSURE;
use crate::keys::{DECISION, STEP};
use crate::loan::Loan;
use crate::request::Request;
use crate::step::Step;
use crate::verdict::{Effective, Entry, Party, Solved, Source};
use hookhost_helm::name;
use hookhost_helm::workload::Workload;

/// One field of the Job, or one that is left out of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The field's path, for example "spec.activeDeadlineSeconds".
    pub field: String,
    /// Its value; null where the field is left out, or is not known before the Operation exists.
    pub value: Value,
    /// Who gives it.
    pub source: Source,
    /// Why, for people; may be empty.
    pub details: String,
}

fn row(field: impl Into<String>, value: impl Into<Value>, source: Source, details: impl Into<String>) -> Row {
    Row { field: field.into(), value: value.into(), source, details: details.into() }
}

/// A row for each field outside of the pod template, for what of the template a reader looks for, and for what is
/// left out.
pub(super) fn rows(
    request: &Request,
    solved: &Solved,
    cloned: &Cloned,
    loans: &[Loan],
    step: Option<Step>,
) -> Vec<Row> {
    let mut rows = Vec::new();
    metadata(request, solved, &cloned.kept, !loans.is_empty(), step, &mut rows);
    let workload = Workload::of(&request.hook.manifest);
    let declared = workload.declared().unwrap_or_default();
    let own_ttl = declared
        .ttl_seconds_after_finished
        .map(|ttl| format!("the chart's own {ttl} is for Helm's Job and not used"));
    let no_limit = solved.active_deadline_seconds.value.is_none().then(|| "no limit".to_owned());
    let whole = (step.is_some() && solved.active_deadline_seconds.source == Source::Operation)
        .then(|| "for all hooks of the event: each has what is left when it starts".to_owned());
    let default = solved.backoff_limit.value.is_none().then(|| match workload.backoff_default() {
        6 => "Kubernetes' default, 6".to_owned(),
        _ => "each index has its own limit".to_owned(),
    });
    let once = (solved.backoff_limit.source == Source::Hookhost).then(|| "Helm runs a Pod once".to_owned());
    rows.push(number("spec.activeDeadlineSeconds", &solved.active_deadline_seconds, no_limit.or(whole)));
    rows.push(number("spec.backoffLimit", &solved.backoff_limit, default.or(once)));
    rows.push(number("spec.ttlSecondsAfterFinished", &solved.ttl_seconds_after_finished, own_ttl));

    match (loans.is_empty(), step) {
        (true, None) => {}
        (false, None) => {
            rows.push(row("spec.suspend", true, Source::Hookhost, "until the objects below are made"));
        }
        (_, Some(step)) => {
            let details = format!("until it is its turn: step {step}");
            rows.push(row("spec.suspend", true, Source::Hookhost, details));
        }
    }

    const OWNED: [&str; 5] =
        ["activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished", "suspend", "template"];
    let spec = cloned.job.get("spec").and_then(Value::as_object);
    for (field, value) in spec.into_iter().flatten().filter(|(field, _)| !OWNED.contains(&field.as_str())) {
        rows.push(row(format!("spec.{field}"), value.clone(), Source::Chart, ""));
    }
    template(request, solved, workload, &mut rows);
    for loan in loans {
        rows.push(row(
            loan.object.kind.as_str(),
            loan.object.name.clone(),
            Source::Chart,
            "a hook that Helm deletes: made for the run, taken back after it",
        ));
    }
    for gone in &cloned.stripped {
        let what = if gone.is_on_pods { "left out of the Job, its pods have it" } else { "left out" };
        rows.push(row(&gone.path, Value::Null, Source::Hookhost, format!("{what}: {}", gone.why)));
    }
    rows
}

fn metadata(
    request: &Request,
    solved: &Solved,
    kept: &Keys,
    is_borrowing: bool,
    step: Option<Step>,
    rows: &mut Vec<Row>,
) {
    let job_name = clone::job_name(request, step);
    let details = if job_name == request.operation.name {
        "the Operation's name".to_owned()
    } else if request.operation.uid.is_empty() {
        "the Operation's name and a hash, which changes once the Operation has a UID".to_owned()
    } else {
        "the Operation's name and a hash of its UID".to_owned()
    };
    rows.push(row("metadata.name", job_name, Source::Operation, details));
    let namespace = request.job_namespace();
    let details = match namespace == request.release.namespace {
        true => "the release's namespace",
        false => "the hook's own, as its manifest names it",
    };
    rows.push(row("metadata.namespace", namespace, Source::Chart, details));
    for (key, full, why) in clone::owned_labels(request) {
        let value = name::label_value(full);
        if value == full {
            rows.push(row(format!("metadata.labels[\"{key}\"]"), value, Source::Hookhost, why));
        } else {
            let cut = format!("{why}, shortened; the whole is in the annotation of this name");
            rows.push(row(format!("metadata.labels[\"{key}\"]"), value, Source::Hookhost, cut));
            rows.push(row(format!("metadata.annotations[\"{key}\"]"), full, Source::Hookhost, why));
        }
    }
    if request.operation.uid.is_empty() {
        let field = format!("metadata.labels[\"{}\"]", keys::OPERATION);
        rows.push(row(field, Value::Null, Source::Operation, "its UID, once it has been created"));
    }
    for (what, kept, added, details) in [
        ("labels", &kept.labels, &solved.labels, "also on the pods"),
        ("annotations", &kept.annotations, &solved.annotations, ""),
    ] {
        let field = |key: &str| format!("metadata.{what}[\"{key}\"]");
        for (key, value) in kept.iter().filter(|(key, _)| !added.contains_key(*key)) {
            rows.push(row(field(key), value.clone(), Source::Chart, ""));
        }
        for (key, Entry { value, policies }) in added {
            let instead = kept.get(key).filter(|of_chart| *of_chart != value);
            let instead = instead.map(|of_chart| format!("instead of {of_chart} (chart)"));
            let details = [details.to_owned()].into_iter().chain(instead).filter(|text| !text.is_empty());
            let details = details.collect::<Vec<_>>().join("; ");
            rows.push(row(field(key), value.clone(), Source::Policies(policies.clone()), details));
        }
    }
    let decision = "where these values come from, as JSON";
    rows.push(row(format!("metadata.annotations[\"{DECISION}\"]"), Value::Null, Source::Hookhost, decision));
    if let Some(step) = step {
        let what = "which of the event's hooks it is";
        rows.push(row(format!("metadata.annotations[\"{STEP}\"]"), step.to_string(), Source::Hookhost, what));
    }
    if is_borrowing {
        let what = "the objects that are made for the run";
        rows.push(row(format!("metadata.annotations[\"{CLOSURE}\"]"), Value::Null, Source::Hookhost, what));
    }
    let (value, details) = match request.operation.uid.is_empty() {
        false => (json!([keys::FINALIZER]), "keeps the Job until its result is on the Operation"),
        true => (Value::Null, "one, once the Operation has been created"),
    };
    rows.push(row("metadata.finalizers", value, Source::Hookhost, details));
    let (value, details) = match (clone::is_same_namespace(request), request.operation.uid.is_empty()) {
        (true, false) => (json!(request.operation.name), "deleting the Operation deletes the Job"),
        (true, true) => (Value::Null, "the Operation, once it has been created"),
        (false, _) => (Value::Null, "none: the Operation is in another namespace and cannot own the Job"),
    };
    rows.push(row("metadata.ownerReferences", value, Source::Operation, details));
}

fn number(field: &str, number: &Effective, note: Option<String>) -> Row {
    let mut details: Vec<String> = Vec::new();
    if let Some(before) = &number.instead_of {
        let value = before.value.map_or_else(|| "none".to_owned(), |value| value.to_string());
        details.push(format!("instead of {value} ({})", before.source));
    }
    for demand in &number.demands {
        let to_read = if demand.party == Party::Hookhost { ", so that the result can be read" } else { "" };
        details.push(format!("{demand}{to_read}"));
    }
    details.extend(note);
    row(field, json!(number.value), number.source.clone(), details.join("; "))
}

fn template(request: &Request, solved: &Solved, workload: Workload<'_>, rows: &mut Vec<Row>) {
    let release = &request.release;
    let deployed = release.last_deployed.map(|time| format!(", deployed {time}")).unwrap_or_default();
    let rendered = format!(
        "as rendered for revision {} of {} with chart {} {}{deployed}",
        release.revision, release.name, release.chart, release.chart_version,
    );
    rows.push(row("spec.template", json!(request.hook.name), Source::Chart, rendered));
    const LABELS: &str = "spec.template.metadata.labels";
    if !request.operation.uid.is_empty() {
        let field = format!("{LABELS}[\"{}\"]", keys::OPERATION);
        rows.push(row(
            field,
            name::label_value(&request.operation.uid),
            Source::Hookhost,
            "the Operation's UID",
        ));
    }
    for (key, entry) in &solved.labels {
        let field = format!("{LABELS}[\"{key}\"]");
        rows.push(row(field, entry.value.clone(), Source::Policies(entry.policies.clone()), ""));
    }
    const SPEC: &str = "spec.template.spec";
    rows.push(row(format!("{SPEC}.serviceAccountName"), workload.service_account(), Source::Chart, ""));
    let (policy, source, details) = match workload.restart_policy() {
        Some(policy @ ("Never" | "OnFailure")) => (policy, Source::Chart, ""),
        _ if workload.is_pod() => ("Never", Source::Hookhost, "a Job does not allow a Pod's default, Always"),
        other => (other.unwrap_or("Always"), Source::Chart, "Kubernetes does not allow it in a Job"),
    };
    rows.push(row(format!("{SPEC}.restartPolicy"), policy, source, details));
    for container in workload.containers() {
        let list = if container.init { "initContainers" } else { "containers" };
        let field = format!("{SPEC}.{list}[{}].image", container.name);
        rows.push(row(field, container.image, Source::Chart, ""));
    }
}
