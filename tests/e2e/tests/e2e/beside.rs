//! hookhost beside the vWorkspace operator, for which a stand-in is at work on the same Operations.

use std::process::Command;

use e2e::{Build, Operator, PATIENCE, Release, WAITS, World, hookhost, message, ok, says, world};
use serde_json::{Value, json};

/// The cluster's id, as the control plane has it.
const ID: &str = "cluster-prod-1";

/// The operator's service account, as the example of the set-up has it.
const ACCOUNT: &str = "system:serviceaccount:vworkspace-system:vworkspace-operator";

/// A release of an application that carries the operator's labels, in a namespace of a gate.
fn release(world: &World, gate: &str) -> Release {
    let values = json!({"hooks": {"waits": {"script": WAITS}}});
    let release = world.release("shop", &world.namespace("beside", &[gate]), &values);
    let labels = json!({"app.vworkspace.io/managed-by": "control-plane", "app.vworkspace.io/cluster-id": ID});
    let instance = format!("applicationinstance/{}", release.instance);
    world.patch(&release.namespace, &instance, &json!({"metadata": {"labels": labels}}));
    release
}

/// Lets the operator do all that an administrator may: it is not its rights that keep it from anything.
fn empower(world: &World, user: &str) {
    let (kind, name) = match user.rsplit_once(':') {
        Some((_, name)) => ("User", format!("beside-{name}")),
        None => ("User", format!("beside-{user}")),
    };
    let group = "rbac.authorization.k8s.io";
    world.apply(
        "",
        &json!({
            "apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"apiGroup": group, "kind": kind, "name": user}],
        }),
    );
}

/// Runs a hook as a person does; gives back the exit code and what was said.
fn run(world: &World, release: &Release, hook: &str, name: &str, more: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(hookhost())
        .args(["run", hook, "--target", &release.instance, "--namespace", &release.namespace])
        .args(["--name", name, "--kubeconfig"])
        .arg(world.cluster.kubeconfig())
        .args(more)
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    (output.status.code(), said)
}

/// How often hookhost has written the status of an Operation.
fn writes(world: &World, namespace: &str, name: &str) -> usize {
    let write = format!("patch operations/{name}");
    world.requests(namespace).iter().filter(|request| **request == write).count()
}

fn operation(world: &World, release: &Release, name: &str) -> Value {
    world.get(&release.namespace, &format!("operation/{name}")).unwrap()
}

#[test]
fn by_the_documented_set_up_hookhost_alone_serves_the_engine_beside_an_operator_that_has_it_too() {
    let world = world();
    let gate = "e2e=beside";
    let _host = world.host(json!({"namespaceGate": gate, "clusterId": ID})).start();
    let release = release(world, gate);
    let namespace = release.namespace.as_str();
    empower(world, ACCOUNT);
    let set_up = e2e::chart().join("../examples/beside-vworkspace.yaml");
    ok(world.cluster.apply("default", &std::fs::read_to_string(set_up).unwrap()));
    // Nobody serves this one; by it is seen when the API server knows of the rules.
    let probe = world.operation_named("probe", &release, "ok", json!({}));
    let mut probe = probe;
    probe["metadata"]["labels"] = json!({"app.vworkspace.io/cluster-id": "nobody"});
    world.apply(namespace, &probe);
    let write = [
        "annotate",
        "operation",
        "probe",
        "--namespace",
        namespace,
        "--dry-run=server",
        "a=b",
        "--as",
        ACCOUNT,
    ];
    ok(world.cluster.eventually("the operator may not write", PATIENCE, || {
        world.cluster.kubectl(&write).is_err().then_some(())
    }));
    let operator = Operator::start(world.cluster, ACCOUNT, namespace, Build::CURRENT);

    let (code, said) = run(world, &release, "shop-ok", "beside", &[]);
    assert!(code == Some(0) && !said.contains("another controller"), "{said}");
    let done = operation(world, &release, "beside");
    // What its docs require, and the operator's own id of the cluster.
    let labels = &done["metadata"]["labels"];
    assert_eq!(labels["app.vworkspace.io/managed-by"], "control-plane");
    assert_eq!(labels["app.vworkspace.io/cluster-id"], ID);
    assert_eq!(labels["app.vworkspace.io/application-instance"], json!(release.instance));
    // The operator has tried, and nothing of it is there.
    ok(world
        .cluster
        .eventually("the operator has answered", PATIENCE, || (operator.refused() > 2).then_some(())));
    assert_eq!(operator.written(), 0);
    let done = world.phase(namespace, "beside", "Succeeded");
    assert_eq!(says(&done, "Succeeded"), "True/HelmHookJobSucceeded");
    assert_eq!(says(&done, "StatusOverwritten"), "/", "{done:#}");
    assert_eq!(world.of_operation(namespace, "jobs", &done).len(), 1);
    let job = json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "its-own", "labels": {"ops.vworkspace.io/hook-name": "shop-ok"}},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a"}]}}}});
    let file = world.cluster.logs().join("its-own.json");
    std::fs::write(&file, job.to_string()).unwrap();
    let file = format!("--filename={}", file.display());
    let denied = world.cluster.kubectl(&["create", &file, "--namespace", namespace, "--as", ACCOUNT]);
    assert!(denied.is_err_and(|error| error.to_string().contains("made by hookhost in this cluster")));
    let of_hookhost = ["delete", "job", "beside", "--namespace", namespace, "--as", ACCOUNT];
    let denied = world.cluster.kubectl(&of_hookhost);
    assert!(denied.is_err_and(|error| error.to_string().contains("this Job is a run of hookhost's")));

    // It goes as without the operator; and so does one from before, which has the operator's finalizer.
    world.delete(namespace, "operation/beside", None);
    world.until_gone(namespace, "operation/beside");
    world.patch(
        namespace,
        "operation/probe",
        &json!({"metadata": {"finalizers": ["ops.vworkspace.io/finalizer"]}}),
    );
    world.delete(namespace, "operation/probe", None);
    world.until_gone(namespace, "operation/probe");
}

/// A host, a release and an operator that all may, with nothing that keeps it from hookhost's Operations.
fn unguarded(name: &str, build: Build) -> (e2e::Host, Release, Operator) {
    let (world, gate, user) = (world(), format!("e2e={name}"), format!("operator-{name}"));
    let host = world.host(json!({"namespaceGate": gate, "clusterId": ID})).start();
    let release = release(world, &gate);
    empower(world, &user);
    let operator = Operator::start(world.cluster, &user, &release.namespace, build);
    (host, release, operator)
}

#[test]
fn beside_an_operator_without_the_engine_the_result_stays_though_phase_and_conditions_do_not() {
    let world = world();
    let (_host, release, operator) = unguarded("unregistered", Build::WITHOUT_ENGINE);
    let namespace = release.namespace.as_str();
    let (code, said) = run(world, &release, "shop-ok", "beside", &[]);
    assert!(code == Some(0) && said.contains("another controller (field manager \"manager\")"), "{said}");
    assert!(!said.contains("DependencyMissing") && !said.contains("not registered"), "{said}");
    // Restored at once, and ten seconds later, it says who overwrites it; the next time would be twenty seconds after that.
    let done = world.until(namespace, "beside", "reported to be overwritten", |it| {
        says(it, "StatusOverwritten") == "True/AnotherController"
    });
    assert!(message(&done, "StatusOverwritten").contains("(field manager \"manager\")"), "{done:#}");
    let written = writes(world, namespace, "beside");
    // Running, Succeeded, and each again twice at most.
    assert!((3..=6).contains(&written), "{written}: {:#?}", world.requests(namespace));
    let done = world.until(namespace, "beside", "overwritten again", |it| {
        says(it, "Blocked") == "True/DependencyMissing" && says(it, "Accepted") == "False/DependencyMissing"
    });
    assert_eq!(done["status"]["phase"], "Pending", "{done:#}");
    assert!(operator.written() > 2 && operator.refused() == 0);
    assert_eq!(says(&done, "Succeeded"), "True/HelmHookJobSucceeded");
    assert!(
        done["status"]["finishedAt"].is_string() && done["status"]["outputs"]["jobName"].is_string(),
        "{done:#}"
    );
    assert_eq!(world.of_operation(namespace, "jobs", &done).len(), 1);
    world.delete(namespace, "operation/beside", None);
    world.until_gone(namespace, "operation/beside");
}

#[test]
fn beside_an_operator_that_has_the_engine_runs_end_wait_and_are_cancelled_as_without_it() {
    let world = world();
    let (_host, release, operator) = unguarded("unguarded", Build::CURRENT);
    let namespace = release.namespace.as_str();
    let (code, said) = run(world, &release, "shop-ok", "first", &[]);
    assert!(code == Some(0) && said.contains("another controller"), "{said}");
    let done = operation(world, &release, "first");
    assert_eq!(says(&done, "Succeeded"), "True/HelmHookJobSucceeded");

    // One that waits says so in hookhost's words, whoever writes over them.
    let running = world.operation(&release, "waits", json!({}));
    let pod = world.started(namespace, &running);
    world.until(namespace, &running, "overwritten", |it| says(it, "Blocked") == "True/ValidationFailed");
    for name in ["second", "third"] {
        let (code, said) = run(world, &release, "shop-waits", name, &["--timeout", "5s"]);
        let first = if name == "second" { running.as_str() } else { "second" };
        assert!(code == Some(4) && said.contains("Still blocked (ConflictingOperation)"), "{said}");
        assert!(
            said.contains(&format!("the Operation {first:?} (Migration, engine helmHookJob) goes first")),
            "{said}"
        );
        assert!(!said.contains("ValidationFailed") && !said.contains("blocked itself"), "{said}");
        assert!(!said.contains("parameters.image"), "{said}");
        let written = writes(world, namespace, name);
        // At once, once more at once, and after 10 s and 20 s; not as often as the operator answers.
        assert!((1..=6).contains(&written), "{name}: {written}");
    }

    // The operator deletes the Job of a deleted Operation without its pods. They are stopped nevertheless, and the next one runs.
    let whole = operation(world, &release, &running);
    world.delete(namespace, "operation/third", None);
    world.delete(namespace, &format!("operation/{running}"), None);
    world.until_gone(namespace, &format!("pod/{pod}"));
    world.until_gone(namespace, &format!("job/{running}"));
    assert!(world.of_operation(namespace, "pods", &whole).is_empty());
    let second = world.started(namespace, "second");
    world.go(namespace, &second);
    let done = world.until(namespace, "second", "done", |it| says(it, "Succeeded").starts_with("True/"));
    assert_eq!(world.of_operation(namespace, "jobs", &done).len(), 1);
    assert_eq!(operator.refused(), 0);
    for name in ["first", "second"] {
        world.delete(namespace, &format!("operation/{name}"), None);
        world.until_gone(namespace, &format!("operation/{name}"));
    }
}

#[test]
fn an_upgrade_that_never_reports_its_end_is_waited_for_until_its_helm_release_is_upgraded() {
    let world = world();
    let (_host, release, _operator) = unguarded("upgrading", Build::CURRENT);
    let namespace = release.namespace.as_str();
    let mut upgrade = world.operation_named("upgrade", &release, "ok", json!({}));
    (upgrade["spec"]["type"], upgrade["spec"]["engine"]) = (json!("Upgrade"), json!("helm"));
    upgrade["spec"]["parameters"] = json!({});
    world.apply(namespace, &upgrade);
    world.phase(namespace, "upgrade", "Running");
    let (code, said) = run(world, &release, "shop-ok", "after", &["--timeout", "5s"]);
    assert!(code == Some(4) && said.contains("\"upgrade\" (Upgrade, engine helm) goes first"), "{said}");
    let values = json!({"spec": {"values": {"hooks": {"waits": {"script": "echo upgraded"}}}}});
    world.patch(namespace, &format!("helmrelease/{}", release.name), &values);
    world.until(namespace, "after", "done", |it| says(it, "Succeeded") == "True/HelmHookJobSucceeded");
    assert_eq!(operation(world, &release, "upgrade")["status"]["phase"], "Running");
}

#[test]
fn what_an_operator_ends_that_finds_no_image_is_not_run_and_not_reported_as_hookhosts_result() {
    let world = world();
    let gate = "e2e=unchecked";
    let release = release(world, gate);
    let namespace = release.namespace.as_str();
    empower(world, "unchecked-operator");
    let operator = Operator::start(world.cluster, "unchecked-operator", namespace, Build::WITHOUT_CHECK);
    // Before hookhost comes to it: who is faster is luck otherwise.
    let (code, said) = run(world, &release, "shop-ok", "ended", &["--output", "json"]);
    assert_eq!(code, Some(1), "{said}");
    let by = "another controller (field manager \"manager\") has ended this Operation, not hookhost";
    assert!(said.contains(by), "{said}");
    let document: Value = serde_json::from_str(&said[said.find("{\n").unwrap()..]).unwrap();
    assert_eq!((&document["reason"], &document["endedBy"]), (&json!("EngineFailed"), &json!("manager")));
    drop(operator);

    let _host = world.host(json!({"namespaceGate": gate, "clusterId": ID})).start();
    let (code, said) = run(world, &release, "shop-ok", "next", &[]);
    assert_eq!(code, Some(0), "the host is at work: {said}");
    let ended = operation(world, &release, "ended");
    assert_eq!(says(&ended, "Failed"), "True/EngineFailed");
    assert_eq!((says(&ended, "Accepted"), says(&ended, "Blocked")), ("/".to_owned(), "/".to_owned()));
    assert!(world.of_operation(namespace, "jobs", &ended).is_empty());
}
