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

mod follow;
mod jobs;
mod namespaces;
mod operations;
mod pods;
mod targets;
mod texts;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::core::DynamicObject;
use serde::Deserialize;
use serde_json::Value;

pub(crate) use follow::{Seen, drive, follow};
pub(crate) use jobs::{JOBS_BYTES, Jobs, Listeners, UNPROVEN_EVERYWHERE};
pub(crate) use namespaces::{Change as NamespaceChange, Namespaces};
pub(crate) use operations::{Change, Knowledge, Operations, Terms, too_many};
pub(crate) use pods::{PODS_BYTES, Pods};
pub(crate) use targets::Targets;
pub(crate) use texts::TEXTS_BYTES;

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
