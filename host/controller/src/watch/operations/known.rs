//! What is *known* of all Operations, and where they are by what is asked for at every reconcile, however many there are.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use hookhost_core::Reason;
use jiff::Timestamp;
use kube::runtime::watcher::Event;

use super::beyond::Beyond;
use super::room::{Class, ENDED_OF_ALL, Place, Room};
use super::{Change, Seen};
use crate::watch::texts::Texts;
use hookhost_cluster::key::OperationKey;
use hookhost_cluster::operation::{Brief, TargetKey};

/// Whose Operations these are.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// Id of this cluster.
    pub(crate) cluster_id: String,
    /// How long one waits that does not say.
    pub(crate) wait_timeout: Duration,
}

/// The Operations.
pub(super) struct Known {
    terms: Terms,
    by_uid: HashMap<String, Entry>,
    uids: HashMap<OperationKey, String>,
    /// UIDs of those that are not finished, by each name that the release of theirs is known under.
    unfinished: HashMap<TargetKey, BTreeSet<String>>,
    /// Under which other names than their own targets these releases are known, by the UIDs of those that were resolved.
    also: HashMap<String, Vec<TargetKey>>,
    pub(super) texts: Texts,
    rooms: HashMap<String, Room>,
    /// How many have ended, in all rooms.
    ended: usize,
    pub(super) beyond: Beyond,
    /// Namespaces without the gate of which some are not known.
    pub(super) passed_over: HashSet<String>,
    /// Counts the lists of all.
    list: u64,
}

struct Entry {
    brief: Arc<Brief>,
    class: Class,
    /// For what hookhost has found it to wait.
    waits_for: Option<Reason>,
    /// The list that named it last, or that it came after.
    list: u64,
}

impl Known {
    pub(super) fn new(terms: Terms) -> Known {
        Known {
            terms,
            by_uid: HashMap::new(),
            uids: HashMap::new(),
            unfinished: HashMap::new(),
            also: HashMap::new(),
            texts: Texts::default(),
            rooms: HashMap::new(),
            ended: 0,
            beyond: Beyond::default(),
            passed_over: HashSet::new(),
            list: 0,
        }
    }

    pub(super) fn note(&mut self, event: Event<Seen>) -> Vec<Change> {
        let now = Timestamp::now();
        match event {
            Event::Init => {
                self.list += 1;
                self.beyond.begin();
                Vec::new()
            }
            Event::InitApply(seen) => self.insert(seen, false, now).map(Change::Listed).into_iter().collect(),
            Event::Apply(seen) => self.insert(seen, false, now).map(Change::Applied).into_iter().collect(),
            Event::Delete(seen) => {
                if self.remove(&seen.brief.uid).is_none_or(|gone| gone.class.may_conflict()) {
                    self.beyond.ended(&seen.brief.key.namespace, now);
                }
                vec![Change::Deleted(seen.brief)]
            }
            // What is not named now was deleted while the watch was broken.
            Event::InitDone => {
                let gone = self.by_uid.iter().filter(|(_, entry)| entry.list != self.list);
                let gone: Vec<String> = gone.map(|(uid, _)| uid.clone()).collect();
                let mut changes = Vec::new();
                for uid in &gone {
                    let Some(entry) = self.remove(uid) else { continue };
                    if entry.class.may_conflict() {
                        // It had its place until now.
                        self.beyond.ended(&entry.brief.key.namespace, now);
                    }
                    changes.push(Change::Deleted(entry.brief));
                }
                let namespaces = self.beyond.end();
                let own = self.briefs().filter(|brief| brief.is_of_engine() && !brief.is_finished);
                let waiting = own.filter(|brief| namespaces.contains(&brief.key.namespace));
                changes.extend(waiting.cloned().map(Change::Listed));
                changes
            }
        }
    }

    /// Keeps the Operation as it is now, if there is room; nothing if it was not known before either.
    /// `has_run` is one that has a Job.
    fn insert(&mut self, Seen { brief, text }: Seen, has_run: bool, now: Timestamp) -> Option<Arc<Brief>> {
        let also = self.also.get(&brief.uid).filter(|_| !brief.is_finished).cloned();
        let before = self.remove(&brief.uid);
        let waits_for = before.as_ref().and_then(|before| before.waits_for).filter(|_| !brief.is_finished);
        let before = before.map(|before| before.class);
        let has_run = has_run || before == Some(Class::Started);
        let class = Class::of(&brief, &self.terms.cluster_id, has_run, now);
        let class = class.map(|class| match class {
            Class::Waiting if self.is_overdue(&brief, now) => Class::Overdue,
            class => class,
        });
        // One that is not known may be one for which there was no room.
        let may_be_beyond = before.is_none() && (brief.is_finished || !brief.is_of_engine());
        if (may_be_beyond || before.is_some_and(Class::may_conflict))
            && !class.is_some_and(Class::may_conflict)
        {
            self.beyond.ended(&brief.key.namespace, now);
        }
        let Some(class) = class.and_then(|class| self.take(class, before, &brief, now)) else {
            return before.map(|_| brief);
        };
        if let Some(text) = text {
            self.texts.insert(&brief.uid, text);
        }
        self.uids.insert(brief.key.clone(), brief.uid.clone());
        self.by_uid
            .insert(brief.uid.clone(), Entry { brief: brief.clone(), class, waits_for, list: self.list });
        self.also.extend(also.map(|also| (brief.uid.clone(), also)));
        if !brief.is_finished {
            self.list(&brief.uid);
        }
        Some(brief)
    }

    /// Takes a place for the Operation; of which class, if there is one.
    fn take(&mut self, class: Class, before: Option<Class>, brief: &Brief, now: Timestamp) -> Option<Class> {
        let room = self.rooms.entry(brief.key.namespace.clone()).or_default();
        let class = match room.take(class, before, brief, self.ended >= ENDED_OF_ALL) {
            Place::Given(class) => class,
            Place::InsteadOf(class, other) => {
                self.remove(&other);
                class
            }
            Place::None => {
                if room.is_empty() {
                    self.rooms.remove(&brief.key.namespace);
                }
                self.beyond.pass_over(class, brief, self.terms.wait_timeout, now);
                return None;
            }
        };
        self.ended += usize::from(class == Class::Ended);
        Some(class)
    }

    fn is_overdue(&self, brief: &Brief, now: Timestamp) -> bool {
        brief.waits_until(self.terms.wait_timeout).is_some_and(|until| until <= now)
    }

    /// Keeps one that has a Job as one that has started, whatever it says itself.
    pub(super) fn keep_started(&mut self, brief: Arc<Brief>) {
        let seen = match self.by_uid.get(&brief.uid) {
            Some(entry) if entry.class == Class::Started => return,
            Some(entry) => Seen { brief: entry.brief.clone(), text: self.texts.get(&brief.uid) },
            None => Seen { brief, text: None },
        };
        let (uid, is_known) = (seen.brief.uid.clone(), self.by_uid.contains_key(&seen.brief.uid));
        self.insert(seen, true, Timestamp::now());
        if let Some(entry) = self.by_uid.get_mut(&uid).filter(|_| !is_known && self.beyond.is_listing()) {
            // Should it be gone, the list does not name it.
            entry.list = self.list.saturating_sub(1);
        }
    }

    fn remove(&mut self, uid: &str) -> Option<Entry> {
        self.unlist(uid);
        self.also.remove(uid);
        let entry = self.by_uid.remove(uid)?;
        self.texts.remove(uid);
        self.ended -= usize::from(entry.class == Class::Ended);
        let brief = &entry.brief;
        // Another one may have its name by now.
        if self.uids.get(&brief.key).is_some_and(|of| of == uid) {
            self.uids.remove(&brief.key);
        }
        if let Some(room) = self.rooms.get_mut(&brief.key.namespace) {
            room.leave(entry.class, brief);
            if room.is_empty() {
                self.rooms.remove(&brief.key.namespace);
            }
        }
        Some(entry)
    }

    #[cfg(test)]
    pub(super) fn names_with_unfinished(&self) -> usize {
        self.unfinished.len() + self.also.len()
    }

    pub(super) fn contains(&self, uid: &str) -> bool {
        self.by_uid.contains_key(uid)
    }

    pub(super) fn by_uid(&self, uid: &str) -> Option<&Arc<Brief>> {
        self.by_uid.get(uid).map(|entry| &entry.brief)
    }

    pub(super) fn by_key(&self, key: &OperationKey) -> Option<&Arc<Brief>> {
        self.by_uid(self.uids.get(key)?)
    }

    pub(super) fn briefs(&self) -> impl Iterator<Item = &Arc<Brief>> {
        self.by_uid.values().map(|entry| &entry.brief)
    }

    pub(super) fn waits_for(&self, uid: &str) -> Option<Reason> {
        self.by_uid.get(uid)?.waits_for
    }

    pub(super) fn waiting_for(&self, reason: Reason) -> impl Iterator<Item = &Arc<Brief>> {
        let waiting = self.by_uid.values().filter(move |entry| entry.waits_for == Some(reason));
        waiting.map(|entry| &entry.brief)
    }

    /// Notes for what it waits; whether that is new.
    pub(super) fn note_wait(&mut self, uid: &str, reason: Option<Reason>) -> bool {
        let entry = self.by_uid.get_mut(uid);
        entry.is_some_and(|entry| std::mem::replace(&mut entry.waits_for, reason) != reason)
    }

    /// Whether nothing is done any more for this one, which has ended.
    pub(super) fn is_past(&self, uid: &str) -> bool {
        self.by_uid.get(uid).is_none_or(|entry| entry.class == Class::Ended)
    }

    /// Counts the Operation as what it is by now.
    pub(super) fn count_again(&mut self, uid: &str) {
        if let Some(entry) = self.by_uid.get(uid) {
            let seen = Seen { brief: entry.brief.clone(), text: self.texts.get(uid) };
            self.insert(seen, false, Timestamp::now());
        }
    }

    /// Whether all are to be listed at once, since there is room for more.
    pub(super) fn has_room(&mut self) -> bool {
        self.beyond.has_room(&self.rooms)
    }

    /// Notes other names for the release that an Operation is on.
    pub(super) fn note_names(&mut self, uid: &str, names: Vec<TargetKey>) {
        if self.by_uid(uid).is_some_and(|brief| !brief.is_finished) && self.also.get(uid) != Some(&names) {
            self.unlist(uid);
            self.also.insert(uid.to_owned(), names);
            self.list(uid);
        }
    }

    /// Under which names the release of an Operation is known.
    fn names(&self, uid: &str) -> Vec<TargetKey> {
        let own = self.by_uid(uid).map(|brief| brief.target.clone());
        own.into_iter().chain(self.also.get(uid).into_iter().flatten().cloned()).collect()
    }

    fn list(&mut self, uid: &str) {
        for name in self.names(uid) {
            self.unfinished.entry(name).or_default().insert(uid.to_owned());
        }
    }

    fn unlist(&mut self, uid: &str) {
        for name in self.names(uid) {
            if let Some(uids) = self.unfinished.get_mut(&name) {
                uids.remove(uid);
                if uids.is_empty() {
                    self.unfinished.remove(&name);
                }
            }
        }
    }

    /// Those that are not finished, on the release of this one, each once.
    pub(super) fn unfinished_beside(&self, operation: &Brief) -> impl Iterator<Item = &Arc<Brief>> {
        let also = self.also.get(&operation.uid).into_iter().flatten();
        let names = std::iter::once(&operation.target).chain(also);
        let uids: BTreeSet<&String> = names.filter_map(|name| self.unfinished.get(name)).flatten().collect();
        uids.into_iter().filter_map(|uid| self.by_uid(uid))
    }
}
