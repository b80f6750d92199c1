//! A *resource* is how the API server is asked for a kind of objects.

use hookhost_core::kind as needed;
use hookhost_core::target::TargetKind;
use kube::core::{ApiResource, GroupVersionKind};

/// Operations, as the API has them.
pub fn operation_resource() -> ApiResource {
    resource("ops.vworkspace.io", "v1alpha1", "Operation", "operations")
}

/// Jobs. As dynamic objects, because the core reads JSON and unknown fields must survive.
pub fn job_resource() -> ApiResource {
    resource("batch", "v1", "Job", "jobs")
}

/// Pods.
pub fn pod_resource() -> ApiResource {
    resource("", "v1", "Pod", "pods")
}

/// RoleBindings.
pub fn binding_resource() -> ApiResource {
    resource("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
}

/// What a hook's pod can need.
pub fn needed_resource(kind: needed::Kind) -> ApiResource {
    resource(kind.group(), "v1", kind.as_str(), &kind.plural())
}

/// By what a Secrets Store CSI driver mounts a volume.
pub fn provider_class_resource() -> ApiResource {
    resource("secrets-store.csi.x-k8s.io", "v1", "SecretProviderClass", "secretproviderclasses")
}

/// A resource by its words.
pub fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// A kind of object that an Operation can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// apps.vworkspace.io/v1alpha1
    ApplicationInstance,
    /// helm.toolkit.fluxcd.io/v2
    HelmRelease,
}

impl Kind {
    /// What Operations call it.
    pub fn target(self) -> TargetKind {
        match self {
            Kind::ApplicationInstance => TargetKind::ApplicationInstance,
            Kind::HelmRelease => TargetKind::HelmRelease,
        }
    }

    pub fn resource(self) -> ApiResource {
        match self {
            Kind::ApplicationInstance => {
                resource("apps.vworkspace.io", "v1alpha1", "ApplicationInstance", "applicationinstances")
            }
            Kind::HelmRelease => resource("helm.toolkit.fluxcd.io", "v2", "HelmRelease", "helmreleases"),
        }
    }
}
