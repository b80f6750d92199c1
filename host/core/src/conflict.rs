//! A *conflict* is another Operation on the same target that must end before this one may start.
//!
//! vWorkspace's own matrix knows conflicts between upgrades, restores and backups only. Chart hooks need more: no hook runs
//! while one of those is in flight, nor twice at once. So an Operation waits for another one on its target
//! - that is an Upgrade, a Restore or a Backup, whatever its engine;
//! - that runs any hook, or is a Migration, if it is itself one of the three;
//! - that runs the same hook;
//! - that runs a hook, if either of the two runs all hooks of an event.
//!
//! # Who goes first
//! Operations of this engine that wait for each other have one order: started ones first, then by creation, then by UID.
//! So of those that conflict exactly one goes first, whoever looks at them and when: none waits for a younger one that
//! waits too, and no two start. An older one that waits for something else, say an approval, is still waited for, as
//! vWorkspace does; its name is told, and deleting it ends the wait.
//!
//! Operations of other engines know nothing of this order. They count once they are in flight and not blocked: a blocked
//! one may be waiting for this very Operation.

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde_json::Value;

use crate::operation::{ENGINE, Operation, OperationType, names_hook};
use crate::reason::Reason;
use crate::refusal::Refusal;
use crate::status::blocked_reason;
use crate::text::{printable, quote};
use crate::workload::at;

/// Another Operation of the namespace, as far as conflicts go. It may be of any engine and need not be valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Other<'a> {
    /// metadata.name.
    pub name: &'a str,
    /// metadata.uid.
    pub uid: &'a str,
    /// metadata.creationTimestamp.
    pub created: Option<Timestamp>,
    /// spec.type; none if it is not one of vWorkspace's.
    pub type_of: Option<OperationType>,
    /// spec.engine.
    pub engine: &'a str,
    /// Kind and name of spec.targetRef.
    pub target: (&'a str, &'a str),
    /// spec.parameters.hookName, if it is of this engine; empty where a template tells the hook, none where all hooks of an event
    /// are meant.
    pub hook: Option<&'a str>,
    /// How far it is.
    pub progress: Progress,
    /// What it waits for itself, where that is not another Operation.
    pub blocked: Option<&'a str>,
}

/// How far an Operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// It has begun, and may still be at work.
    Started,
    /// It has yet to begin.
    Waiting,
    /// It has ended, or, of another engine, is not in flight.
    Over,
}

impl<'a> Other<'a> {
    /// Another Operation: its name, UID and creation, its `spec` and `status` as the API server gives them, and whether
    /// there is a Job of it.
    pub fn of(
        name: &'a str,
        uid: &'a str,
        created: Option<Timestamp>,
        operation: &'a Value,
        has_job: bool,
    ) -> Other<'a> {
        let text = |path: &str| at(operation, path).and_then(Value::as_str).unwrap_or_default();
        let engine = text("spec.engine");
        let hook = text("spec.parameters.hookName");
        let type_of = text("spec.type");
        Other {
            name,
            uid,
            created,
            type_of: OperationType::ALL.into_iter().find(|known| known.as_str() == type_of),
            engine,
            target: (text("spec.targetRef.kind"), text("spec.targetRef.name")),
            hook: Some(hook).filter(|_| engine == ENGINE && names_hook(operation)),
            progress: progress(operation, engine == ENGINE, has_job),
            blocked: at(operation, "status")
                .and_then(blocked_reason)
                .filter(|reason| *reason != Reason::ConflictingOperation.as_str()),
        }
    }

    fn is_ours(&self) -> bool {
        self.engine == ENGINE
    }

    /// Whether the two may never be at work at once, and why.
    fn conflicts(&self, this: &Operation) -> Option<&'static str> {
        let target = (this.target_ref.kind.as_str(), this.target_ref.name.as_str());
        if self.target != target || Some(self.uid) == this.uid.as_deref() {
            return None;
        }
        let is_whole_event = self.is_ours() && self.hook.is_none();
        if is_whole_event || (self.is_ours() && this.parameters.whole_event().is_some()) {
            return Some("with hooks of the same target");
        }
        if self.hook == Some(this.parameters.hook_name.as_str()) {
            return Some("for the same hook of the same target");
        }
        let type_of = self.type_of?;
        // Commands and runbooks of other engines are safe beside everything, as vWorkspace has it; a hook is not.
        let conflicts = is_exclusive(type_of)
            || (is_exclusive(this.type_of) && (self.is_ours() || type_of == OperationType::Migration));
        conflicts.then_some("on the same target")
    }

    /// Whether it goes before an Operation that has not started.
    fn precedes(&self, this: &Operation) -> bool {
        match self.progress {
            Progress::Started => true,
            Progress::Over => false,
            // Its own host will start it, whatever the order here.
            Progress::Waiting if !self.is_ours() => true,
            // An Operation that is only planned is younger than all.
            Progress::Waiting => match (this.created, this.uid.as_deref()) {
                (Some(created), Some(uid)) => (self.created, self.uid) < (Some(created), uid),
                _ => true,
            },
        }
    }
}

/// Whether nothing else may work on the target meanwhile.
pub fn is_exclusive(type_of: OperationType) -> bool {
    matches!(type_of, OperationType::Upgrade | OperationType::Restore | OperationType::Backup)
}

/// An Operation's progress as its status tells. Another controller may overwrite the phase of ours
/// (it says Pending of every engine that it does not serve), so there the phase alone never says that it has ended.
fn progress(operation: &Value, is_ours: bool, has_job: bool) -> Progress {
    let phase = at(operation, "status.phase").and_then(Value::as_str).unwrap_or_default();
    let has_time = |path: &str| at(operation, path).is_some_and(Value::is_string);
    let ended = has_time("status.finishedAt")
        || ["Succeeded", "Failed", "Cancelled"].into_iter().any(|type_of| is_true(operation, type_of));
    if ended || (!is_ours && matches!(phase, "Succeeded" | "Failed" | "Cancelled")) {
        return Progress::Over;
    }
    if has_job || has_time("status.startedAt") || phase == "Running" {
        return Progress::Started;
    }
    let in_flight = phase == "Pending" || is_true(operation, "Accepted");
    if is_ours || (in_flight && !is_true(operation, "Blocked")) { Progress::Waiting } else { Progress::Over }
}

/// Whether the Operation's condition of this type is true.
fn is_true(operation: &Value, type_of: &str) -> bool {
    let text =
        |condition: &Value, field: &str, is: &str| condition.get(field).and_then(Value::as_str) == Some(is);
    let conditions = at(operation, "status.conditions").and_then(Value::as_array).into_iter().flatten();
    conditions
        .into_iter()
        .any(|condition| text(condition, "type", type_of) && text(condition, "status", "True"))
}

/// Lets the Operation, which has not started, wait for the last of those that it conflicts with and that go before it.
/// `others` are of its namespace; itself among them does not count.
///
/// The last, not the first: in a line each names the one before it, and that stays so, and stays written, while the line
/// moves up.
pub fn blocking<'a>(this: &Operation, others: impl Iterator<Item = Other<'a>>) -> Option<Refusal> {
    let before = others.filter(|other| other.precedes(this));
    let conflicts = before.filter_map(|other| Some((other.conflicts(this)?, other)));
    let (why, other) = conflicts.max_by_key(|(_, other)| (other.progress, other.created, other.uid))?;
    let waits = match other.blocked {
        Some(reason) if other.progress == Progress::Waiting => {
            format!(", and is blocked itself ({})", printable(reason))
        }
        _ => String::new(),
    };
    let kind = other.type_of.map_or("an Operation".to_owned(), |type_of| type_of.to_string());
    let message = format!(
        "the Operation {} ({kind}, engine {}) goes first, {why}{waits}: this one starts when that has ended, or is deleted",
        quote(other.name),
        printable(other.engine)
    );
    Some(Refusal::wait(Reason::ConflictingOperation, message))
}
