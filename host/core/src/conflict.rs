//! A *conflict* is another Operation on the same release that must end before this one may start.
//!
//! vWorkspace's own matrix knows conflicts between upgrades, restores and backups only. Chart hooks need more: no hook runs
//! while one of those is in flight, nor twice at once. So an Operation waits for another one on its release
//! - that is an Upgrade, a Restore or a Backup, whatever its engine;
//! - that runs any hook, or is a Migration, if it is itself one of the three;
//! - that runs the same hook;
//! - that runs a hook, if either of the two runs all hooks of an event.
//!
//! # Who goes first
//! Operations of this engine that wait for each other have one order: started ones first, then by creation, then by UID.
//! So of those that conflict exactly one goes first, whoever reconciles them and when: none waits for a younger one that
//! waits too, and no two start.
//!
//! # Overtaking
//! An older Operation that is *stuck* (it waits for something else, say an approval, or it waits for one that is stuck) still
//! goes first where both run the same hook, or where one of them is an Upgrade, a Restore or a Backup. Other Operations may
//! overtake it. Whether an event has the hook of the other one the release tells: see [`Overtaken::shares`].
//!
//! Operations of other engines know nothing of this order. They count once they are in flight and not blocked: a blocked
//! one may be waiting for this very Operation. An [`Upgrade`] of theirs counts no longer than its HelmRelease shows, or an hour.

#[cfg(test)]
mod tests;
mod upgrade;
mod waiting;

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::Value;

use crate::duration::show;
use crate::operation::{ENGINE, Operation, OperationType};
use crate::reason::Reason;
use crate::refusal::Refusal;
use hookhost_helm::hook::{Hook, canonical_event};
use hookhost_helm::text::{printable, quote};
use hookhost_helm::workload::at;

pub use upgrade::{UPGRADE_ENDS_AFTER, Upgrade};
pub use waiting::{Standing, Waiting};

/// Reasons for which an Operation is blocked until hookhost is installed with other values, or until a person releases what was
/// restored from a backup, which may be never. No Operation waits for one of these: people make another for the same hook.
pub const HOLDS_NOBODY: [Reason; 3] =
    [Reason::TargetKindDisabled, Reason::HookNotVerified, Reason::RestoredFromBackup];

/// Another Operation on the same release, as far as conflicts go. It may be of any engine and need not be valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Other<'a> {
    /// metadata.name.
    pub name: &'a str,
    /// metadata.uid.
    pub uid: &'a str,
    /// metadata.creationTimestamp.
    pub created: Option<Timestamp>,
    /// status.startedAt.
    pub started: Option<Timestamp>,
    /// spec.type; none if it is not one of vWorkspace's.
    pub type_of: Option<OperationType>,
    /// spec.engine.
    pub engine: &'a str,
    /// Which hooks it runs.
    pub runs: Runs<'a>,
    /// How far it is.
    pub progress: Progress,
    /// For what hookhost has found it to wait, where that is not another Operation. Never what its status says, which others write
    /// too; so of another engine's Operation it is none.
    pub blocked: Option<Reason>,
}

/// Which hooks an Operation runs, by its parameters alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs<'a> {
    /// None: it is another engine's.
    Nothing,
    /// The hook of this name.
    Hook(&'a str),
    /// The hook of this template, whole or its last parts; the release tells the name.
    Template(&'a str),
    /// All hooks of this event.
    Event(&'a str),
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

/// Why two Operations may not be at work at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// One of them is an Upgrade, a Restore or a Backup.
    Exclusive,
    /// Both run the same hook.
    SameHook,
    /// One of them runs all hooks of an event. Whether that has the other's hook the release tells.
    Event,
}

impl Relation {
    fn words(self) -> &'static str {
        match self {
            Relation::Exclusive => "on the same release",
            Relation::SameHook => "for the same hook of the same release",
            Relation::Event => "with hooks of the same release",
        }
    }
}

impl<'a> Runs<'a> {
    /// Of parameters as the API server has them: the texts of hookName, hookPath and event, empty where there is none.
    pub fn of_parameters(hook_name: &'a str, hook_path: &'a str, event: &'a str) -> Runs<'a> {
        match (hook_name, hook_path) {
            ("", "") => Runs::Event(event),
            ("", path) => Runs::Template(path),
            (name, _) => Runs::Hook(name),
        }
    }

    fn of_operation(operation: &Operation) -> Runs<'_> {
        let parameters = &operation.parameters;
        Runs::of_parameters(
            &parameters.hook_name,
            parameters.hook_path.as_deref().unwrap_or_default(),
            parameters.event.as_deref().unwrap_or_default(),
        )
    }

    /// Whether it is surely the same hook. A template and a name may be the same one; then the Job that runs tells.
    fn is_same_hook(self, other: Runs<'_>) -> bool {
        match (self, other) {
            (Runs::Hook(one), Runs::Hook(two)) => one == two,
            (Runs::Template(one), Runs::Template(two)) => is_end_of(one, two) || is_end_of(two, one),
            _ => false,
        }
    }
}

/// Whether a template's path may be the end of another.
fn is_end_of(end: &str, path: &str) -> bool {
    path.strip_suffix(end).is_some_and(|start| start.is_empty() || start.ends_with('/'))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

impl<'a> Other<'a> {
    /// Another Operation: its name, UID and creation, its `spec` and `status` as the API server gives them, and whether
    /// there is a Job of it. For what it waits is not known.
    pub fn of(
        name: &'a str,
        uid: &'a str,
        created: Option<Timestamp>,
        operation: &'a Value,
        has_job: bool,
    ) -> Other<'a> {
        let text = |path: &str| at(operation, path).and_then(Value::as_str).unwrap_or_default();
        let engine = text("spec.engine");
        let type_of = text("spec.type");
        let parameter = |name: &str| text(&format!("spec.parameters.{name}"));
        let runs = match engine {
            ENGINE => Runs::of_parameters(parameter("hookName"), parameter("hookPath"), parameter("event")),
            _ => Runs::Nothing,
        };
        Other {
            name,
            uid,
            created,
            started: text("status.startedAt").parse().ok(),
            type_of: type_of.parse().ok(),
            engine,
            runs,
            progress: progress(operation, engine == ENGINE, has_job),
            blocked: None,
        }
    }

    /// The same where hookhost has found that it waits for this.
    #[must_use]
    pub fn waiting_for(self, reason: Option<Reason>) -> Other<'a> {
        let blocked = reason.filter(|reason| self.is_ours() && *reason != Reason::ConflictingOperation);
        Other { blocked, ..self }
    }

    fn is_ours(&self) -> bool {
        self.engine == ENGINE
    }

    /// The Upgrade of another engine that it is.
    pub fn upgrade(&self) -> Option<Upgrade> {
        let since = self.started.or(self.created)?;
        (!self.is_ours() && self.type_of == Some(OperationType::Upgrade))
            .then(|| Upgrade { uid: self.uid.to_owned(), since })
    }

    fn is_exclusive(&self) -> bool {
        self.type_of.is_some_and(is_exclusive)
    }

    /// Whether there may be an Operation of this engine that has to wait for it, as far as it has come.
    pub fn may_be_in_the_way(&self) -> bool {
        self.progress != Progress::Over && (self.is_work() || self.is_exclusive())
    }

    /// Whether no Upgrade, Restore or Backup may be at work beside it. Commands and runbooks of other engines are safe beside
    /// everything, as vWorkspace has it; a hook is not.
    fn is_work(&self) -> bool {
        self.is_ours() || self.type_of == Some(OperationType::Migration)
    }

    /// Whether the two may never be at work at once, and why.
    pub fn relation(&self, this: &Operation) -> Option<Relation> {
        if Some(self.uid) == this.uid.as_deref() {
            return None;
        }
        if self.is_exclusive() || (is_exclusive(this.type_of) && self.is_work()) {
            return Some(Relation::Exclusive);
        }
        let runs = Runs::of_operation(this);
        if self.runs.is_same_hook(runs) {
            return Some(Relation::SameHook);
        }
        let has_event = matches!(self.runs, Runs::Event(_)) || matches!(runs, Runs::Event(_));
        (self.is_ours() && has_event).then_some(Relation::Event)
    }

    /// Whether it goes before an Operation that has not started.
    fn precedes(&self, this: &Operation) -> bool {
        match self.progress {
            Progress::Started => true,
            Progress::Over => false,
            // Its own host will start it, whatever the order here.
            Progress::Waiting if !self.is_ours() => true,
            // It may wait for ever.
            Progress::Waiting if self.blocked.is_some_and(|reason| HOLDS_NOBODY.contains(&reason)) => false,
            // An Operation that is only planned is younger than all.
            Progress::Waiting => match (this.created, this.uid.as_deref()) {
                (Some(created), Some(uid)) => (self.created, self.uid) < (Some(created), uid),
                _ => true,
            },
        }
    }

    /// What of it decides whether others wait for it.
    pub fn standing(&self) -> Standing {
        match (self.progress, self.blocked) {
            (Progress::Over, _) => Standing::Over,
            (Progress::Waiting, Some(reason)) => Standing::Blocked(reason),
            _ => Standing::Alive,
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

/// Whose turn it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Turn<'a> {
    /// The Operation waits for another one.
    Wait(Before<'a>),
    /// It may start, past these.
    Go(Vec<Overtaken>),
}

/// The Operation that another one waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct Before<'a> {
    /// It.
    pub other: Other<'a>,
    /// Why the two may not be at work at once.
    pub relation: Relation,
}

impl Before<'_> {
    /// What the one that waits is told.
    pub fn refusal(&self) -> Refusal {
        let other = &self.other;
        let refusal = refuse(other.name, other.type_of, other.engine, self.relation, other.blocked);
        if self.upgrade().is_none() {
            return refusal;
        }
        let message = format!(
            "{}. Should it never report its end, it counts as ended once its HelmRelease has been upgraded and is ready, or {} after \
             it began",
            refusal.message,
            show(UPGRADE_ENDS_AFTER)
        );
        refusal.saying(message)
    }

    /// The Upgrade of another engine that it is.
    pub fn upgrade(&self) -> Option<Upgrade> {
        self.other.upgrade()
    }
}

/// An older Operation that is stuck, and may be overtaken where the two do not run the same hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overtaken {
    /// metadata.uid.
    pub uid: String,
    name: String,
    type_of: Option<OperationType>,
    /// The name of its hook; none where it runs all of the event.
    hook: Option<String>,
    event: String,
    blocked: Option<Reason>,
}

impl Overtaken {
    fn of(other: &Other<'_>) -> Overtaken {
        let (hook, event) = match other.runs {
            Runs::Hook(name) => (Some(name), ""),
            Runs::Event(event) => (None, event),
            // Its hook's name is not known here: none that another one has.
            Runs::Template(_) | Runs::Nothing => (Some(""), ""),
        };
        Overtaken {
            uid: other.uid.to_owned(),
            name: other.name.to_owned(),
            type_of: other.type_of,
            hook: hook.map(str::to_owned),
            event: event.to_owned(),
            blocked: other.blocked,
        }
    }

    /// Whether it runs one of these hooks. Of a hook that its template alone tells that is not known, so it counts as one.
    pub fn shares(&self, hooks: &[&Hook]) -> bool {
        match self.hook.as_deref() {
            Some("") => true,
            Some(name) => hooks.iter().any(|hook| hook.name == name),
            None => {
                let event = canonical_event(&self.event);
                hooks.iter().any(|hook| hook.events.iter().any(|of| canonical_event(of) == event))
            }
        }
    }

    /// What the Operation is told that cannot overtake it.
    pub fn refusal(&self) -> Refusal {
        refuse(&self.name, self.type_of, ENGINE, Relation::SameHook, self.blocked)
    }
}

fn refuse(
    name: &str,
    type_of: Option<OperationType>,
    engine: &str,
    relation: Relation,
    blocked: Option<Reason>,
) -> Refusal {
    let waits = blocked.map(|reason| format!(", and is blocked itself ({reason})")).unwrap_or_default();
    let kind = type_of.map_or("an Operation".to_owned(), |type_of| type_of.to_string());
    let message = format!(
        "the Operation {} ({kind}, engine {}) goes first, {}{waits}: this one starts when that has ended, or is deleted",
        quote(name),
        printable(engine),
        relation.words()
    );
    Refusal::wait(Reason::ConflictingOperation, message)
}

/// Whether it is the turn of an Operation that has not started. `others` are those on its release; itself among them does
/// not count.
///
/// It waits for the last of those that it conflicts with and that go before it. The last, not the first: in a line each names
/// the one before it, and that stays so, and stays written, while the line moves up.
pub fn turn<'a>(this: &Operation, others: impl Iterator<Item = Other<'a>>) -> Turn<'a> {
    let is_before = |other: &Other<'_>| Some(other.uid) != this.uid.as_deref() && other.precedes(this);
    let mut line: Vec<Other<'a>> = others.filter(is_before).collect();
    line.sort_unstable_by_key(|other| (other.progress, other.created, other.uid));
    let (mut stuck, mut before, mut overtaken) = (Stuck::default(), None, Vec::new());
    for other in line {
        let is_stuck = stuck.is(&other);
        match other.relation(this) {
            None => {}
            Some(Relation::Event) if is_stuck => overtaken.push(Overtaken::of(&other)),
            Some(relation) => before = Some(Before { other, relation }),
        }
    }
    before.map_or(Turn::Go(overtaken), Turn::Wait)
}

/// Which Operations are stuck, of those of a line in their order: they wait for something else than their turn, or for one
/// that is stuck and that they may not overtake whatever the release says.
#[derive(Default)]
struct Stuck<'a> {
    any: bool,
    exclusive: bool,
    hooks: HashSet<&'a str>,
    /// File names of templates: those whose paths may be the same have the same one.
    templates: HashSet<&'a str>,
}

impl<'a> Stuck<'a> {
    /// Whether the next of the line is.
    fn is(&mut self, next: &Other<'a>) -> bool {
        if next.progress != Progress::Waiting || !next.is_ours() {
            return false;
        }
        let is_behind = match next.runs {
            Runs::Hook(name) => self.hooks.contains(name),
            Runs::Template(path) => self.templates.contains(file_name(path)),
            Runs::Event(_) | Runs::Nothing => false,
        };
        let is_stuck =
            next.blocked.is_some() || self.exclusive || (self.any && next.is_exclusive()) || is_behind;
        if is_stuck {
            self.any = true;
            self.exclusive |= next.is_exclusive();
            match next.runs {
                Runs::Hook(name) => _ = self.hooks.insert(name),
                Runs::Template(path) => _ = self.templates.insert(file_name(path)),
                Runs::Event(_) | Runs::Nothing => {}
            }
        }
        is_stuck
    }
}
