//! What a pod's spec says is *run*, as bytes that are the same for what was sent to the API server and for what it made of that.
//!
//! Between the two the API server fills in what is not given and writes some values in another way. Where it does so is listed
//! here by the field's place, as Kubernetes 1.33 to 1.36 do it for the pod in a Job (`SetObjectDefaults_Job`): a field of the
//! same name elsewhere, a key of a CSI driver's attributes for example, is compared like any other.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// What a field may be and still say no more than if it were not given.
enum Unsaid {
    /// Anything: the API server writes it in its own way.
    Whatever,
    /// Empty, or one of these. More than one where the API server chooses by another field.
    Text(&'static [&'static str]),
    /// This number; not 0, unless that is it.
    Number(i64),
    /// 0 or this number: the API server does not tell 0 from nothing.
    Count(i64),
}

use Unsaid::{Count, Number, Text, Whatever};

/// Stands for containers and initContainers.
const CONTAINERS: &str = "*containers";
/// Stands for the three probes of a container.
const PROBE: &str = "*probe";
/// Stands for the two handlers of a container's lifecycle.
const HANDLER: &str = "*handler";

/// The fields that the API server sets or rewrites: where, which, and what they are then. Those that are quantities are written
/// in their shortest form.
const SET_BY_API_SERVER: [(&str, &str, Unsaid); 53] = [
    ("", "dnsPolicy", Text(&["ClusterFirst"])),
    ("", "overhead", Whatever),
    ("", "schedulerName", Text(&["default-scheduler"])),
    ("", "terminationGracePeriodSeconds", Number(30)),
    ("resources", "limits", Whatever),
    ("resources", "requests", Whatever),
    ("*containers", "imagePullPolicy", Text(&["Always", "IfNotPresent"])),
    ("*containers", "terminationMessagePath", Text(&["/dev/termination-log"])),
    ("*containers", "terminationMessagePolicy", Text(&["File"])),
    ("*containers.env.valueFrom.fieldRef", "apiVersion", Text(&["v1"])),
    ("*containers.env.valueFrom.resourceFieldRef", "divisor", Whatever),
    ("*containers.lifecycle.*handler.httpGet", "path", Text(&["/"])),
    ("*containers.lifecycle.*handler.httpGet", "scheme", Text(&["HTTP"])),
    ("*containers.ports", "containerPort", Count(0)),
    ("*containers.ports", "hostPort", Count(0)),
    ("*containers.ports", "protocol", Text(&["TCP"])),
    ("*containers.*probe", "failureThreshold", Count(3)),
    ("*containers.*probe", "initialDelaySeconds", Count(0)),
    ("*containers.*probe", "periodSeconds", Count(10)),
    ("*containers.*probe", "successThreshold", Count(1)),
    ("*containers.*probe", "timeoutSeconds", Count(1)),
    ("*containers.*probe.grpc", "port", Count(0)),
    ("*containers.*probe.httpGet", "path", Text(&["/"])),
    ("*containers.*probe.httpGet", "scheme", Text(&["HTTP"])),
    ("*containers.resources", "limits", Whatever),
    ("*containers.resources", "requests", Whatever),
    // Of API servers before 1.12; what it means where it is not given has stayed.
    ("*containers.securityContext", "procMount", Text(&["Default"])),
    ("volumes.awsElasticBlockStore", "partition", Count(0)),
    ("volumes.azureDisk", "cachingMode", Text(&["ReadWrite"])),
    ("volumes.azureDisk", "fsType", Text(&["ext4"])),
    ("volumes.azureDisk", "kind", Text(&["Shared"])),
    ("volumes.configMap", "defaultMode", Number(0o644)),
    ("volumes.downwardAPI", "defaultMode", Number(0o644)),
    ("volumes.downwardAPI.items.fieldRef", "apiVersion", Text(&["v1"])),
    ("volumes.downwardAPI.items.resourceFieldRef", "divisor", Whatever),
    ("volumes.emptyDir", "sizeLimit", Whatever),
    ("volumes.ephemeral.volumeClaimTemplate.spec", "volumeMode", Text(&["Filesystem"])),
    ("volumes.ephemeral.volumeClaimTemplate.spec.resources", "limits", Whatever),
    ("volumes.ephemeral.volumeClaimTemplate.spec.resources", "requests", Whatever),
    ("volumes.gcePersistentDisk", "partition", Count(0)),
    ("volumes.image", "pullPolicy", Text(&["Always", "IfNotPresent"])),
    ("volumes.iscsi", "iscsiInterface", Text(&["default"])),
    ("volumes.iscsi", "lun", Count(0)),
    ("volumes.projected", "defaultMode", Number(0o644)),
    ("volumes.projected.sources.downwardAPI.items.fieldRef", "apiVersion", Text(&["v1"])),
    ("volumes.projected.sources.downwardAPI.items.resourceFieldRef", "divisor", Whatever),
    ("volumes.projected.sources.serviceAccountToken", "expirationSeconds", Number(3600)),
    ("volumes.rbd", "keyring", Text(&["/etc/ceph/keyring"])),
    ("volumes.rbd", "pool", Text(&["rbd"])),
    ("volumes.rbd", "user", Text(&["admin"])),
    ("volumes.scaleIO", "fsType", Text(&["xfs"])),
    ("volumes.scaleIO", "storageMode", Text(&["ThinProvisioned"])),
    ("volumes.secret", "defaultMode", Number(0o644)),
];

/// Fields that mean something else when they are false or empty than when they are absent: Kubernetes asks the pod, the service
/// account or the runtime then, or takes nothing for everything.
const MEANT_EMPTY: [(&str, &str); 11] = [
    ("", "automountServiceAccountToken"),
    ("", "enableServiceLinks"),
    ("", "hostUsers"),
    ("*containers.securityContext", "allowPrivilegeEscalation"),
    ("*containers.securityContext", "runAsNonRoot"),
    ("*containers.securityContext", "seLinuxOptions"),
    ("*containers.securityContext.windowsOptions", "hostProcess"),
    ("volumes", "downwardAPI"),
    ("volumes", "projected"),
    ("volumes.ephemeral.volumeClaimTemplate.spec", "selector"),
    ("volumes.projected.sources.clusterTrustBundle", "labelSelector"),
];

/// Mappings whose keys are anybody's: each entry says something, an empty one too.
const FREE: [&str; 7] = [
    "volumes.csi.volumeAttributes",
    "volumes.ephemeral.volumeClaimTemplate.metadata.annotations",
    "volumes.ephemeral.volumeClaimTemplate.metadata.labels",
    "volumes.ephemeral.volumeClaimTemplate.spec.selector.matchLabels",
    "volumes.flexVolume.options",
    "volumes.projected.sources.clusterTrustBundle.labelSelector.matchLabels",
    "volumes.projected.sources.podCertificate.userAnnotations",
];

/// Fields that are not compared by their names: the service account's two, which the API server both sets, and those that may be
/// changed as long as the Job is suspended, by a queue of Jobs for one: they say where the pod runs.
const LEFT_OUT: [&str; 7] = [
    "affinity",
    "nodeSelector",
    "schedulingGates",
    "serviceAccount",
    "serviceAccountName",
    "tolerations",
    "topologySpreadConstraints",
];

/// The names of the fields on the way from the pod's spec to a value, without places in lists.
#[derive(Clone, Copy)]
struct Place<'p> {
    field: &'p str,
    within: Option<&'p Place<'p>>,
    depth: usize,
}

impl<'p> Place<'p> {
    fn of(field: &'p str, within: Option<&'p Place<'p>>) -> Place<'p> {
        Place { field, within, depth: within.map_or(1, |within| within.depth + 1) }
    }
}

/// Whether a place is the one that a pattern names, from its end.
fn fits(pattern: &str, mut place: Option<&Place<'_>>) -> bool {
    let mut words = pattern.rsplit('.').filter(|word| !word.is_empty());
    loop {
        match (words.next(), place) {
            (None, None) => return true,
            (Some(word), Some(at)) if is_called(word, at.field) => place = at.within,
            _ => return false,
        }
    }
}

fn is_called(word: &str, field: &str) -> bool {
    match word {
        CONTAINERS => matches!(field, "containers" | "initContainers"),
        PROBE => matches!(field, "livenessProbe" | "readinessProbe" | "startupProbe"),
        HANDLER => matches!(field, "postStart" | "preStop"),
        word => word == field,
    }
}

/// Adds what a pod's spec says is run to a digest. Two specs add the same bytes only if they mean the same to Kubernetes.
pub(super) fn hash_pod(spec: &Map<String, Value>, digest: &mut Sha256) {
    let compared = spec.iter().filter(|(field, _)| !LEFT_OUT.contains(&field.as_str()));
    hash_fields(compared, None, true, digest);
}

/// Adds a value to a digest that is not of a pod.
pub(super) fn hash_value(value: &Value, digest: &mut Sha256) {
    // No place in a pod has such a name.
    hash(value, Some(&Place::of("", None)), digest);
}

fn hash(value: &Value, at: Option<&Place<'_>>, digest: &mut Sha256) {
    match value {
        Value::Object(map) => hash_fields(map, at, !is_free(at), digest),
        Value::Array(items) => {
            digest.update(b"[");
            items.iter().for_each(|item| hash(item, at, digest));
            digest.update(b"]");
        }
        Value::String(text) => hash_text(text, digest),
        plain => {
            digest.update(b"p");
            hash_text(&plain.to_string(), digest);
        }
    }
}

/// Adds fields in one order; without those that say nothing, where some may.
fn hash_fields<'v>(
    fields: impl IntoIterator<Item = (&'v String, &'v Value)>,
    at: Option<&Place<'_>>,
    may_be_unsaid: bool,
    digest: &mut Sha256,
) {
    let mut fields: Vec<_> =
        fields.into_iter().filter(|(field, value)| !may_be_unsaid || is_said(field, value, at)).collect();
    fields.sort_by_key(|(field, _)| *field);
    digest.update(b"{");
    for (field, value) in fields {
        hash_text(field, digest);
        match value {
            // What the API server makes of it.
            Value::Null if !may_be_unsaid => hash_text("", digest),
            value => hash(value, Some(&Place::of(field, at)), digest),
        }
    }
    digest.update(b"}");
}

fn hash_text(text: &str, digest: &mut Sha256) {
    digest.update(b"t");
    digest.update((text.len() as u64).to_be_bytes());
    digest.update(text);
}

fn is_free(at: Option<&Place<'_>>) -> bool {
    at.is_some_and(|at| at.depth > 2) && FREE.iter().any(|pattern| fits(pattern, at))
}

/// Whether a field says something about what is run that its absence does not.
fn is_said(field: &str, value: &Value, within: Option<&Place<'_>>) -> bool {
    if value.is_null() {
        return false;
    }
    if MEANT_EMPTY.iter().any(|(at, name)| *name == field && fits(at, within)) {
        return true;
    }
    let set = SET_BY_API_SERVER.iter().find(|(at, name, _)| *name == field && fits(at, within));
    let number = || value.as_i64();
    match set.map(|(_, _, unsaid)| unsaid) {
        Some(Whatever) => false,
        Some(Text(texts)) => !is_empty(value, field, within) && !texts.iter().any(|text| value == text),
        Some(Number(default)) => number() != Some(*default),
        Some(Count(default)) => number() != Some(*default) && number() != Some(0),
        None => !is_empty(value, field, within),
    }
}

/// Whether a field of this value is as good as none.
fn is_empty(value: &Value, field: &str, within: Option<&Place<'_>>) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => {
            let at = Place::of(field, within);
            if is_free(Some(&at)) {
                return map.is_empty();
            }
            !map.iter().any(|(field, value)| is_said(field, value, Some(&at)))
        }
        _ => false,
    }
}
