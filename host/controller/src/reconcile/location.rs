//! A *location* is where a release's record is, and what said so.

use hookhost_core::target::{Applier, ObjectName, RecordRef, TargetKind};
use hookhost_helm::snapshot::Snapshot;
use serde_json::Value;

use super::Context;
use hookhost_cluster::error::Error;
use hookhost_cluster::operation::TargetKey;
use hookhost_cluster::resource::Kind;

/// Where a release's record is, and what said so.
pub(super) struct Location {
    pub(super) namespace: String,
    pub(super) release: String,
    pub(super) revision: u32,
    pub(super) snapshot: Option<Snapshot>,
    /// The HelmRelease that said so, in which form of it.
    pub(super) source: Option<(ObjectName, Value)>,
    /// The ApplicationInstance that the HelmRelease belongs to.
    pub(super) owner: Option<String>,
    /// As which service account Flux applies the release, where it does so with that account's rights.
    pub(super) applier: Option<Applier>,
}

impl Location {
    /// Under which names Operations may name the release.
    pub(super) fn names(&self) -> Vec<TargetKey> {
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

    pub(super) fn record(&self) -> RecordRef<'_> {
        RecordRef {
            namespace: &self.namespace,
            release: &self.release,
            revision: self.revision,
            snapshot: self.snapshot.as_ref(),
        }
    }

    /// Whether the HelmRelease says something else by now: it and the record are read one after the other.
    pub(super) async fn has_moved(&self, context: &Context) -> Result<bool, Error> {
        let Some((ObjectName { namespace, name }, version)) = &self.source else { return Ok(false) };
        let now = context.reader.target(Kind::HelmRelease, namespace, name).await?;
        Ok(now.is_none_or(|object| version_of(&object) != *version))
    }
}

pub(super) fn name_of(object: &Value) -> ObjectName {
    let text = |field: &str| object.pointer(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    ObjectName { namespace: text("/metadata/namespace"), name: text("/metadata/name") }
}

pub(super) fn version_of(object: &Value) -> Value {
    object.pointer("/metadata/resourceVersion").cloned().unwrap_or_default()
}
