//! An Operation's *turn* comes when none that goes before it, on its release, is left: see [`hookhost_core::conflict`]. It is found
//! out from what the watches know, before anything is asked of the API server, so that an Operation that waits in line costs no
//! request, however long the line is.
//!
//! Who waits is reconciled again when the one that it waits for ends or is blocked itself, not when any other does.

use std::collections::HashMap;
use std::sync::Arc;

use hookhost_core::Reason;
use hookhost_core::conflict::{self, Other, Overtaken, Relation, Standing, Turn, Upgrade, Waiting};
use hookhost_core::operation::Operation;
use hookhost_core::refusal::Refusal;
use hookhost_helm::hook::Hook;
use jiff::Timestamp;
use parking_lot::{Mutex, RwLock};

use super::{Context, Subject};
use crate::wake::Wakes;
use crate::watch::{Knowledge, too_many};
use hookhost_cluster::key::OperationKey;
use hookhost_cluster::operation::{Brief, TargetKey};

/// How long to wait for the Operation of a Job to be asked for, in seconds: whoever looks after Jobs without Operations does.
const UNTIL_FOUND: u32 = 2;

/// Whose turn it is; one for all.
pub(crate) struct Turns {
    known: Mutex<Known>,
    /// Upgrades of other engines that are over though they do not report it, by UID, with when they had begun: one that begins
    /// after that counts again. Never more than there are Operations.
    past: RwLock<HashMap<String, Timestamp>>,
    wakes: Wakes,
}

#[derive(Default)]
struct Known {
    waiting: Waiting,
    /// Where those are that wait, by UID.
    keys: HashMap<String, OperationKey>,
    /// Of those that wait for an Upgrade of another engine that Upgrade, by their UIDs.
    upgrades: HashMap<String, Upgrade>,
    /// Of each such Upgrade the UID of the one that looks after it for all that wait for it.
    watchers: HashMap<String, String>,
    /// UIDs of those that are about to make their Jobs, and who is reconciled again once they have, or have not.
    starting: HashMap<String, Vec<OperationKey>>,
}

/// What comes of asking for a turn.
pub(super) enum Asked<'c> {
    /// It is the Operation's turn, as long as this is kept.
    Begun(Begun<'c>),
    /// It waits for another Operation.
    Refused(Refusal),
    /// Another one that it conflicts with is about to make its Jobs, or not all are known. That is over in a moment, and then this
    /// one is reconciled again: nothing is written for that.
    Later,
}

/// The turn of an Operation that is about to make its Jobs.
pub(super) struct Begun<'c> {
    turns: &'c Turns,
    uid: String,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        let later = self.turns.known.lock().starting.remove(&self.uid);
        self.turns.wakes.wake_all(later.into_iter().flatten());
    }
}

impl Turns {
    pub(crate) fn new(wakes: Wakes) -> Turns {
        Turns { known: Mutex::default(), past: RwLock::default(), wakes }
    }

    /// The Operation waits for no other one any more.
    pub(crate) fn leave(&self, uid: &str) {
        let next = self.known.lock().leave(uid);
        self.wakes.wake_all(next);
    }

    /// The Upgrade of another engine that the Operation waits for, if it is the one that looks after it: however many wait for an
    /// Upgrade, one asks for its HelmRelease.
    pub(super) fn upgrade_before(&self, uid: &str) -> Option<Upgrade> {
        let mut known = self.known.lock();
        let upgrade = known.upgrades.get(uid).cloned()?;
        let watcher = known.watchers.entry(upgrade.uid.clone()).or_insert_with(|| uid.to_owned());
        (watcher == uid).then_some(upgrade)
    }

    /// That Upgrade is over, though it does not say so: nobody waits for it any more.
    pub(super) fn pass(&self, upgrade: &Upgrade) {
        let Upgrade { uid, since } = upgrade.clone();
        self.past.write().insert(uid, since);
        self.note(&upgrade.uid, Standing::Over);
    }

    fn is_past(&self, other: &Other<'_>) -> bool {
        let past = self.past.read();
        other.upgrade().is_some_and(|upgrade| past.get(&upgrade.uid) == Some(&upgrade.since))
    }

    /// How an Operation stands now: whoever waits for it is reconciled if that has changed.
    fn note(&self, uid: &str, standing: Standing) {
        let mut known = self.known.lock();
        let concerned = known.waiting.note(uid, standing);
        self.wake(&known, &concerned);
    }

    fn wake(&self, known: &Known, uids: &[String]) {
        self.wakes.wake_all(uids.iter().filter_map(|uid| known.keys.get(uid).cloned()));
    }
}

impl Known {
    fn wait(
        &mut self,
        subject: &Subject,
        before: &str,
        relation: Relation,
        standing: Standing,
    ) -> Vec<String> {
        self.keys.insert(subject.uid.clone(), subject.key.clone());
        self.waiting.wait(&subject.uid, before, relation, standing)
    }

    /// Gives back who is to be reconciled in its place: see [`Known::wait_for_upgrade`].
    fn leave(&mut self, uid: &str) -> Option<OperationKey> {
        self.waiting.leave(uid);
        self.keys.remove(uid);
        self.wait_for_upgrade(uid, None)
    }

    /// The Operation waits for this Upgrade, or for none. Where it has looked after another one, gives back who is to do so now.
    fn wait_for_upgrade(&mut self, uid: &str, upgrade: Option<Upgrade>) -> Option<OperationKey> {
        let before = match upgrade {
            Some(upgrade) => {
                self.upgrades.insert(uid.to_owned(), upgrade.clone()).filter(|one| one.uid != upgrade.uid)
            }
            None => self.upgrades.remove(uid),
        }?;
        if self.watchers.get(&before.uid).is_none_or(|watcher| watcher != uid) {
            return None;
        }
        self.watchers.remove(&before.uid);
        let (next, _) = self.upgrades.iter().find(|(_, upgrade)| upgrade.uid == before.uid)?;
        self.keys.get(next).cloned()
    }
}

impl Context {
    /// Whether it is the turn of an Operation whose Jobs are not started.
    pub(super) fn ask_for_turn(&self, subject: &Subject, operation: &Operation) -> Asked<'_> {
        // Held while the others are looked at: so whatever becomes of one of them after that finds this one waiting, and no two
        // begin that conflict.
        let mut known = self.turns.known.lock();
        if self.operations.by_uid(&subject.uid).is_none() {
            // Others would not find it. It is reconciled once it is known.
            return Asked::Later;
        }
        match self.knowledge(&subject.key.namespace) {
            // It is reconciled once they are.
            Ok(Knowledge::Soon) => return Asked::Later,
            Ok(_) => {}
            Err(refusal) => {
                self.turns.wakes.wake_all(known.wait_for_upgrade(&subject.uid, None));
                return Asked::Refused(refusal);
            }
        }
        let rivals = self.operations.rivals(&subject.brief);
        let others = self.others(&rivals);
        if let Err(refusal) = self.whose_turn(&mut known, subject, operation, &others) {
            return Asked::Refused(refusal);
        }
        if let Some(later) = starting(&known, operation, &others).and_then(|uid| known.starting.get_mut(&uid))
        {
            later.push(subject.key.clone());
            return Asked::Later;
        }
        let next = known.leave(&subject.uid);
        self.turns.wakes.wake_all(next);
        known.starting.entry(subject.uid.clone()).or_default();
        Asked::Begun(Begun { turns: &self.turns, uid: subject.uid.clone() })
    }

    /// Asks again, now that the target was resolved and it is known under which other names others may have named its release.
    /// Gives back the older ones that are stuck, and that the Operation may overtake if they do not run its hooks.
    pub(super) fn ask_by_names(
        &self,
        subject: &Subject,
        operation: &Operation,
        names: Vec<TargetKey>,
    ) -> Result<Vec<Overtaken>, Refusal> {
        let mut known = self.turns.known.lock();
        for name in &names {
            if self.knowledge(name.namespace())? == Knowledge::Soon {
                let message = "not all Operations on this release are known yet";
                return Err(Refusal::retry_after(1, Reason::ConflictingOperation, message));
            }
        }
        self.operations.note_names(&subject.uid, names);
        let rivals = self.operations.rivals(&subject.brief);
        let others = self.others(&rivals);
        let overtaken = self.whose_turn(&mut known, subject, operation, &others)?;
        if starting(&known, operation, &others).is_some() {
            // It may make its Jobs before it knows of this one.
            let message = "another Operation on this release starts in this very moment";
            return Err(Refusal::retry_after(1, Reason::ConflictingOperation, message));
        }
        Ok(overtaken)
    }

    /// Whether all Operations of a namespace are known that others may have to wait for; or why nothing is started there until
    /// they are.
    fn knowledge(&self, namespace: &str) -> Result<Knowledge, Refusal> {
        let knowledge = self.operations.knowledge(namespace);
        if knowledge == Knowledge::TooMany {
            return Err(too_many(namespace));
        }
        if self.operations.are_some_unknown(namespace)
            && self.keyring.keys().is_some_and(|keys| self.jobs.is_any_unknown(namespace, &keys))
        {
            let message = format!(
                "a Job is there of an Operation in the namespace {namespace} that hookhost is about to ask for: it may conflict"
            );
            return Err(Refusal::retry_after(UNTIL_FOUND, Reason::ConflictingOperation, message));
        }
        Ok(knowledge)
    }

    /// Whom the Operation overtakes; or whom it waits for, which is noted.
    fn whose_turn(
        &self,
        known: &mut Known,
        subject: &Subject,
        operation: &Operation,
        others: &[Other<'_>],
    ) -> Result<Vec<Overtaken>, Refusal> {
        match conflict::turn(operation, others.iter().cloned()) {
            Turn::Wait(before) => {
                let standing = before.other.standing();
                let concerned = known.wait(subject, before.other.uid, before.relation, standing);
                self.turns.wake(known, &concerned);
                self.turns.wakes.wake_all(known.wait_for_upgrade(&subject.uid, before.upgrade()));
                Err(before.refusal())
            }
            Turn::Go(overtaken) => Ok(overtaken),
        }
    }

    fn others<'o>(&self, rivals: &'o [Arc<Brief>]) -> Vec<Other<'o>> {
        rivals.iter().filter(|other| self.counts(other)).map(|other| self.other(other)).collect()
    }

    /// Makes sure that none of those runs one of these hooks that the Operation would overtake.
    pub(super) fn check_overtaken(
        &self,
        subject: &Subject,
        overtaken: &[Overtaken],
        hooks: &[&Hook],
    ) -> Result<(), Refusal> {
        let Some(before) = overtaken.iter().rfind(|before| before.shares(hooks)) else { return Ok(()) };
        let mut known = self.turns.known.lock();
        let now = self.operations.by_uid(&before.uid).and_then(|key| self.operations.get(&key));
        let standing = now.map_or(Standing::Over, |now| self.standing(&now));
        if standing == Standing::Over {
            // It has ended since: the next time it is not in the way.
            self.turns.wakes.wake(subject.key.clone());
        } else {
            let concerned = known.wait(subject, &before.uid, Relation::SameHook, standing);
            self.turns.wake(&known, &concerned);
            self.turns.wakes.wake_all(known.wait_for_upgrade(&subject.uid, None));
        }
        Err(before.refusal())
    }

    /// An Operation was made or changed.
    pub(crate) fn note_operation(&self, operation: &Brief) {
        self.turns.note(&operation.uid, self.standing(operation));
    }

    /// An Operation is gone.
    pub(crate) fn note_deletion(&self, operation: &Brief) {
        self.turns.note(&operation.uid, Standing::Over);
        self.turns.past.write().remove(&operation.uid);
    }

    fn standing(&self, operation: &Brief) -> Standing {
        if self.counts(operation) { self.other(operation).standing() } else { Standing::Over }
    }

    /// Whether others may have to wait for it. One of our engine that nobody here serves would block for ever, and so would an
    /// Upgrade that never reports its end.
    fn counts(&self, operation: &Brief) -> bool {
        if operation.is_of_engine() {
            self.is_ours(operation)
        } else {
            !self.turns.is_past(&self.other(operation))
        }
    }

    fn other<'o>(&self, operation: &'o Brief) -> Other<'o> {
        let has_job = !self.own_jobs(operation).is_empty();
        operation.other(has_job).waiting_for(self.operations.waits_for(&operation.uid))
    }
}

/// The UID of one that conflicts with the Operation and is about to make its Jobs.
fn starting(known: &Known, operation: &Operation, others: &[Other<'_>]) -> Option<String> {
    let is_starting = |other: &&Other<'_>| {
        known.starting.contains_key(other.uid)
            && Some(other.uid) != operation.uid.as_deref()
            && other.relation(operation).is_some()
    };
    others.iter().find(is_starting).map(|other| other.uid.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_those_that_wait_for_an_upgrade_one_looks_after_it_and_another_once_that_one_leaves() {
        let turns = Turns::new(Wakes::default());
        let upgrade = |uid: &str| Upgrade { uid: uid.to_owned(), since: Timestamp::UNIX_EPOCH };
        let wait = |uid: &str, before: Option<&str>| {
            let mut known = turns.known.lock();
            known.keys.insert(uid.to_owned(), OperationKey::new("org", uid.to_owned()));
            known.wait_for_upgrade(uid, before.map(upgrade)).map(|key| key.name)
        };
        for uid in ["a", "b", "c"] {
            assert_eq!(wait(uid, Some("upgrade")), None);
        }
        assert!(turns.upgrade_before("a").is_some());
        assert!(turns.upgrade_before("b").is_none() && turns.upgrade_before("other").is_none());
        assert_eq!(wait("a", Some("upgrade")), None, "asked once more, it still does");
        assert!(turns.upgrade_before("a").is_some());
        // It waits for something else, is refused for another reason, or is gone.
        let next = wait("a", Some("second")).unwrap();
        assert!(next == "b" || next == "c");
        assert!(turns.upgrade_before(&next).is_some() && turns.upgrade_before("a").is_some());
        let last = if next == "b" { "c" } else { "b" };
        assert_eq!(turns.known.lock().leave(&next).map(|key| key.name).as_deref(), Some(last));
        assert!(turns.upgrade_before(&next).is_none() && turns.upgrade_before(last).is_some());
        assert_eq!(wait(last, None), None, "nobody is left");
    }
}
