//! hookhost beside the vWorkspace operator, for which a stand-in is at work on the same Operations.

use std::process::Command;

use e2e::{Operator, PATIENCE, Registered, Release, World, hookhost, ok, says, world};
use serde_json::{Value, json};

/// The cluster's id, as the control plane has it.
const ID: &str = "cluster-prod-1";

/// The operator's service account, as the example of the set-up has it.
const ACCOUNT: &str = "system:serviceaccount:vworkspace-system:vworkspace-operator";

/// A release of an application that carries the operator's labels, in a namespace of a gate.
fn release(world: &World, gate: &str) -> Release {
    let release = world.release("shop", &world.namespace("beside", &[gate]), &json!({}));
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

/// Runs the hook "ok" as a person does; gives back what was said.
fn run(world: &World, release: &Release, name: &str) -> String {
    let output = Command::new(hookhost())
        .args(["run", "shop-ok", "--target", &release.instance, "--namespace", &release.namespace])
        .args(["--name", name, "--kubeconfig"])
        .arg(world.cluster.kubeconfig())
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    said
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
    let operator = Operator::start(world.cluster, ACCOUNT, namespace, Registered::Yes);

    let said = run(world, &release, "beside");
    assert!(!said.contains("another controller"), "{said}");
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

#[test]
fn beside_an_operator_without_the_engine_the_result_stays_though_phase_and_conditions_do_not() {
    let world = world();
    let gate = "e2e=beside-unregistered";
    let _host = world.host(json!({"namespaceGate": gate, "clusterId": ID})).start();
    let release = release(world, gate);
    let namespace = release.namespace.as_str();
    let user = "unregistered-operator";
    empower(world, user);
    let operator = Operator::start(world.cluster, user, namespace, Registered::No);
    let said = run(world, &release, "beside");
    assert!(said.contains("another controller"), "{said}");
    let done = operation(world, &release, "beside");
    assert!(operator.written() > 0 && operator.refused() == 0);
    assert_eq!(says(&done, "Succeeded"), "True/HelmHookJobSucceeded");
    assert!(
        done["status"]["finishedAt"].is_string() && done["status"]["outputs"]["jobName"].is_string(),
        "{done:#}"
    );
    assert_eq!(world.of_operation(namespace, "jobs", &done).len(), 1);
    world.delete(namespace, "operation/beside", None);
    world.until_gone(namespace, "operation/beside");
}
