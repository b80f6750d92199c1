//! Records that real Helms wrote are read as Helm's own Go packages read them, hook by hook: those in tests/fixtures, or
//! in the folder `$HOOKHOST_FIXTURES`, where `cargo xtask test` has just had them written.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use hookhost_helm::Record;
use hookhost_helm::hook::{self, NotRunnable};
use hookhost_helm::status::Status;
use serde_json::{Value, json};

/// Every record, with what Helm's packages read in it.
fn records() -> Vec<(String, Record, Vec<Value>)> {
    let kept = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    let folder = std::env::var_os("HOOKHOST_FIXTURES").map_or_else(kept, PathBuf::from).join("records");
    let mut records = Vec::new();
    for helm in ["helm3", "helm4"] {
        let mut files: Vec<PathBuf> =
            fs::read_dir(folder.join(helm)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files {
            let name = file.file_name().unwrap().to_str().unwrap();
            let Some(release) = name.strip_suffix(".yaml").or_else(|| name.strip_suffix(".json")) else {
                continue;
            };
            if release.ends_with(".hooks") {
                continue;
            }
            let golden = fs::read(file.with_file_name(format!("{release}.hooks.json"))).unwrap();
            let record =
                Record::read(&fs::read(&file).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
            records.push((format!("{helm}/{release}"), record, serde_json::from_slice(&golden).unwrap()));
        }
    }
    assert!(records.len() >= 60, "{} records", records.len());
    records
}

#[test]
fn a_record_has_the_hooks_that_helm_reads_in_it() {
    for (name, record, golden) in records() {
        assert!(name.ends_with(&format!("{}.v{}", record.name, record.revision)), "{name}: {record:?}");
        let stored: Vec<Value> = record
            .stored_hooks
            .iter()
            .map(|hook| {
                json!({
                    "name": hook.name, "kind": hook.kind, "path": hook.path, "events": hook.events,
                    "weight": hook.weight, "deletePolicies": hook.delete_policies,
                })
            })
            .collect();
        let fields = ["name", "kind", "path", "events", "weight", "deletePolicies"];
        let mut golden = golden;
        for hook in &mut golden {
            hook.as_object_mut().unwrap().retain(|field, _| fields.contains(&field.as_str()));
            // Helm's weights have 64 bits; ours end at 32.
            hook["weight"] = json!(hook["weight"].as_i64().unwrap().clamp(i32::MIN.into(), i32::MAX.into()));
        }
        assert_eq!(stored, golden, "{name}");
    }
}

#[test]
fn a_manifest_is_what_the_api_server_would_get() {
    for (name, record, golden) in records() {
        for (stored, golden) in record.stored_hooks.iter().zip(&golden) {
            let hooks = hook::list(std::slice::from_ref(stored), &record.namespace);
            let title = format!("{name} {} {:?}", stored.path, stored.name);
            if golden.get("error").is_some() {
                assert!(matches!(hooks[0].runnable, Err(NotRunnable::Unreadable(_))), "{title}");
                continue;
            }
            let manifests: Vec<&Value> = hooks.iter().map(|hook| &*hook.manifest).collect();
            let objects = golden["objects"].as_array().unwrap().iter();
            let expected: Vec<&Value> = objects
                .flat_map(|object| match object.get("items").and_then(Value::as_array) {
                    Some(items) => items.iter().collect(),
                    None => vec![object],
                })
                .collect();
            assert_eq!(manifests, expected, "{title}");
        }
    }
}

#[test]
fn states_are_those_in_which_the_fixtures_were_left() {
    let records = records();
    let status = |name: &str| records.iter().find(|(of, ..)| of == name).unwrap().1.status;
    for helm in ["helm3", "helm4"] {
        for (name, expected) in [
            ("nextcloud-myteam.v3", Status::Deployed),
            ("failing-install.v1", Status::Failed),
            ("events.v2", Status::Superseded),
            ("pending-install.v1", Status::PendingInstall),
            ("pending-upgrade.v2", Status::PendingUpgrade),
            ("pending-rollback.v3", Status::PendingRollback),
            ("uninstalled.v1", Status::Uninstalled),
            ("uninstalling.v1", Status::Uninstalling),
        ] {
            assert_eq!(status(&format!("{helm}/{name}")), expected, "{helm}/{name}");
        }
    }
}
