//! A *watch* is what hookhost knows of the cluster without asking: kept up to date by the API server, and a wake for
//! every Operation that a change concerns.
//!
//! | what | where | while |
//! |---|---|---|
//! | Operations | all namespaces | always |
//! | namespaces | those that are gated | always |
//! | Jobs of hookhost | each gated namespace | always |
//! | the same | a namespace that is gated no more | until the runs in it are over |
//! | hookhost's own RoleBindings, by name | all namespaces | always |
//! | their pods, and warnings about both | a namespace with an unfinished Job | until it is finished |
//! | targets, HelmReleases (metadata) | a namespace with an Operation that waits | as long as it waits |
//!
//! So a cluster in which nothing happens costs no request but the renewal of these watches.

mod buffer;
mod follow;
mod items;
mod jobs;
mod namespaces;
mod operation;
mod operations;
mod pods;
mod stream;
mod targets;
mod texts;

use std::sync::Arc;

use hookhost_core::kind as needed;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde::Deserialize;
use serde_json::Value;

pub(crate) use buffer::{BUFFERS_BYTES, apart, text};
pub(crate) use follow::{Seen, drive, follow};
pub(crate) use jobs::{
    BRIEF_BYTES, HookOfRelease, JOBS_BYTES, Job, Jobs, Listeners, UNPROVEN_EVERYWHERE, first_generation,
};
pub(crate) use namespaces::{Change as NamespaceChange, Namespaces};
pub(crate) use operation::{Brief, TargetKey, Whole};
pub(crate) use operations::{Change, Knowledge, Operations, Terms, too_many};
pub(crate) use pods::{PODS_BYTES, Pods};
pub(crate) use stream::Selection;
pub(crate) use targets::{Awaited, Kind, Targets};
pub(crate) use texts::TEXTS_BYTES;

/// Operations, as the API has them.
pub(crate) fn operation_resource() -> ApiResource {
    resource("ops.vworkspace.io", "v1alpha1", "Operation", "operations")
}

/// Jobs. As dynamic objects, because the core reads JSON and unknown fields must survive.
pub(crate) fn job_resource() -> ApiResource {
    resource("batch", "v1", "Job", "jobs")
}

/// Pods.
pub(crate) fn pod_resource() -> ApiResource {
    resource("", "v1", "Pod", "pods")
}

/// RoleBindings.
pub(crate) fn binding_resource() -> ApiResource {
    resource("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
}

/// What a hook's pod can need.
pub(crate) fn needed_resource(kind: needed::Kind) -> ApiResource {
    resource(kind.group(), "v1", kind.as_str(), &kind.plural())
}

/// A resource by its words.
pub(crate) fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

/// An object as JSON.
pub(crate) fn to_json(object: &DynamicObject) -> Value {
    // Metadata are made of strings, numbers and times: there is nothing in them that JSON cannot say.
    serde_json::to_value(object).unwrap_or_default()
}

/// An object, kept as the text of its JSON: parsed, it takes ten times the room. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Text(Arc<[u8]>);

impl Text {
    /// Of what is JSON anyway.
    pub(crate) fn of(object: &Value) -> Text {
        Text(object.to_string().into_bytes().into())
    }

    /// Its bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The object.
    pub(crate) fn parse(&self) -> Value {
        // It was written from one.
        serde_json::from_slice(&self.0).unwrap_or_default()
    }
}

/// The resourceVersion as a number, for telling the newer of two forms of one object. Kubernetes makes them of etcd's
/// revision; one that is no number counts as the oldest.
pub(crate) fn version(object: &DynamicObject) -> u64 {
    object.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

/// What tells which object it is and whether it may go: no more is read of its text.
pub(crate) fn place_and_finalizers(text: &str) -> Option<DynamicObject> {
    #[derive(Deserialize)]
    struct Object {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        finalizers: Option<Vec<String>>,
        deletion_timestamp: Option<Time>,
    }
    let Object { metadata } = serde_json::from_str(text).ok()?;
    let Metadata { name, namespace, uid, finalizers, deletion_timestamp } = metadata;
    let metadata =
        ObjectMeta { name, namespace, uid, finalizers, deletion_timestamp, ..ObjectMeta::default() };
    Some(DynamicObject { types: None, metadata, data: Value::Null })
}
