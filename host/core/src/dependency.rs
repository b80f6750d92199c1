//! A *dependency* is an object that a hook's pod refers to by name: a service account, a Secret, a config map, a claim.
//!
//! Where one is missing, Kubernetes lets the pod wait in ContainerCreating, or never makes it, and says so in an event
//! that nobody reads. So they are looked for before the Job is made.

#[cfg(test)]
mod tests;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value};

use crate::json::{Pairs, each_entry};
use crate::kind::Kind;
use crate::object::ObjectRef;
use crate::reason::Reason;
use crate::refusal::Refusal;
use crate::step::Step;
use hookhost_helm::name;
use hookhost_helm::text::{quote, shortlist};
use hookhost_helm::workload::{Workload, at};

/// References of one pod that are looked at. A chart's pod has some ten; each costs a request to the API server.
pub const MAX_REFERENCES: usize = 256;

/// Keys of one object that are looked at. A chart's pod refers to some twenty.
pub const MAX_KEYS: usize = 256;

/// Missing objects that a message names.
const MAX_NAMED: usize = 8;

/// The service account that Kubernetes makes in each namespace, and that a pod without one runs as.
const DEFAULT_ACCOUNT: &str = "default";

/// One object that a pod refers to, in the pod's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// What it is.
    pub kind: Kind,
    /// Its name, as the chart has it.
    pub name: String,
    /// Whether the pod starts without it, wherever it refers to it.
    pub optional: bool,
    /// Whether images are pulled with it: the pod starts without it only where its node has them already.
    pub pulls: bool,
    /// Whether it may be made when the pod mounts its volumes: see [`SECRET_STORES`].
    pub comes_with_pod: bool,
    /// Where it is referred to first; where it is needed, if it is needed anywhere.
    pub from: String,
    /// Keys that a Secret or config map must have, each with where it is referred to first; at most [`MAX_KEYS`].
    pub keys: BTreeMap<String, String>,
}

impl Reference {
    /// Whether it has to be looked for in the cluster: not if the pod starts without it, if Kubernetes itself makes it, or
    /// if no object can have that name.
    pub fn is_in_question(&self) -> bool {
        !self.optional && !self.is_given() && self.is_possible()
    }

    /// Whether it is missing, where it has to be there before the pod is.
    pub fn is_missing(&self, exists: impl FnOnce() -> bool) -> bool {
        let is_there = || self.comes_with_pod || exists();
        !self.optional && !self.is_given() && (!self.is_possible() || !is_there())
    }

    /// Whether it is to this object, in whatever namespace.
    pub fn is_to(&self, kind: Kind, name: &str) -> bool {
        self.kind == kind && self.name == name
    }

    fn is_given(&self) -> bool {
        self.kind == Kind::ServiceAccount && self.name == DEFAULT_ACCOUNT
    }

    fn is_possible(&self) -> bool {
        name::is_dns_subdomain(&self.name)
    }
}

/// `Secret "db" (spec.template.spec.volumes[0].secret.secretName)`
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.kind.as_str(), quote(&self.name), self.from)
    }
}

/// CSI drivers that make Secrets of what a pod mounts, once it mounts it (secretObjects of a SecretProviderClass): the Secrets
/// Store driver, and GKE's build of it. To wait for such a Secret before the pod is there is to wait for ever; the kubelet mounts
/// the volumes first, and tries again until what the containers and other volumes name is there.
pub const SECRET_STORES: [&str; 2] = ["secrets-store.csi.k8s.io", "secrets-store-gke.csi.k8s.io"];

/// Where a CSI volume names the Secret that its driver mounts it with.
const MOUNTED_WITH: &str = "csi.nodePublishSecretRef.name";

/// What the pod of a hook's manifest refers to, each object once, by kind and name; at most [`MAX_REFERENCES`].
///
/// A pull secret that is missing is passed over by the kubelet, and so is a volume that no container mounts, so those are
/// optional. Ephemeral containers are not looked at: none is in a pod that is being made.
pub fn references(manifest: &Value) -> Vec<Reference> {
    let workload = Workload::of(manifest);
    let base = if workload.is_pod() { "spec" } else { "spec.template.spec" };
    let mut found: BTreeMap<(Kind, &str), Reference> = BTreeMap::new();
    let has_store = workload.pod_spec().is_some_and(mounts_secret_store);
    let mut add = |kind: Kind,
                   name,
                   How { optional, pulls }: How,
                   from: &dyn fmt::Display,
                   key: Option<&str>,
                   is_before: bool| {
        let known = found.len();
        let comes_with_pod = has_store && kind == Kind::Secret && !is_before;
        let from = || format!("{base}.{from}");
        let reference = match found.entry((kind, name)) {
            Entry::Occupied(there) => there.into_mut(),
            Entry::Vacant(_) if known == MAX_REFERENCES => return,
            Entry::Vacant(free) => free.insert(Reference {
                kind,
                name: name.to_owned(),
                optional,
                pulls,
                comes_with_pod,
                from: from(),
                keys: BTreeMap::new(),
            }),
        };
        reference.pulls |= pulls;
        reference.comes_with_pod &= comes_with_pod;
        // Needed in one place is needed.
        if reference.optional && !optional {
            (reference.optional, reference.from) = (false, from());
        }
        if let Some(key) = key.filter(|_| !optional && reference.keys.len() < MAX_KEYS) {
            reference.keys.entry(key.to_owned()).or_insert_with(from);
        }
    };
    let how = How { optional: false, pulls: false };
    add(Kind::ServiceAccount, workload.service_account(), how, &"serviceAccountName", None, true);
    if let Some(spec) = workload.pod_spec() {
        each(spec, |Named { kind, name, key, how, place, .. }| {
            // The driver has to have it before it can make any.
            let is_before = place.field == MOUNTED_WITH;
            add(kind, name, how, &place, key, is_before);
        });
    }
    found.into_values().collect()
}

/// Whether a container of the pod mounts a volume whose driver is one of [`SECRET_STORES`].
fn mounts_secret_store(spec: &Map<String, Value>) -> bool {
    stores(spec).next().is_some()
}

/// The volumes that a container mounts and whose driver is one of [`SECRET_STORES`].
fn stores(spec: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let is_store = |volume: &Value| {
        let driver = at(volume, "csi.driver").and_then(Value::as_str);
        driver.is_some_and(|driver| SECRET_STORES.contains(&driver))
    };
    let mounted = mounted(spec);
    let is_mounted = move |volume: &Value| {
        volume.get("name").and_then(Value::as_str).is_some_and(|name| mounted.contains(name))
    };
    let stores = items(spec.get("volumes"), "volumes").map(|(_, volume)| volume);
    stores.filter(move |volume| is_store(volume) && is_mounted(volume))
}

/// Names of the SecretProviderClasses by which drivers of [`SECRET_STORES`] mount volumes of a hook's pod: without its class a volume
/// is never mounted, and the pod stays in ContainerCreating.
pub(crate) fn provider_classes(manifest: &Value) -> BTreeSet<&str> {
    let stores = Workload::of(manifest).pod_spec().into_iter().flat_map(stores);
    stores.filter_map(|volume| at(volume, "csi.volumeAttributes.secretProviderClass")?.as_str()).collect()
}

/// Keys of a Secret or config map, of the text that the API server has of it; none if it has more than so many, or the text is not
/// that of an object of Kubernetes. Whoever may create one may give it as many as etcd takes.
pub fn keys(text: &str, most: usize, is_wanted: impl Fn(&str) -> bool) -> Option<BTreeSet<String>> {
    let Pairs(top) = serde_json::from_str(text).ok()?;
    let (mut keys, mut is_full) = (BTreeSet::new(), false);
    for (field, entries) in top {
        if field != "data" && field != "binaryData" {
            continue;
        }
        each_entry(entries, |key, _| {
            if is_wanted(&key) {
                is_full |= keys.len() == most;
                if !is_full {
                    keys.insert(key.into_owned());
                }
            }
        });
    }
    (!is_full).then_some(keys)
}

/// A key that an object lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingKey<'r> {
    /// The object.
    pub of: &'r Reference,
    /// The key.
    pub key: &'r str,
}

/// `key "password" in the Secret "db" (spec.template.spec.containers[0].env[1]…)`
impl fmt::Display for MissingKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.of.keys.get(self.key).map_or("", String::as_str);
        write!(f, "key {} in the {} {} ({from})", quote(self.key), self.of.kind, quote(&self.of.name))
    }
}

impl Reference {
    /// The keys that it must have and has not, by those that it has.
    pub fn lacks<'r>(&'r self, has: impl Fn(&str) -> bool) -> impl Iterator<Item = MissingKey<'r>> {
        let keys = self.keys.keys().filter(move |key| !has(key));
        keys.map(move |key| MissingKey { of: self, key })
    }
}

/// Lets the Operation wait if an object that is there lacks a key: the pod would never get past
/// CreateContainerConfigError. `namespace` is the run's.
pub fn refuse_keys(namespace: &str, missing: &[MissingKey<'_>]) -> Option<Refusal> {
    if missing.is_empty() {
        return None;
    }
    let all = shortlist(missing.iter().map(ToString::to_string), MAX_NAMED);
    let message =
        format!("the hook's pod could not start: there is no {all} in the namespace {}", quote(namespace));
    Some(Refusal::wait(Reason::DependencyMissing, message))
}

/// Whether the pod starts though this object does not exist: its reference to it is optional.
pub fn starts_without(object: &ObjectRef, references: &[Reference]) -> bool {
    references.iter().any(|one| one.is_to(object.kind, &object.name) && one.optional && !one.pulls)
}

/// Whether the pod starts, and may do its work, though this object does not exist.
pub fn can_do_without(object: &ObjectRef) -> bool {
    object.kind == Kind::NetworkPolicy
}

/// Lets the Operation wait if something that it needs does not exist in another namespace than the run's: hookhost creates nothing
/// there.
pub fn refuse_far<'o>(missing: impl Iterator<Item = &'o ObjectRef>) -> Option<Refusal> {
    let missing: Vec<String> =
        missing.map(|object| format!("{object} in the namespace {}", quote(&object.namespace))).collect();
    if missing.is_empty() {
        return None;
    }
    let message = format!(
        "the hook needs what does not exist, or is being deleted: {}. The chart has it as a hook, which Helm creates for its event and may delete after it, and \
         hookhost creates nothing in another namespace than the run's. Create it there, or make it part of the release proper",
        shortlist(missing, MAX_NAMED)
    );
    Some(Refusal::wait(Reason::DependencyMissing, message))
}

/// Whether hookhost makes what Helm has deleted for this run, or why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lending {
    /// It does.
    On,
    /// Whoever installed hookhost does not let it.
    Off,
    /// Neither the Operation nor a HookPolicy asks for it.
    NotAsked,
    /// This HookPolicy forbids it.
    Forbidden(String),
}

/// Lets the Operation wait if something that it needs does not exist in the run's namespace: `missing` of what the pod refers to,
/// `absent` of the hook's closure, which Helm has made for the event only, and usually deleted since. `step` is which of an event's
/// hooks it is.
pub fn refuse(
    namespace: &str,
    missing: &[&Reference],
    absent: &[ObjectRef],
    lending: &Lending,
    step: Option<Step>,
) -> Option<Refusal> {
    if missing.is_empty() && absent.is_empty() {
        return None;
    }
    let is_absent =
        |reference: &Reference| absent.iter().any(|object| reference.is_to(object.kind, &object.name));
    let is_named =
        |object: &ObjectRef| missing.iter().any(|reference| reference.is_to(object.kind, &object.name));
    let rights = absent.iter().filter(|object| !is_named(object)).map(ObjectRef::to_string);
    let all = shortlist(missing.iter().map(ToString::to_string).chain(rights), MAX_NAMED);
    let what = if missing.is_empty() { "could not do its work" } else { "could not start" };
    let mut message =
        format!("the hook's pod {what}: there is no {all} in the namespace {}", quote(namespace));
    if !absent.is_empty() {
        let which = if missing.iter().all(|reference| is_absent(reference)) {
            "The chart has them as hooks, which Helm makes for an event and deletes after it".to_owned()
        } else {
            let of_chart = shortlist(absent.iter().map(ObjectRef::to_string), MAX_NAMED);
            format!(
                "Of these the chart has as hooks, which Helm makes for an event and deletes after it: {of_chart}"
            )
        };
        let advice = match lending {
            Lending::On => "The others have to be made",
            Lending::Off => {
                "Whoever installed hookhost can let it make such objects for a run (Helm value closure.enabled); or make \
                 them part of the release proper, or give them the delete policy before-hook-creation alone"
            }
            Lending::NotAsked => {
                "hookhost makes them for the run if the Operation says so (parameters.closure: true), or a HookPolicy that \
                 matches it (spec.closure: Allow)"
            }
            Lending::Forbidden(policy) => &format!(
                "The HookPolicy {} forbids to make them for a run (spec.closure: Forbid)",
                quote(policy)
            ),
        };
        message.push_str(&format!(". {which}. {advice}"));
    }
    if step.is_some_and(|step| step.number > 1) && !missing.iter().all(|reference| is_absent(reference)) {
        // Nothing of the event is begun before all of it can run to its end.
        message.push_str(". If a hook before this one makes it, run that first, by its own name");
    }
    Some(Refusal::wait(Reason::DependencyMissing, message))
}

/// An object that a pod names.
pub(crate) struct Named<'v> {
    pub(crate) kind: Kind,
    pub(crate) name: &'v str,
    /// The key of it that is used; none where all are, or it has none.
    key: Option<&'v str>,
    how: How,
    /// Whether anything of the pod has it, or waits for it: not a volume that no container mounts.
    pub(crate) is_used: bool,
    place: Place,
}

/// How a pod refers to an object.
#[derive(Clone, Copy)]
struct How {
    optional: bool,
    pulls: bool,
}

/// Where in a pod's spec something is: `containers[1].env[0].valueFrom.secretKeyRef.name`.
struct Place {
    outer: Item,
    inner: Option<Item>,
    field: &'static str,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { outer: (list, n), inner, field } = self;
        write!(f, "{list}[{n}].")?;
        if let Some((list, n)) = inner {
            write!(f, "{list}[{n}].")?;
        }
        f.write_str(field)
    }
}

/// An entry of a list: the list's name, and which one.
type Item = (&'static str, usize);

/// Kinds, and where in an entry their names are.
type Fields = &'static [(Kind, &'static str)];

/// Where a volume names what it mounts.
const VOLUME: Fields = &[
    (Kind::Secret, "secret.secretName"),
    (Kind::ConfigMap, "configMap.name"),
    (Kind::PersistentVolumeClaim, "persistentVolumeClaim.claimName"),
    (Kind::Secret, MOUNTED_WITH),
    (Kind::Secret, "azureFile.secretName"),
    (Kind::Secret, "cephfs.secretRef.name"),
    (Kind::Secret, "flexVolume.secretRef.name"),
    (Kind::Secret, "iscsi.secretRef.name"),
    (Kind::Secret, "rbd.secretRef.name"),
    (Kind::Secret, "scaleIO.secretRef.name"),
    (Kind::Secret, "storageos.secretRef.name"),
];
/// Where a source of a projected volume does.
const PROJECTED: Fields = &[(Kind::Secret, "secret.name"), (Kind::ConfigMap, "configMap.name")];
/// Where a variable of a container names what it is read from.
const ENV: Fields =
    &[(Kind::Secret, "valueFrom.secretKeyRef.name"), (Kind::ConfigMap, "valueFrom.configMapKeyRef.name")];
/// Where a container names what all its variables are read from.
const ENV_FROM: Fields = &[(Kind::Secret, "secretRef.name"), (Kind::ConfigMap, "configMapRef.name")];
/// The lists of containers that a pod's spec has.
const CONTAINERS: [&str; 2] = ["initContainers", "containers"];
/// The list of Secrets by which the kubelet pulls images; it passes over those that are missing.
const PULL_SECRETS: &str = "imagePullSecrets";
/// Where an entry of it names one.
const PULL_SECRET: Fields = &[(Kind::Secret, "name")];

/// Every Secret, config map and claim that a pod's spec names, as often as it does.
pub(crate) fn each<'v>(spec: &'v Map<String, Value>, mut visit: impl FnMut(Named<'v>)) {
    let mut names = |value: &'v Value, outer: Item, inner: Option<Item>, fields: Fields, is_used: bool| {
        for (kind, field) in fields {
            if let Some(name) = at(value, field).and_then(Value::as_str).filter(|name| !name.is_empty()) {
                // The kubelet passes over what is not used; the scheduler does not pass over a claim.
                let is_used = is_used || *kind == Kind::PersistentVolumeClaim;
                let pulls = outer.0 == PULL_SECRETS;
                let how = How { optional: pulls || !is_used || is_optional(value, field), pulls };
                let mut named = |key| {
                    visit(Named {
                        kind: *kind,
                        name,
                        key,
                        how,
                        is_used,
                        place: Place { outer, inner, field },
                    })
                };
                let source = beside(value, field);
                let key = source.and_then(|source| source.get("key")).and_then(Value::as_str);
                named(key);
                let items = source.and_then(|source| source.get("items")).and_then(Value::as_array);
                for key in items.into_iter().flatten().filter_map(|item| item.get("key")?.as_str()) {
                    named(Some(key));
                }
            }
        }
    };
    for (outer, secret) in items(spec.get(PULL_SECRETS), PULL_SECRETS) {
        names(secret, outer, None, PULL_SECRET, true);
    }
    let mounted = mounted(spec);
    for (outer, volume) in items(spec.get("volumes"), "volumes") {
        let is_mounted =
            volume.get("name").and_then(Value::as_str).is_some_and(|name| mounted.contains(name));
        names(volume, outer, None, VOLUME, is_mounted);
        for (inner, source) in items(at(volume, "projected.sources"), "projected.sources") {
            names(source, outer, Some(inner), PROJECTED, is_mounted);
        }
    }
    for of in CONTAINERS {
        for (outer, container) in items(spec.get(of), of) {
            for (inner, variable) in items(container.get("env"), "env") {
                names(variable, outer, Some(inner), ENV, true);
            }
            for (inner, source) in items(container.get("envFrom"), "envFrom") {
                names(source, outer, Some(inner), ENV_FROM, true);
            }
        }
    }
}

/// The names of the volumes that a container has, as files or as a device.
fn mounted(spec: &Map<String, Value>) -> BTreeSet<&str> {
    let containers = CONTAINERS.into_iter().flat_map(|of| items(spec.get(of), of));
    let volumes = containers.flat_map(|(_, container)| {
        ["volumeMounts", "volumeDevices"].into_iter().flat_map(|of| items(container.get(of), of))
    });
    volumes.filter_map(|(_, volume)| volume.get("name")?.as_str()).collect()
}

/// Whether `optional: true` is beside the name.
fn is_optional(value: &Value, field: &str) -> bool {
    beside(value, field).and_then(|parent| parent.get("optional")).and_then(Value::as_bool) == Some(true)
}

/// What the field is in; none where it is in `value` itself.
fn beside<'v>(value: &'v Value, field: &str) -> Option<&'v Value> {
    field.rsplit_once('.').and_then(|(parent, _)| at(value, parent))
}

/// The entries of a list, each with its place.
fn items<'v>(list: Option<&'v Value>, name: &'static str) -> impl Iterator<Item = (Item, &'v Value)> {
    let entries = list.and_then(Value::as_array).into_iter().flatten();
    entries.enumerate().map(move |(n, entry)| ((name, n), entry))
}
