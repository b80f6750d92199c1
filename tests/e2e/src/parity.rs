//! *Parity*: for an Operation that the controller rejects, `hookhost plan` reports the same reason and the same message.
//!
//! [`World::refused`](crate::World::refused) and [`World::blocked`](crate::World::blocked) check it, so that every rejection that any
//! end-to-end test brings about is a case.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::Command;

use serde_json::{Value, json};

use crate::{World, hookhost, ok, says, stock_policies};

/// Reasons that only the controller can find, with what it knows and a person who plans does not.
const ONLY_THE_CONTROLLER: [(&str, &str); 25] = [
    ("AccessForbidden", "its own rights"),
    ("AdmissionDenied", "the answer to its write"),
    ("ApiRejected", "the answer to its write"),
    ("AwaitingApproval", "the control plane's key"),
    ("ClaimInvalid", "its key of claims"),
    ("ClaimKeyUnavailable", "its key of claims"),
    ("ClosureRefused", "the content of objects, and which of them it may create"),
    ("ClusterUnreachable", "the answer to its write"),
    ("ConflictingOperation", "its place among the other Operations"),
    ("CrdMissing", "what its API server has, which tests hide from it"),
    ("DeadlineExceeded", "when the run began"),
    ("HookNotVerified", "whether test hooks are allowed"),
    ("HostBusy", "its memory"),
    ("JobNameTaken", "the Jobs in the cluster"),
    ("JobRejected", "the answer to its write"),
    ("NamespaceNotManaged", "its gate and its organisations"),
    ("OperationTooLarge", "the file of one is refused before, by the reader of files"),
    ("PolicyHeld", "the time that is left of it"),
    ("PolicyRequired", "whether a policy is required"),
    ("PolicyTimedOut", "the machine that it runs on"),
    ("PolicyUnavailable", "which HookPolicies it has loaded"),
    ("ReleaseChanged", "the release that the run began with"),
    ("TargetKindDisabled", "which kinds are served"),
    ("TooManyOperations", "the other Operations"),
    ("WaitTimeout", "how long it has waited"),
];

/// Checks that a plan of the Operation reports what its status does. `reported` is the condition's message.
///
/// # Panics
/// It does not.
pub(crate) fn check(world: &World, operation: &Value, reason: &str, reported: &str) {
    // The administrator's values, which a plan does not know.
    let only_it_knows =
        ["Helm value closure.enabled", "Helm value helmReleases.enabled", " for organisation \""];
    let is_of_values = only_it_knows.iter().any(|text| reported.contains(text));
    if is_of_values || ONLY_THE_CONTROLLER.iter().any(|(known, _)| *known == reason) {
        return;
    }
    let metadata = &operation["metadata"];
    let kept = ["name", "namespace", "labels", "annotations"];
    let kept = kept.iter().filter(|field| !metadata[field].is_null());
    let metadata: serde_json::Map<String, Value> =
        kept.map(|field| ((*field).to_owned(), metadata[field].clone())).collect();
    let planned = json!({
        "apiVersion": operation["apiVersion"], "kind": operation["kind"], "metadata": metadata,
        "spec": operation["spec"],
    });
    let name = operation["metadata"]["uid"].as_str().unwrap_or_default();
    let file = world.cluster.logs().join(format!("plan-{name}.json"));
    ok(std::fs::write(&file, planned.to_string()));
    let kubeconfig = world.cluster.kubeconfig().display().to_string();
    let mut plan = Command::new(hookhost());
    plan.args(["plan", "-o", "json", "--kubeconfig", &kubeconfig, "-f"]).arg(&file);
    plan.env("HOME", world.cluster.logs()).env("HOOKHOST_STOCK_POLICIES", stock_policies());
    let plan = ok(plan.output());
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    let (printed, error) = (json(&plan.stdout), json(&plan.stderr));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let steps = printed["steps"].as_array().cloned().unwrap_or_else(|| vec![printed.clone()]);
    let warnings = steps.iter().flat_map(|step| step["warnings"].as_array().cloned().unwrap_or_default());
    let verdicts = steps.iter().map(|step| (text(&step["reason"]), text(&step["message"])));
    let mut found: Vec<(String, String)> =
        verdicts.chain(warnings.map(|warning| (text(&warning["code"]), text(&warning["message"])))).collect();
    found.push((text(&error["error"]["reason"]), text(&error["error"]["message"])));
    let is_same = |(code, message): &(String, String)| {
        // Of an event the controller names the hook, and a plan has each hook apart.
        let is_of_step = reported.starts_with("the hook ") && reported.ends_with(&format!("): {message}"));
        code == reason && !reported.is_empty() && (message.ends_with(reported) || is_of_step)
    };
    assert!(
        found.iter().any(is_same),
        "the controller reports {reason}: {reported}\nThe plan: {found:#?}\n{plan:?}\n{operation:#}"
    );
    let cases = OpenOptions::new().create(true).append(true).open(world.cluster.logs().join("parity.txt"));
    ok(writeln!(ok(cases), "{reason} {}", says(operation, "Accepted")));
}
