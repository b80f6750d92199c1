//! The *budget* is the memory that all policies at work share, whatever each may have: an evaluation takes its policy's limit
//! of it before it begins, and waits its turn where there is not as much left.

use hookhost_sandbox::limits::{ANSWER_BYTES, MAX_MEMORY};
use parking_lot::{Condvar, Mutex};

/// Bytes of all evaluations at work: two of the largest that a HookPolicy can allow, with what their answers may take here
/// for a moment. Of the usual size it is four at once, each for some microseconds.
pub const EVALUATIONS_BYTES: usize = 2 * (MAX_MEMORY + ANSWER_BYTES);

/// The budget. Who comes first goes first.
#[derive(Debug)]
pub(super) struct Budget {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// The number that the next one draws, and the one whose turn it is.
    drawn: u64,
    turn: u64,
}

/// A part of the budget, until it is dropped.
#[derive(Debug)]
pub(super) struct Share<'b> {
    budget: &'b Budget,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(bytes: usize) -> Budget {
        Budget { state: Mutex::new(State { free: bytes, drawn: 0, turn: 0 }), changed: Condvar::new() }
    }

    /// Takes what an evaluation with so much memory may need. Blocks until there is as much, at most as long as the
    /// evaluations take that came before. `memory` is at most [`MAX_MEMORY`], so it ends.
    pub(super) fn take(&self, memory: usize) -> Share<'_> {
        let bytes = memory.min(MAX_MEMORY) + ANSWER_BYTES;
        let mut state = self.state.lock();
        let number = state.drawn;
        state.drawn += 1;
        while state.turn != number || state.free < bytes {
            self.changed.wait(&mut state);
        }
        state.turn += 1;
        state.free -= bytes;
        drop(state);
        // There may be enough for the next one, too.
        self.changed.notify_all();
        Share { budget: self, bytes }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.budget.state.lock().free += self.bytes;
        self.budget.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn evaluations_at_work_never_have_more_than_the_budget_and_each_has_its_turn() {
        let budget = Budget::new(EVALUATIONS_BYTES);
        let (first, second) = (budget.take(MAX_MEMORY), budget.take(MAX_MEMORY));
        assert_eq!(budget.state.lock().free, 0);
        let (done, ended) = mpsc::channel();
        std::thread::scope(|scope| {
            for name in ["large", "small"] {
                let memory = if name == "large" { MAX_MEMORY } else { 0 };
                let drawn = budget.state.lock().drawn;
                let (budget, done) = (&budget, done.clone());
                scope.spawn(move || {
                    let share = budget.take(memory);
                    done.send((name, budget.state.lock().free)).unwrap();
                    share.bytes
                });
                // The order in which they come.
                while budget.state.lock().drawn == drawn {
                    std::thread::yield_now();
                }
            }
            assert!(ended.try_recv().is_err(), "there is nothing left");
            drop(first);
            assert_eq!(ended.recv().unwrap().0, "large");
            drop(second);
            assert_eq!(ended.recv().unwrap().0, "small");
        });
        assert_eq!(budget.state.lock().free, EVALUATIONS_BYTES);
    }
}
