//! A *dependency* is an object that a hook's pod refers to by name: a service account, a Secret, a config map, a claim.
//!
//! Where one is missing, Kubernetes lets the pod wait in ContainerCreating, or never makes it, and says so in an event
//! that nobody reads. So they are looked for before the Job is made.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::name;
use crate::reason::Reason;
use crate::refusal::Refusal;
use crate::request::ClosureObject;
use crate::text::{list, quote};
use crate::workload::{Workload, at};

/// References of one pod that are looked at. A chart's pod has some ten; each costs a request to the API server.
pub const MAX_REFERENCES: usize = 256;

/// Missing objects that a message names.
const MAX_NAMED: usize = 8;

/// The service account that Kubernetes makes in each namespace, and that a pod without one runs as.
const DEFAULT_ACCOUNT: &str = "default";

/// What a pod can refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // the words are Kubernetes' own
pub enum Kind {
    ServiceAccount,
    Secret,
    ConfigMap,
    PersistentVolumeClaim,
}

impl Kind {
    /// As in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::ServiceAccount => "ServiceAccount",
            Kind::Secret => "Secret",
            Kind::ConfigMap => "ConfigMap",
            Kind::PersistentVolumeClaim => "PersistentVolumeClaim",
        }
    }
}

/// One object that a pod refers to, in the pod's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// What it is.
    pub kind: Kind,
    /// Its name, as the chart has it.
    pub name: String,
    /// Whether the pod starts without it, wherever it refers to it.
    pub optional: bool,
    /// Where it is referred to first; where it is needed, if it is needed anywhere.
    pub from: String,
}

impl Reference {
    /// Whether it has to be looked for in the cluster: not if the pod starts without it, if Kubernetes itself makes it, or
    /// if no object can have that name.
    pub fn is_in_question(&self) -> bool {
        !self.optional && !self.is_given() && self.is_possible()
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

/// What the pod of a hook's manifest refers to, each object once, by kind and name; at most [`MAX_REFERENCES`].
///
/// A pull secret that is missing is passed over by the kubelet, so those are optional. Ephemeral containers are not
/// looked at: none is in a pod that is being made.
pub fn references(manifest: &Value) -> Vec<Reference> {
    let workload = Workload::of(manifest);
    let base = if workload.is_pod() { "spec" } else { "spec.template.spec" };
    let mut found: BTreeMap<(Kind, &str), Reference> = BTreeMap::new();
    let mut add = |kind: Kind, name, optional: bool, from: &dyn fmt::Display| {
        let known = found.len();
        match found.get_mut(&(kind, name)) {
            // Needed in one place is needed.
            Some(reference) if reference.optional && !optional => {
                (reference.optional, reference.from) = (false, format!("{base}.{from}"));
            }
            Some(_) => {}
            None if known == MAX_REFERENCES => {}
            None => {
                let from = format!("{base}.{from}");
                found.insert((kind, name), Reference { kind, name: name.to_owned(), optional, from });
            }
        }
    };
    add(Kind::ServiceAccount, workload.service_account(), false, &"serviceAccountName");
    if let Some(spec) = workload.pod_spec() {
        each(spec, |Named { kind, name, optional, place }| add(kind, name, optional, &place));
    }
    found.into_values().collect()
}

/// Lets the Operation wait if something that the pod needs does not exist. `closure` is the hook's: what Helm has made for
/// the event only, and usually deleted since.
pub fn missing(
    references: &[Reference],
    exists: impl Fn(&Reference) -> bool,
    closure: &[ClosureObject],
) -> Option<Refusal> {
    let is_missing = |reference: &&Reference| {
        let needed = !reference.optional && !reference.is_given();
        needed && (!reference.is_possible() || !exists(reference))
    };
    let missing: Vec<&Reference> = references.iter().filter(is_missing).collect();
    if missing.is_empty() {
        return None;
    }
    let of_chart = |reference: &&Reference| {
        closure.iter().any(|object| object.kind == reference.kind.as_str() && object.name == reference.name)
    };
    let mut named: Vec<String> = missing.iter().take(MAX_NAMED).map(ToString::to_string).collect();
    if missing.len() > MAX_NAMED {
        named.push(format!("{} more", missing.len() - MAX_NAMED));
    }
    let mut message =
        format!("the hook's pod could not start: there is no {} in the release's namespace", list(&named));
    let deleted: Vec<String> = missing
        .iter()
        .copied()
        .filter(of_chart)
        .take(MAX_NAMED)
        .map(|reference| format!("{} {}", reference.kind.as_str(), quote(&reference.name)))
        .collect();
    if !deleted.is_empty() {
        message.push_str(&format!(
            ". Of these the chart has as hooks, which Helm makes for an event and deletes after it: {}. Make them part of the \
             release proper, or give them the delete policy before-hook-creation alone",
            list(&deleted)
        ));
    }
    Some(Refusal::wait(Reason::DependencyMissing, message))
}

/// An object that a pod names.
pub(crate) struct Named<'v> {
    pub(crate) kind: Kind,
    pub(crate) name: &'v str,
    optional: bool,
    place: Place,
}

/// Where in a pod's spec something is: `containers[1].env[0].valueFrom.secretKeyRef.name`.
struct Place {
    outer: Entry,
    inner: Option<Entry>,
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
type Entry = (&'static str, usize);

/// Kinds, and where in an entry their names are.
type Fields = &'static [(Kind, &'static str)];

/// Where a volume names what it mounts.
const VOLUME: Fields = &[
    (Kind::Secret, "secret.secretName"),
    (Kind::ConfigMap, "configMap.name"),
    (Kind::PersistentVolumeClaim, "persistentVolumeClaim.claimName"),
    (Kind::Secret, "csi.nodePublishSecretRef.name"),
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
/// The list of Secrets by which the kubelet pulls images; it passes over those that are missing.
const PULL_SECRETS: &str = "imagePullSecrets";
/// Where an entry of it names one.
const PULL_SECRET: Fields = &[(Kind::Secret, "name")];

/// Every Secret, config map and claim that a pod's spec names, as often as it does.
pub(crate) fn each<'v>(spec: &'v Map<String, Value>, mut visit: impl FnMut(Named<'v>)) {
    let mut names = |value: &'v Value, outer: Entry, inner: Option<Entry>, fields: Fields| {
        for (kind, field) in fields {
            if let Some(name) = at(value, field).and_then(Value::as_str).filter(|name| !name.is_empty()) {
                let optional = is_optional(value, field) || outer.0 == PULL_SECRETS;
                visit(Named { kind: *kind, name, optional, place: Place { outer, inner, field } });
            }
        }
    };
    for (outer, secret) in items(spec.get(PULL_SECRETS), PULL_SECRETS) {
        names(secret, outer, None, PULL_SECRET);
    }
    for (outer, volume) in items(spec.get("volumes"), "volumes") {
        names(volume, outer, None, VOLUME);
        for (inner, source) in items(at(volume, "projected.sources"), "projected.sources") {
            names(source, outer, Some(inner), PROJECTED);
        }
    }
    for of in ["initContainers", "containers"] {
        for (outer, container) in items(spec.get(of), of) {
            for (inner, variable) in items(container.get("env"), "env") {
                names(variable, outer, Some(inner), ENV);
            }
            for (inner, source) in items(container.get("envFrom"), "envFrom") {
                names(source, outer, Some(inner), ENV_FROM);
            }
        }
    }
}

/// Whether `optional: true` is beside the name.
fn is_optional(value: &Value, field: &str) -> bool {
    let beside = field.rsplit_once('.').and_then(|(parent, _)| at(value, parent));
    beside.and_then(|parent| parent.get("optional")).and_then(Value::as_bool) == Some(true)
}

/// The entries of a list, each with its place.
fn items<'v>(list: Option<&'v Value>, name: &'static str) -> impl Iterator<Item = (Entry, &'v Value)> {
    let entries = list.and_then(Value::as_array).into_iter().flatten();
    entries.enumerate().map(move |(n, entry)| ((name, n), entry))
}
