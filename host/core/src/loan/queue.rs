//! A *queue* is of the Operations that wait until a temporary object of another run is removed, one queue for each object.
//!
//! Who is reconciled reads all that its run needs, so not all of a queue are when its object is removed: the first is, and the
//! next once that one has left the queue, because it has started or waits for something else by now. If it still waits for the
//! object, somebody else has it, and so it would be for the others. So N Operations that run one after the other are
//! reconciled a number of times that grows with N, not with its square; and those that share an object start one after the
//! other without a pause.
//!
//! Who goes over to the queue of another object leaves its place without a word to the next: of N that need two objects, all
//! would go over each time that one of both is removed. They are found by their timers.

use crate::object::ObjectRef;
use std::collections::{BTreeMap, HashMap};

/// Which Operation waits for which object, by their UIDs: each for one.
#[derive(Debug, Default)]
pub struct Queues {
    /// The UIDs of a queue by their places. None is empty.
    queues: HashMap<ObjectRef, BTreeMap<u64, String>>,
    places: HashMap<String, (ObjectRef, u64)>,
    /// The place of whoever comes next.
    next: u64,
}

impl Queues {
    /// From now on the Operation waits for this object. It keeps the place that it has in that queue.
    pub fn wait(&mut self, uid: &str, object: &ObjectRef) {
        if self.places.get(uid).is_some_and(|(of, _)| of == object) {
            return;
        }
        self.take(uid);
        let place = self.next;
        self.next += 1;
        self.queues.entry(object.clone()).or_default().insert(place, uid.to_owned());
        self.places.insert(uid.to_owned(), (object.clone(), place));
    }

    /// The Operation waits for no object any more. Gives back who has to be reconciled for it: the first that is left.
    #[must_use = "who is next has to be reconciled"]
    pub fn leave(&mut self, uid: &str) -> Option<&str> {
        let object = self.take(uid)?;
        self.first(&object)
    }

    /// The Operation that has to be reconciled when this object was removed.
    pub fn first(&self, object: &ObjectRef) -> Option<&str> {
        self.queues.get(object)?.values().next().map(String::as_str)
    }

    /// The Operations that have to be reconciled when it is not known which object was removed: the first of each queue.
    pub fn all_first(&self) -> impl Iterator<Item = &str> {
        self.queues.values().filter_map(|queue| queue.values().next().map(String::as_str))
    }

    fn take(&mut self, uid: &str) -> Option<ObjectRef> {
        let (object, place) = self.places.remove(uid)?;
        if let Some(queue) = self.queues.get_mut(&object) {
            queue.remove(&place);
            if queue.is_empty() {
                self.queues.remove(&object);
            }
        }
        Some(object)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::kind::Kind;

    fn object(name: &str) -> ObjectRef {
        ObjectRef { kind: Kind::ClusterRole, namespace: String::new(), name: name.to_owned() }
    }

    /// How often Operations are reconciled of which `at_once` may have the object at once, until all have had it.
    fn reconciled(count: usize, at_once: usize) -> usize {
        let role = object("role");
        let mut queues = Queues::default();
        let mut running: VecDeque<String> = VecDeque::new();
        let mut wakes: VecDeque<String> = (0..count).map(|n| n.to_string()).collect();
        let (mut reconciled, mut started) = (0, 0);
        loop {
            if let Some(uid) = wakes.pop_front() {
                reconciled += 1;
                if running.len() < at_once {
                    started += 1;
                    running.push_back(uid.clone());
                    wakes.extend(queues.leave(&uid).map(str::to_owned));
                } else {
                    queues.wait(&uid, &role);
                }
            } else if running.pop_front().is_some() {
                wakes.extend(queues.first(&role).map(str::to_owned));
            } else {
                break;
            }
        }
        assert_eq!(started, count, "nobody is forgotten");
        assert!(queues.queues.is_empty() && queues.places.is_empty(), "nothing is left behind");
        reconciled
    }

    #[test]
    fn those_that_wait_for_a_temporary_object_are_reconciled_in_turn() {
        for count in [1, 10, 40, 200] {
            for at_once in [1, 4] {
                assert!(reconciled(count, at_once) <= 3 * count, "{count}, {at_once} at once");
            }
        }
    }

    #[test]
    fn who_leaves_a_queue_makes_way_for_the_next_and_who_waits_on_keeps_its_place() {
        let (role, other) = (object("role"), object("other"));
        let mut queues = Queues::default();
        for uid in ["a", "b", "c"] {
            queues.wait(uid, &role);
        }
        queues.wait("a", &role);
        assert_eq!(queues.first(&role), Some("a"));
        queues.wait("a", &other);
        assert_eq!((queues.first(&role), queues.first(&other)), (Some("b"), Some("a")));
        assert_eq!(queues.leave("c"), Some("b"), "whoever it is that leaves");
        for uid in ["b", "b", "a"] {
            assert_eq!(queues.leave(uid), None);
        }
    }
}
