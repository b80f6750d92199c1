//! A *fair queue* holds Operations, or Jobs, by their namespaces, and gives out one of each namespace in turn: however many there
//! are of one, the first of another waits no longer than for one of each.

use std::collections::{HashMap, HashSet, VecDeque};

use hookhost_cluster::key::OperationKey;

/// Operations that wait for their turn, each once.
#[derive(Debug, Default)]
pub(crate) struct FairQueue {
    /// Names in the order in which they came, by namespace. None is empty.
    waiting: HashMap<String, VecDeque<String>>,
    /// The namespaces in the order of their turns.
    turns: VecDeque<String>,
    all: HashSet<OperationKey>,
}

impl FairQueue {
    /// Queues an Operation; whether it was not queued yet.
    pub(crate) fn push(&mut self, key: OperationKey) -> bool {
        if self.all.contains(&key) {
            return false;
        }
        let names = self.waiting.entry(key.namespace.clone()).or_default();
        if names.is_empty() {
            self.turns.push_back(key.namespace.clone());
        }
        names.push_back(key.name.clone());
        self.all.insert(key)
    }

    /// The next one.
    pub(crate) fn pop(&mut self) -> Option<OperationKey> {
        self.pop_where(|_| true)
    }

    /// The next one of a namespace that may have its turn. One that may not keeps its place.
    pub(crate) fn pop_where(&mut self, may: impl Fn(&str) -> bool) -> Option<OperationKey> {
        let place = self.turns.iter().position(|namespace| may(namespace))?;
        let namespace = self.turns.remove(place)?;
        let names = self.waiting.get_mut(&namespace)?;
        let name = names.pop_front()?;
        if names.is_empty() {
            self.waiting.remove(&namespace);
        } else {
            self.turns.push_back(namespace.clone());
        }
        let key = OperationKey { namespace, name };
        self.all.remove(&key);
        Some(key)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(namespace: &str, name: usize) -> OperationKey {
        OperationKey::new(namespace, name.to_string())
    }

    #[test]
    fn a_namespace_with_many_delays_another_by_one() {
        let mut queue = FairQueue::default();
        for n in 0..1000 {
            assert!(queue.push(key("flood", n)));
        }
        assert!(!queue.push(key("flood", 0)), "each once");
        queue.push(key("calm", 0));
        let first: Vec<_> = std::iter::from_fn(|| queue.pop()).take(3).map(|key| key.namespace).collect();
        assert_eq!(first, ["flood", "calm", "flood"]);
        queue.push(key("calm", 1));
        assert_eq!(queue.pop_where(|namespace| namespace != "flood"), Some(key("calm", 1)));
        assert_eq!((queue.pop_where(|_| false), queue.len()), (None, 998));
    }

    proptest! {
        #[test]
        fn what_is_queued_comes_out_once_in_its_namespaces_order_and_no_namespace_is_passed_over(
            keys in prop::collection::vec((0usize..4, 0usize..20), 0..60),
        ) {
            let mut queue = FairQueue::default();
            let mut queued: Vec<(usize, usize)> = Vec::new();
            for (namespace, name) in keys {
                let is_new = !queued.contains(&(namespace, name));
                prop_assert_eq!(queue.push(key(&namespace.to_string(), name)), is_new);
                if is_new {
                    queued.push((namespace, name));
                }
            }
            prop_assert_eq!(queue.len(), queued.len());
            let mut out: Vec<(usize, usize)> = Vec::new();
            while let Some(key) = queue.pop() {
                out.push((key.namespace.parse().unwrap(), key.name.parse().unwrap()));
            }
            for namespace in 0..4 {
                let of = |all: &[(usize, usize)]| all.iter().filter(|(of, _)| *of == namespace).copied().collect::<Vec<_>>();
                prop_assert_eq!(of(&out), of(&queued));
                // While it waits, no other has two turns between two of its own.
                let places: Vec<usize> = (0..out.len()).filter(|n| out[*n].0 == namespace).collect();
                let mut last = 0;
                for place in places {
                    let between = &out[last..place];
                    for other in (0..4).filter(|other| *other != namespace) {
                        prop_assert!(between.iter().filter(|(of, _)| *of == other).count() <= 1, "{:?}", out);
                    }
                    last = place + 1;
                }
            }
        }
    }
}
