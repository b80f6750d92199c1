//! A *target* is what an Operation's targetRef names: the thing whose Helm release has the hook.
//!
//! ```text
//! ApplicationInstance ─► HelmRelease ─► release record
//!                        HelmRelease ─► release record
//!                        (plain Helm)   release record
//! ```
//!
//! Where a release is stored, under which name and in which revision is read from the HelmRelease's status and never
//! derived, because only the status says what Flux really did.
//!
//! # Status is not believed further than spec
//! In many clusters the people of a namespace may write their HelmReleases' status. So a status that puts the release or
//! its record into a namespace other than its spec does is not followed.

mod applier;
mod condition;
mod helm_release;
mod instance;
mod missing;
mod owner;
mod plain;
mod read;
mod release;
mod stored;
#[cfg(test)]
mod tests;

use std::fmt;

pub use applier::{Applier, ToCreate};
pub use condition::Condition;
pub use helm_release::{HelmRelease, MAX_HISTORY};
pub use instance::{CAPABILITY_DOMAIN, Instance, Readiness, capability_key};
pub use missing::{Namesake, disabled, missing};
pub use owner::Owner;
pub use plain::refuse_plain;
pub use read::TargetError;
pub use release::{
    RETRY_SECONDS, RecordRef, check_record, check_verified, deployed_revision, no_helm_release, no_record,
    record_name, successor_exists,
};
pub use stored::stored;

use crate::operation::TargetRef;
use crate::reason::Reason;
use crate::refusal::Refusal;
use hookhost_helm::name;
pub use hookhost_helm::snapshot::Snapshot;
use hookhost_helm::text::quote;
use strum::{EnumString, IntoStaticStr, VariantArray};

/// What kind of thing a targetRef names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumString, IntoStaticStr, VariantArray)]
pub enum TargetKind {
    /// vWorkspace's instance of an application, which has a HelmRelease.
    ApplicationInstance,
    /// Flux's HelmRelease.
    HelmRelease,
    /// A release that Helm itself made, by its name.
    Release,
}

impl TargetKind {
    /// All of them.
    pub const ALL: &[TargetKind] = TargetKind::VARIANTS;

    /// The kind, as targetRef.kind has it.
    pub fn kind(self) -> &'static str {
        self.into()
    }

    /// Its API version, as targetRef.apiVersion has it. Helm has no API: "helm.sh/v3" is the name of its storage's format,
    /// which Helm 4 kept.
    pub fn api_version(self) -> &'static str {
        match self {
            TargetKind::ApplicationInstance => "apps.vworkspace.io/v1alpha1",
            TargetKind::HelmRelease => "helm.toolkit.fluxcd.io/v2",
            TargetKind::Release => "helm.sh/v3",
        }
    }

    /// The kind that a targetRef means.
    ///
    /// # Errors
    /// Of a kind or version that is not served, or a name that no object can have: it would be part of a URL.
    pub fn of(target: &TargetRef) -> Result<TargetKind, Refusal> {
        let TargetRef { api_version, kind, name } = target;
        let invalid = |message: String| Refusal::fail(Reason::ValidationFailed, message);
        let of_kind = kind.parse::<TargetKind>().ok();
        let Some(found) = of_kind.filter(|known| known.api_version() == api_version) else {
            return Err(invalid(match of_kind {
                // Every version of an API shows the same objects, so naming the served one is all there is to do.
                Some(known) if group(known.api_version()) == group(api_version) => format!(
                    "spec.targetRef.apiVersion is {}, but a {kind} is served as {}: write that, the object is the same",
                    quote(api_version),
                    known.api_version()
                ),
                _ => {
                    let served: Vec<String> = TargetKind::ALL.iter().map(ToString::to_string).collect();
                    format!(
                        "spec.targetRef names a {} of {}, which has no hooks of its own; name {}",
                        quote(kind),
                        quote(api_version),
                        served.join(" or ")
                    )
                }
            }));
        };
        if !name::is_dns_subdomain(name) {
            return Err(invalid(format!(
                "spec.targetRef.name is {}, expected {}, without a namespace: a target is in its Operation's",
                quote(name),
                name::DNS_SUBDOMAIN_RULE
            )));
        }
        Ok(found)
    }
}

/// As a person would write it into a targetRef.
impl fmt::Display for TargetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.kind(), self.api_version())
    }
}

/// The group of an API version: "helm.toolkit.fluxcd.io" of "helm.toolkit.fluxcd.io/v2".
fn group(api_version: &str) -> &str {
    api_version.rsplit_once('/').map_or("", |(group, _)| group)
}

/// The name of an object, with its namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
