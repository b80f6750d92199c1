//! A *Job* of hookhost, as far as a look at its Operation needs to know it.

use std::time::Instant;

use hookhost_core::clone::{OPENED, Step};
use hookhost_core::loan::{Borrowed, JobId};
use hookhost_core::outcome::{Outcome, Warnings};
use hookhost_core::status::Run;
use hookhost_core::{clone, outcome};
use kube::ResourceExt;
use kube::core::DynamicObject;
use serde_json::Value;

use super::HookOfRelease;
use crate::lender::UNATTENDED;
use crate::wake::OperationKey;
use crate::watch::{Text, to_json, trim, version};

/// A Job of hookhost, without its spec: that is in the API server, and nothing here depends on it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    /// The UID of the Operation that it is for, by its label.
    pub(crate) operation: String,
    /// Whether it is finished, or on its way to be deleted.
    pub(crate) is_over: bool,
    /// Which hook of which release it runs, as long as it may have a pod.
    pub(super) work: Option<HookOfRelease>,
    /// The UID of its controller.
    owner: Option<String>,
    /// Where the Operation is that it says it is for.
    origin: Option<OperationKey>,
    /// When this process first heard of it.
    pub(crate) known_since: Instant,
    is_finished: bool,
    is_complete: bool,
    is_held: bool,
    is_deleted: bool,
    pub(super) is_suspended: bool,
    /// Whether it was let start, once.
    is_opened: bool,
    /// Whether hookhost was uninstalled while it ran: what it borrows is still to be taken back.
    is_unattended: bool,
    /// What it borrows.
    borrowed: Option<Borrowed>,
    /// Which step it is, where all hooks of an event are run.
    pub(crate) step: Option<Step>,
    /// metadata and status.
    text: Text,
    pub(super) version: u64,
}

impl Job {
    /// A Job as the API server gave it; none if it is not for an Operation.
    pub(crate) fn new(mut object: DynamicObject) -> Option<Job> {
        let operation = object.labels().get(clone::OPERATION)?.clone();
        trim(&mut object);
        let is_suspended = object.data.pointer("/spec/suspend").and_then(Value::as_bool) == Some(true);
        if let Some(data) = object.data.as_object_mut() {
            data.retain(|field, _| field == "status");
        }
        if !is_suspended {
            // It was, and its controller is about to say so.
            resume(&mut object);
        }
        let version = version(&object);
        let (namespace, name, uid) = (object.namespace()?, object.name_any(), object.uid()?);
        let is_deleted = object.metadata.deletion_timestamp.is_some();
        let object = to_json(&object);
        let is_finished = outcome::is_finished(&object);
        // Without its pods: what it says itself.
        let is_complete =
            matches!(outcome::observe(&object, &[], Warnings::default()), Outcome::Succeeded { .. });
        let decision = Run::of(&object).map(|run| run.decision).unwrap_or_default();
        let text = |path: &str| decision.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let hook = (text("/release/name"), text("/hook/name"));
        let work = match hook {
            (Some(release), Some(hook)) if !is_finished => Some([namespace.clone(), release, hook]),
            _ => None,
        };
        let origin = (text("/operation/namespace"), text("/operation/name"));
        let origin = match origin {
            (Some(namespace), Some(name)) => Some(OperationKey::new(namespace, name)),
            _ => None,
        };
        let annotation =
            |key: &str| object.pointer("/metadata/annotations").is_some_and(|all| all.get(key).is_some());
        let owner = outcome::owner_uid(&object).map(str::to_owned);
        let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
        let is_held = finalizers.into_iter().flatten().any(|one| one.as_str() == Some(clone::FINALIZER));
        Some(Job {
            namespace,
            name,
            uid,
            operation,
            is_over: is_deleted || is_finished,
            is_finished,
            is_complete,
            work,
            owner,
            origin,
            known_since: Instant::now(),
            is_held,
            is_deleted,
            is_suspended,
            is_opened: annotation(OPENED),
            is_unattended: annotation(UNATTENDED),
            borrowed: Borrowed::from_job(&object),
            step: Step::from_job(&object),
            text: Text::of(&object),
            version,
        })
    }

    /// Whether it is this Operation's: a label alone can be anybody's copy. In the Operation's namespace the Operation
    /// owns it; in another it cannot, and there the Job says where its Operation is.
    pub(crate) fn is_of(&self, uid: &str, key: &OperationKey) -> bool {
        self.operation == uid
            && if self.namespace == key.namespace {
                self.owner.as_deref() == Some(uid)
            } else {
                self.origin.as_ref() == Some(key)
            }
    }

    /// Where the Operation is that it says it is for.
    pub(crate) fn origin(&self) -> Option<&OperationKey> {
        self.origin.as_ref()
    }

    /// Its metadata and status.
    pub(crate) fn object(&self) -> Value {
        self.text.parse()
    }

    /// Whether hookhost's finalizer is on it: its result is not yet on the Operation.
    pub(crate) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Whether it is complete or has failed.
    pub(crate) fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// Whether it is complete.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether it is being deleted.
    pub(crate) fn is_deleted(&self) -> bool {
        self.is_deleted
    }

    /// What it borrows.
    pub(crate) fn borrowed(&self) -> Option<&Borrowed> {
        self.borrowed.as_ref()
    }

    /// Whether it waits for what it borrows, or for its turn, so that nothing of it has run.
    pub(crate) fn is_unopened(&self) -> bool {
        (self.borrowed.is_some() || self.step.is_some()) && self.is_suspended && !self.is_opened
    }

    /// Whether hookhost was uninstalled while it ran.
    pub(crate) fn is_unattended(&self) -> bool {
        self.is_unattended
    }

    /// Whether what it borrows may still be there once it is over.
    pub(crate) fn is_indebted(&self) -> bool {
        self.is_held || self.is_unattended
    }

    /// Whether it has what it borrows: hookhost takes it back before it lets the Job go.
    pub(super) fn is_lent(&self) -> bool {
        self.borrowed.is_some() && self.is_held
    }

    /// Whether it borrows what acts on the whole cluster.
    pub(super) fn borrows_of_cluster(&self) -> bool {
        let objects = self.borrowed.iter().flat_map(|borrowed| &borrowed.objects);
        objects.into_iter().any(|object| !object.kind.is_namespaced())
    }

    /// How loans name it.
    pub(crate) fn id(&self) -> JobId<'_> {
        JobId { namespace: &self.namespace, name: &self.name, uid: &self.uid }
    }

    /// Its resourceVersion.
    pub(crate) fn version(&self) -> String {
        self.version.to_string()
    }

    /// Whether it may have a pod whose result is not safe.
    pub(super) fn needs_pods(&self) -> bool {
        !self.is_over || (self.is_deleted && self.is_held)
    }
}

/// Takes out of a Job's status that it is suspended.
fn resume(job: &mut DynamicObject) {
    let conditions = job.data.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
    if let Some(conditions) = conditions {
        conditions.retain(|condition| condition["type"] != "Suspended");
    }
}
