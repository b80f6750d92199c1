//! The *surroundings* of a release are what its hooks' pods may need and what Helm would have left in the cluster: of its
//! own objects, and of the hooks that are not deleted after their event.

use std::collections::{BTreeMap, BTreeSet};

use hookhost_core::kind::Kind;
use hookhost_core::loan::ByHelm;
use hookhost_helm::hook::{self, Hook};
use hookhost_helm::record::StoredHook;
use hookhost_helm::workload::at;
use serde_json::{Map, Value, json};

/// The delete policy that leaves nothing in the cluster.
pub(super) const DELETED: &str = "hook-succeeded";

/// Namespace ("" for what has none), kind and name of an object.
type Key = (String, String, String);

/// What is around a release's hooks, in the namespaces in which they run; and what they have that is in none.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    /// Objects to be made.
    objects: BTreeMap<Key, Value>,
    /// Hooks that are made for a run only.
    lent: BTreeMap<Key, Value>,
}

impl Surroundings {
    /// Of a release in this namespace at this revision, by its rendered `manifest` and its hooks.
    pub(super) fn of(manifest: &str, hooks: &[Hook], namespace: &str, revision: u32) -> Surroundings {
        let mut surroundings = Surroundings::default();
        let own: Vec<Hook> =
            documents(manifest).iter().flat_map(|document| objects_of(document, namespace)).collect();
        let own = own.iter().filter(|object| !is_cluster_wide(object));
        let namespaces = namespaces(hooks, namespace);
        for hook in own.chain(hooks).filter(|hook| is_needed(hook, &namespaces)) {
            let namespace = if is_cluster_wide(hook) { "" } else { hook.namespace.as_str() };
            let key = key(namespace, &hook.kind, &hook.name);
            let object = object(hook);
            if is_left(hook, revision) {
                surroundings.objects.insert(key, object);
            } else {
                surroundings.lent.insert(key, object);
            }
        }
        surroundings
    }

    /// What is to be made.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Value> {
        self.objects.values()
    }

    /// Namespaces and names of the claims that are made, and of those that a run may make.
    pub(super) fn claims(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.objects.keys().chain(self.lent.keys());
        let claims = all.filter(|(_, kind, _)| kind == "PersistentVolumeClaim");
        claims.map(|(namespace, _, name)| (namespace.as_str(), name.as_str()))
    }

    /// The keys of a Secret's or config map's data, if the release has it in this namespace.
    pub(super) fn keys(&self, namespace: &str, kind: &str, name: &str) -> Vec<&str> {
        let object = self.get(namespace, kind, name).unwrap_or(&Value::Null);
        let maps = ["data", "stringData"].into_iter().filter_map(|field| object.get(field)?.as_object());
        maps.flat_map(Map::keys).map(String::as_str).collect()
    }

    /// Whether a pod of this namespace is given its service account's token: it says so itself, or else the account does.
    pub(super) fn has_token(&self, namespace: &str, pod: &Map<String, Value>) -> bool {
        const MOUNTS: &str = "automountServiceAccountToken";
        let named = |field: &str| pod.get(field).and_then(Value::as_str).filter(|name| !name.is_empty());
        let account = named("serviceAccountName").or_else(|| named("serviceAccount")).unwrap_or("default");
        let of_pod = pod.get(MOUNTS).and_then(Value::as_bool);
        let account = self.get(namespace, "ServiceAccount", account);
        let of_account = account.and_then(|account| account.get(MOUNTS)?.as_bool());
        of_pod.or(of_account).unwrap_or(true)
    }

    fn get(&self, namespace: &str, kind: &str, name: &str) -> Option<&Value> {
        let key = key(namespace, kind, name);
        self.objects.get(&key).or_else(|| self.lent.get(&key))
    }
}

fn key(namespace: &str, kind: &str, name: &str) -> Key {
    (namespace.to_owned(), kind.to_owned(), name.to_owned())
}

/// The namespaces of a release in `namespace` and of those of its hooks that can be run.
pub(super) fn namespaces(hooks: &[Hook], namespace: &str) -> BTreeSet<String> {
    let runnable = hooks.iter().filter(|hook| hook.is_job_or_pod() && hook.runnable.is_ok());
    runnable.map(|hook| hook.namespace.clone()).chain([namespace.to_owned()]).collect()
}

/// The documents of a release's manifest, so that one that cannot be read costs no other one.
fn documents(manifest: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in manifest.split_inclusive('\n') {
        if line.starts_with("---") {
            documents.push(String::new());
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line);
        }
    }
    documents
}

/// The objects of one document, read as a hook's: as kubectl reads both.
fn objects_of(document: &str, namespace: &str) -> Vec<Hook> {
    let own = StoredHook {
        name: String::new(),
        kind: String::new(),
        path: String::new(),
        events: Vec::new(),
        weight: 0,
        delete_policies: Vec::new(),
        last_run: Default::default(),
        manifest: document.to_owned(),
    };
    hook::list(&[own], namespace)
}

/// Whether Helm deletes a hook when its event is over.
fn is_deleted(hook: &Hook) -> bool {
    hook.delete_policies.iter().any(|policy| policy == DELETED)
}

/// Whether Helm has made an object of a release that is deployed at this revision, and left it there: an object of the release
/// proper, or a hook that is not deleted, of an event that there has been.
pub(super) fn is_left(hook: &Hook, revision: u32) -> bool {
    if hook.events.is_empty() { !is_deleted(hook) } else { ByHelm::of(hook, revision) == ByHelm::Left }
}

/// Whether it is a cluster role or the binding of one.
pub(super) fn is_cluster_wide(hook: &Hook) -> bool {
    Kind::of(&hook.api_version, &hook.kind).is_some_and(|kind| !kind.is_namespaced())
}

/// Whether it is one of the kinds that a pod may need; nothing else of a release is made, and nothing in namespaces in which no
/// hook runs.
fn is_needed(hook: &Hook, namespaces: &BTreeSet<String>) -> bool {
    Kind::of(&hook.api_version, &hook.kind).is_some()
        && !hook.name.is_empty()
        && (namespaces.contains(&hook.namespace) || is_cluster_wide(hook))
}

/// The object without what only its own cluster can know.
pub(super) fn object(hook: &Hook) -> Value {
    let mut object = (*hook.manifest).clone();
    let metadata = |field| at(&hook.manifest, field).cloned().unwrap_or_default();
    object["metadata"] = json!({
        "name": hook.name, "labels": metadata("metadata.labels"), "annotations": metadata("metadata.annotations"),
    });
    if !is_cluster_wide(hook) {
        object["metadata"]["namespace"] = json!(hook.namespace);
    }
    match Kind::of(&hook.api_version, &hook.kind) {
        Some(Kind::PersistentVolumeClaim) => object["spec"] = claim(),
        // What Helm made years ago, the API server gives back as what it is now.
        Some(kind) if kind.is_rbac() => object["apiVersion"] = json!(format!("{}/v1", kind.group())),
        _ => {}
    }
    object
}

/// A claim to any volume of the cluster: its own classes and sizes are not here.
fn claim() -> Value {
    json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": {"requests": {"storage": "1Mi"}}})
}

/// A volume for a claim of this namespace and name, in a folder of the node.
pub(super) fn volume(name: &str, folder: &str, claim: (&str, &str)) -> Value {
    let (namespace, claim) = claim;
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "", "capacity": {"storage": "1Mi"},
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim},
            "hostPath": {"path": folder, "type": "DirectoryOrCreate"},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_role_is_made_where_it_is_a_hook_that_helm_leaves() {
        let role = |name: &str| json!({"apiVersion": "rbac.authorization.k8s.io/v1beta1", "kind": "ClusterRole", "metadata": {"name": name}});
        let hook = |(name, policy): (&str, &str)| {
            json!({"name": name, "kind": "ClusterRole", "events": ["pre-upgrade"], "delete_policies": [policy],
                "manifest": role(name).to_string()})
        };
        let hooks = [("left", "before-hook-creation"), ("deleted", DELETED)].map(hook);
        let record = json!({"name": "shop", "namespace": "acme", "version": 1, "info": {"status": "deployed"},
            "chart": {"metadata": {"name": "shop", "version": "1.0.0"}}, "hooks": hooks});
        let hooks = hookhost_helm::Record::read(record.to_string().as_bytes()).unwrap().hooks();
        let surroundings = Surroundings::of(&role("own").to_string(), &hooks, "acme", 2);
        let made: Vec<&Value> = surroundings.objects().collect();
        let expected = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "left", "labels": null, "annotations": null},
        });
        assert_eq!(made, [&expected]);
    }

    #[test]
    fn a_document_that_cannot_be_read_costs_no_other_one() {
        let manifest = "---\n# Source: a\nkind: ConfigMap\napiVersion: v1\nmetadata: {name: a}\n--- # next\nbroken: [\n---\n\
                        kind: Secret\napiVersion: v1\nmetadata: {name: b}\n";
        let surroundings = Surroundings::of(manifest, &[], "acme", 1);
        let made: Vec<&Value> = surroundings.objects().map(|object| &object["metadata"]["name"]).collect();
        assert_eq!(made, ["a", "b"]);
    }

    #[test]
    fn what_is_made_for_events_that_have_not_been_is_not_there() {
        let hook = |events: &[&str], phase: &str| {
            let object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "s"}});
            json!({"name": "s", "kind": "ServiceAccount", "events": events, "last_run": {"phase": phase},
                "delete_policies": ["before-hook-creation"], "manifest": object.to_string()})
        };
        for (events, phase, revision, is_made) in [
            (&["pre-install"][..], "", 1, true),
            (&["pre-install"], "", 7, true),
            (&["pre-upgrade"], "", 1, false),
            (&["pre-upgrade"], "", 2, true),
            (&["pre-delete", "post-rollback", "test"], "", 2, false),
            (&["test"], "Succeeded", 1, true),
            (&["pre-delete", "post-install"], "", 1, true),
        ] {
            let record = json!({"name": "shop", "namespace": "acme", "version": revision, "info": {"status": "deployed"},
                "chart": {"metadata": {"name": "shop", "version": "1.0.0"}}, "hooks": [hook(events, phase)]});
            let hooks = hookhost_helm::Record::read(record.to_string().as_bytes()).unwrap().hooks();
            let surroundings = Surroundings::of("", &hooks, "acme", revision);
            assert_eq!(surroundings.objects().count(), usize::from(is_made), "{events:?} {phase} {revision}");
        }
    }
}
