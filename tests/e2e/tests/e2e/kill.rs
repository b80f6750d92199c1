//! Whenever hookhost is killed, an Operation's hook runs exactly once and its result is right.
//!
//! For each write that a run takes, a host is killed just before and just after it, another is started, and the run is
//! looked at when it is over.

use e2e::{Fault, Host, PATIENCE, Proxy, Release, World, ok, says, world};
use serde_json::{Value, json};

/// A gate of its own: the shared host must not help.
const GATE: &str = "e2e=kill";

/// More writes than any run takes.
const TOO_MANY: usize = 12;

#[test]
fn killed_at_any_write_the_hook_still_runs_exactly_once() {
    let world = world();
    let namespace = world.namespace("kill", &[GATE]);
    let release = world.release("shop", &namespace, &json!({}));
    let proxy = Proxy::start(world.cluster);
    let mut table = vec![format!("{:<58} {:<7} {:<10} {:>4} {:>4}", "WRITE", "KILLED", "PHASE", "JOBS", "PODS")];
    for (hook, phase) in [("ok", "Succeeded"), ("fails", "Failed")] {
        for number in 0..TOO_MANY {
            let mut is_reached = false;
            for fault in [Fault::Before(number), Fault::After(number)] {
                let Some(row) = run(world, &proxy, &release, hook, phase, fault) else { continue };
                is_reached = true;
                table.push(row);
            }
            if !is_reached {
                break;
            }
            assert!(number + 1 < TOO_MANY, "a run never stops writing");
        }
    }
    show(&table.join("\n"));
    assert!(table.len() > 8, "a run has writes to be killed at");
}

/// One run with one fault; none if the run has no such write.
fn run(world: &World, proxy: &Proxy, release: &Release, hook: &str, phase: &str, fault: Fault) -> Option<String> {
    let args = ["--namespace-gate", GATE];
    let mut first = Host::start(world.cluster, proxy.kubeconfig(), &args);
    proxy.arm(first.pid(), fault);
    let name = world.operation(release, hook, json!({}));
    let namespace = &release.namespace;
    // Either the fault comes, or the run is over without it.
    let is_over = || world.get(namespace, &format!("job/{name}")).is_some_and(|job| job["metadata"]["finalizers"].is_null() && !job["status"]["completionTime"].is_null() || is_failed(&job) && job["metadata"]["finalizers"].is_null());
    ok(world.cluster.eventually("the fault, or the end", PATIENCE, || {
        (first.ended().is_some() || is_over()).then_some(())
    }));
    let is_struck = proxy.is_spent();
    let write = proxy.writes().last().cloned().unwrap_or_default();
    first.kill();
    if !is_struck {
        return None;
    }
    let _second = Host::start(world.cluster, proxy.kubeconfig(), &args);
    let operation = world.phase(namespace, &name, phase);
    ok(world.cluster.eventually("the Job is let go", PATIENCE, || {
        let job = world.get(namespace, &format!("job/{name}"))?;
        job["metadata"]["finalizers"].is_null().then_some(())
    }));
    let uid = operation["metadata"]["uid"].as_str().unwrap_or_default();
    let selector = format!("ops.vworkspace.io/operation={uid}");
    let (jobs, pods) = (world.list(namespace, "jobs", &selector), world.list(namespace, "pods", &selector));
    assert_eq!((jobs.len(), pods.len()), (1, 1), "{name}, {fault:?}: {write}");
    let word = if phase == "Succeeded" { "True/HelmHookJobSucceeded" } else { "True/HelmHookJobFailed" };
    assert_eq!(says(&operation, phase), word, "{name}, {fault:?}: {write}");
    let moment = if matches!(fault, Fault::Before(_)) { "before" } else { "after" };
    Some(format!("{:<58} {moment:<7} {phase:<10} {:>4} {:>4}", shorten(&write, &name, namespace), jobs.len(), pods.len()))
}

fn is_failed(job: &Value) -> bool {
    job["status"]["conditions"].as_array().into_iter().flatten().any(|one| one["type"] == "Failed" && one["status"] == "True")
}

fn shorten(write: &str, name: &str, namespace: &str) -> String {
    write.replace(name, "NAME").replace(namespace, "NS").replace("/apis/", "")
}

#[expect(clippy::print_stderr, reason = "the table is what this test shows")]
fn show(table: &str) {
    eprintln!("{table}");
}
