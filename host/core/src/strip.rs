//! The *strip table* lists what is not taken over from the chart into the Job of a run and its temporary objects, with the reason of each
//! entry.

use crate::keys::{OPERATION, OWN_DOMAIN};

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
    /// A field of the chart's object beside its spec, or of its metadata.
    Object,
    /// A label or annotation of the chart's object whose key has this domain or one below it.
    ObjectKey,
    /// A label of the chart's object whose key is this; or only with this value, as "key=value", in whatever case.
    ObjectLabel,
    /// An annotation of the chart's object whose key is this.
    ObjectAnnotation,
    /// A label of the chart's object whose key is this, where what is made of it has no owner. A tool that finds its own by the
    /// label passes over what has one.
    TrackingLabel,
    /// A label of the chart's Job whose key is this, where hookhost creates the run's Job suspended: until its temporary objects are
    /// there, or until it is the turn of its hook.
    QueueLabel,
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

const OWN_KEY: &str = "hookhost keeps there what it has to know of what it made";

/// The label by which Kueue takes a Job into a queue.
pub const QUEUE_LABEL: &str = "kueue.x-k8s.io/queue-name";

/// Why a Job that hookhost creates suspended does not have it.
pub const QUEUE_WHY: &str = "hookhost creates this Job suspended and starts it when its turn comes; the queue would start it before that";

const API_SERVERS: &str = "the API server sets it for each object";

/// All that is not taken over from the chart. The object places are about the chart's Job or Pod, of which the run's Job is made,
/// and about what is made beside it for the run.
pub const STRIP: [Strip; 50] = [
    strip(Place::Object, "status", "it is of the chart's object, not of this one"),
    strip(Place::Object, "metadata.generateName", "the run's Job is named after the Operation"),
    strip(Place::Object, "metadata.finalizers", "whoever takes them off may not know of this object"),
    strip(Place::Object, "metadata.ownerReferences", "the Operation is the owner, if anything is"),
    strip(Place::Object, "metadata.uid", API_SERVERS),
    strip(Place::Object, "metadata.resourceVersion", API_SERVERS),
    strip(Place::Object, "metadata.generation", API_SERVERS),
    strip(Place::Object, "metadata.creationTimestamp", API_SERVERS),
    strip(Place::Object, "metadata.deletionTimestamp", API_SERVERS),
    strip(Place::Object, "metadata.deletionGracePeriodSeconds", API_SERVERS),
    strip(Place::Object, "metadata.managedFields", API_SERVERS),
    strip(Place::Object, "metadata.selfLink", API_SERVERS),
    strip(Place::ObjectKey, OWN_DOMAIN, OWN_KEY),
    strip(Place::ObjectKey, "app.vworkspace.io", "hookhost finds its Jobs by them"),
    strip(Place::ObjectKey, "ops.vworkspace.io", "hookhost finds its Jobs by them"),
    strip(Place::ObjectKey, "batch.kubernetes.io", "the Job controller sets them"),
    strip(Place::ObjectLabel, "controller-uid", CONTROLLER_LABEL),
    strip(Place::ObjectLabel, "job-name", CONTROLLER_LABEL),
    strip(Place::ObjectKey, "meta.helm.sh", "Helm would adopt the object, and delete it with the release"),
    strip(
        Place::ObjectKey,
        "helm.sh",
        "Helm and Argo CD would take the object for a hook, which a run is not",
    ),
    strip(
        Place::ObjectLabel,
        "app.kubernetes.io/managed-by=Helm",
        "Helm adopts what says so, and hookhost manages this",
    ),
    strip(
        Place::ObjectKey,
        "fluxcd.io",
        "Flux would take the object for a part of the release, and prune it",
    ),
    strip(Place::ObjectKey, "argocd.argoproj.io", "Argo CD would take the object for a hook or prune it"),
    strip(
        Place::TrackingLabel,
        "app.kubernetes.io/instance",
        "Argo CD prunes what has it, no owner, and is not in the application's manifests",
    ),
    strip(Place::QueueLabel, QUEUE_LABEL, QUEUE_WHY),
    strip(Place::ObjectKey, "applyset.kubernetes.io", "kubectl apply --prune deletes what is not in its set"),
    strip(Place::ObjectKey, "kapp.k14s.io", "kapp deletes what has it and is not in the application"),
    strip(Place::ObjectKey, "objectset.rio.cattle.io", "Rancher Fleet deletes what is not in its bundle"),
    strip(
        Place::ObjectAnnotation,
        "kubectl.kubernetes.io/last-applied-configuration",
        "it describes the chart's object, and kubectl apply --prune deletes what has it",
    ),
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
