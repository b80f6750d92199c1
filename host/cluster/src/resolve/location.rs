//! A *location* is where the record of a release is, and the object that says so.

use hookhost_core::refusal::Refusal;
use hookhost_core::target::{Applier, HelmRelease, ObjectName, RecordRef, TargetKind};
use hookhost_helm::snapshot::Snapshot;
use serde_json::Value;

use crate::error::Result;
use crate::operation::TargetKey;
use crate::read::Reader;
use crate::resource::Kind;

/// Where the record of a release is, and the object that says so.
#[derive(Debug)]
pub struct Location {
    /// Namespace of the record's Secret.
    pub namespace: String,
    /// The release's name.
    pub release: String,
    /// The deployed revision.
    pub revision: u32,
    /// What Flux wrote of the revision; none of a plain Helm release.
    pub snapshot: Option<Snapshot>,
    /// The HelmRelease that says so, with its resourceVersion.
    pub source: Option<(ObjectName, Value)>,
    /// The ApplicationInstance that owns the HelmRelease.
    pub owner: Option<String>,
    /// The service account as which Flux applies the release.
    pub applier: Option<Applier>,
}

impl Location {
    /// By a HelmRelease, `object` as the API server has it.
    ///
    /// # Errors
    /// The HelmRelease has no deployed revision now.
    pub(super) fn of(
        object: &Value,
        release: &HelmRelease,
        flux_service_account: Option<&str>,
    ) -> Result<Location, Refusal> {
        let record = release.current()?;
        let HelmRelease { namespace, name, .. } = release;
        let name = ObjectName { namespace: namespace.clone(), name: name.clone() };
        Ok(Location {
            namespace: record.namespace.to_owned(),
            release: record.release.to_owned(),
            revision: record.revision,
            snapshot: record.snapshot.cloned(),
            source: Some((name, version_of(object))),
            owner: release.owner.as_ref().map(|owner| owner.name.clone()),
            applier: release.applier(flux_service_account),
        })
    }

    /// Of a plain Helm release.
    pub(super) fn plain(at: &ObjectName, revision: u32) -> Location {
        let ObjectName { namespace, name } = at.clone();
        Location {
            namespace,
            release: name,
            revision,
            snapshot: None,
            source: None,
            owner: None,
            applier: None,
        }
    }

    /// All targets by which an Operation may name the release.
    pub fn names(&self) -> Vec<TargetKey> {
        let mut names = vec![TargetKey::new(&self.namespace, TargetKind::Release.kind(), &self.release)];
        if let Some((ObjectName { namespace, name }, _)) = &self.source {
            names.push(TargetKey::new(namespace, TargetKind::HelmRelease.kind(), name));
            let owner = self.owner.iter();
            names.extend(
                owner.map(|name| TargetKey::new(namespace, TargetKind::ApplicationInstance.kind(), name)),
            );
        }
        names
    }

    /// The record.
    pub fn record(&self) -> RecordRef<'_> {
        RecordRef {
            namespace: &self.namespace,
            release: &self.release,
            revision: self.revision,
            snapshot: self.snapshot.as_ref(),
        }
    }

    /// Whether the HelmRelease has changed since it was read: it and the record are read one after the other.
    pub(super) async fn has_moved(&self, reader: &Reader) -> Result<bool> {
        let Some((ObjectName { namespace, name }, version)) = &self.source else { return Ok(false) };
        let now = reader.target(Kind::HelmRelease, namespace, name).await?;
        Ok(now.is_none_or(|object| version_of(&object) != *version))
    }
}

fn version_of(object: &Value) -> Value {
    object.pointer("/metadata/resourceVersion").cloned().unwrap_or_default()
}
