//! `hookhost run` as people call it: what is checked before an Operation is made, what it is made with, and what is seen while
//! it is cancelled.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use e2e::{GATE, Release, World, hookhost, ok, says, world};
use serde_json::{Value, json};

/// The command, with these arguments and a kubeconfig.
fn command(release: &Release, kubeconfig: PathBuf, args: &[&str]) -> Command {
    let mut command = Command::new(hookhost());
    command.args(["run", "--namespace", &release.namespace, "--kubeconfig"]).arg(kubeconfig).args(args);
    command
}

fn run(world: &World, release: &Release, args: &[&str]) -> (Option<i32>, String) {
    said(&command(release, world.cluster.kubeconfig(), args).output().unwrap())
}

fn said(output: &Output) -> (Option<i32>, String) {
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout),
    )
}

fn operation(world: &World, release: &Release, name: &str) -> Option<Value> {
    world.get(&release.namespace, &format!("operation/{name}"))
}

#[test]
fn a_target_or_hook_that_is_not_there_makes_no_operation() {
    let world = world();
    let namespace = world.namespace("mistyped", &[GATE]);
    let release = world.release("shop", &namespace, &json!({}));
    let name = "mistyped";
    for (args, words) in [
        (&["shop-okk", "--target", &release.instance][..], &["no Operation is made", "shop-ok"][..]),
        (
            &["--event", "post-delete", "--target", &release.instance],
            &["no Operation is made", "post-delete"],
        ),
        (&["shop-ok", "--target", "shopp"], &["there is no ApplicationInstance shopp"]),
        (
            &["shop-ok", "--target", "shopp", "--target-kind", "HelmRelease"],
            &["there is no HelmRelease shopp"],
        ),
        (&["shop-ok", "--target", "shopp", "--target-kind", "Release"], &["there is no Helm release shopp"]),
    ] {
        let (code, told) = run(world, &release, &[args, &["--name", name]].concat());
        assert_eq!(code, Some(5), "{told}");
        for word in words {
            assert!(told.contains(word), "{word} in {told}");
        }
        assert!(operation(world, &release, name).is_none(), "{told}");
    }
    let args = ["shop-ok", "--target", "shop", "--target-kind", "Release", "--name", name];
    let (_, told) = run(world, &release, &args);
    assert!(told.contains("the release shop is Flux's"), "{told}");
    assert!(operation(world, &release, name).is_none(), "{told}");
    // What only has another kind is shown with the flag.
    ok(world.cluster.kubectl(&[
        "delete",
        "applicationinstance",
        &release.instance,
        "--namespace",
        &namespace,
    ]));
    let (code, told) = run(world, &release, &["shop-ok", "--target", "shop", "--name", name]);
    assert_eq!(code, Some(5), "{told}");
    assert!(
        told.contains("but a HelmRelease of that name") && told.contains("--target-kind HelmRelease"),
        "{told}"
    );
    assert!(operation(world, &release, name).is_none(), "{told}");
    // One that waits for its hook is made.
    let args = [
        "shop-okk",
        "--target",
        "shop",
        "--target-kind",
        "HelmRelease",
        "--wait-for-hook",
        "--no-follow",
        "--name",
        name,
    ];
    let (code, told) = run(world, &release, &args);
    assert_eq!(code, Some(4), "{told}");
    assert!(operation(world, &release, name).is_some());
    world.delete(&namespace, &format!("operation/{name}"), None);
}

#[test]
fn who_may_only_make_operations_makes_them_without_the_check() {
    let world = world();
    let namespace = world.namespace("unread", &[GATE]);
    let release = world.release("shop", &namespace, &json!({}));
    world.apply(
        &namespace,
        &json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "person"}}),
    );
    // As the chart's README gives it.
    ok(world.cluster.kubectl(&[
        "create",
        "role",
        "run-hooks",
        "--namespace",
        &namespace,
        "--resource=operations.ops.vworkspace.io",
        "--verb=get,list,watch,create,patch,delete",
    ]));
    let account = format!("--serviceaccount={namespace}:person");
    ok(world.cluster.kubectl(&[
        "create",
        "rolebinding",
        "run-hooks",
        "--namespace",
        &namespace,
        "--role=run-hooks",
        &account,
    ]));
    let token = ok(world.cluster.kubectl(&["create", "token", "person", "--namespace", &namespace]));
    let kubeconfig = ok(world.cluster.kubeconfig_of(token.trim(), None));
    let call = |args: &[&str]| said(&command(&release, kubeconfig.clone(), args).output().unwrap());
    let (code, told) = call(&["shop-okk", "--target", &release.instance, "--name", "unread"]);
    assert_eq!(code, Some(5), "hookhost finds out: {told}");
    assert!(operation(world, &release, "unread").is_some(), "{told}");
    let (code, told) = call(&["shop-ok", "--target", &release.instance]);
    assert_eq!(code, Some(0), "{told}");
}

#[test]
fn labels_and_annotations_are_on_the_operation_and_hookhosts_own_are_refused() {
    let world = world();
    let namespace = world.namespace("labelled", &[GATE]);
    let release = world.release("shop", &namespace, &json!({}));
    let args = ["shop-ok", "--target", &release.instance, "--name", "labelled"];
    let more =
        ["--label", "team=payments", "--annotation", "example.com/ticket=OPS-7: urgent", "--label", "tier="];
    let (code, told) = run(world, &release, &[&args[..], &more].concat());
    assert_eq!(code, Some(0), "{told}");
    let metadata = operation(world, &release, "labelled").unwrap()["metadata"].clone();
    assert_eq!((&metadata["labels"]["team"], &metadata["labels"]["tier"]), (&json!("payments"), &json!("")));
    assert_eq!(metadata["annotations"]["example.com/ticket"], "OPS-7: urgent");
    for (option, entry, word) in [
        ("--label", "team", "KEY=VALUE"),
        ("--label", "team=a b", "the value"),
        ("--annotation", "a b=c", "the key"),
        ("--annotation", "ops.vworkspace.io/cancel=true", "own"),
        ("--label", "app.vworkspace.io/cluster-id=other", "own"),
    ] {
        let (code, told) = run(world, &release, &["shop-ok", "--target", "shop", option, entry]);
        assert_eq!(code, Some(2), "{told}");
        assert!(told.contains(word), "{word} in {told}");
    }
}

#[test]
fn a_cancellation_is_seen_before_the_pod_has_ended() {
    let world = world();
    let namespace = world.namespace("cancelled", &[GATE]);
    // It does not listen to the signal by which its pod is ended, which so takes its whole grace period.
    let hook = json!({"script": "trap '' TERM; while :; do sleep 1; done", "grace": 8});
    let release = world.release("shop", &namespace, &json!({"hooks": {"deaf": hook}}));
    let args = ["shop-deaf", "--target", &release.instance, "--name", "cancelled"];
    let mut command = command(&release, world.cluster.kubeconfig(), &args);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    world.until_object(&namespace, "operation/cancelled", "running", |operation| {
        operation["status"]["phase"] == "Running"
    });
    world.cancel(&namespace, "cancelled");
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let told =
        lines.find(|line| line.contains("is being cancelled")).expect("it is told that it is cancelled");
    assert!(told.contains("ops.vworkspace.io/cancel"), "{told}");
    // Long before it is over, for everybody who reads the Operation.
    let ending = world.until_object(&namespace, "operation/cancelled", "said to be ending", |operation| {
        says(operation, "Running") == "True/CancelledByUser"
    });
    assert_eq!(ending["status"]["phase"], "Running", "{told}");
    let pod = world.of_operation(&namespace, "pods", &ending);
    assert_eq!(pod.len(), 1, "its pod is there: {pod:#?}");
    // Its Job is deleted by then: nobody takes that back.
    let back = json!({"metadata": {"annotations": {"ops.vworkspace.io/cancel": "false"}}});
    world.patch(&namespace, "operation/cancelled", &back);
    // What is left is read, so that the command does not wait for the one who reads.
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest:?}");
    world.phase(&namespace, "cancelled", "Cancelled");
}
