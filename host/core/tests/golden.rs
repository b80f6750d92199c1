//! The Job of every hook in every fixture record, as a file to be read and compared.
//!
//! The records in `tests/fixtures/records/HELM/RELEASE.vREVISION.yaml` were written by real Helms. Each of their hooks
//! that can be run is planned with the parameters of the specification's worked example, without policies. The Job of
//! Helm 4's record is compared with `tests/fixtures/golden/RELEASE.vREVISION/HOOK.yaml`; that of Helm 3's must be the
//! same. Of a record with very many hooks, which are alike, the first have a golden file.
//!
//! After a change that is meant to change Jobs, or after `cargo xtask fixtures`, write the files anew and read the
//! difference before committing it:
//!
//! ```sh
//! HOOKHOST_UPDATE_GOLDEN=1 cargo test -p hookhost-core --test golden
//! ```

// Outside of `#[test]` functions too, a test fails by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hookhost_core::operation::Operation;
use hookhost_core::plan::{Plan, plan};
use hookhost_core::request::{Inputs, Release, Request, Target};
use hookhost_helm::hook::Hook;
use hookhost_helm::record::Record;
use hookhost_helm::yaml;
use serde_json::{Value, json};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures")
}

/// The records that a Helm wrote, by their name without the extension: "nextcloud-myteam.v2".
fn records(helm: &str) -> BTreeMap<String, Record> {
    let mut records = BTreeMap::new();
    let folder = fixtures().join("records").join(helm);
    for entry in folder.read_dir().unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        // Beside each record lies what Helm says of its hooks: NAME.hooks.yaml.
        let is_record = stem
            .rsplit_once(".v")
            .is_some_and(|(_, revision)| revision.bytes().all(|digit| digit.is_ascii_digit()));
        if is_record {
            let record = Record::read(&fs::read(&path).unwrap());
            let record = record.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            records.insert(stem.to_owned(), record);
        }
    }
    records
}

/// A hook's name, or its start: an Operation's and a file's name have 253 and 255 bytes, as the longest hook's has.
fn start(name: &str) -> &str {
    name.get(..200).unwrap_or(name).trim_end_matches(['.', '-'])
}

/// The plan of one hook with the parameters of the specification's worked example.
fn planned(record: &Record, hooks: &[Hook], hook: &Hook) -> Plan {
    let operation = json!({
        "apiVersion": "ops.vworkspace.io/v1alpha1",
        "kind": "Operation",
        "metadata": {
            "name": format!("{}-2026-05-28", start(&hook.name)),
            "namespace": record.namespace,
            "uid": "4f6a0000-0000-4000-8000-000000000000",
        },
        "spec": {
            "targetRef": {
                "apiVersion": "apps.vworkspace.io/v1alpha1", "kind": "ApplicationInstance", "name": record.name
            },
            "type": "Migration",
            "engine": "helmHookJob",
            "parameters": {"hookName": hook.name, "activeDeadlineSeconds": 1800, "backoffLimit": 1},
        },
    });
    let operation = Operation::from_json(operation).unwrap();
    let target =
        Target { kind: "ApplicationInstance".to_owned(), name: record.name.clone(), ..Target::default() };
    let request = Request::build(Inputs {
        operation: &operation,
        approved_by: None,
        target,
        release: Release::from(record),
        hook,
        hooks,
        organisation: record.namespace.clone(),
        cluster_id: "cluster-prod-1".to_owned(),
        now: "2026-05-28T14:00:00Z".parse().unwrap(),
    });
    plan(&request.unwrap(), &[]).unwrap_or_else(|error| panic!("{}: {error}", hook.name))
}

/// Hooks of one record that have a golden file; only the record near Helm's limit has more.
const GOLDEN_HOOKS: usize = 30;

/// Every hook of that Helm's records that can be run, with its plan, by the path of its golden file below `golden`.
fn plans(helm: &str) -> BTreeMap<String, (Hook, Plan)> {
    let mut plans = BTreeMap::new();
    for (stem, record) in records(helm) {
        let hooks = record.hooks();
        for hook in hooks.iter().filter(|hook| hook.runnable.is_ok()).take(GOLDEN_HOOKS) {
            let plan = planned(&record, &hooks, hook);
            // Hooks may share a name; Helm's order tells them apart.
            let name = |n: usize| if n == 1 { String::new() } else { format!(".{n}") };
            let mut path = (1..).map(|n| format!("{stem}/{}{}.yaml", start(&hook.name), name(n)));
            let path = path.find(|path| !plans.contains_key(path)).unwrap();
            plans.insert(path, (hook.clone(), plan));
        }
    }
    assert!(plans.len() > 20, "only {} hooks in tests/fixtures/records", plans.len());
    plans
}

/// Paths of all files below `folder`, relative to `root`.
fn files(folder: &Path, root: &Path, found: &mut Vec<String>) {
    for entry in folder.read_dir().into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, root, found);
        } else {
            found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        }
    }
}

#[test]
fn the_job_of_every_fixture_hook_is_the_golden_one() {
    let golden = fixtures().join("golden");
    let plans = plans("helm4");
    if std::env::var_os("HOOKHOST_UPDATE_GOLDEN").is_some() {
        let _ = fs::remove_dir_all(&golden);
        for (path, (_, plan)) in &plans {
            let path = golden.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, yaml::write(plan.job.as_ref().unwrap())).unwrap();
        }
    }
    let mut differences = Vec::new();
    for (path, (_, plan)) in &plans {
        let expected = fs::read_to_string(golden.join(path)).unwrap_or_default();
        let found = yaml::write(plan.job.as_ref().unwrap());
        if found != expected {
            let diff = similar::TextDiff::from_lines(&expected, &found).unified_diff().to_string();
            differences.push(format!("--- {path}\n{diff}"));
        }
    }
    let mut kept = Vec::new();
    files(&golden, &golden, &mut kept);
    differences.extend(
        kept.iter().filter(|path| !plans.contains_key(*path)).map(|path| format!("{path}: no such hook")),
    );
    assert!(differences.is_empty(), "see the head of this file\n{}", differences.join("\n"));
}

#[test]
fn both_helms_records_give_the_same_jobs() {
    let helm3 = plans("helm3");
    // Names that a chart makes at random differ each time a chart is rendered, and so are in one record only.
    let both: Vec<_> = plans("helm4").into_iter().filter(|(path, _)| helm3.contains_key(path)).collect();
    assert!(both.len() > 100, "only {} hooks in both Helms' records", both.len());
    for (path, (_, plan)) in both {
        assert_eq!(helm3[&path].1.job, plan.job, "{path}");
    }
}

#[test]
fn a_golden_file_reads_back_as_the_very_job() {
    for (path, (_, plan)) in plans("helm4") {
        let job = plan.job.unwrap();
        assert_eq!(yaml::read_one(&yaml::write(&job)).unwrap(), job, "{path}");
    }
}

#[test]
fn every_fixture_hooks_pod_is_the_charts() {
    for (path, (hook, plan)) in plans("helm4") {
        let job = plan.job.unwrap();
        let mut cloned = job["spec"]["template"]["spec"].clone();
        let chart = if hook.kind == "Pod" {
            // The one field of a Pod that may differ.
            for field in ["restartPolicy", "nodeName"] {
                cloned.as_object_mut().unwrap().remove(field);
            }
            let mut spec = hook.manifest["spec"].clone();
            for field in ["restartPolicy", "nodeName"] {
                spec.as_object_mut().unwrap().remove(field);
            }
            spec
        } else {
            hook.manifest["spec"]["template"]["spec"].clone()
        };
        assert_eq!(cloned, chart, "{path}");
        let labels =
            |value: &Value| value.pointer("/spec/template/metadata/labels").cloned().unwrap_or_default();
        let (chart, cloned) = (labels(&hook.manifest), labels(&job));
        let controllers = |key: &str| {
            key.starts_with("batch.kubernetes.io/") || ["controller-uid", "job-name"].contains(&key)
        };
        for (key, value) in chart.as_object().into_iter().flatten().filter(|(key, _)| !controllers(key)) {
            assert_eq!(&cloned[key], value, "{path}: {key}");
        }
    }
}
