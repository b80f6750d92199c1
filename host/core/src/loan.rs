//! A *loan* is an object of a hook's closure that hookhost makes for one run, because Helm has deleted it, and takes back
//! when the run is over.
//!
//! # How it is safe
//! - The Job is made first, suspended, and says what it borrows ([`CLOSURE`]). So whoever comes after a crash knows what was
//!   made, and no pod starts before everything is there.
//! - Each object is owned by the Job: Kubernetes takes it away with the Job, whatever becomes of hookhost. Two runs that
//!   need the same object own it both, if it is the same in both ([`CONTENT`]); else the second waits.
//! - An object that is there and was not lent is somebody's: it is used as it is, and never written. That it was lent is proven
//!   by its [claim](crate::claim); anybody may copy the other annotations.
//! - What has no namespace cannot be owned by a Job. It is lent to one run at a time, which it names ([`HOLDER`]), and only
//!   if whoever installed hookhost has allowed that very object.

mod arrange;
mod cluster_object;
mod content;
mod queue;
mod stored;
#[cfg(test)]
mod tests;

pub use arrange::{ByHelm, Terms, Uncovered, arrange, binds, is_deleted_by_helm, needed};
pub use cluster_object::{ClusterObject, NoClusterObject};
pub use content::{Content, Expected, Mismatch, expected, grants, refuse_mismatches};
pub use queue::Queues;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
pub use stored::stored;

use crate::claim::Keys;
use crate::clone;
use crate::closure::Member;
use crate::json::entry;
use crate::keys;
use crate::keys::{CLAIM, CLOSURE, CONTENT, HOLDER};
use crate::kind::Kind;
use crate::object::ObjectRef;
use hookhost_helm::name::is_object_name;
use hookhost_helm::text::hex;
use hookhost_helm::workload::{at, entries};

/// Annotations by which a tool says that an object is its own. No loan has any of them, so whoever writes one onto a loan has
/// taken it over: Helm where a new revision of the release has the object proper, kubectl where a person applies it.
const TAKEN_OVER: [&str; 2] =
    ["meta.helm.sh/release-name", "kubectl.kubernetes.io/last-applied-configuration"];

/// Loans of one run. The largest closures of public charts have some ten objects; each loan costs two writes, and their names
/// must fit into an annotation beside all others.
pub const MAX_LOANS: usize = 64;

/// An object that is made for a run.
#[derive(Clone, PartialEq)]
pub struct Loan {
    /// What it is.
    pub object: ObjectRef,
    /// The object as it is made, but for the Job that it is for: see [`Loan::made_for`].
    pub manifest: Manifest,
    /// The digest of what it is made from.
    pub content: String,
}

impl Loan {
    /// The chart's object, with nothing of its metadata but name, labels (of no ClusterRole) and annotations: what else there may be is set by the
    /// API server, would be pruned by others, or would keep the object from being deleted.
    fn of(member: &Member<'_>) -> Loan {
        let object = ObjectRef::of(member);
        let mut manifest = member.hook.manifest.as_object().cloned().unwrap_or_default();
        manifest.remove("status");
        // As Kubernetes reads them: a null is an empty text.
        let texts = |path: &str| -> Map<String, Value> {
            entries(&member.hook.manifest, path).into_iter().map(|(key, text)| (key, text.into())).collect()
        };
        let mut keys =
            clone::Keys { labels: texts("metadata.labels"), annotations: texts("metadata.annotations") };
        keys.strip_foreign(member.kind.is_namespaced());
        let clone::Keys { mut labels, annotations } = keys;
        if member.kind == Kind::ClusterRole {
            // By any of them another role could collect its rules, and give them to everybody who has that.
            labels.clear();
        }
        let mut metadata = Map::new();
        metadata.insert("name".to_owned(), json!(object.name));
        if !object.namespace.is_empty() {
            metadata.insert("namespace".to_owned(), json!(object.namespace));
        }
        labels.insert(keys::MANAGED_BY.to_owned(), json!(keys::MANAGER));
        metadata.insert("labels".to_owned(), Value::Object(labels));
        metadata.insert("annotations".to_owned(), Value::Object(annotations));
        manifest.insert("metadata".to_owned(), Value::Object(metadata));
        let mut manifest = Value::Object(manifest);
        let content = digest(&manifest.to_string());
        manifest["metadata"]["annotations"][CONTENT] = json!(content);
        Loan { object, manifest: Manifest::of(&manifest), content }
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        let Loan { object: ObjectRef { namespace, name, .. }, manifest, content } = self;
        size_of::<Loan>() + namespace.len() + name.len() + manifest.0.len() + content.len()
    }

    /// The object to be made for this Job, with its claim.
    pub fn made_for(&self, job: &JobId<'_>, keys: &Keys) -> Value {
        let mut manifest = self.manifest.value();
        let holder = (!self.object.kind.is_namespaced()).then(|| job.holder());
        match &holder {
            None => manifest["metadata"]["ownerReferences"] = json!([job.owner_reference()]),
            Some(holder) => manifest["metadata"]["annotations"][HOLDER] = json!(holder),
        }
        let claim = keys.claim_loan(&self.object, &self.content, holder.as_deref());
        manifest["metadata"]["annotations"][CLAIM] = json!(claim);
        manifest
    }
}

/// An object that is to be made, as the text of its JSON: it is kept while others are made, each of which may take half a minute,
/// and as values it would take some forty times as much.
#[derive(Clone, PartialEq)]
pub struct Manifest(Box<str>);

impl Manifest {
    /// Of this object.
    pub fn of(object: &Value) -> Manifest {
        Manifest(object.to_string().into())
    }

    /// The object.
    pub fn value(&self) -> Value {
        // It was written from one.
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// Bytes of its text.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }
}

/// Names what is lent; never prints the manifest, which may be a Secret's.
impl std::fmt::Debug for Loan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loan")
            .field("object", &self.object)
            .field("content", &self.content)
            .finish_non_exhaustive()
    }
}

/// A Job that exists.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // Kubernetes' own words
pub struct JobId<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub uid: &'a str,
}

impl JobId<'_> {
    /// What makes an object the Job's. It is not the Job's alone, so the Job does not control it.
    pub fn owner_reference(&self) -> Value {
        json!({"apiVersion": "batch/v1", "kind": "Job", "name": self.name, "uid": self.uid})
    }

    /// The same for an object without a namespace.
    pub fn holder(&self) -> String {
        format!("{}/{}/{}", self.namespace, self.name, self.uid)
    }

    /// The Job that an object without a namespace names.
    pub fn of_holder(holder: &str) -> Option<JobId<'_>> {
        let mut parts = holder.splitn(3, '/');
        Some(JobId { namespace: parts.next()?, name: parts.next()?, uid: parts.next()? })
    }
}

/// What a Job borrows, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Borrowed {
    /// The objects, in the order in which they are made. Nothing of what is in them: a digest would let whoever reads Jobs try
    /// out what a Secret may have.
    pub objects: Vec<ObjectRef>,
}

impl Borrowed {
    /// What a run with these loans borrows; none if nothing.
    pub fn of(loans: &[Loan]) -> Option<Borrowed> {
        if loans.is_empty() {
            return None;
        }
        Some(Borrowed { objects: loans.iter().map(|loan| loan.object.clone()).collect() })
    }

    /// What a Job borrows by its annotation; none if it borrows nothing. What is no such text is nobody's doing but
    /// somebody's who may write Jobs, and means nothing.
    pub fn from_job(job: &Value) -> Option<Borrowed> {
        let mut borrowed: Borrowed = serde_json::from_str(entry(job, "annotations", CLOSURE)?).ok()?;
        borrowed.objects.truncate(MAX_LOANS);
        // A Job reaches no namespace but its own.
        let namespace = at(job, "metadata.namespace").and_then(Value::as_str).unwrap_or_default();
        let is_near = |object: &ObjectRef| {
            if object.kind.is_namespaced() {
                object.namespace == namespace
            } else {
                object.namespace.is_empty()
            }
        };
        borrowed.objects.retain(|object| is_near(object) && is_object_name(&object.name));
        Some(borrowed)
    }

    /// The annotation's value.
    pub fn to_text(&self) -> String {
        json!(self).to_string()
    }
}

/// What is in the cluster of a member of a closure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Missing,
    /// An object that is being deleted.
    Leaving {
        /// Whether hookhost has created it for a run.
        is_created: bool,
    },
    /// An object that was not lent.
    Kept,
    /// An object that was lent to these Jobs, and that somebody has made their own since.
    TakenOver {
        /// UIDs of the Jobs that own it.
        owners: Vec<String>,
    },
    /// A loan of the Jobs with these UIDs, made from what has this digest.
    Lent {
        /// Its digest.
        content: String,
        /// UIDs of the Jobs that own it.
        owners: Vec<String>,
        /// The Job that holds it, where it has no namespace.
        holder: Option<String>,
    },
}

impl Found {
    /// What an object is by its metadata, which are none if there is no object.
    pub fn of(object: &ObjectRef, metadata: Option<&Value>, keys: &Keys) -> Found {
        let Some(metadata) = metadata else { return Found::Missing };
        if at(metadata, "deletionTimestamp").is_some_and(Value::is_string) {
            return Found::Leaving { is_created: lent(object, metadata, keys).is_some() };
        }
        match lent(object, metadata, keys).unwrap_or(Found::Kept) {
            Found::Lent { owners, .. }
                if TAKEN_OVER.iter().any(|key| annotation(metadata, key).is_some()) =>
            {
                Found::TakenOver { owners }
            }
            found => found,
        }
    }

    /// Whether it is a loan of this kind that no Job owns any more: its Job was deleted with orphaning, or somebody took the owner away.
    pub fn is_left_behind(&self, kind: Kind) -> bool {
        matches!(self, Found::Lent { owners, .. } if kind.is_namespaced() && owners.is_empty())
    }

    /// Whether an object of this kind is lent to this Job: it owns it, or holds it where there is no namespace.
    pub fn is_lent_to(&self, kind: Kind, job: &JobId<'_>) -> bool {
        match self {
            Found::Lent { owners, .. } if kind.is_namespaced() => owners.iter().any(|uid| uid == job.uid),
            Found::Lent { holder, .. } => holder.as_deref() == Some(&job.holder()),
            _ => false,
        }
    }
}

fn annotation(metadata: &Value, key: &str) -> Option<String> {
    metadata.pointer("/annotations")?.get(key)?.as_str().map(str::to_owned)
}

/// An object as hookhost created it, if its claim proves that, whoever owns it: a Job that is deleted with orphaning loses its objects.
fn lent(object: &ObjectRef, metadata: &Value, keys: &Keys) -> Option<Found> {
    let (content, holder) = (annotation(metadata, CONTENT)?, annotation(metadata, HOLDER));
    let of_claim = holder.as_deref().filter(|_| !object.kind.is_namespaced());
    if !keys.is_loan(&annotation(metadata, CLAIM)?, object, &content, of_claim) {
        return None;
    }
    let owners = metadata.get("ownerReferences").and_then(Value::as_array).into_iter().flatten();
    let owners = owners.filter(|owner| owner.get("kind").and_then(Value::as_str) == Some("Job"));
    let owners = owners.filter_map(|owner| owner.get("uid")?.as_str().map(str::to_owned)).collect();
    Some(Found::Lent { content, owners, holder })
}

fn digest(text: &str) -> String {
    format!("sha256:{}", hex(Sha256::digest(text)))
}
