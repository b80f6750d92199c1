//! Whenever hookhost is killed, an Operation's hook runs exactly once and its result is right.
//!
//! For each write that a run takes, a host is killed just before and just after it, another is started, and the run is
//! looked at when it is over.

use std::sync::{Mutex, PoisonError};
use std::thread;

use e2e::{Fault, PATIENCE, Proxy, Release, World, ok, says, world};
use serde_json::{Value, json};

/// Runs at once: most of a run is waiting.
const WORKERS: usize = 8;

/// The hooks that are run, with the phase that each ends in, and the most writes that a run of it may take, Events included.
const HOOKS: [(&str, &str, usize); 4] = [
    ("ok", "Succeeded", PLAIN),
    ("fails", "Failed", PLAIN),
    (BORROWS, "Succeeded", PLAIN + LENDING),
    (EVENT, "Succeeded", 2 * PLAIN + 2 + LENDING),
];

/// The most writes of a plain run: six, and two notices that its pod had to wait, as on a busy machine.
const PLAIN: usize = 6 + 2;

/// What loans cost: each is made and taken back; the role is rehearsed; and the Job is let start.
const LENDING: usize = 2 * LOANS.len() + 2;

/// All hooks of an event, of which the release has two: each step is a run of its own, whose Job is let start.
const EVENT: &str = "pre-delete";

/// The second of them, which needs what Helm has deleted.
const SECOND: &str = "second";

/// The hook that needs what Helm has deleted.
const BORROWS: &str = "borrows";

/// What they need.
const LOANS: [&str; 4] = ["serviceaccount", "configmap", "role", "rolebinding"];

#[test]
fn killed_at_any_write_the_hook_still_runs_exactly_once() {
    let world = world();
    let workers: Vec<Worker<'_>> = thread::scope(|scope| {
        let made: Vec<_> =
            (0..WORKERS).map(|number| scope.spawn(move || Worker::new(world, number))).collect();
        made.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    // Without a fault: how many writes there are to be killed at.
    let mut faults = Vec::new();
    for (hook, phase, most) in HOOKS {
        let (_, writes) = workers[0].run(hook, phase, None);
        assert!((4..=most).contains(&writes.len()), "the writes of a run: {writes:#?}");
        let writes = writes.len();
        for number in 0..writes {
            faults.push((hook, phase, Fault::Before(number)));
            faults.push((hook, phase, Fault::After(number)));
        }
    }
    faults.reverse();
    let (faults, table) = (Mutex::new(faults), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for worker in &workers {
            scope.spawn(|| {
                while let Some((hook, phase, fault)) = pop(&faults) {
                    let (row, _) = worker.run(hook, phase, Some(fault));
                    table.lock().unwrap_or_else(PoisonError::into_inner).push((hook, fault, row));
                }
            });
        }
    });
    let mut table = table.into_inner().unwrap();
    table.sort_by_key(|(hook, fault, _)| match fault {
        Fault::Before(number) => (place(hook), *number, 0),
        Fault::After(number) => (place(hook), *number, 1),
    });
    show(&format!("{:<10} {:<30} {:<7} {:<10} JOBS PODS LOANS LEFT", "HOOK", "WRITE", "KILLED", "PHASE"));
    table.iter().for_each(|(.., row)| show(row));
}

/// Where a hook is in the table.
fn place(hook: &str) -> Option<usize> {
    HOOKS.iter().position(|(of, ..)| *of == hook)
}

fn pop<T>(queue: &Mutex<Vec<T>>) -> Option<T> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

/// Runs one after the other, in a namespace and behind a proxy of its own.
struct Worker<'w> {
    world: &'w World,
    release: Release,
    proxy: Proxy,
    gate: String,
}

impl Worker<'_> {
    fn new(world: &World, number: usize) -> Worker<'_> {
        // A gate of its own: neither the shared host nor another worker's must help.
        let gate = format!("e2e-kill={number}");
        let namespace = world.namespace("kill", &[&gate]);
        let hooks = json!({
            BORROWS: {"own": {}, "script": "echo settings of $CHART_OF_SETTINGS"},
            "first": {"script": "echo first", "events": EVENT},
            SECOND: {"own": {}, "script": "echo second", "events": EVENT},
        });
        let release = world.release("shop", &namespace, &json!({"hooks": hooks}));
        Worker { world, release, proxy: Proxy::start(world.cluster), gate }
    }

    /// One run; gives back its row of the table and the writes until the fault, or the end.
    fn run(&self, hook: &str, phase: &str, fault: Option<Fault>) -> (String, Vec<String>) {
        let Worker { world, release, proxy, gate } = self;
        let namespace = &release.namespace;
        let values = json!({"namespaceGate": gate, "closure": {"enabled": true, "grantAnyRole": true}});
        // The second need not wait until the lease of one that was killed lapses.
        let start = || world.host(values.clone()).through(proxy).without_lease().start();
        let mut first = start();
        proxy.arm(first.pid(), fault);
        let name = format!("{hook}-{}", world.number());
        let mut wish = world.operation_named(&name, release, hook, json!({"closure": hook == BORROWS}));
        if hook == EVENT {
            wish["spec"]["parameters"] = json!({"event": EVENT, "closure": true});
        }
        let steps = if hook == EVENT { 2 } else { 1 };
        let wish = world.apply(namespace, &wish);
        let is_let_go = || {
            let jobs = world.of_operation(namespace, "jobs", &wish);
            let is_free = |job: &Value| {
                let conditions = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
                let is_over = conditions.iter().any(|one| {
                    ["Complete", "Failed"].contains(&one["type"].as_str().unwrap_or_default())
                        && one["status"] == "True"
                });
                is_over && job["metadata"]["finalizers"].is_null()
            };
            (jobs.len() == steps && jobs.iter().all(is_free)).then_some(())
        };
        let is_done = || {
            let operation = world.get(namespace, &format!("operation/{name}"))?;
            (operation["status"]["phase"] == phase).then(is_let_go).flatten()
        };
        let second = if let Some(fault) = fault {
            // A run whose pod need not wait says so in no Event: it may be over before so many writes.
            let is_killed = || first.ended().map(|_| true).or_else(|| is_done().map(|()| false));
            let killed = world.cluster.eventually("the host is killed", PATIENCE, is_killed);
            let killed = killed.unwrap_or_else(|error| panic!("{name}, {fault:?}: {error}"));
            killed.then(start)
        } else {
            None
        };
        let operation = world.phase(namespace, &name, phase);
        ok(world.cluster.eventually("the Job is let go", PATIENCE, is_let_go));
        if second.is_none() {
            // The last Event may still be on its way: it is counted, and struck, once it has come.
            let end = first.terminate(world.cluster);
            ok((end.success() || proxy.struck().is_some()).then_some(()).ok_or("it did not end in order"));
        }
        let writes = proxy.writes();
        let struck = proxy.struck();
        if let Some(fault @ (Fault::Before(number) | Fault::After(number))) = fault {
            assert!(
                struck.is_some() || writes.len() <= number,
                "{name}, {fault:?}: it was not killed: {writes:#?}"
            );
        }
        let struck = struck.unwrap_or_default();
        drop(second);

        let uid = operation["metadata"]["uid"].as_str().unwrap_or_default();
        let selector = format!("ops.vworkspace.io/operation={uid}");
        let (jobs, pods) =
            (world.list(namespace, "jobs", &selector), world.list(namespace, "pods", &selector));
        assert_eq!((jobs.len(), pods.len()), (steps, steps), "{name}, {fault:?}: {struck}");
        assert_eq!(
            says(&operation, phase),
            format!("True/HelmHookJob{phase}"),
            "{name}, {fault:?}: {struck}"
        );
        let is_left = |kind: &&&str| {
            [BORROWS, SECOND]
                .iter()
                .any(|hook| world.get(namespace, &format!("{kind}/shop-{hook}")).is_some())
        };
        let left: Vec<_> = LOANS.iter().filter(is_left).collect();
        assert!(left.is_empty(), "{name}, {fault:?}: {struck}: {left:?} stay");
        let moment = match fault {
            Some(Fault::Before(_)) => "before",
            Some(Fault::After(_)) => "after",
            None => "never",
        };
        let struck = shorten(&struck);
        (
            format!(
                "{hook:<10} {struck:<30} {moment:<7} {phase:<10} {:>4} {:>4} {:>10}",
                jobs.len(),
                pods.len(),
                left.len()
            ),
            writes,
        )
    }
}

/// "PATCH operations/status" of "PATCH /apis/…/namespaces/NS/operations/NAME/status".
fn shorten(write: &str) -> String {
    let Some((method, path)) = write.split_once(' ') else { return String::new() };
    let after = path.split("/namespaces/").nth(1).unwrap_or(path);
    let words: Vec<&str> = after.split('/').skip(1).collect();
    match words[..] {
        [kind, _, part] => format!("{method} {kind}/{part}"),
        [kind, ..] => format!("{method} {kind}"),
        [] => method.to_owned(),
    }
}

#[expect(clippy::print_stderr, reason = "the table is what this test shows")]
fn show(line: &str) {
    eprintln!("{line}");
}
