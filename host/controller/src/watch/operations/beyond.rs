//! What is *beyond* the room of a namespace, and when all Operations are listed again to know of it.
//!
//! Of single Operations beyond nothing is kept. It is known of which namespaces there are some: nothing is started where one
//! that is not known may conflict. All are listed again
//! - at once, where half of the places have become free;
//! - [`PAUSE`] after the last list at the earliest, where the wait of one ends, or one that may conflict has gone.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::Knowledge;
use super::room::{Class, FOREIGN, Room, UNFINISHED};
use hookhost_cluster::operation::Brief;

/// The least time from one list of all Operations to the next, if whoever may create them makes for one: a list of many is work
/// for the API server. So much later than it should the wait of one beyond may end.
pub(super) const PAUSE: Duration = Duration::from_secs(300);

/// Namespaces with Operations for which there was no room.
#[derive(Debug, Default)]
pub(super) struct Beyond {
    /// Those of which some that wait are not known.
    waiting: HashSet<String>,
    /// Those of which some are not known that may conflict with others.
    conflicts: HashSet<String>,
    /// The same two, until the list that is read now, or will be, tells whether there still are some.
    doubtful: [HashSet<String>; 2],
    /// Those that are to be listed since they have the gate now; and whether that has begun.
    joining: HashMap<String, bool>,
    /// When all are to be listed again.
    due: Option<Timestamp>,
    /// When all were listed; none while they are.
    listed: Option<Instant>,
}

impl Beyond {
    /// An Operation found no room.
    pub(super) fn pass_over(
        &mut self,
        class: Class,
        operation: &Brief,
        wait_timeout: Duration,
        now: Timestamp,
    ) {
        let namespace = &operation.key.namespace;
        let [waiting, conflicts] = &self.doubtful;
        let is_new = match class {
            Class::Waiting | Class::Overdue => {
                if let Some(until) = operation.waits_until(wait_timeout) {
                    self.due = Some(self.due.map_or(until, |due| due.min(until)).max(now));
                }
                self.waiting.insert(namespace.clone()) && !waiting.contains(namespace)
            }
            Class::Started | Class::Foreign => {
                self.conflicts.insert(namespace.clone()) && !conflicts.contains(namespace)
            }
            Class::AwaitingHook | Class::Ended => false,
        };
        if is_new {
            tracing::warn!(
                namespace,
                of_hookhost = UNFINISHED,
                of_other_engines = FOREIGN,
                "a namespace has more Operations than are known at once: the others wait until some of them have ended"
            );
        }
    }

    /// The namespace has the gate now: all are about to be listed.
    pub(super) fn join(&mut self, namespace: &str) {
        self.joining.insert(namespace.to_owned(), false);
    }

    /// Whether all are known of this namespace that may conflict with others.
    pub(super) fn knowledge(&self, namespace: &str) -> Knowledge {
        if self.conflicts.contains(namespace) || self.doubtful[1].contains(namespace) {
            Knowledge::TooMany
        } else if self.joining.contains_key(namespace) {
            Knowledge::Soon
        } else {
            Knowledge::Whole
        }
    }

    /// Whether one waits in this namespace that is not known.
    pub(super) fn has_waiting(&self, namespace: &str) -> bool {
        self.waiting.contains(namespace) || self.doubtful[0].contains(namespace)
    }

    /// One that may conflict has ended, or is gone; perhaps it was one of those that are not known.
    pub(super) fn ended(&mut self, namespace: &str, now: Timestamp) {
        if self.conflicts.contains(namespace) {
            self.due = Some(now);
        }
    }

    /// Whether all are to be listed at once, by the room that there is now.
    pub(super) fn has_room(&mut self, rooms: &HashMap<String, Room>) -> bool {
        let has_room = |namespace: &String, has: fn(&Room) -> bool| rooms.get(namespace).is_none_or(has);
        let [waiting, conflicts] = &mut self.doubtful;
        let before = waiting.len() + conflicts.len();
        waiting.extend(self.waiting.extract_if(|one| has_room(one, Room::has_room_for_waiting)));
        conflicts.extend(self.conflicts.extract_if(|one| has_room(one, Room::has_room_for_conflicts)));
        waiting.len() + conflicts.len() > before
    }

    /// All are being listed.
    pub(super) fn begin(&mut self) {
        let [waiting, conflicts] = &mut self.doubtful;
        waiting.extend(self.waiting.drain());
        conflicts.extend(self.conflicts.drain());
        self.joining.values_mut().for_each(|has_begun| *has_begun = true);
        (self.due, self.listed) = (None, None);
    }

    /// All were listed. Gives back the namespaces of which it was not known before what is known now.
    pub(super) fn end(&mut self) -> HashSet<String> {
        let [_, mut changed] = std::mem::take(&mut self.doubtful);
        changed.extend(self.joining.extract_if(|_, has_begun| *has_begun).map(|(namespace, _)| namespace));
        self.listed = Some(Instant::now());
        changed
    }

    pub(super) fn is_listing(&self) -> bool {
        self.listed.is_none()
    }

    /// What decides when all are listed again.
    pub(super) fn plan(&self) -> (Option<Timestamp>, Option<Instant>) {
        (self.due, self.listed)
    }

    /// When all are to be listed again, as far as is known by now; none while they are listed.
    pub(super) fn due(&self, now: Timestamp) -> Option<Instant> {
        let (due, listed) = (self.due?, self.listed?);
        let rest = Duration::try_from(due.duration_since(now)).unwrap_or_default();
        Some(listed.checked_add(PAUSE)?.max(Instant::now().checked_add(rest)?))
    }
}
