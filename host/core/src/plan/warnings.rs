//! What a person should know before a run.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::clone::{Cloned, TOO_LARGE};
use crate::loan::Loan;
use crate::operation::Operation;
use crate::request::Request;
use crate::strip::{QUEUE_LABEL, QUEUE_WHY};
use crate::verdict::Solved;
use hookhost_helm::record::Record;
use hookhost_helm::text;
use hookhost_helm::workload::Workload;

/// Something that is allowed, but may not be what is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// One word for programs.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

fn warning(code: &'static str, message: impl Into<String>) -> Warning {
    Warning { code, message: message.into() }
}

/// Objects of a closure that a warning names; the request has them all.
const NAMED: usize = 8;

/// What a mesh or an agent must be told to leave a pod alone, or is told to enter it: the key of a pod's label or
/// annotation, the values that ask for a sidecar, and whose it is.
const INJECTORS: [(&str, &[&str], &str); 4] = [
    ("sidecar.istio.io/inject", &["true"], "Istio"),
    ("linkerd.io/inject", &["enabled", "ingress"], "Linkerd"),
    ("consul.hashicorp.com/connect-inject", &["true"], "Consul"),
    ("vault.hashicorp.com/agent-inject", &["true"], "Vault"),
];

impl Operation {
    /// What is odd about the Operation itself.
    pub fn warnings(&self) -> Vec<Warning> {
        let unknown = self.unknown.iter();
        let mut warnings: Vec<Warning> = unknown
            .map(|path| warning("UnknownField", format!("the Operation's {path} is not read")))
            .collect();
        if self.approvals.required {
            warnings.push(warning("ApprovalRequired", "the Operation runs only once it has been approved"));
        }
        warnings
    }
}

/// What is odd about the record as the one that a plan is made from.
pub fn of_record(record: &Record) -> Vec<Warning> {
    if record.status.is_deployed() {
        return Vec::new();
    }
    let Record { namespace, name, revision, status, .. } = record;
    let message = format!(
        "the release {}/{}, revision {revision}, is {status}; in a cluster the deployed revision would be used",
        text::printable(namespace),
        text::printable(name)
    );
    vec![warning("ReleaseNotDeployed", message)]
}

/// What is odd about running this hook now, whatever the policies say.
pub(super) fn of_hook(request: &Request, loans: &[Loan]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let hook = &request.hook;
    let workload = Workload::of(&hook.manifest);
    let every =
        |class: &str| !hook.events.is_empty() && hook.events.iter().all(|event| event.ends_with(class));
    let events = hook.events.join(", ");
    let asked = request.operation.parameters.get("event").and_then(Value::as_str).unwrap_or_default();
    if every("-delete") || asked.to_ascii_lowercase().ends_with("-delete") {
        let message =
            format!("the hook is written for the release's deletion ({events}) and may destroy its data");
        warnings.push(warning("DeleteHook", message));
    } else if every("-rollback") {
        let message =
            format!("the hook is written for a rollback ({events}) and may undo what the release needs");
        warnings.push(warning("RollbackHook", message));
    } else if every("-install") {
        let message =
            format!("the hook is written for a first installation ({events}), and the release exists");
        warnings.push(warning("InstallHook", message));
    }
    let namespace = request.job_namespace();
    if namespace != request.release.namespace {
        let message = format!(
            "the hook's manifest puts it into the namespace {}, not the release's: it runs where hookhost manages that namespace \
             and it is of the Operation's organisation, and a hook that no digest of Flux covers only with \
             --allow-unverified-namespaces (Helm value allowUnverifiedNamespaces)",
            text::quote(namespace)
        );
        warnings.push(warning("OtherNamespace", message));
    }
    if !loans.is_empty() {
        let loans = loans.iter().map(|loan| loan.object.to_string());
        let message = format!(
            "hookhost makes for the run what Helm has deleted: {}. An upgrade meanwhile takes it away, or fails if its \
             hooks do not have the delete policy before-hook-creation",
            text::shortlist(loans, NAMED)
        );
        warnings.push(warning("ObjectsMade", message));
    } else if !hook.closure.is_empty() {
        let closure = hook.closure.iter().map(|object| format!("{} {}", object.kind, object.name));
        let message = format!(
            "the hook needs other hooks, which Helm may have deleted since: {}",
            text::shortlist(closure, NAMED)
        );
        warnings.push(warning("HookOnlyObjects", message));
    }
    if !workload.is_pod() && !matches!(workload.restart_policy(), Some("Never" | "OnFailure")) {
        let message = "the chart's restartPolicy is absent or Always, which Kubernetes refuses in a Job: set it to \
                       Never or OnFailure in the chart";
        warnings.push(warning("RestartPolicyNotAllowed", message));
    }
    warnings.extend(sidecars(workload));
    warnings
}

/// What is odd about the Job that would run.
pub(super) fn of_run(request: &Request, solved: &Solved, cloned: &Cloned) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let workload = Workload::of(&request.hook.manifest);
    let seconds =
        |spec: Option<&Map<String, Value>>| spec.and_then(|spec| spec.get("activeDeadlineSeconds")?.as_i64());
    let pods_own = seconds(workload.pod_spec());
    match solved.active_deadline_seconds.value {
        None if pods_own.is_none() => warnings.push(warning(
            "NoDeadline",
            "nothing limits how long the run may take: set spec.parameters.activeDeadlineSeconds",
        )),
        Some(0) => {
            warnings.push(warning("DeadlineZero", "with activeDeadlineSeconds 0 the run fails at once"))
        }
        _ => {}
    }
    let longest = solved.active_deadline_seconds.value.unwrap_or(i64::MAX);
    if let Some(own) = pods_own.filter(|own| *own < longest) {
        let message = format!("the chart's pod has a limit of its own, {own} s, which ends it sooner");
        warnings.push(warning("PodDeadline", message));
    }
    let too_large = cloned.stripped.iter().filter(|gone| gone.why == TOO_LARGE).map(|gone| gone.path.clone());
    let too_large = text::shortlist(too_large, NAMED);
    if !too_large.is_empty() {
        let message =
            format!("the Job does not have all that the chart's has, which is too large: {too_large}");
        warnings.push(warning("MetadataTooLarge", message));
    }
    for gone in cloned.stripped.iter().filter(|gone| gone.why == QUEUE_WHY) {
        let message = format!(
            "the run is not in the queue {} of the chart's label {QUEUE_LABEL}, so no quota holds it back: {QUEUE_WHY}",
            gone.value
        );
        warnings.push(warning("QueueLabelDropped", message));
    }
    for gone in &cloned.stripped {
        match gone.path.as_str() {
            "spec.suspend" if gone.value == Value::Bool(true) => {
                warnings.push(warning("SuspendDropped", "the chart's Job is suspended; the run is not"))
            }
            "spec.nodeName" => warnings.push(warning(
                "NodeNameDropped",
                format!("the chart's pod names its node, {}; the run is scheduled instead", gone.value),
            )),
            _ => {}
        }
    }
    warnings
}

/// Whether something beside the hook's own containers may keep the pod, and so the Job, running for ever.
fn sidecars(workload: Workload<'_>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let labels = workload.pod_labels();
    let annotations = workload.pod_annotations();
    for (key, values, whose) in INJECTORS {
        let asked = labels.get(key).or_else(|| annotations.get(key));
        if asked.is_some_and(|value| values.contains(&value.as_str())) {
            let message = format!("the pod asks for a sidecar of {whose} ({key}), which may never end");
            warnings.push(warning("Sidecar", message));
        }
    }
    let names: Vec<String> = workload
        .containers()
        .into_iter()
        .filter(|container| !container.init)
        .map(|c| text::quote(&c.name))
        .collect();
    if names.len() > 1 {
        let message = format!("the run ends only when all of its containers end: {}", text::list(&names));
        warnings.push(warning("SeveralContainers", message));
    }
    warnings
}
