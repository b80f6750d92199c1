//! The decision, kept on the Job: which policies, in which build, made which value what it is.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::request::Request;
use crate::verdict::{Effective, Entry, PolicyUse, Solved};

/// Annotation: the decision as compact JSON.
pub const DECISION: &str = "ops.vworkspace.io/decision";
/// Bytes of its value: with the policies' annotations (192 KiB) and the full names (1 KiB) it stays within the 256 KiB
/// that Kubernetes takes for all annotations.
pub const DECISION_BYTES: usize = 48 * 1024;

/// Shorter and shorter forms are tried until one fits; what is left out is still in the decision log.
pub(super) fn decision(request: &Request, solved: &Solved, policies: &[PolicyUse]) -> String {
    let hook = &request.hook;
    let release = &request.release;
    let operation = &request.operation;
    let mut decision = json!({
        "operation": {"namespace": operation.namespace, "name": operation.name},
        "hook": {"kind": hook.kind, "name": hook.name},
        "release": {
            "name": release.name, "revision": release.revision, "chart": release.chart,
            "chartVersion": release.chart_version,
        },
        "policies": policies,
        "values": {
            "activeDeadlineSeconds": number(&solved.active_deadline_seconds),
            "backoffLimit": number(&solved.backoff_limit),
            "ttlSecondsAfterFinished": number(&solved.ttl_seconds_after_finished),
        },
    });
    for (what, added) in [("labels", &solved.labels), ("annotations", &solved.annotations)] {
        if !added.is_empty() {
            decision[what] = entries(added);
        }
    }
    let fits = |decision: &Value| Some(decision.to_string()).filter(|text| text.len() <= DECISION_BYTES);
    if let Some(text) = fits(&decision) {
        return text;
    }
    decision["labels"] = json!(solved.labels.len());
    decision["annotations"] = json!(solved.annotations.len());
    if let Some(text) = fits(&decision) {
        return text;
    }
    json!({"operation": decision["operation"], "policies": policies.len(), "labels": solved.labels.len(), "annotations": solved.annotations.len()})
        .to_string()
}

fn number(effective: &Effective) -> Value {
    let mut number = json!({"value": effective.value, "source": effective.source});
    if let Some(before) = &effective.instead_of {
        number["insteadOf"] = json!({"value": before.value, "source": before.source});
    }
    number
}

fn entries(entries: &BTreeMap<String, Entry>) -> Value {
    entries.iter().map(|(key, entry)| (key.clone(), json!(entry.policies))).collect()
}
