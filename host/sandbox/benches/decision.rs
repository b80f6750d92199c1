//! What a decision costs, as ratios taken in one run: the contenders of a round take turns, each is timed by itself,
//! and medians are compared.
//!
//! Needs built policies: the folder is the first argument that is no option, else `target/policies`. Prints JSON, a
//! line for each target (`name`, `measured`, `atMost`) and each figure (`name`, `p50Micros`, `p99Micros`).

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hookhost_core::operation::Operation;
use hookhost_core::request::{Inputs, Release, Request, Target};
use hookhost_helm::hook::Hook;
use hookhost_helm::record::{Chart, Record};
use hookhost_helm::record::{LastRun, StoredHook};
use hookhost_helm::status::Status;
use hookhost_sandbox::{Cache, Compiler, Limits, Policy, PreparedRequest, Reused, Sandbox};
use serde_json::json;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Rounds before the clock counts, and rounds timed.
const WARM_UP: usize = 300;
const ROUNDS: usize = 5000;
/// Rounds after which the reused instance is replaced: its allocator gives nothing back.
const REUSES: usize = 100;
/// Time of a call: none takes so long, and the clock costs the same whatever it is.
const PATIENCE: Duration = Duration::from_secs(5);
/// A new process' worth of work takes a thousand times longer.
const COLD_ROUNDS: usize = 100;

const POLICY: &str = "deadline-cap.wasm";

/// Settings with a rule that fits and one that does not.
const SETTINGS: &str = r#"{"rules":[{"match":{"organisations":["team-*"],"hooks":["*-migrate"]},"limits":{"deadlineSeconds":{"atMost":1800,"atLeast":60}}},{"match":{"events":["test"]},"limits":{"backoffLimit":{"atMost":0}}}]}"#;

fn main() -> Result<()> {
    let folder = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/policies")),
        PathBuf::from,
    );
    let path = folder.join(POLICY);
    let wasm = std::fs::read(&path)
        .map_err(|e| format!("{}: {e}; `cargo xtask policies` builds it", path.display()))?;
    let compiler = Compiler::new(env!("CARGO_BIN_EXE_hookhost-compile-policy"), [""; 0]);
    // On a busy machine one of ten thousand calls may wait longer than a host would.
    let limits = Limits::default().with_timeout(PATIENCE)?;
    let pooled = Sandbox::new(compiler.clone())?.load(&wasm, limits)?;
    let unpooled = Sandbox::unpooled(compiler.clone())?.load(&wasm, limits)?;
    call(&pooled, &unpooled)?;
    decision(&pooled)?;
    cold(compiler, &wasm, limits)
}

/// A fresh call beside the same call on a reused instance, and beside one without the pool.
fn call(pooled: &Policy, unpooled: &Policy) -> Result<()> {
    let release = Fixture::new()?;
    let request = release.request()?;
    let prepared = PreparedRequest::new(&request)?;
    let mut times = [const { Vec::new() }; 3];
    let mut reused = Reused::new(pooled)?;
    for round in 0..WARM_UP + ROUNDS {
        if round % REUSES == 0 {
            reused = Reused::new(pooled)?;
            reused.evaluate(&prepared, SETTINGS)?;
        }
        let taken = [
            time(|| pooled.evaluate(&prepared, SETTINGS).map(drop))?,
            time(|| reused.evaluate(&prepared, SETTINGS).map(drop))?,
            time(|| unpooled.evaluate(&prepared, SETTINGS).map(drop))?,
        ];
        keep(&mut times, taken, round);
    }
    let [fresh, reused, unpooled] = times;
    let fresh = figure("fresh call", fresh)?;
    target(
        "fresh call / call on a reused instance",
        fresh / figure("call on a reused instance", reused)?,
        3.5,
    )?;
    target(
        "fresh call / the same without the pool",
        fresh / figure("fresh call without the pool", unpooled)?,
        1.0 / 3.0,
    )
}

/// A decision as the controller makes it beside a round trip of the same request through JSON.
fn decision(policy: &Policy) -> Result<()> {
    let release = Fixture::new()?;
    let mut times = [const { Vec::new() }; 5];
    let request = release.request()?;
    for round in 0..WARM_UP + ROUNDS {
        let taken = [
            time(|| release.decide(&[policy]))?,
            time(|| release.decide(&[policy, policy, policy]))?,
            time(|| -> Result<()> {
                let text = serde_json::to_string(&request)?;
                let back: Request = serde_json::from_str(&text)?;
                std::hint::black_box(back);
                Ok(())
            })?,
            time(|| release.request().map(drop))?,
            time(|| ask(&request, &[policy]))?,
        ];
        keep(&mut times, taken, round);
    }
    let [one, three, json, build, rest] = times;
    figure("request built from the hook", build)?;
    figure("policy asked for a built request", rest)?;
    let one = figure("decision of one policy", one)?;
    target(
        "decision / serde_json round trip of its request",
        one / figure("serde_json round trip", json)?,
        0.7,
    )?;
    target("decision of three policies / of one", figure("decision of three policies", three)? / one, 3.3)
}

/// What a new process pays for its first decision, with the policy in the cache.
fn cold(compiler: Compiler, wasm: &[u8], limits: Limits) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let cache = Cache::open(directory.path().join("policies"))?;
    let release = Fixture::new()?;
    let first = Instant::now();
    Sandbox::new(compiler.clone())?.with_cache(cache.clone()).load(wasm, limits)?;
    figure("policy compiled in a child and kept", vec![first.elapsed()])?;
    let mut times = [const { Vec::new() }; 2];
    for _ in 0..COLD_ROUNDS {
        let start = Instant::now();
        let sandbox = Sandbox::new(compiler.clone())?.with_cache(cache.clone());
        let policy = sandbox.load(wasm, limits)?;
        let loaded = start.elapsed();
        release.decide(&[&policy])?;
        times[0].push(loaded);
        times[1].push(start.elapsed());
    }
    let [loaded, decided] = times;
    figure("sandbox made and cached policy loaded", loaded)?;
    figure("the same and its first decision", decided)?;
    Ok(())
}

fn time<E>(work: impl FnOnce() -> std::result::Result<(), E>) -> std::result::Result<Duration, E> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

fn keep<const N: usize>(times: &mut [Vec<Duration>; N], taken: [Duration; N], round: usize) {
    if round >= WARM_UP {
        times.iter_mut().zip(taken).for_each(|(times, taken)| times.push(taken));
    }
}

/// Prints a figure; gives its median in microseconds.
fn figure(name: &str, mut times: Vec<Duration>) -> Result<f64> {
    times.sort_unstable();
    let at =
        |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_nanos() as f64 / 1000.0;
    let (p50, p99) = (at(50), at(99));
    writeln!(std::io::stdout(), "{}", json!({"name": name, "p50Micros": p50, "p99Micros": p99}))?;
    Ok(p50)
}

fn target(name: &str, measured: f64, at_most: f64) -> Result<()> {
    writeln!(std::io::stdout(), "{}", json!({"name": name, "measured": measured, "atMost": at_most}))?;
    Ok(())
}

/// What the controller has read before it asks: an Operation and a release with one hook.
struct Fixture {
    operation: Operation,
    record: Record,
    hooks: Vec<Hook>,
}

impl Fixture {
    fn new() -> Result<Fixture> {
        let operation = Operation::from_json(json!({
            "apiVersion": "ops.vworkspace.io/v1alpha1",
            "kind": "Operation",
            "metadata": {
                "name": "nextcloud-team-db-migrate-2026-05-28",
                "namespace": "org-team-db",
                "uid": "4f6a1c1e-9a3b-4e57-8d3c-0d6d6f1f2a11",
                "creationTimestamp": "2026-05-28T09:00:00Z",
                "labels": {"app.kubernetes.io/managed-by": "portal", "vworkspace.io/organisation": "team-db"},
                "annotations": {"portal.vworkspace.io/requested-by": "alice@example.com"},
            },
            "spec": {
                "targetRef": {
                    "apiVersion": "apps.vworkspace.io/v1alpha1",
                    "kind": "ApplicationInstance",
                    "name": "nextcloud-team-db",
                },
                "type": "Migration",
                "engine": "helmHookJob",
                "parameters": {"hookName": "nextcloud-migrate", "activeDeadlineSeconds": 1800, "backoffLimit": 1},
            },
        }))?;
        let stored = StoredHook {
            name: "nextcloud-migrate".into(),
            kind: "Job".into(),
            path: "nextcloud/templates/migrate.yaml".into(),
            events: vec!["pre-upgrade".into()],
            weight: 5,
            delete_policies: vec!["before-hook-creation".into(), "hook-succeeded".into()],
            last_run: LastRun::default(),
            manifest: include_str!("hook.yaml").into(),
        };
        let record = Record {
            name: "nextcloud".into(),
            namespace: "org-team-db".into(),
            revision: 7,
            status: Status::Deployed,
            first_deployed: Some("2025-11-03T10:00:00Z".parse()?),
            last_deployed: Some("2026-05-20T08:30:00Z".parse()?),
            deleted: None,
            chart: Chart {
                name: "nextcloud".into(),
                version: "6.2.1".into(),
                app_version: Some("29.0.4".into()),
            },
            stored_hooks: vec![stored],
        };
        let hooks = record.hooks();
        Ok(Fixture { operation, record, hooks })
    }

    fn request(&self) -> Result<Request> {
        let text = str::to_owned;
        let hook = self.hooks.first().ok_or("no hook")?;
        Ok(Request::build(Inputs {
            operation: &self.operation,
            approved_by: None,
            target: Target {
                kind: text("ApplicationInstance"),
                name: text("nextcloud-team-db"),
                ..Target::default()
            },
            release: Release::from(&self.record),
            hook,
            hooks: &self.hooks,
            organisation: text("team-db"),
            cluster_id: text("cluster-prod-1"),
            now: "2026-05-28T09:00:01Z".parse()?,
        })?)
    }

    /// Builds the request and asks each policy.
    fn decide(&self, policies: &[&Policy]) -> Result<()> {
        ask(&self.request()?, policies)
    }
}

/// Prepares the request once and asks each policy.
fn ask(request: &Request, policies: &[&Policy]) -> Result<()> {
    let prepared = PreparedRequest::new(request)?;
    for policy in policies {
        std::hint::black_box(policy.evaluate(&prepared, SETTINGS)?);
    }
    Ok(())
}
