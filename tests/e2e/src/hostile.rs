//! A *hostile load* is what somebody with few rights, or the author of a chart, can make hookhost read. Each is put on a
//! host as the chart installs it, and meanwhile it is looked at as Kubernetes and its other users do: is it alive, does
//! it lead, how long does an Operation in a namespace that is nobody's enemy wait for its Job.
//!
//! No pod runs here: what counts is over when a Job is made.

mod forged;
mod large;
mod record;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testbed::Options;

use crate::host::{Host, admin_answer};
use crate::world::{World, ok};
use record::Hook;

/// From one probe to the next, and the time for its answer: that of the chart's probe.
const PROBE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How long an Operation in the good namespace is waited for, and a load to be worked off.
const PATIENCE: Duration = Duration::from_secs(60);

/// Hooks of the good release. Each runs once: where no pod ends, the next run of a hook would wait for ever.
const GOOD_HOOKS: usize = 600;

/// Operations in the good namespace that must have started after all of the load is there.
const GOOD_AFTER: usize = 5;

/// Hooks of a record: nearly as many as hookhost lists, with the longest names that Kubernetes has.
const HOOKS: (usize, usize) = (4090, 253);

/// Operations with names that are nearly those, each another one.
const WRONG_NAMES: usize = 60;

/// Words of the list that nobody asks for, and Operations for the small hooks beside it.
const LIST: (usize, usize) = (950_000, 16);

/// Operations that wait for one hook, and how many of them have their turn.
const QUEUE: (usize, usize) = (200, 20);

/// Bytes of a large Operation: the API server takes 1.5 MB at most.
const OPERATION_BYTES: usize = 1_000_000;

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Large Operations in all.
    pub operations: usize,
    /// Those of them, and of the Jobs, that fill memory once they are read, the API server's too, where each takes some 50 MB for
    /// good.
    pub of_small_values: usize,
    /// Forged Jobs in all.
    pub jobs: usize,
    /// Forged pods.
    pub pods: usize,
}

impl Size {
    /// What a test run can bear.
    pub const SMALL: Size = Size { operations: 100, of_small_values: 18, jobs: 300, pods: 100 };
    /// What the promise says.
    pub const FULL: Size = Size { operations: 1000, of_small_values: 18, jobs: 1000, pods: 300 };
}

/// What became of hookhost under one load.
#[derive(Clone, Debug)]
pub struct Row {
    /// The load, for people.
    pub case: String,
    /// The limit of memory, and the most that was in use of it, in bytes.
    pub limit: u64,
    /// See `limit`.
    pub peak: u64,
    /// The memory of the process before the load, without the pages of its program: those of a debug build are many.
    pub idle: u64,
    /// The slowest answer to a probe.
    pub slowest_probe: Duration,
    /// How often hookhost was started again.
    pub restarts: usize,
    /// How often the lease changed hands, or lapsed.
    pub leases_lost: u64,
    /// The Operations in the good namespace, in their order.
    pub starts: Vec<Start>,
    /// Whether all of the load was answered.
    pub is_worked_off: bool,
}

/// An Operation in the good namespace.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// From the answer to its create until its Job is seen; as long as it was waited for where none came.
    pub wait: Duration,
    /// From the request for a bare Job, just before, until the same watch sees it: the API server's part, and the machine's.
    pub bare: Duration,
}

impl Row {
    /// What the columns of a row are.
    pub const HEAD: &'static str = "CASE                                               PEAK  OF LIMIT   IDLE  /healthz  RESTARTS  LEASE LOST   WAIT  BARE JOB  STARTED  WORKED OFF";

    /// The Operation in the good namespace that waited longest.
    #[must_use]
    pub fn longest(&self) -> Start {
        let longest = self.starts.iter().max_by_key(|start| start.wait);
        longest.copied().unwrap_or(Start { wait: PATIENCE, bare: Duration::ZERO })
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mib = |bytes: u64| bytes >> 20;
        let Row { case, restarts, leases_lost, .. } = self;
        let started = self.starts.iter().filter(|start| start.is_in_time()).count();
        let longest = self.longest();
        write!(
            f,
            "{case:<46} {:>4} MiB  {:>5} %  {:>3} MiB  {:>5.2} s  {restarts:>8}  {leases_lost:>10}  {:>4.1} s  {:>6.2} s  {started:>7}  {:>10}",
            mib(self.peak),
            self.peak * 100 / self.limit.max(1),
            mib(self.idle),
            self.slowest_probe.as_secs_f64(),
            longest.wait.as_secs_f64(),
            longest.bare.as_secs_f64(),
            if self.is_worked_off { "yes" } else { "no" },
        )
    }
}

/// What is put on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Operations with wrong names against a record with as many hooks as there may be.
    WrongNames,
    /// Operations on small hooks beside one that fills memory once it is read.
    LongLists,
    /// A queue of Operations for one hook.
    Queue,
    /// Operations of the largest size in a namespace that is not served.
    LargeOperations,
    /// Jobs and pods of the largest size in a namespace that is served, which say that they are hookhost's.
    ForgedJobs,
}

impl Load {
    /// All of them.
    pub const ALL: [Load; 5] =
        [Load::WrongNames, Load::LongLists, Load::Queue, Load::LargeOperations, Load::ForgedJobs];

    /// Puts it on a host of its own, when all that were asked for before are over, in the one cluster for all loads of this
    /// process.
    ///
    /// # Panics
    /// The cluster does not start, or refuses what is made.
    #[must_use]
    pub fn play(self, size: Size) -> Row {
        static TURN: Mutex<()> = Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let world = world();
        let gate = format!("hostile={}", world.number());
        match self {
            Load::WrongNames => wrong_names(world, &gate),
            Load::LongLists => long_lists(world, &gate),
            Load::Queue => queue(world, &gate),
            Load::LargeOperations => large::operations(world, size, &gate),
            Load::ForgedJobs => forged::jobs(world, size, &gate),
        }
    }
}

/// The chart's values for a host that serves plain releases in the namespaces behind this gate.
fn values(gate: &str) -> Value {
    json!({"namespaceGate": gate, "helmReleases": {"enabled": true}, "logLevel": "info"})
}

/// The one cluster for all loads of this process.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let world = ok(World::bare(Options::controllers(), "hostile"));
        install_crds(&world);
        world
    })
}

/// A host, and a namespace that it serves with an Operation whose Job is made: in a cluster where all of an Operation can be
/// changed, since its CRD is another's. No pod is ever made.
///
/// # Panics
/// The cluster does not start, or the Job is not made.
#[must_use]
pub fn run_that_can_be_changed(name: &str) -> (&'static World, Host, String) {
    let world = world();
    let gate = format!("hostile={}", world.number());
    let namespace = world.namespace("changed", &[&gate]);
    record::store(world, &namespace, "shop", &[Hook::job("wanted")]);
    let host = world.host(values(&gate)).start();
    world.apply(&namespace, &operation(name, "wanted"));
    assert!(world.comes(&namespace, &format!("job/{name}"), PATIENCE), "no Job is made");
    (world, host, namespace)
}

/// hookhost's CRDs, but that of Operations without the rules about what is in them: it is another's where
/// `crds.operation` is false, and what was stored before the rules came stays.
fn install_crds(world: &World) {
    let crds = ok(std::process::Command::new(crate::hookhost()).arg("crds").output());
    let crds = ok(hookhost_helm::yaml::read(&String::from_utf8_lossy(&crds.stdout)));
    for mut crd in crds.into_iter().filter(|crd| !crd.is_null()) {
        if crd["spec"]["names"]["kind"] == "Operation" {
            for version in crd["spec"]["versions"].as_array_mut().into_iter().flatten() {
                let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
                version["schema"] = json!({"openAPIV3Schema": anything});
            }
        }
        ok(world.cluster.apply("default", &crd.to_string()));
    }
    let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
    ok(world.cluster.kubectl(&established));
}

/// A host under a load, and who looks at it.
struct Stage<'w> {
    world: &'w World,
    values: Value,
    host: Mutex<Watched>,
    /// Namespace and release of those who mean well.
    good: String,
    is_over: AtomicBool,
    starts: Mutex<Vec<Start>>,
}

/// A host that is started again when it ends, as the kubelet does.
struct Watched {
    host: Host,
    limit: u64,
    peak: u64,
    idle: u64,
    slowest_probe: Duration,
    restarts: usize,
}

impl Watched {
    fn new(world: &World, values: &Value) -> Watched {
        let setup = world.host(values.clone());
        let limit = setup.memory_limit();
        let host = setup.start();
        let slowest_probe = Duration::ZERO;
        Watched { host, limit, peak: 0, idle: 0, slowest_probe, restarts: 0 }
    }

    fn note_memory(&mut self) {
        self.peak = self.peak.max(self.host.peak().unwrap_or_default());
    }
}

/// Ends the watch, also where a test panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl<'w> Stage<'w> {
    /// Starts the host, and a namespace that is served by it and means well.
    fn new(world: &'w World, gate: &str) -> Stage<'w> {
        let values = values(gate);
        let good = world.namespace("good", &[gate]);
        let hooks: Vec<Hook> = (0..GOOD_HOOKS).map(|number| Hook::job(&format!("good-{number}"))).collect();
        record::store(world, &good, "shop", &hooks);
        // The binary's own pages are no part of what is measured, whoever read them first.
        ok(std::fs::read(crate::host::program()));
        let host = Mutex::new(Watched::new(world, &values));
        let stage =
            Stage { world, values, host, good, is_over: AtomicBool::new(false), starts: Mutex::default() };
        stage.start_one(0);
        stage.starts.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let mut watched = stage.host();
        watched.note_memory();
        watched.idle = watched.host.own_memory().unwrap_or(u64::MAX);
        drop(watched);
        stage
    }

    fn host(&self) -> std::sync::MutexGuard<'_, Watched> {
        self.host.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a load while the host is looked at, and after it until some more good Operations have started; gives back the
    /// row. `load` says whether all of it was answered.
    fn under(self, case: String, load: impl FnOnce(&Stage<'w>) -> bool) -> Row {
        let is_worked_off = thread::scope(|scope| {
            let _over = Over(&self.is_over);
            scope.spawn(|| self.probe());
            scope.spawn(|| self.start_good_ones());
            let is_worked_off = load(&self);
            let before = self.started();
            let is_after = || (self.started() >= before + GOOD_AFTER).then_some(());
            let goes_on = self.world.cluster.eventually("good Operations start", PATIENCE, is_after);
            is_worked_off && goes_on.is_ok()
        });
        let mut watched = self.host();
        watched.note_memory();
        let starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("lease/{}", watched.host.name());
        let lease = self.world.get(crate::NAMESPACE, &name).unwrap_or_default();
        Row {
            case,
            limit: watched.limit,
            peak: watched.peak,
            idle: watched.idle,
            slowest_probe: watched.slowest_probe,
            restarts: watched.restarts,
            leases_lost: lease["spec"]["leaseTransitions"].as_u64().unwrap_or_default(),
            starts: starts.clone(),
            is_worked_off,
        }
    }

    /// Asks whether it is alive, as the kubelet does but more often, and starts it again where it has ended.
    fn probe(&self) {
        let mut address = None;
        while !self.is_over.load(Ordering::SeqCst) {
            let asked = Instant::now();
            let answer = address.and_then(|address| admin_answer(address, "/healthz", PROBE.1));
            let took = asked.elapsed();
            let mut watched = self.host();
            watched.note_memory();
            if watched.host.ended().is_some() {
                watched.host = self.world.host(self.values.clone()).start();
                watched.restarts += 1;
                address = None;
            } else if address.is_none() {
                address = watched.host.address();
            } else {
                let is_fine = answer.is_some_and(|answer| answer.contains(" 200 "));
                let took = if is_fine { took } else { took.max(PROBE.1) };
                watched.slowest_probe = watched.slowest_probe.max(took);
            }
            drop(watched);
            // The period of a probe; nothing is waited for.
            thread::sleep(PROBE.0);
        }
    }

    fn started(&self) -> usize {
        let starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        starts.iter().filter(|start| start.is_in_time()).count()
    }

    fn start_good_ones(&self) {
        let mut number = 1;
        while !self.is_over.load(Ordering::SeqCst) && number < GOOD_HOOKS {
            self.start_one(number);
            number += 1;
            thread::sleep(PROBE.0);
        }
    }

    /// Makes an Operation in the good namespace and notes how long it waits for its Job.
    fn start_one(&self, number: usize) {
        let asked = Instant::now();
        let bare = format!("bare-{number}");
        self.world.apply(&self.good, &bare_job(&bare));
        self.world.comes(&self.good, &format!("job/{bare}"), PATIENCE);
        let bare = asked.elapsed();
        let name = format!("run-{number}");
        self.world.apply(&self.good, &operation(&name, &format!("good-{number}")));
        let answered = Instant::now();
        let is_over = || self.is_over.load(Ordering::SeqCst);
        let job = format!("job/{name}");
        let mut wait = PATIENCE;
        // In parts, so that the end of the load ends this too.
        while answered.elapsed() < PATIENCE && !is_over() {
            if self.world.comes(&self.good, &job, PROBE.1) {
                wait = answered.elapsed();
                break;
            }
        }
        if wait < PATIENCE || !is_over() {
            self.starts.lock().unwrap_or_else(PoisonError::into_inner).push(Start { wait, bare });
        }
    }
}

impl Start {
    fn is_in_time(&self) -> bool {
        self.wait < PATIENCE
    }
}

/// A Job for nobody, of which no pod is made.
fn bare_job(name: &str) -> Value {
    let container = json!({"name": "main", "image": "localhost/busybox:1"});
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"suspend": true, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}})
}

/// An Operation on a hook of the plain release "shop".
fn operation(name: &str, hook: &str) -> Value {
    json!({
        "apiVersion": "ops.vworkspace.io/v1alpha1", "kind": "Operation", "metadata": {"name": name},
        "spec": {
            "targetRef": {"apiVersion": "helm.sh/v3", "kind": "Release", "name": "shop"},
            "type": "Migration", "engine": "helmHookJob", "parameters": {"hookName": hook},
        },
    })
}

/// Waits until each Operation of a namespace has been given an answer, whichever; false where that does not come.
fn answered(world: &World, namespace: &str, count: usize) -> bool {
    let is_answered = |operation: &&Value| operation["status"]["conditions"].is_array();
    let all = || world.list(namespace, "operations", "").iter().filter(is_answered).count() == count;
    world.cluster.eventually("an answer to all", PATIENCE, || all().then_some(())).is_ok()
}

fn wrong_names(world: &World, gate: &str) -> Row {
    let (count, length) = HOOKS;
    let stage = Stage::new(world, gate);
    let evil = world.namespace("evil", &[gate]);
    // Alike in all but the last digits, so that no prefix tells them apart.
    let name = |end: String| format!("{}{end}", "ab".repeat(length / 2)[..length - end.len()].to_owned());
    let hooks: Vec<Hook> = (0..count).map(|number| Hook::job(&name(format!("x{number:04}")))).collect();
    let bytes = record::store(world, &evil, "shop", &hooks);
    stage.under(format!("{WRONG_NAMES} wrong names, {count} hooks ({} KB)", bytes / 1000), |_| {
        for number in 0..WRONG_NAMES {
            world.apply(&evil, &operation(&format!("wrong-{number}"), &name(format!("y{number:04}"))));
        }
        answered(world, &evil, WRONG_NAMES)
    })
}

fn long_lists(world: &World, gate: &str) -> Row {
    let (elements, count) = LIST;
    let stage = Stage::new(world, gate);
    let evil = world.namespace("evil", &[gate]);
    let mut hooks = vec![Hook::list("long", elements)];
    hooks.extend((0..count).map(|number| Hook::job(&format!("small-{number}"))));
    let bytes = record::store(world, &evil, "shop", &hooks);
    stage.under(format!("{count} beside a list of {elements} ({:.1} KB)", bytes as f64 / 1000.0), |_| {
        for number in 0..count {
            world.apply(&evil, &operation(&format!("beside-{number}"), &format!("small-{number}")));
        }
        answered(world, &evil, count)
    })
}

fn queue(world: &World, gate: &str) -> Row {
    let (count, turns) = QUEUE;
    let stage = Stage::new(world, gate);
    let evil = world.namespace("evil", &[gate]);
    record::store(world, &evil, "shop", &[Hook::job("wanted")]);
    stage.under(format!("{count} for one hook, {turns} turns"), |_| {
        for number in 0..count {
            world.apply(&evil, &operation(&format!("queued-{number:03}"), "wanted"));
        }
        let mut is_worked_off = answered(world, &evil, count);
        let mut had_turn = Vec::new();
        for _ in 0..turns {
            // Whose Job is there has its turn. Cancelled, it gives it to the next.
            let running = || {
                let jobs = world.list(&evil, "jobs", "");
                let names = jobs.iter().filter_map(|job| job["metadata"]["name"].as_str().map(str::to_owned));
                names.into_iter().find(|name| !had_turn.contains(name))
            };
            let Ok(name) = world.cluster.eventually("a turn", PATIENCE, running) else {
                is_worked_off = false;
                break;
            };
            world.cancel(&evil, &name);
            had_turn.push(name);
        }
        is_worked_off
    })
}
