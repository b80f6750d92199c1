//! More than one hookhost, and what others leave in the way: still each hook runs once.

use std::time::Duration;

use e2e::{Host, PATIENCE, Proxy, ok, says, world};
use serde_json::json;

/// Operations that two hosts race for.
const RACES: usize = 8;

#[test]
fn two_controllers_at_once_without_a_lease_make_one_job_of_each_operation() {
    let world = world();
    let gate = "e2e-race=1";
    let namespace = world.namespace("race", &[gate]);
    let release = world.release("shop", &namespace, &json!({}));
    let _hosts = [(); 2].map(|()| world.host(json!({"namespaceGate": gate})).without_lease().start());
    // Of one HelmRelease but each with an instance of its own, since one target's hook runs once at a time.
    let names: Vec<String> =
        (0..RACES).map(|_| world.operation(&world.apart(&release), "ok", json!({}))).collect();
    for name in names {
        let operation = world.phase(&namespace, &name, "Succeeded");
        let runs = ["jobs", "pods"].map(|kind| world.of_operation(&namespace, kind, &operation).len());
        assert_eq!(runs, [1, 1], "{name}");
    }
}

#[test]
fn a_namespace_whose_jobs_cannot_be_listed_keeps_no_run_of_another_from_starting() {
    let world = world();
    let gate = "e2e=unsearched";
    let namespace = world.namespace("searched", &[gate]);
    let release = world.release("shop", &namespace, &json!({}));
    // Managed no more: hookhost has its rights there, and looks for runs that it may have left.
    let lost = world.namespace("unsearched", &[gate]);
    world.patch("", &format!("namespace/{lost}"), &json!({"metadata": {"labels": {"e2e": null}}}));
    let proxy = Proxy::start(world.cluster);
    proxy.jam(&format!("/apis/batch/v1/namespaces/{lost}/jobs"));
    let host = world.host(json!({"namespaceGate": gate})).through(&proxy).without_lease().start();
    let name = world.operation(&release, "ok", json!({}));
    world.phase(&namespace, &name, "Succeeded");
    let log = host.log();
    let is_told = |line: &&str| line.contains("cannot search a namespace") && line.contains(&lost);
    assert!(log.lines().any(|line| is_told(&line)), "{log}");
}

#[test]
fn a_job_of_the_operations_name_that_is_somebody_elses_is_neither_taken_nor_touched() {
    let world = world();
    let release = world.apart(world.shop());
    let name = format!("taken-{}", world.number());
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"suspend": true, "template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "theirs", "image": "localhost/busybox:1"}]}}},
    });
    let before = world.apply(&release.namespace, &job);
    world.apply(&release.namespace, &world.operation_named(&name, &release, "ok", json!({})));
    let operation = world.phase(&release.namespace, &name, "Failed");
    assert_eq!(says(&operation, "Accepted"), "False/JobNameTaken");
    let after = world.get(&release.namespace, &format!("job/{name}")).unwrap();
    assert_eq!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(after["spec"]["template"]["spec"]["containers"][0]["name"], "theirs");
    assert_eq!(after["metadata"]["labels"]["ops.vworkspace.io/operation"], json!(null));
}

#[test]
fn whoever_stands_by_takes_over_when_the_leader_is_killed_and_a_run_in_flight_ends_right() {
    let world = world();
    let gate = "e2e-lease=1";
    let namespace = world.namespace("lease", &[gate]);
    let release =
        world.release("shop", &namespace, &json!({"hooks": {"half": {"script": "sleep 3; echo done"}}}));
    let mut first = world.host(json!({"namespaceGate": gate})).start();
    let leads = |host: &Host| host.log().contains("this hookhost leads");
    ok(world.cluster.eventually("the first leads", PATIENCE, || leads(&first).then_some(())));
    let second = world.host(json!({"namespaceGate": gate})).start();
    ok(world
        .cluster
        .eventually("the second stands by", PATIENCE, || second.log().contains("standing by").then_some(())));
    let name = world.operation(&release, "half", json!({}));
    world.phase(&namespace, &name, "Running");
    first.kill();
    ok(world
        .cluster
        .eventually("the second leads", Duration::from_secs(60), || leads(&second).then_some(())));
    let operation = world.phase(&namespace, &name, "Succeeded");
    assert_eq!(world.of_operation(&namespace, "jobs", &operation).len(), 1);
    // What came while nobody led is served too.
    let next = world.operation(&world.apart(&release), "ok", json!({}));
    world.phase(&namespace, &next, "Succeeded");
}
