//! A *subject* is the Operation that is looked at, as it was when the look began.

use std::sync::Arc;

use hookhost_core::operation::{CANCEL, KIND, Operation, TooLarge, names_hook};
use hookhost_core::refusal::Refusal;
use hookhost_core::status::{self, CancelledBy, Foreign};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::core::DynamicObject;
use serde_json::Value;

use hookhost_cluster::key::OperationKey;
use hookhost_cluster::operation::{Brief, Whole};
use hookhost_cluster::text::to_json;

/// The Operation that is looked at.
pub(crate) struct Subject {
    pub(crate) object: Arc<DynamicObject>,
    /// The same in brief.
    pub(crate) brief: Arc<Brief>,
    /// A part of it that is larger than is read.
    pub(crate) too_large: Option<TooLarge>,
    /// The field manager that wrote the status last, besides hookhost.
    pub(crate) other_writer: Option<String>,
    /// Which conditions of the status are not hookhost's.
    pub(crate) foreign: Foreign,
    pub(crate) key: OperationKey,
    pub(crate) uid: String,
    pub(crate) generation: i64,
    pub(crate) status: Value,
}

impl Subject {
    /// An Operation.
    pub(crate) fn new(whole: Whole) -> Subject {
        let Whole { brief, object, too_large, other_writer, foreign } = whole;
        let (key, uid) = (brief.key.clone(), brief.uid.clone());
        let generation = object.metadata.generation.unwrap_or_default();
        let status = object.data.get("status").cloned().unwrap_or_default();
        Subject { object, brief, too_large, other_writer, foreign, key, uid, generation, status }
    }

    /// When it was made.
    pub(crate) fn created(&self) -> Option<Timestamp> {
        let created = self.object.metadata.creation_timestamp.as_ref()?;
        Timestamp::from_second(created.0.as_second()).ok()
    }

    /// Why the Operation is blocked, as hookhost has reported it; none where its status says so in another controller's words.
    pub(super) fn blocked_reason(&self) -> Option<&str> {
        status::blocked_reason(&self.status).filter(|_| !self.foreign.has_blocked())
    }

    /// What it asks for, checked.
    pub(super) fn operation(&self) -> Result<Operation, Refusal> {
        if let Some(too_large) = &self.too_large {
            return Err(too_large.refusal());
        }
        Ok(Operation::from_json(self.to_json())?)
    }

    /// The whole object, for the core.
    fn to_json(&self) -> Value {
        let mut json = to_json(&self.object);
        // A watch's objects do not repeat what they are.
        json["apiVersion"] = hookhost_core::operation::API_VERSION.into();
        json["kind"] = KIND.into();
        json
    }

    /// The ApplicationInstance that it is for; empty if it is for something else. For log lines.
    pub(crate) fn instance(&self) -> &str {
        let is_instance = self.text("/spec/targetRef/kind") == Some("ApplicationInstance");
        self.text("/spec/targetRef/name").filter(|_| is_instance).unwrap_or_default()
    }

    /// Whether it is to be cancelled: by annotation, or because it is being deleted. Once hookhost has reported that it cancels the
    /// Operation, this stays so: its Job is deleted by then.
    pub(crate) fn is_cancelled(&self) -> bool {
        let annotation = self.object.annotations().get(CANCEL);
        let is_under_way = status::is_cancelling(&self.status) && !self.foreign.has_running();
        self.is_deleted() || is_under_way || annotation.is_some_and(|value| value != "false")
    }

    /// By what it is cancelled, where it is.
    pub(crate) fn cancelled_by(&self) -> CancelledBy {
        if self.is_deleted() { CancelledBy::Deletion } else { CancelledBy::Annotation }
    }

    /// Whether it is being deleted, and only others' finalizers keep it.
    pub(crate) fn is_deleted(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }

    /// The event whose hooks are all to be run; none where one hook is named.
    pub(crate) fn whole_event(&self) -> Option<&str> {
        self.text("/spec/parameters/event").filter(|_| !names_hook(&self.object.data))
    }

    fn text(&self, path: &str) -> Option<&str> {
        self.object.data.pointer(path).and_then(Value::as_str)
    }
}
