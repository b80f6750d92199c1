//! Whatever a record or a manifest says, reading it and selecting a run of it stays within the bounds in memory.
//!
//! One test, in a process of its own: the peak that Linux counts is the process's.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use hookhost_core::keys::CLAIM;
use hookhost_core::operation::Operation;
use hookhost_core::selection::select;
use hookhost_core::stored::{COMPARED_BYTES, SPEC_BYTES, StoredJob};
use hookhost_core::target::refuse_plain;
use hookhost_helm::limits::{MAX_INFLATED_BYTES, MAX_MANIFEST_BYTES, READ_BYTES};
use hookhost_helm::{Record, yaml};
use serde_json::json;

/// What reading one record may take, and this process without it.
const PEAK_MIB: usize = (READ_BYTES >> 20) + 12;

/// What reading the largest HelmRelease may take besides its text.
const HELM_RELEASE_MIB: usize = 3;

/// Bytes of the largest object: what etcd takes at most.
const OBJECT_BYTES: usize = 3 << 19;

/// The same for a Job that is compared with its claim: the largest, its text, and what it is looked for with.
const JOB_PEAK_MIB: usize = (COMPARED_BYTES >> 20) + 24;

/// The same for YAML that a person holds: twice what it may count for, and its text.
const YAML_PEAK_MIB: usize = ((2 * yaml::MAX_EXPANDED_BYTES + yaml::MAX_TEXT_BYTES) >> 20) + 12;

/// The most that this process has ever had in memory.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

fn gzip(parts: &[(&str, usize)]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for (text, times) in parts {
        let chunk = text.repeat(1024);
        for _ in 0..times / 1024 {
            encoder.write_all(chunk.as_bytes()).unwrap();
        }
        encoder.write_all(text.repeat(times % 1024).as_bytes()).unwrap();
    }
    encoder.finish().unwrap()
}

/// A record of the largest size allowed: `head`, then `unit` as often as it fits, then `tail`.
fn filled(head: &str, unit: &str, tail: &str) -> Vec<u8> {
    filled_to(MAX_INFLATED_BYTES, head, unit, tail)
}

fn filled_to(bytes: usize, head: &str, unit: &str, tail: &str) -> Vec<u8> {
    let room = bytes - head.len() - tail.len();
    gzip(&[(head, 1), (unit, room / unit.len()), (tail, 1)])
}

/// Runs the hook "x".
fn operation() -> Operation {
    let operation = json!({
        "apiVersion": "ops.vworkspace.io/v1alpha1", "kind": "Operation", "metadata": {"name": "run", "namespace": "b"},
        "spec": {
            "targetRef": {"apiVersion": "helm.sh/v3", "kind": "Release", "name": "a"},
            "type": "Migration", "engine": "helmHookJob", "parameters": {"hookName": "x"},
        },
    });
    Operation::from_json(operation).unwrap()
}

/// How many of these a Job's spec may have to be compared with its claim still; which some are.
fn most_compared(unit: &str) -> usize {
    let is_compared = |times: usize| {
        let (list, claim) = (vec![unit; times].join(","), format!("v1.uid.{}", "0".repeat(64)));
        let job = format!(
            r#"{{"metadata": {{"annotations": {{"{CLAIM}": "{claim}"}}}},
                "spec": {{"template": {{"spec": {{"containers": [{list}]}}}}}}}}"#
        );
        StoredJob::read(&job).unwrap().claim.is_some()
    };
    let (mut most, mut too_many) = (0, SPEC_BYTES / 64);
    while too_many - most > 1 {
        let between = most.midpoint(too_many);
        if is_compared(between) { most = between } else { too_many = between }
    }
    most
}

/// What the largest history of a HelmRelease takes besides its text.
fn history_takes() -> usize {
    let head =
        r#"{"metadata": {"name": "a", "namespace": "b"}, "status": {"storageNamespace": "b", "history": [{}"#;
    let text = format!("{head}{}]}}}}", ",{}".repeat((OBJECT_BYTES - head.len()) / 3));
    let before = peak();
    assert!(refuse_plain(&text, "b", "other").is_ok());
    (peak() - before) >> 20
}

#[test]
fn hostile_records_and_manifests_stay_within_the_bounds() {
    // First: the peak never falls.
    let took = history_takes();
    assert!(took < HELM_RELEASE_MIB, "a HelmRelease with the longest history took {took} MiB");
    const HEAD: &str = r#"{"name":"a","namespace":"b","version":1"#;
    let hook = |head: &str| format!(r#"{HEAD},"hooks":[{{"kind":"Job","name":"x","manifest":"{head}"#);
    const JOB: &str = "apiVersion: batch/v1\\nkind: Job\\nmetadata: {name: x}\\nspec: {template: {spec: {containers: [{name: c}]}}}\\n";
    const ROLE: &str =
        "apiVersion: rbac.authorization.k8s.io/v1\\nkind: ClusterRoleBinding\\nmetadata: {name: x}\\n";
    let manifest = |head: &str, unit: &str| filled_to(MAX_MANIFEST_BYTES, &hook(head), unit, "\"}]}");
    for unit in [r#"{"operator":"Exists"}"#, r#""""#, r#""a""#, r#"{"a":{}}"#, r#"[]"#] {
        let most = most_compared(unit);
        let peak = peak() >> 20;
        assert!(most > 1000 && peak < JOB_PEAK_MIB, "a Job with {most} of {unit} took {peak} MiB");
    }
    let operation = operation();
    let records = [
        ("a bomb of 1 GiB in 1 MiB", gzip(&[(" ", 1 << 30)])),
        ("empty hooks", filled(&format!("{HEAD},\"hooks\":["), "{},", "{}]}")),
        ("empty events", filled(&format!("{HEAD},\"hooks\":[{{\"events\":["), "\"\",", "\"\"]}]}")),
        ("a deep list", filled(&format!("{HEAD},\"config\":"), "[", "")),
        ("too large a manifest", filled(&hook("a: "), "x", "\"}]}")),
        ("a manifest of lists", manifest("", "- []\\n")),
        ("a manifest of mappings", manifest("", "- {a: 1}\\n")),
        ("a manifest of Lists", manifest("items:\\n", "- {a: 1}\\n")),
        ("a manifest of one text", manifest("a: ", "x")),
        ("a Job of lists", manifest(&format!("{JOB}x:\\n"), "- []\\n")),
        ("a Job with a long name", manifest(&format!("{JOB}x: "), "x")),
        ("a Job of aliases", manifest(&format!("{JOB}a: &a {{}}\\nx:\\n"), "- *a\\n")),
        ("a role of rules", manifest(&format!("{ROLE}rules:\\n"), "- {verbs: [get]}\\n")),
    ];
    for (what, record) in records {
        if let Ok(record) = Record::read(&record) {
            drop(select(&record, &operation));
        }
        let peak = peak() >> 20;
        assert!(peak < PEAK_MIB, "{what} took {peak} MiB");
    }
    for unit in ["- []\n", "- {a: 1}\n", "---\n", "- &a {}\n"] {
        let _ = yaml::read(&unit.repeat(yaml::MAX_TEXT_BYTES / unit.len()));
        let peak = peak() >> 20;
        assert!(peak < YAML_PEAK_MIB, "{unit:?} took {peak} MiB");
    }
}
