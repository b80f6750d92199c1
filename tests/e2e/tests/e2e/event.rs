//! All hooks of an event, one after the other.

use e2e::{GATE, Host, Release, WAITS, World, hookhost, message, world};
use kube::api::PropagationPolicy;
use serde_json::{Value, json};

use crate::closure::policy;

/// A release whose rollback has four hooks, in this order: "a", which waits, "b", "c" and "d"; of which `fails` fails.
fn release(prefix: &str, gate: &str, fails: &str) -> Release {
    let world = world();
    world.release("shop", &world.namespace(prefix, &[gate]), &values(fails))
}

/// The values of such a release.
pub(crate) fn values(fails: &str) -> Value {
    let script = |name: &str| match name {
        name if name == fails => json!({"script": "echo no; exit 7", "events": "post-rollback"}),
        "a" => json!({"script": WAITS, "events": "pre-upgrade,post-rollback"}),
        name => json!({"script": format!("echo this is {name}"), "events": "post-rollback"}),
    };
    let mut hooks: serde_json::Map<String, Value> =
        ["a", "b", "c", "d"].iter().map(|name| ((*name).to_owned(), script(name))).collect();
    hooks["c"]["own"] = json!({});
    // What the chart has by default would be of the same event.
    for other in ["ok", "ok-2", "fails", "brief", "version", "fails-2", "slow", "slow-2", "slow-3"] {
        hooks.insert(other.to_owned(), json!({"events": "pre-delete", "script": "true"}));
    }
    json!({"hooks": hooks})
}

/// Makes an Operation for all hooks of the event.
pub(crate) fn run(world: &World, release: &Release, more: Value) -> String {
    let name = format!("rollback-{}", world.number());
    let mut operation = world.operation_named(&name, release, "", more);
    let parameters = &mut operation["spec"]["parameters"];
    parameters["event"] = json!("post-rollback");
    if let Some(parameters) = parameters.as_object_mut() {
        parameters.remove("hookName");
    }
    world.apply(&release.namespace, &operation);
    name
}

/// Hook and phase of each row.
pub(crate) fn rows(operation: &Value) -> Vec<(String, String)> {
    let rows = operation["status"]["outputs"]["hooks"].as_array().cloned().unwrap_or_default();
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    rows.iter().map(|row| (text(row, "hook"), text(row, "phase"))).collect()
}

pub(crate) fn told(phases: [&str; 4]) -> Vec<(String, String)> {
    let hooks = ["shop-a", "shop-b", "shop-c", "shop-d"];
    hooks.iter().zip(phases).map(|(hook, phase)| ((*hook).to_owned(), phase.to_owned())).collect()
}

/// A host that lends, for the namespaces of this gate.
fn lending(gate: &str) -> Host {
    let closure = json!({"enabled": true, "grantAnyRole": true});
    world().host(json!({"namespaceGate": gate, "closure": closure})).start()
}

#[test]
fn the_hooks_of_an_event_run_one_after_the_other_each_by_a_job_of_its_own() {
    let world = world();
    let gate = "e2e=event";
    let _host = lending(gate);
    let release = release("event", gate, "");
    let namespace = &release.namespace;
    let name = run(world, &release, json!({"closure": true, "activeDeadlineSeconds": 300}));
    let pod = world.started(namespace, &name);
    let operation = world.get(namespace, &format!("operation/{name}")).unwrap();
    assert_eq!(rows(&operation), told(["Running", "Pending", "Pending", "Pending"]), "{operation:#}");
    let jobs = world.of_operation(namespace, "jobs", &operation);
    assert_eq!(jobs.len(), 4, "all are made before the first may start");
    assert_eq!(world.of_operation(namespace, "pods", &operation).len(), 1, "and none but the first does");
    assert!(jobs.iter().all(|job| job["spec"]["activeDeadlineSeconds"] == 300));
    // Nobody else's hook runs on the target meanwhile.
    let beside = world.operation(&release, "b", json!({}));
    world.blocked(namespace, &beside, "ConflictingOperation");

    world.go(namespace, &pod);
    let operation = world.phase(namespace, &name, "Succeeded");
    assert_eq!(rows(&operation), told(["Succeeded"; 4]), "{operation:#}");
    let rows = operation["status"]["outputs"]["hooks"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["pod"].is_string() && row["exitCode"] == 0), "{operation:#}");
    // The third step's, told with each of them.
    let closure = ["ServiceAccount/shop-c", "ConfigMap/shop-c", "Role/shop-c", "RoleBinding/shop-c"];
    assert_eq!(operation["status"]["outputs"]["closure"], json!(closure));
    let last = rows[3]["pod"].as_str().unwrap();
    assert_eq!(operation["status"]["outputs"]["logsRef"]["name"], last, "{operation:#}");
    let pods = world.of_operation(namespace, "pods", &operation);
    let mut began: Vec<(String, String)> = pods
        .iter()
        .map(|pod| {
            let text = |path: &str| pod.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
            (text("/status/startTime"), text("/metadata/name"))
        })
        .collect();
    began.sort();
    let numbers: Vec<&str> = began.iter().filter_map(|(_, pod)| pod.rsplit('-').nth(1)).collect();
    assert_eq!(numbers, ["1", "2", "3", "4"], "{began:?}");
    for job in world.of_operation(namespace, "jobs", &operation) {
        let job = format!("job/{}", job["metadata"]["name"].as_str().unwrap());
        world.until_object(namespace, &job, "let go", |job| job["metadata"]["finalizers"].is_null());
    }
    for kind in ["serviceaccount", "role", "rolebinding", "configmap"] {
        world.until_gone(namespace, &format!("{kind}/shop-c"));
    }
    world.phase(namespace, &beside, "Succeeded");
}

#[test]
fn what_comes_after_a_hook_that_fails_never_starts() {
    let world = world();
    let gate = "e2e=event-fails";
    let _host = lending(gate);
    let release = release("event-fails", gate, "b");
    let namespace = &release.namespace;
    let name = run(world, &release, json!({"closure": true}));
    let pod = world.started(namespace, &name);
    world.go(namespace, &pod);
    let operation = world.phase(namespace, &name, "Failed");
    assert_eq!(rows(&operation), told(["Succeeded", "Failed", "Skipped", "Skipped"]), "{operation:#}");
    assert_eq!(operation["status"]["outputs"]["exitCode"], 7);
    assert!(message(&operation, "Failed").contains("exit code 7"), "{operation:#}");
    for job in world.of_operation(namespace, "jobs", &operation) {
        let name = job["metadata"]["name"].as_str().unwrap();
        if name.ends_with("-3") || name.ends_with("-4") {
            world.until_gone(namespace, &format!("job/{name}"));
        }
    }
    world.until_gone(namespace, "rolebinding/shop-c");
    assert_eq!(world.of_operation(namespace, "pods", &operation).len(), 2);
}

#[test]
fn an_event_is_cancelled_with_all_that_has_not_begun() {
    let world = world();
    let gate = "e2e=event-cancelled";
    let _host = lending(gate);
    let release = release("event-cancel", gate, "");
    let namespace = &release.namespace;
    let name = run(world, &release, json!({"closure": true}));
    world.started(namespace, &name);
    world.cancel(namespace, &name);
    let operation = world.phase(namespace, &name, "Cancelled");
    let is_gone = || world.of_operation(namespace, "jobs", &operation).is_empty().then_some(());
    e2e::ok(world.cluster.eventually("all Jobs go", e2e::PATIENCE, is_gone));
    world.until_gone(namespace, "rolebinding/shop-c");
}

#[test]
fn what_one_hook_of_an_event_waits_for_all_wait_for() {
    let world = world();
    // Here hookhost lends nothing, so the third hook is in want of its account: the first is not begun either.
    let release = release("event-denied", GATE, "");
    let name = run(world, &release, json!({}));
    let operation = world.blocked(&release.namespace, &name, "DependencyMissing");
    let message = message(&operation, "Blocked");
    assert!(
        message.starts_with("the hook \"shop-c\" (step 3/4): the hook's pod could not start"),
        "{message}"
    );
    assert!(message.contains("ServiceAccount \"shop-c\""), "{message}");
    assert!(world.of_operation(&release.namespace, "jobs", &operation).is_empty());
}

#[test]
fn a_host_that_is_killed_between_two_hooks_of_an_event_is_followed_by_one_that_goes_on() {
    let world = world();
    let gate = "e2e=event-killed";
    let mut first = lending(gate);
    let release = release("event-killed", gate, "");
    let namespace = &release.namespace;
    let name = run(world, &release, json!({"closure": true}));
    let pod = world.started(namespace, &name);
    first.kill();
    world.go(namespace, &pod);
    world.until_object(namespace, &format!("pod/{pod}"), "over", |pod| pod["status"]["phase"] == "Succeeded");
    let _second = lending(gate);
    let operation = world.phase(namespace, &name, "Succeeded");
    assert_eq!(rows(&operation), told(["Succeeded"; 4]), "{operation:#}");
    assert_eq!(world.of_operation(namespace, "pods", &operation).len(), 4);
}

#[test]
fn hookhost_run_shows_the_logs_of_all_hooks_of_an_event() {
    let world = world();
    let values = json!({"hooks": {
        "check": {"script": "echo first check", "events": "test"},
        "check-2": {"script": "echo second check", "events": "test", "kind": "Pod"},
    }});
    let gate = "e2e=event-tests";
    let _host = world.host(json!({"namespaceGate": gate, "allowUnverifiedTestHooks": true})).start();
    let release = world.release("shop", &world.namespace("event-tests", &[gate]), &values);
    let output = std::process::Command::new(hookhost())
        .args(["run", "--event", "test", "--target", &release.instance, "-n", &release.namespace])
        .args(["--kubeconfig", &world.cluster.kubeconfig().display().to_string()])
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    let (first, second) = (out.find("first check"), out.find("second check"));
    assert!(first.is_some() && first < second, "{out}\n{err}");
}

#[test]
fn an_event_that_loses_a_step_has_failed_and_begins_no_other() {
    let world = world();
    let gate = "e2e=event-lost";
    let _host = lending(gate);
    let release = release("event-lost", gate, "");
    let namespace = &release.namespace;
    // The first, which runs, and the last, which waits: neither is made again, and what runs is stopped.
    for lost in ["-1", "-4"] {
        let name = run(world, &release, json!({"closure": true}));
        world.started(namespace, &name);
        let operation = world.get(namespace, &format!("operation/{name}")).unwrap();
        let jobs = world.of_operation(namespace, "jobs", &operation);
        let names = jobs.iter().filter_map(|job| job["metadata"]["name"].as_str());
        let job = names.into_iter().find(|name| name.ends_with(lost)).unwrap();
        world.patch(namespace, &format!("job/{job}"), &json!({"metadata": {"finalizers": null}}));
        world.delete(namespace, &format!("job/{job}"), Some(PropagationPolicy::Background));
        let operation = world.phase(namespace, &name, "Failed");
        assert_eq!(e2e::says(&operation, "Cancelled"), "True/ExternalDeletion", "{operation:#}");
        let is_gone = || world.of_operation(namespace, "pods", &operation).is_empty().then_some(());
        e2e::ok(world.cluster.eventually("its pod ends", e2e::PATIENCE, is_gone));
        assert!(!rows(&operation).iter().any(|(_, phase)| phase == "Succeeded"), "{operation:#}");
        world.until_gone(namespace, "rolebinding/shop-c");
    }
}

#[test]
fn an_event_goes_on_to_its_end_though_labels_are_taken_off_its_jobs() {
    let world = world();
    let gate = "e2e=event-relabelled";
    let _host = lending(gate);
    let release = release("event-relabel", gate, "");
    let namespace = &release.namespace;
    let name = run(world, &release, json!({"closure": true}));
    let pod = world.started(namespace, &name);
    let operation = world.get(namespace, &format!("operation/{name}")).unwrap();
    let jobs = world.of_operation(namespace, "jobs", &operation);
    let jobs: Vec<String> =
        jobs.iter().map(|job| format!("job/{}", job["metadata"]["name"].as_str().unwrap())).collect();
    assert_eq!(jobs.len(), 4);
    // Those by which a Job is found: of the one that runs, and of two that wait. The last one is said to be another's.
    let labels = |labels: Value| json!({"metadata": {"labels": labels}});
    world.patch(namespace, &jobs[0], &labels(json!({"ops.vworkspace.io/operation": null})));
    world.patch(namespace, &jobs[1], &labels(json!({"ops.vworkspace.io/source-hook": null})));
    world.patch(namespace, &jobs[3], &labels(json!({"ops.vworkspace.io/operation": "another"})));
    world.go(namespace, &pod);
    let operation = world.phase(namespace, &name, "Succeeded");
    assert_eq!(rows(&operation), told(["Succeeded"; 4]), "{operation:#}");
    assert_eq!(world.of_operation(namespace, "pods", &operation).len(), 4, "each has run once");
    for job in &jobs {
        world.until_object(namespace, job, "let go", |job| job["metadata"]["finalizers"].is_null());
    }
    world.until_gone(namespace, "rolebinding/shop-c");
}

/// The number that a Job runs by, and the one that its decision tells.
fn deadlines(job: &Value) -> (i64, i64) {
    let decision = job["metadata"]["annotations"]["ops.vworkspace.io/decision"].as_str().unwrap();
    let decision: Value = serde_json::from_str(decision).unwrap();
    let value = |value: &Value| value.as_i64().unwrap_or(i64::MAX);
    (
        value(&job["spec"]["activeDeadlineSeconds"]),
        value(&decision["values"]["activeDeadlineSeconds"]["value"]),
    )
}

/// The event's Jobs in their order.
fn jobs(world: &World, namespace: &str, operation: &Value) -> Vec<Value> {
    let mut jobs = world.of_operation(namespace, "jobs", operation);
    jobs.sort_by_key(|job| job["metadata"]["name"].as_str().unwrap_or_default().to_owned());
    jobs
}

#[test]
fn a_deadline_is_the_whole_events_and_each_hook_has_what_is_left_of_it() {
    let world = world();
    let gate = "e2e=event-deadline";
    let _host = lending(gate);
    let release = release("event-deadline", gate, "");
    let namespace = &release.namespace;
    let name = run(world, &release, json!({"closure": true, "activeDeadlineSeconds": 300}));
    let pod = world.started(namespace, &name);
    world.go(namespace, &pod);
    let operation = world.phase(namespace, &name, "Succeeded");
    let jobs = jobs(world, namespace, &operation);
    let all: Vec<(i64, i64)> = jobs.iter().map(deadlines).collect();
    assert!(all.iter().all(|(runs, told)| runs == told), "{all:?}");
    // A pod takes more than a second from its Job's start to its end.
    assert!(all[0].0 == 300 && all.windows(2).all(|two| two[1].0 < two[0].0), "{all:?}");
    assert!(all[3].0 > 0, "{all:?}");
}

#[test]
fn an_event_ends_at_the_hook_that_a_policy_denies_by_then_and_what_has_run_stays() {
    let world = world();
    let gate = "e2e=event-denies";
    let _host = lending(gate);
    let release = release("event-denies", gate, "");
    let namespace = &release.namespace;
    let name = run(world, &release, json!({"closure": true}));
    let pod = world.started(namespace, &name);
    // Hooks of a rollback are denied by it.
    let policy = policy(namespace, "hook-allowlist", json!({}));
    world.go(namespace, &pod);
    let operation = world.phase(namespace, &name, "Failed");
    assert_eq!(rows(&operation), told(["Succeeded", "Skipped", "Skipped", "Skipped"]), "{operation:#}");
    assert_eq!(e2e::says(&operation, "Failed"), "True/PolicyDenied", "{operation:#}");
    assert_eq!(e2e::says(&operation, "Accepted"), "True/TemplateValidated", "{operation:#}");
    let why = message(&operation, "Failed");
    assert!(why.starts_with("the hook \"shop-b\" (step 2/4): ") && why.contains(&policy), "{why}");
    world.until_gone(namespace, "rolebinding/shop-c");
    let is_gone = || (world.of_operation(namespace, "jobs", &operation).len() == 1).then_some(());
    e2e::ok(world.cluster.eventually("the Jobs of the others go", e2e::PATIENCE, is_gone));
    assert_eq!(world.of_operation(namespace, "pods", &operation).len(), 1);
}

/// The time of the day in so many seconds, in UTC.
fn clock(in_seconds: u64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let minutes = (now + in_seconds) / 60 % 1440;
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

#[test]
fn a_hook_of_an_event_waits_for_its_window_and_ends_with_it() {
    let world = world();
    let gate = "e2e=event-window";
    let _host = lending(gate);
    let release = release("event-window", gate, "");
    let namespace = &release.namespace;
    let name = run(world, &release, json!({"closure": true}));
    let pod = world.started(namespace, &name);
    let never = json!({"windows": [{"start": "00:00", "hours": 1}], "blackouts": [{"from": "2020-01-01", "to": "2099-12-31"}]});
    let closed = policy(namespace, "maintenance-window", json!({"settings": never}));
    world.go(namespace, &pod);
    let operation = world.blocked(namespace, &name, "PolicyHeld");
    assert_eq!(rows(&operation), told(["Succeeded", "Pending", "Pending", "Pending"]), "{operation:#}");
    let why = message(&operation, "Blocked");
    assert!(why.starts_with("the hook \"shop-b\" (step 2/4): ") && why.contains(&closed), "{why}");
    assert_eq!(world.of_operation(namespace, "pods", &operation).len(), 1);

    let window = json!({"start": clock(0), "end": clock(1200)});
    let open = json!({"windows": [window], "endWithWindow": true});
    policy(namespace, "maintenance-window", json!({"settings": open}));
    world.delete("", &format!("hookpolicy/{closed}"), None);
    let operation = world.phase(namespace, &name, "Succeeded");
    assert_eq!(rows(&operation), told(["Succeeded"; 4]), "{operation:#}");
    let all: Vec<(i64, i64)> = jobs(world, namespace, &operation).iter().map(deadlines).collect();
    assert_eq!(all[0].0, i64::MAX, "it was decided before there was a window: {all:?}");
    assert!(all[1..].iter().all(|(runs, told)| runs == told && (1..=1200).contains(runs)), "{all:?}");
    assert_eq!(world.of_operation(namespace, "pods", &operation).len(), 4);
}

#[test]
fn an_event_that_is_held_for_longer_than_its_deadline_ends() {
    let world = world();
    let gate = "e2e=event-late";
    let _host = lending(gate);
    let release = release("event-late", gate, "");
    let namespace = &release.namespace;
    let name = run(world, &release, json!({"closure": true, "activeDeadlineSeconds": 30}));
    let pod = world.started(namespace, &name);
    let never = json!({"windows": [{"start": "00:00", "hours": 1}], "blackouts": [{"from": "2020-01-01", "to": "2099-12-31"}]});
    policy(namespace, "maintenance-window", json!({"settings": never}));
    world.go(namespace, &pod);
    let operation = world.phase(namespace, &name, "Failed");
    assert_eq!(e2e::says(&operation, "Failed"), "True/DeadlineExceeded", "{operation:#}");
    assert_eq!(rows(&operation), told(["Succeeded", "Skipped", "Skipped", "Skipped"]), "{operation:#}");
}

#[test]
fn an_event_ends_where_its_release_was_upgraded_meanwhile() {
    let world = world();
    let gate = "e2e=event-upgraded";
    let _host = lending(gate);
    let release = release("event-upgraded", gate, "");
    let namespace = &release.namespace;
    let name = run(world, &release, json!({"closure": true}));
    let pod = world.started(namespace, &name);
    // The first is no hook of an upgrade any more, so Helm does not wait for it.
    let values = json!({"spec": {"values": {"hooks": {"a": {"events": "post-rollback"}}}}});
    world.patch(namespace, "helmrelease/shop", &values);
    world.until_object(namespace, "helmrelease/shop", "upgraded", |it| {
        it["status"]["history"][0]["version"] == 2 && it["status"]["history"][0]["status"] == "deployed"
    });
    world.ready(&release);
    world.go(namespace, &pod);
    let operation = world.phase(namespace, &name, "Failed");
    assert_eq!(e2e::says(&operation, "Failed"), "True/ReleaseChanged", "{operation:#}");
    assert_eq!(rows(&operation), told(["Succeeded", "Skipped", "Skipped", "Skipped"]), "{operation:#}");
}

#[test]
fn what_somebody_writes_into_the_charts_content_while_an_event_runs_stops_the_hook_that_would_read_it() {
    let world = world();
    let gate = "e2e=event-content";
    let _host = lending(gate);
    let release = release("event-content", gate, "");
    let namespace = &release.namespace;
    let name = run(world, &release, json!({"closure": true}));
    let pod = world.started(namespace, &name);
    // It was the chart's when the event began, and the third hook's role is there already.
    let mine = json!({"data": {"CHART_OF_SETTINGS": "my own words"}});
    world.patch(namespace, "configmap/shop-c", &mine);
    world.go(namespace, &pod);
    let operation = world.phase(namespace, &name, "Failed");
    assert_eq!(e2e::says(&operation, "Failed"), "True/ClosureRefused", "{operation:#}");
    let why = message(&operation, "Failed");
    assert!(why.starts_with("the hook \"shop-c\" (step 3/4): "), "{why}");
    assert!(why.contains("ConfigMap \"shop-c\" differs from the chart's in the key"), "{why}");
    assert_eq!(rows(&operation), told(["Succeeded", "Succeeded", "Skipped", "Skipped"]), "{operation:#}");
    assert_eq!(world.of_operation(namespace, "pods", &operation).len(), 2);
    world.until_gone(namespace, "rolebinding/shop-c");
}

#[test]
fn an_event_ends_at_the_hook_whose_temporary_objects_a_policy_forbids_by_then() {
    let world = world();
    let gate = "e2e=event-forbids";
    let _host = lending(gate);
    let release = release("event-forbids", gate, "");
    let namespace = &release.namespace;
    let name = run(world, &release, json!({"closure": true}));
    let pod = world.started(namespace, &name);
    let open = json!({"windows": [{"start": clock(0), "end": clock(1200)}]});
    let policy = policy(namespace, "maintenance-window", json!({"settings": open, "closure": "Forbid"}));
    world.go(namespace, &pod);
    let operation = world.phase(namespace, &name, "Failed");
    assert_eq!(e2e::says(&operation, "Failed"), "True/ClosureRefused", "{operation:#}");
    let why = message(&operation, "Failed");
    assert!(why.contains(&policy) && why.contains("spec.closure: Forbid"), "{why}");
    assert_eq!(rows(&operation), told(["Succeeded", "Succeeded", "Skipped", "Skipped"]), "{operation:#}");
    world.until_gone(namespace, "rolebinding/shop-c");
}

#[test]
fn an_event_goes_on_though_its_first_hook_makes_the_target_not_ready() {
    let world = world();
    let gate = "e2e=event-unready";
    let _host = lending(gate);
    let release = release("event-unready", gate, "");
    let namespace = &release.namespace;
    let name = run(world, &release, json!({"closure": true}));
    let pod = world.started(namespace, &name);
    // As a hook does that puts the application into maintenance, which another hook would end.
    world.instance_status(&release, false);
    world.go(namespace, &pod);
    let operation = world.phase(namespace, &name, "Succeeded");
    assert_eq!(rows(&operation), told(["Succeeded"; 4]), "{operation:#}");
    // What begins anew waits for it.
    let next = run(world, &release, json!({"closure": true}));
    world.blocked(namespace, &next, "TargetNotReady");
}
