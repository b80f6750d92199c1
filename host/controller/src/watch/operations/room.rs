//! The *room* of a namespace: how many of its Operations are known at once, and which.
//!
//! Whoever may create Operations may create any number, of any engine, so places are counted apart by what hangs on an
//! Operation. Those of an engine that nobody serves take none, or such as are of use to nobody else.
//!
//! | what | places | beyond |
//! |---|---|---|
//! | started | [`UNFINISHED`] | nothing is started in that namespace: one that is not known may conflict |
//! | of other engines, in flight, of a type that a hook may have to wait for | [`FOREIGN`] | the same |
//! | waiting | [`UNFINISHED`], with those that have started | later ones wait to be known; their wait ends as any other's |
//! | ended, to be told when the chart has the hook | [`AWAITING_HOOK`] | later ones are not told |
//! | ended | [`ENDED`], those that ended last; [`ENDED_OF_ALL`] of all namespaces | the API server is asked for an older one |
//! | any other | none | nothing is done for it, and nobody waits for it |

use std::collections::BTreeSet;

use jiff::Timestamp;

use hookhost_cluster::operation::Brief;

/// Operations of hookhost's engine that are not finished: more than a namespace has Jobs. With a KiB each, all that is known of
/// one takes some 10 MiB.
pub(super) const UNFINISHED: usize = 5000;

/// Operations whose wait is over, beyond those: a few at once, so that they can say so.
pub(super) const OVERDUE: usize = 500;

/// Operations of other engines: an Upgrade, Restore, Backup or Migration each, in flight at once.
pub(super) const FOREIGN: usize = 1000;

/// Operations that have failed for want of their hook, for a week each.
pub(super) const AWAITING_HOOK: usize = 1000;

/// Operations that have ended, with nothing left to do. To know of one saves a request when its Job changes.
pub(super) const ENDED: usize = 2000;

/// The same of all namespaces: they are kept for ever, and there may be any number of namespaces.
pub(super) const ENDED_OF_ALL: usize = 10_000;

/// What hangs on an Operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// It is hookhost's, and has yet to start.
    Waiting,
    /// The same, and its wait is over.
    Overdue,
    /// It is hookhost's, and has started: others wait for it.
    Started,
    /// It is another engine's, and hookhost's may have to wait for it.
    Foreign,
    /// It has ended, and is to be told when the chart has its hook.
    AwaitingHook,
    /// It has ended.
    Ended,
}

impl Class {
    /// That of an Operation; none if nothing hangs on it. `has_run` is one that is known to have started, whatever it says.
    pub(super) fn of(operation: &Brief, cluster: &str, has_run: bool, now: Timestamp) -> Option<Class> {
        let is_own = operation.is_of_engine() && operation.is_for_cluster(cluster);
        match operation.is_finished {
            true if operation.awaits_hook(now) => is_own.then_some(Class::AwaitingHook),
            true => is_own.then_some(Class::Ended),
            false if has_run || (operation.is_of_engine() && operation.has_started) => Some(Class::Started),
            false if is_own => Some(Class::Waiting),
            // One of hookhost's engine for another cluster is for nobody here.
            false => (!operation.is_of_engine() && operation.may_be_in_the_way()).then_some(Class::Foreign),
        }
    }
}

impl Class {
    /// Whether others may have to wait for it.
    pub(super) fn may_conflict(self) -> bool {
        matches!(self, Class::Started | Class::Foreign)
    }
}

/// What became of an Operation that was to have a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It has one, as one of this class.
    Given(Class),
    /// It has one in place of the Operation with this UID.
    InsteadOf(Class, String),
    /// There is none left.
    None,
}

/// Places that are taken in a namespace.
#[derive(Debug, Default)]
pub(super) struct Room {
    waiting: usize,
    started: usize,
    foreign: usize,
    awaiting_hook: usize,
    /// When each ended, with its UID.
    ended: BTreeSet<(Timestamp, String)>,
}

impl Room {
    /// Takes a place for an Operation that had one as `before`; `is_full` where all namespaces together have as many that have
    /// ended as may be.
    pub(super) fn take(
        &mut self,
        class: Class,
        before: Option<Class>,
        operation: &Brief,
        is_full: bool,
    ) -> Place {
        let unfinished = self.waiting + self.started;
        let has_waited = matches!(before, Some(Class::Waiting | Class::Overdue));
        match class {
            // It may be about to start: to forget it then would let another start beside it.
            Class::Waiting | Class::Overdue if has_waited => self.waiting += 1,
            Class::Waiting if unfinished < UNFINISHED => self.waiting += 1,
            Class::Overdue if unfinished < UNFINISHED + OVERDUE => self.waiting += 1,
            // Those that wait leave the places of all that hookhost has ever started at once.
            Class::Started if self.started < UNFINISHED => self.started += 1,
            Class::Foreign if self.foreign < FOREIGN => self.foreign += 1,
            Class::AwaitingHook if self.awaiting_hook < AWAITING_HOOK => self.awaiting_hook += 1,
            Class::AwaitingHook | Class::Ended => return self.take_of_ended(operation, is_full),
            Class::Waiting | Class::Overdue | Class::Started | Class::Foreign => return Place::None,
        }
        Place::Given(class)
    }

    fn take_of_ended(&mut self, operation: &Brief, is_full: bool) -> Place {
        let most = if is_full { self.ended.len().min(ENDED) } else { ENDED };
        self.ended.insert((operation.finished(), operation.uid.clone()));
        match self.ended.len() > most {
            true => match self.ended.pop_first() {
                Some((_, first)) if first != operation.uid => Place::InsteadOf(Class::Ended, first),
                _ => Place::None,
            },
            false => Place::Given(Class::Ended),
        }
    }

    /// An Operation that had a place needs it no more.
    pub(super) fn leave(&mut self, class: Class, operation: &Brief) {
        let places = match class {
            Class::Waiting | Class::Overdue => &mut self.waiting,
            Class::Started => &mut self.started,
            Class::Foreign => &mut self.foreign,
            Class::AwaitingHook => &mut self.awaiting_hook,
            Class::Ended => {
                self.ended.remove(&(operation.finished(), operation.uid.clone()));
                return;
            }
        };
        *places = places.saturating_sub(1);
    }

    /// Whether half of the places are free of those for what waits: so a namespace at its bound is not listed anew for each
    /// Operation that ends.
    pub(super) fn has_room_for_waiting(&self) -> bool {
        self.waiting + self.started <= UNFINISHED / 2
    }

    /// The same of the places for what may be in the way.
    pub(super) fn has_room_for_conflicts(&self) -> bool {
        self.started <= UNFINISHED / 2 && self.foreign <= FOREIGN / 2
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting + self.started + self.foreign + self.awaiting_hook == 0 && self.ended.is_empty()
    }
}
