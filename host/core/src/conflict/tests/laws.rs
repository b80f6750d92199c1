//! Laws of the order: who waits, who goes, and that nobody is forgotten who is reconciled only when it is said that it must be.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use hookhost_helm::hook::Hook;

/// What an Operation of a law runs: one of the hooks, or all of one of the events.
const PARAMETERS: [&str; 4] = ["a", "c", "post-upgrade", "pre-upgrade"];

/// The hooks of the release.
fn hooks() -> Vec<Hook> {
    vec![hook_of("a", "post-upgrade"), hook_of("b", "post-upgrade"), hook_of("c", "pre-upgrade")]
}

/// For what an Operation may wait besides its turn: what holds others up, and what does not.
const HELD_FOR: [Reason; 3] = [Reason::AwaitingApproval, Reason::HookNotVerified, Reason::RestoredFromBackup];

/// An Operation of a law.
#[derive(Clone, Debug)]
struct One {
    object: Value,
    /// Whether it waits for an approval.
    is_held: bool,
    /// Its place in [`HELD_FOR`].
    why: usize,
    state: State,
    /// For what it was found to wait.
    waits_for: Option<Reason>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Waiting,
    Started,
    Ended,
}

/// A controller that reconciles an Operation only when it is made, when it is changed by somebody, and when [`Waiting`] says so.
struct Host {
    all: Vec<One>,
    hooks: Vec<Hook>,
    waiting: Waiting,
    queue: BTreeSet<usize>,
    /// Those whose change the watch has yet to tell of: what is known of them is new already.
    untold: BTreeSet<usize>,
    reconciled: usize,
}

fn uid(n: usize) -> String {
    format!("uid-{n}")
}

fn number(uid: &str) -> usize {
    uid.trim_start_matches("uid-").parse().unwrap()
}

impl Host {
    fn new(all: Vec<One>) -> Host {
        let queue = (0..all.len()).collect();
        let untold = BTreeSet::new();
        Host { all, hooks: hooks(), waiting: Waiting::default(), queue, untold, reconciled: 0 }
    }

    fn other(&self, n: usize) -> Other<'_> {
        let one = &self.all[n];
        let mut other = other(&one.object, one.state == State::Started).waiting_for(one.waits_for);
        if one.state == State::Ended {
            other.progress = Progress::Over;
        }
        other
    }

    /// The watch tells of its change.
    fn note(&mut self, n: usize) {
        self.untold.remove(&n);
        let standing = self.other(n).standing();
        let concerned = self.waiting.note(&uid(n), standing);
        self.queue.extend(concerned.iter().map(|uid| number(uid)));
    }

    fn tell(&mut self, n: usize, waits_for: Option<Reason>) {
        self.all[n].waits_for = waits_for;
    }

    fn runs(&self, operation: &Operation) -> Vec<&Hook> {
        operation.choose(&self.hooks).unwrap()
    }

    /// Whom it waits for; none if it may start.
    fn before(&self, n: usize) -> Option<(usize, Relation, Standing)> {
        let this = read(&self.all[n].object);
        match turn(&this, (0..self.all.len()).map(|n| self.other(n))) {
            Turn::Wait(before) => Some((number(before.other.uid), before.relation, before.other.standing())),
            Turn::Go(overtaken) => {
                let runs = self.runs(&this);
                let shared = overtaken.iter().rfind(|one| one.shares(&runs))?;
                let at = number(&shared.uid);
                Some((at, Relation::SameHook, self.other(at).standing()))
            }
        }
    }

    fn reconcile(&mut self, n: usize) {
        self.reconciled += 1;
        if self.all[n].state != State::Waiting {
            return;
        }
        if self.all[n].is_held && HELD_FOR[self.all[n].why] == Reason::RestoredFromBackup {
            // It is not asked whose turn it is, nor is its place in line given up.
            self.tell(n, Some(Reason::RestoredFromBackup));
            self.untold.insert(n);
            return;
        }
        if let Some((before, relation, standing)) = self.before(n) {
            let concerned = self.waiting.wait(&uid(n), &uid(before), relation, standing);
            self.queue.extend(concerned.iter().map(|uid| number(uid)));
            self.tell(n, Some(Reason::ConflictingOperation));
        } else {
            self.waiting.leave(&uid(n));
            if self.all[n].is_held {
                self.tell(n, Some(HELD_FOR[self.all[n].why]));
            } else {
                self.tell(n, None);
                self.all[n].state = State::Started;
            }
        }
        self.untold.insert(n);
    }

    fn end(&mut self, n: usize) {
        self.all[n].state = State::Ended;
        self.waiting.leave(&uid(n));
        self.untold.insert(n);
    }

    /// The next thing to do, where nobody chooses: news first.
    fn step(&mut self) -> bool {
        if let Some(n) = self.untold.first().copied() {
            self.note(n);
        } else if let Some(n) = self.queue.pop_first().or_else(|| self.at_work().first().copied()) {
            if self.all[n].state == State::Started { self.end(n) } else { self.reconcile(n) }
        } else {
            return false;
        }
        true
    }

    fn at_work(&self) -> Vec<usize> {
        (0..self.all.len()).filter(|n| self.all[*n].state == State::Started).collect()
    }

    /// No two that conflict are at work.
    fn check(&self) -> Result<(), TestCaseError> {
        let at_work = self.at_work();
        for one in &at_work {
            for two in &at_work {
                prop_assert_eq!(self.other(*two).relation(&read(&self.all[*one].object)), None);
            }
        }
        Ok(())
    }
}

fn any_operations(most: usize) -> impl Strategy<Value = Vec<One>> {
    // Mostly such as may overtake each other; sometimes the same hook, sometimes one that nothing may work beside.
    let types = prop_oneof![9 => Just("Migration"), 1 => Just("Restore")];
    let one = (0_i64..4, types, prop::sample::select(PARAMETERS.to_vec()), any::<bool>(), 0_usize..3);
    prop::collection::vec(one, 1..most).prop_map(|all| {
        let each = all.into_iter().enumerate();
        each.map(|(n, (created, type_of, what, is_held, why))| {
            let mut object = operation(n, created, type_of, what);
            if what.contains('-') {
                object["spec"]["parameters"] = json!({"event": what});
            }
            One { object, is_held, why, state: State::Waiting, waits_for: None }
        })
        .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Of the Operations of one hook, whatever else they are, one may start if none has, and none if one has.
    #[test]
    fn one_hook_is_started_by_exactly_one(
        created in prop::collection::vec(0_i64..3, 1..6), started in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let all = created.iter().enumerate().map(|(n, created)| {
            let object = operation(n, *created, "RunCommand", "a");
            One { object, is_held: false, why: 0, state: State::Waiting, waits_for: None }
        });
        let mut host = Host::new(all.collect());
        let started = started.map(|started| started.index(host.all.len()));
        if let Some(n) = started {
            host.all[n].state = State::Started;
        }
        let waiting = (0..host.all.len()).filter(|n| host.all[*n].state == State::Waiting);
        let free = waiting.filter(|n| host.before(*n).is_none()).count();
        prop_assert_eq!(free, usize::from(started.is_none()));
    }

    /// If nobody is at work, somebody who is able to run is next, unless all of those are held up by one that is not: who waits
    /// for whom is no circle, and ends at one that is next or that is held.
    #[test]
    fn if_nobody_is_at_work_somebody_able_is_next(operations in any_operations(8)) {
        let mut host = Host::new(operations);
        for n in 0..host.all.len() {
            if host.all[n].is_held {
                host.tell(n, Some(Reason::AwaitingApproval));
            }
        }
        for n in 0..host.all.len() {
            let (mut at, mut steps) = (n, 0);
            while let Some((before, ..)) = host.before(at) {
                at = before;
                steps += 1;
                prop_assert!(steps <= host.all.len(), "a circle: {:#?}", host.all);
            }
        }
        let has_held = host.all.iter().any(|one| one.is_held);
        let has_next = (0..host.all.len()).any(|n| !host.all[n].is_held && host.before(n).is_none());
        prop_assert!(has_next || has_held, "{:#?}", host.all);
    }

    /// However they start, end, are approved and deleted: no two that conflict are ever at work at once, and in the end all have
    /// run, though each is reconciled only when it is said that it must be.
    #[test]
    fn nobody_is_forgotten_and_no_two_that_conflict_run(
        operations in any_operations(8), choices in prop::collection::vec(any::<prop::sample::Index>(), 96),
    ) {
        let mut host = Host::new(operations);
        for choice in choices {
            let held = (0..host.all.len()).filter(|n| host.all[*n].is_held);
            let mut steps: Vec<(char, usize)> = host.queue.iter().map(|n| ('r', *n)).collect();
            steps.extend(host.untold.iter().map(|n| ('n', *n)));
            steps.extend(host.at_work().into_iter().map(|n| ('e', n)));
            steps.extend(held.map(|n| ('a', n)));
            // Somebody holds one that waits: by a label, or by a target that is another.
            steps.extend((0..host.all.len()).filter(|n| host.all[*n].state == State::Waiting && !host.all[*n].is_held).map(|n| ('h', n)));
            if steps.is_empty() {
                break;
            }
            match steps[choice.index(steps.len())] {
                ('r', n) => {
                    host.queue.remove(&n);
                    host.reconcile(n);
                }
                ('n', n) => host.note(n),
                ('h', n) => {
                    host.all[n].is_held = true;
                    host.all[n].why = choice.index(3);
                    host.queue.insert(n);
                }
                ('a', n) => {
                    host.all[n].is_held = false;
                    // Approved, or deleted.
                    if choice.index(5) == 0 && host.all[n].state == State::Waiting {
                        host.end(n);
                    }
                    host.queue.insert(n);
                }
                (_, n) => host.end(n),
            }
            host.check()?;
        }
        // Whatever is left is approved, and ends.
        for n in 0..host.all.len() {
            host.all[n].is_held = false;
            host.queue.insert(n);
        }
        while host.step() {
            host.check()?;
        }
        prop_assert!(host.all.iter().all(|one| one.state == State::Ended), "{:#?}", host.all);
        let (left, none) = (format!("{:?}", host.waiting), format!("{:?}", Waiting::default()));
        prop_assert_eq!(left, none, "nothing is left behind");
    }

    /// Without a change by anybody else: once nothing is left to reconcile, whoever may start has started.
    #[test]
    fn whoever_may_start_is_told_so(
        operations in any_operations(8), order in prop::collection::vec(any::<prop::sample::Index>(), 32),
    ) {
        let mut host = Host::new(operations);
        let mut order = order.iter().cycle();
        loop {
            let queued = host.queue.iter().map(|n| (true, *n));
            let steps: Vec<(bool, usize)> = queued.chain(host.untold.iter().map(|n| (false, *n))).collect();
            match steps.get(order.next().unwrap().index(steps.len().max(1))) {
                Some((true, n)) => {
                    host.queue.remove(n);
                    host.reconcile(*n);
                }
                Some((false, n)) => host.note(*n),
                None => break,
            }
        }
        for n in (0..host.all.len()).filter(|n| host.all[*n].state == State::Waiting && !host.all[*n].is_held) {
            prop_assert!(host.before(n).is_some(), "{n} was forgotten: {:#?}", host.all);
        }
    }
}

#[test]
fn a_queue_is_worked_off_by_a_number_of_reconciliations_that_grows_with_it() {
    let reconciled = |count: usize| {
        let all = (0..count).map(|n| {
            let object = operation(n, n as i64, "Migration", "a");
            One { object, is_held: false, why: 0, state: State::Waiting, waits_for: None }
        });
        let mut host = Host::new(all.collect());
        while host.step() {}
        assert!(host.all.iter().all(|one| one.state == State::Ended));
        host.reconciled
    };
    for count in [1, 10, 40, 200] {
        assert_eq!(reconciled(count), 2 * count - 1, "once each, and once more when it is its turn");
    }
}
