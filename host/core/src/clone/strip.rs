//! What is taken off the chart's manifest.

use serde_json::{Map, Value};

use super::{CloneError, Stripped};
use crate::strip::{Place, STRIP, Strip};
use crate::verdict::{ANNOTATIONS_BYTES, LABELS_BYTES};
use hookhost_helm::workload::{Workload, at};

const LABELS: &str = "metadata.labels";
const ANNOTATIONS: &str = "metadata.annotations";
const TEMPLATE_LABELS: &str = "spec.template.metadata.labels";

/// A pod template in parts.
#[derive(Debug, Default)]
pub(super) struct Template {
    /// Everything but metadata and spec.
    rest: Map<String, Value>,
    /// The metadata but for the labels.
    metadata: Map<String, Value>,
    /// The metadata's labels.
    pub(super) labels: Map<String, Value>,
    /// The pod's spec.
    pub(super) pod_spec: Map<String, Value>,
}

impl Template {
    pub(super) fn into_json(self) -> Value {
        let Template { mut rest, mut metadata, labels, pod_spec } = self;
        if !labels.is_empty() {
            metadata.insert("labels".to_owned(), Value::Object(labels));
        }
        if !metadata.is_empty() {
            rest.insert("metadata".to_owned(), Value::Object(metadata));
        }
        rest.insert("spec".to_owned(), Value::Object(pod_spec));
        Value::Object(rest)
    }
}

/// A Job's spec without its template, and the template, both without what is stripped.
pub(super) fn job_spec(
    manifest: &Value,
    stripped: &mut Vec<Stripped>,
) -> Result<(Map<String, Value>, Template), CloneError> {
    let mut spec = mapping(manifest.get("spec").cloned(), "spec")?;
    spec.retain(|_, value| !value.is_null());
    remove(&mut spec, Place::JobSpec, "spec", stripped);

    let mut rest = mapping(spec.remove("template"), "spec.template")?;
    let pod_spec = mapping(rest.remove("spec"), "spec.template.spec")?;
    let mut metadata = mapping(rest.remove("metadata"), "spec.template.metadata")?;
    remove(&mut metadata, Place::TemplateMetadata, "spec.template.metadata", stripped);
    let mut labels = mapping(metadata.remove("labels"), TEMPLATE_LABELS)?;
    remove(&mut labels, Place::PodLabel, TEMPLATE_LABELS, stripped);
    // Annotations that are no mapping are for the API server to refuse.
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        remove(annotations, Place::PodAnnotation, "spec.template.metadata.annotations", stripped);
    }
    Ok((spec, Template { rest, metadata, labels, pod_spec }))
}

/// The template that makes the pod of a Pod hook.
pub(super) fn pod_template(manifest: &Value, stripped: &mut Vec<Stripped>) -> Result<Template, CloneError> {
    let mut pod_spec = mapping(manifest.get("spec").cloned(), "spec")?;
    remove(&mut pod_spec, Place::PodHookSpec, "spec", stripped);
    let mut labels = mapping(manifest.pointer("/metadata/labels").cloned(), LABELS)?;
    remove(&mut labels, Place::PodLabel, "metadata.labels", stripped);
    remove(&mut labels, Place::PodHookLabels, "metadata.labels", stripped);
    let mut annotations =
        mapping(manifest.pointer("/metadata/annotations").cloned(), "metadata.annotations")?;
    remove(&mut annotations, Place::PodHookAnnotations, "metadata.annotations", stripped);
    remove(&mut annotations, Place::PodAnnotation, "metadata.annotations", stripped);

    let mut metadata = Map::new();
    if !annotations.is_empty() {
        metadata.insert("annotations".to_owned(), Value::Object(annotations));
    }
    Ok(Template { rest: Map::new(), metadata, labels, pod_spec })
}

/// Labels and annotations of the chart's Job, or of the Pod that one is made of, without what is stripped.
///
/// A Job without labels has those of its pods: so the API server reads it. `by_policies` are the bytes of the annotations that
/// policies add, and `stripped` has what the pods do not have.
pub(super) fn object_keys(
    manifest: &Value,
    has_owner: bool,
    is_suspended: bool,
    by_policies: usize,
    stripped: &mut Vec<Stripped>,
) -> Result<Keys, CloneError> {
    let mut gone = Vec::new();
    for Strip { what, why, .. } in STRIP.iter().filter(|strip| strip.place == Place::Object) {
        if let Some(value) = at(manifest, what).filter(|value| !value.is_null()) {
            let path = (*what).to_owned();
            gone.push(Stripped { path, value: value.clone(), why, is_on_pods: false });
        }
    }
    let is_pod = Workload::of(manifest).is_pod();
    let map = |path: &str| mapping(at(manifest, path).cloned(), path);
    let mut labels_at = LABELS;
    let mut labels = map(LABELS)?;
    if labels.is_empty() && !is_pod {
        labels_at = TEMPLATE_LABELS;
        labels = map(TEMPLATE_LABELS)?;
    }
    let mut keys = Keys { labels, annotations: map(ANNOTATIONS)? };
    let first_key = gone.len();
    keys.strip(has_owner, labels_at, &mut gone);
    if is_suspended {
        // The Job alone is without it, also where it would have it of its pods.
        remove(&mut keys.labels, Place::QueueLabel, LABELS, &mut gone);
    }
    bound(&mut keys.labels, LABELS_BYTES, labels_at, &mut gone);
    let most = CHART_ANNOTATIONS_BYTES.min(ANNOTATIONS_BYTES.saturating_sub(by_policies));
    bound(&mut keys.annotations, most, ANNOTATIONS, &mut gone);
    for one in &mut gone[first_key..] {
        one.is_on_pods = is_pod && !stripped.iter().any(|known| known.path == one.path);
    }
    // What the pods do not have either is known, and what a Job has of its pods they keep.
    gone.retain(|one| {
        !one.path.starts_with(TEMPLATE_LABELS) && !stripped.iter().any(|known| known.path == one.path)
    });
    stripped.append(&mut gone);
    Ok(keys)
}

/// Bytes of the annotations that are taken over from the chart. Kubernetes takes 256 KiB of all; policies may have 192 of them,
/// and then the chart's have what those leave.
pub const CHART_ANNOTATIONS_BYTES: usize = 128 * 1024;

/// Labels and annotations of an object, each by its key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keys {
    /// metadata.labels.
    pub labels: Map<String, Value>,
    /// metadata.annotations.
    pub annotations: Map<String, Value>,
}

impl Keys {
    /// Takes off those by which another tool would take the object for its own, or hookhost for one of its own.
    pub(crate) fn strip_foreign(&mut self, has_owner: bool) {
        self.strip(has_owner, LABELS, &mut Vec::new());
    }

    fn strip(&mut self, has_owner: bool, labels_at: &str, stripped: &mut Vec<Stripped>) {
        remove(&mut self.labels, Place::ObjectKey, labels_at, stripped);
        remove(&mut self.labels, Place::ObjectLabel, labels_at, stripped);
        if !has_owner {
            remove(&mut self.labels, Place::TrackingLabel, labels_at, stripped);
        }
        remove(&mut self.annotations, Place::ObjectKey, ANNOTATIONS, stripped);
        remove(&mut self.annotations, Place::ObjectAnnotation, ANNOTATIONS, stripped);
    }
}

/// Takes off the largest until the others fit.
fn bound(map: &mut Map<String, Value>, most: usize, path: &str, stripped: &mut Vec<Stripped>) {
    let size = |key: &str, value: &Value| key.len() + value.as_str().map_or(0, str::len);
    let mut sizes: Vec<(usize, String)> =
        map.iter().map(|(key, value)| (size(key, value), key.clone())).collect();
    let mut bytes: usize = sizes.iter().map(|(bytes, _)| bytes).sum();
    sizes.sort_unstable();
    while bytes > most
        && let Some((size, key)) = sizes.pop()
    {
        bytes -= size;
        take(map, &key, path, TOO_LARGE, stripped);
    }
}

/// Why one of the largest is left out.
pub(crate) const TOO_LARGE: &str =
    "with it the Job would have more of them than hookhost and Kubernetes take; the largest go first";

/// The mapping; an empty one where there is none.
fn mapping(value: Option<Value>, path: &str) -> Result<Map<String, Value>, CloneError> {
    match value {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => Err(CloneError::NotAMapping { path: path.to_owned() }),
    }
}

fn remove(map: &mut Map<String, Value>, place: Place, path: &str, stripped: &mut Vec<Stripped>) {
    for Strip { what, why, .. } in STRIP.iter().filter(|strip| strip.place == place) {
        let gone: Vec<String> = map
            .iter()
            .filter(|(key, value)| fits(place, what, key, value))
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            take(map, &key, path, why, stripped);
        }
    }
}

/// Whether an entry of the table is about this key with this value.
fn fits(place: Place, what: &str, key: &str, value: &Value) -> bool {
    let domain = key.split_once('/').map(|(domain, _)| domain);
    match place {
        Place::JobSpec | Place::TemplateMetadata | Place::PodHookSpec | Place::Object => key == what,
        Place::ObjectKey => domain.is_some_and(|domain| {
            domain.strip_suffix(what).is_some_and(|below| below.is_empty() || below.ends_with('.'))
        }),
        Place::ObjectLabel => match what.split_once('=') {
            None => key == what,
            Some((of, only)) => {
                key == of && value.as_str().is_some_and(|value| value.eq_ignore_ascii_case(only))
            }
        },
        Place::ObjectAnnotation | Place::TrackingLabel | Place::QueueLabel => key == what,
        Place::PodLabel | Place::PodAnnotation | Place::PodHookLabels | Place::PodHookAnnotations => {
            key == what || domain == Some(what)
        }
    }
}

fn take(
    map: &mut Map<String, Value>,
    key: &str,
    path: &str,
    why: &'static str,
    stripped: &mut Vec<Stripped>,
) {
    if let Some(value) = map.remove(key) {
        let path =
            if key.contains(['/', '.']) { format!("{path}[\"{key}\"]") } else { format!("{path}.{key}") };
        stripped.push(Stripped { path, value, why, is_on_pods: false });
    }
}
