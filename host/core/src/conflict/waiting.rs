//! *Waiting* is which Operation waits for which: each for one, the last of those that it conflicts with and that go before it.
//!
//! So the end of one is news for those alone that wait for it, in a line for one: N Operations of one hook are reconciled a
//! number of times that grows with N, not with its square. That nobody is forgotten: who waits for one that is still there
//! waits rightly; and once that has ended the next one is found, which is waited for, or none.

use std::collections::{BTreeSet, HashMap};

use super::Relation;
use crate::reason::Reason;

/// What of an Operation decides whether others wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It runs, or does once it is its turn.
    Alive,
    /// It waits for something else than its turn: the reason.
    Blocked(Reason),
    /// It has ended, is gone, or is nobody's here.
    Over,
}

/// Which Operation waits for which, by their UIDs.
#[derive(Debug, Default)]
pub struct Waiting {
    before: HashMap<String, Place>,
    /// Those that wait for an Operation, and its standing when that was last looked at.
    behind: HashMap<String, Behind>,
}

#[derive(Debug)]
struct Place {
    before: String,
    relation: Relation,
}

#[derive(Debug)]
struct Behind {
    standing: Standing,
    uids: BTreeSet<String>,
}

impl Waiting {
    /// From now on `uid` waits for `before`, whose standing is this. Gives back who has to be reconciled for it: those that
    /// may overtake it now, or did not know of that standing.
    #[must_use = "who may overtake it has to be reconciled"]
    pub fn wait(&mut self, uid: &str, before: &str, relation: Relation, standing: Standing) -> Vec<String> {
        let is_new = self.before.get(uid).is_none_or(|place| place.before != before);
        self.leave(uid);
        // Those that wait for it already may not have heard of that.
        let mut concerned = self.note(before, standing.clone());
        self.before.insert(uid.to_owned(), Place { before: before.to_owned(), relation });
        let behind = self.behind.entry(before.to_owned());
        let behind = behind.or_insert_with(|| Behind { standing, uids: BTreeSet::new() });
        behind.uids.insert(uid.to_owned());
        if is_new && self.is_stuck(uid) {
            concerned.extend(self.overtakers(uid));
        }
        concerned
    }

    /// `uid` waits for no other Operation.
    pub fn leave(&mut self, uid: &str) {
        let Some(Place { before, .. }) = self.before.remove(uid) else { return };
        if let Some(behind) = self.behind.get_mut(&before) {
            behind.uids.remove(uid);
            if behind.uids.is_empty() {
                self.behind.remove(&before);
            }
        }
    }

    /// An Operation was changed or deleted. Gives back who has to be reconciled for it.
    #[must_use = "who waits for it has to be reconciled"]
    pub fn note(&mut self, uid: &str, standing: Standing) -> Vec<String> {
        let Some(behind) = self.behind.get_mut(uid) else { return Vec::new() };
        if behind.standing == standing {
            return Vec::new();
        }
        let was_stuck = matches!(behind.standing, Standing::Blocked(_));
        behind.standing = standing.clone();
        let direct: Vec<String> = behind.uids.iter().cloned().collect();
        match standing {
            Standing::Over => {
                self.behind.remove(uid);
                for one in &direct {
                    self.before.remove(one);
                }
                direct
            }
            Standing::Blocked(_) if !was_stuck => {
                let mut all: BTreeSet<String> = self.overtakers(uid).into_iter().collect();
                all.extend(direct);
                all.into_iter().collect()
            }
            _ => direct,
        }
    }

    /// Whether somebody up the line from it waits for something else than its turn.
    fn is_stuck(&self, uid: &str) -> bool {
        let mut at = uid;
        // The order has no circle; should two forms of it make one, this still ends.
        for _ in 0..self.before.len() {
            let Some(Place { before, relation }) = self.before.get(at) else { return false };
            if *relation == Relation::Event {
                return false;
            }
            if self.behind.get(before).is_some_and(|behind| matches!(behind.standing, Standing::Blocked(_))) {
                return true;
            }
            at = before;
        }
        false
    }

    /// Those down the line from it that wait for one that they may overtake once it is stuck.
    fn overtakers(&self, uid: &str) -> Vec<String> {
        let (mut found, mut seen, mut next) = (Vec::new(), BTreeSet::from([uid]), vec![uid]);
        while let Some(at) = next.pop() {
            for one in self.behind.get(at).into_iter().flat_map(|behind| &behind.uids) {
                if !seen.insert(one) {
                    continue;
                }
                match self.before.get(one).map(|place| place.relation) {
                    Some(Relation::Event) => found.push(one.clone()),
                    _ => next.push(one),
                }
            }
        }
        found
    }
}
