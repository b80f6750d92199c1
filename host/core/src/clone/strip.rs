//! What is taken off the chart's manifest.

use serde_json::{Map, Value};

use super::{CloneError, OPERATION, Stripped};

/// Where in the manifest something is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A field of a Job's spec.
    JobSpec,
    /// A field of the pod template's metadata.
    TemplateMetadata,
    /// A label of the pod template whose key has this domain, or is this.
    PodLabel,
    /// An annotation of the pod template whose key has this domain.
    PodAnnotation,
    /// Labels of a Pod hook whose key has this domain.
    PodHookLabels,
    /// Annotations of a Pod hook whose key has this domain, or is this.
    PodHookAnnotations,
    /// A field of a Pod hook's spec.
    PodHookSpec,
}

/// One thing that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strip {
    /// Where.
    pub place: Place,
    /// Which field, key or domain.
    pub what: &'static str,
    /// Why.
    pub why: &'static str,
}

const fn strip(place: Place, what: &'static str, why: &'static str) -> Strip {
    Strip { place, what, why }
}

const CONTROLLER_LABEL: &str =
    "the Job controller sets it for each Job; the chart's would mix this run's pods with others";

/// The domain of what hookhost keeps on objects for itself.
pub const OWN_DOMAIN: &str = "hookhost.vworkspace.io";

const OWN_KEY: &str = "hookhost keeps there what it has to know of what it made";

/// All that a clone does not take over, apart from a Job's own metadata and status, of which it takes nothing.
pub const STRIP: [Strip; 21] = [
    strip(
        Place::JobSpec,
        "selector",
        "the Job controller makes one; the chart's would catch the pods of Helm's own run",
    ),
    strip(Place::JobSpec, "manualSelector", "it only serves a selector of the chart's own"),
    strip(
        Place::JobSpec,
        "suspend",
        "a suspended Job never starts, and the Operation is the wish to start it",
    ),
    strip(Place::TemplateMetadata, "creationTimestamp", "the API server sets it; tools print a null here"),
    strip(Place::PodLabel, "controller-uid", CONTROLLER_LABEL),
    strip(Place::PodLabel, "job-name", CONTROLLER_LABEL),
    strip(Place::PodLabel, "batch.kubernetes.io/controller-uid", CONTROLLER_LABEL),
    strip(Place::PodLabel, "batch.kubernetes.io/job-name", CONTROLLER_LABEL),
    strip(Place::PodLabel, OPERATION, "hookhost finds the pods of an Operation by it"),
    strip(Place::PodLabel, OWN_DOMAIN, OWN_KEY),
    strip(Place::PodAnnotation, OWN_DOMAIN, OWN_KEY),
    strip(
        Place::PodHookLabels,
        "helm.toolkit.fluxcd.io",
        "Flux would take the pod for a part of the release",
    ),
    strip(Place::PodHookLabels, "kustomize.toolkit.fluxcd.io", "Flux would prune the pod"),
    strip(Place::PodHookLabels, "argocd.argoproj.io", "Argo CD would prune the pod"),
    strip(Place::PodHookAnnotations, "helm.sh", "it makes a pod a hook of Helm's, which a run is not"),
    strip(Place::PodHookAnnotations, "meta.helm.sh", "Helm would adopt the pod"),
    strip(Place::PodHookAnnotations, "kustomize.toolkit.fluxcd.io", "Flux would prune the pod"),
    strip(
        Place::PodHookAnnotations,
        "argocd.argoproj.io",
        "Argo CD would take the pod for a hook or prune it",
    ),
    strip(
        Place::PodHookAnnotations,
        "kubectl.kubernetes.io/last-applied-configuration",
        "it describes the chart's pod, not this one",
    ),
    strip(
        Place::PodHookSpec,
        "nodeName",
        "a Job's pods are placed by the scheduler, or retries would go to a node that may be gone",
    ),
    strip(Place::PodHookSpec, "ephemeralContainers", "Kubernetes allows them in running pods only"),
];

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
    const LABELS: &str = "spec.template.metadata.labels";
    let mut labels = mapping(metadata.remove("labels"), LABELS)?;
    remove(&mut labels, Place::PodLabel, LABELS, stripped);
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
    let mut labels = mapping(manifest.pointer("/metadata/labels").cloned(), "metadata.labels")?;
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

/// Takes off the labels and annotations of an object by which Helm, Flux or Argo CD would take it for theirs, or
/// hookhost for one of its own.
pub(crate) fn without_foreign_keys(labels: &mut Map<String, Value>, annotations: &mut Map<String, Value>) {
    let mut stripped = Vec::new();
    remove(labels, Place::PodHookLabels, "metadata.labels", &mut stripped);
    remove(annotations, Place::PodHookAnnotations, "metadata.annotations", &mut stripped);
    // Nor may the chart say that hookhost made it, or for whom.
    for map in [labels, annotations] {
        remove(map, Place::PodAnnotation, "metadata", &mut stripped);
    }
}

/// The mapping; an empty one where there is none.
fn mapping(value: Option<Value>, path: &str) -> Result<Map<String, Value>, CloneError> {
    match value {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => Err(CloneError::NotAMapping { path: path.to_owned() }),
    }
}

fn remove(map: &mut Map<String, Value>, place: Place, path: &str, stripped: &mut Vec<Stripped>) {
    let by_domain = !matches!(place, Place::JobSpec | Place::TemplateMetadata | Place::PodHookSpec);
    for Strip { what, why, .. } in STRIP.iter().filter(|strip| strip.place == place) {
        let gone: Vec<String> = map
            .keys()
            .filter(|key| {
                *key == what || (by_domain && key.split_once('/').is_some_and(|(domain, _)| domain == *what))
            })
            .cloned()
            .collect();
        for key in gone {
            if let Some(value) = map.remove(&key) {
                let path = if key.contains(['/', '.']) {
                    format!("{path}[\"{key}\"]")
                } else {
                    format!("{path}.{key}")
                };
                stripped.push(Stripped { path, value, why });
            }
        }
    }
}
