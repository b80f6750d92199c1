//! A *prepared* release is a record of the corpus as a cluster is given it: its surroundings, the record with stand-ins in
//! its hooks, and an Operation for each hook that can be run.

use std::collections::BTreeSet;
use std::slice;

use anyhow::{Result, anyhow};
use hookhost_core::operation::Operation;
use hookhost_core::refusal::chain;
use hookhost_helm::hook::{self, Hook};
use hookhost_helm::record::Record;
use hookhost_helm::record::StoredHook;
use hookhost_helm::yaml;
use serde_json::{Value, json};

use super::content;
use super::file::File;
use super::operation;
use super::stand_in::stand_in;
use super::surroundings::{self, Surroundings};
use super::verdict::is_meant;

/// Volumes for one claim. A run that borrows a claim needs one that no other has had.
const MAX_VOLUMES: usize = 8;

/// Fields of a chart in its record that a run has no use for, and that are most of it.
const BULK: [&str; 5] = ["files", "lock", "schema", "templates", "values"];

/// The label with a namespace's organisation.
pub(super) const ORGANISATION: &str = "vworkspace.io/organisation";

/// What a cluster is given.
pub(super) struct Prepared {
    /// The namespaces of the release and of its hooks.
    pub(super) namespaces: BTreeSet<String>,
    /// The namespace, what is in it, and the record.
    pub(super) objects: Vec<Value>,
    /// Its Operations; each with the place of its hook in the entry of the record.
    pub(super) operations: Vec<(usize, Value)>,
    /// What no two releases in one cluster may both have: kinds and names of what is there, or may be.
    pub(super) keys: BTreeSet<[String; 3]>,
}

/// What is the same for all releases.
pub(super) struct Stage<'a> {
    /// The stand-ins' image.
    pub(super) image: &'a str,
    /// Folder of the node for volumes.
    pub(super) volumes: String,
    /// How long a Job may take.
    pub(super) seconds: u64,
}

impl Prepared {
    /// Of a file with a record. Its number tells it from the corpus' others.
    pub(super) fn of(file: &File, number: usize, stage: &Stage<'_>) -> Result<Prepared> {
        let bytes = file.read()?;
        let record = Record::read(&bytes).map_err(|error| anyhow!(chain(&error)))?;
        let (mut content, hooks) = (content::read(&bytes)?, record.hooks());
        let namespace = record.namespace.clone();
        let manifest = content["manifest"].as_str().unwrap_or_default();
        let surroundings = Surroundings::of(manifest, &hooks, &namespace, record.revision);

        change(&mut content, &record, stage.image, &surroundings);
        let namespaces = surroundings::namespaces(&hooks, &namespace);
        let mut objects: Vec<Value> = namespaces.iter().map(|namespace| managed(namespace)).collect();
        objects.extend(volumes(&surroundings, number, hooks.len(), stage));
        objects.extend(surroundings.objects().cloned());
        objects.push(secret(&record, &content)?);

        let mut operations = Vec::new();
        for (place, hook) in hooks.iter().filter(|hook| is_meant(hook)).enumerate() {
            let Some(selector) = operation::selector(hook, &hooks) else { continue };
            let name = format!("corpus-{number}-{place}");
            let operation = operation::operation(&name, &record, &selector, stage.seconds);
            // Of a release whose name or namespace no cluster takes, nothing can be asked.
            if hook.runnable.is_err() || Operation::from_json(operation.clone()).is_err() {
                continue;
            }
            operations.push((place, operation));
        }
        let keys = keys(&record, &surroundings, &hooks);
        Ok(Prepared { namespaces, objects, operations, keys })
    }
}

/// A namespace that hookhost manages, of the corpus' one organisation.
fn managed(name: &str) -> Value {
    let labels = json!({"managed-by": "vworkspace", ORGANISATION: "corpus"});
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

/// Makes the record one of a deployed release whose hooks are stand-ins.
fn change(content: &mut Value, record: &Record, image: &str, surroundings: &Surroundings) {
    content["info"]["status"] = json!("deployed");
    if let Some(chart) = content.get_mut("chart").and_then(Value::as_object_mut) {
        chart.retain(|field, _| !BULK.contains(&field.as_str()));
    }
    let hooks = content.get_mut("hooks").and_then(Value::as_array_mut).into_iter().flatten();
    for (hook, stored) in hooks.zip(&record.stored_hooks) {
        if let Some(manifest) = changed(stored, &record.namespace, image, surroundings) {
            hook["manifest"] = json!(manifest);
        }
    }
}

/// A hook's text with stand-ins; none if it cannot be read.
fn changed(stored: &StoredHook, namespace: &str, image: &str, surroundings: &Surroundings) -> Option<String> {
    let hooks = hook::list(slice::from_ref(stored), namespace);
    let each = hooks.iter().map(|hook| match hook.kind.as_str() {
        _ if !hook.manifest.is_object() => None,
        _ if hook.is_job_or_pod() => Some(yaml::write(&stand_in(hook, image, surroundings))),
        "PersistentVolumeClaim" => Some(yaml::write(&surroundings::object(hook))),
        _ => Some(yaml::write(&hook.manifest)),
    });
    Some(each.collect::<Option<Vec<_>>>()?.join("---\n"))
}

fn secret(record: &Record, content: &Value) -> Result<Value> {
    let Record { name, namespace, revision, .. } = record;
    Ok(json!({
        "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
        "metadata": {
            "name": format!("sh.helm.release.v1.{name}.v{revision}"), "namespace": namespace,
            "labels": {"owner": "helm", "name": name, "version": revision.to_string(), "status": "deployed"},
        },
        "stringData": {"release": content::write(content)?},
    }))
}

fn volumes<'a>(
    surroundings: &'a Surroundings,
    number: usize,
    hooks: usize,
    stage: &'a Stage<'_>,
) -> impl Iterator<Item = Value> + 'a {
    let wanted = surroundings.claims().flat_map(move |claim| vec![claim; hooks.clamp(1, MAX_VOLUMES)]);
    wanted.enumerate().map(move |(n, claim)| {
        let name = format!("corpus-{number}-{n}");
        surroundings::volume(&name, &format!("{}/{name}", stage.volumes), claim)
    })
}

fn keys(record: &Record, surroundings: &Surroundings, hooks: &[Hook]) -> BTreeSet<[String; 3]> {
    let key = |namespace: &str, kind: &str, name: &str| [namespace, kind, name].map(str::to_owned);
    let text = |object: &Value, path: &str| {
        object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let objects = surroundings.objects().map(|object| {
        let [namespace, kind, name] =
            ["/metadata/namespace", "/kind", "/metadata/name"].map(|path| text(object, path));
        key(&namespace, &kind, &name)
    });
    let hooks = hooks.iter().map(|hook| match surroundings::is_cluster_wide(hook) {
        true => key("", &hook.kind, &hook.name),
        false => key(&hook.namespace, &hook.kind, &hook.name),
    });
    objects.chain(hooks).chain([key(&record.namespace, "Release", &record.name)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::root;

    /// All hooks of a record by name, kind, path, and whether they can be run.
    fn outline(record: &Record) -> Vec<[String; 4]> {
        let hooks = record.hooks();
        let outline = |hook: &Hook| {
            [hook.name.clone(), hook.kind.clone(), hook.path.clone(), hook.runnable.is_ok().to_string()]
        };
        hooks.iter().map(outline).collect()
    }

    #[test]
    fn the_fixtures_have_the_same_hooks_with_stand_ins() {
        let stage = Stage { image: "stand-in:1", volumes: "/v".to_owned(), seconds: 1 };
        let mut records = 0;
        for file in File::all(&root().join("tests/fixtures/records")).unwrap() {
            let Ok(before) = Record::read(&file.read().unwrap()) else { continue };
            let prepared = Prepared::of(&file, 0, &stage).unwrap();
            let secret = prepared.objects.last().unwrap();
            let after = Record::read(yaml::write(secret).as_bytes()).unwrap();
            assert_eq!(outline(&after), outline(&before), "{}", file.name);
            assert!(after.status.is_deployed(), "{}", file.name);
            for hook in after.hooks().iter().filter(|hook| hook.runnable.is_ok()) {
                let containers = hookhost_helm::workload::Workload::of(&hook.manifest).containers();
                assert!(containers.iter().all(|container| container.image == "stand-in:1"), "{}", file.name);
            }
            records += 1;
        }
        assert!(records > 70, "{records}");
    }

    #[test]
    fn what_a_run_may_need_is_made_unless_helm_deletes_it() {
        let file = root().join("tests/fixtures/records/helm4/closure.v2.yaml");
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(file, dir.path().join("record")).unwrap();
        let files = File::all(dir.path()).unwrap();
        let stage = Stage { image: "stand-in:1", volumes: "/v".to_owned(), seconds: 1 };
        let prepared = Prepared::of(&files[0], 0, &stage).unwrap();
        let made: BTreeSet<String> = prepared
            .objects
            .iter()
            .map(|object| {
                format!(
                    "{} {}",
                    object["kind"].as_str().unwrap(),
                    object["metadata"]["name"].as_str().unwrap()
                )
            })
            .filter(|made| !made.starts_with("PersistentVolume "))
            .collect();
        let expected = [
            "ConfigMap closure-config",
            "Namespace fixtures",
            "PersistentVolumeClaim closure-admission",
            "Secret closure-admission",
            "Secret closure-registry",
            "Secret sh.helm.release.v1.closure.v2",
        ];
        assert_eq!(made, expected.map(str::to_owned).into());
        // Of these a cluster has one, whatever the namespace.
        assert!(prepared.keys.contains(&["", "ClusterRole", "closure-admission"].map(str::to_owned)));
    }
}
