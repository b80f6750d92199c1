//! A *CRD* tells the API server of a kind. The three kinds that hookhost works with are Rust types here; their CRDs are
//! made from the types, so that what is installed is what is read.
//!
//! - [`HookPolicy`] is hookhost's own.
//! - [`Operation`] and [`ApplicationInstance`] belong to the vWorkspace operator. hookhost serves them, and brings their
//!   CRDs for clusters that do not have them: the same fields, and room for fields that it does not know. The types
//!   are for making CRDs, and objects to apply; what is read from a cluster comes from anyone and goes through
//!   [`hookhost_core::operation`].
//!
//! What the API server can check, it checks: shapes, bounds, and by rules in CEL what depends on two fields or on what
//! was there before. Each rule costs the API server time, which it bounds by the sizes that the schema allows; hence a
//! bound on every list and string that a rule reads.
//!
//! An Operation's parameters are open: what is wrong in them is told by a condition. That they do not change is checked as
//! far as CEL can see into open objects: exchanging one key for another passes.

// KubeSchema makes copies of the types; each printcolumn has a type_.
#[allow(unreachable_pub, clippy::duplicated_attributes)]
mod hook_policy;
#[allow(clippy::duplicated_attributes)]
mod instance;
#[allow(unreachable_pub, clippy::duplicated_attributes)]
mod operation;
mod schema;
#[cfg(test)]
mod tests;

pub use hook_policy::{
    Closure, ClosureExisting, ConfigMapKey, Describe, FailurePolicy, HookPolicy, HookPolicySpec,
    HookPolicyStatus, Limits, Match, Mode, Module,
};
pub use instance::{
    AppRef, ApplicationInstance, ApplicationInstanceSpec, ApplicationInstanceStatus, Chart, HelmReleaseRef,
    KeyRef, Release, Values,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
pub use operation::{Approvals, EngineRef, LogsRef, Operation, OperationSpec, OperationStatus, TargetRef};
use serde_json::Value;
use strum::{IntoStaticStr, VariantArray};

/// A kind whose CRD hookhost can print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum Crd {
    /// `operations.ops.vworkspace.io`
    Operations,
    /// `applicationinstances.apps.vworkspace.io`
    ApplicationInstances,
    /// `hookpolicies.policy.vworkspace.io`
    HookPolicies,
}

impl Crd {
    /// All of them.
    pub const ALL: &[Crd] = Crd::VARIANTS;

    /// The kind's plural, by which it is asked for.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The CRD, as the API server takes it.
    pub fn definition(self) -> Value {
        let definition: CustomResourceDefinition = match self {
            Crd::Operations => Operation::crd(),
            Crd::ApplicationInstances => ApplicationInstance::crd(),
            Crd::HookPolicies => HookPolicy::crd(),
        };
        // A type of Kubernetes' own is always JSON.
        let mut definition = serde_json::to_value(definition).unwrap_or_default();
        schema::tidy(&mut definition);
        definition
    }

    /// The CRD as one YAML document that says where it comes from.
    pub fn yaml(self) -> String {
        format!(
            "# Printed by `hookhost crds {}`, which makes it from the types in host/controller/src/crd.\n{}",
            self.as_str(),
            hookhost_helm::yaml::write(&self.definition())
        )
    }
}
