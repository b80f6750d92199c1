//! What a person at a laptop sees of a cluster: the list of Operations, and releases by their names.

use std::process::{Command, Output};

use e2e::{GATE, chart, hookhost, ok, stock_policies, world};
use serde_json::{Value, json};

/// Runs hookhost as a person with the cluster's kubeconfig does, by the variable.
fn call(args: &[&str]) -> Output {
    let mut command = Command::new(hookhost());
    command.args(args).env("KUBECONFIG", world().cluster.kubeconfig());
    command.output().unwrap()
}

/// The row of an Operation as `kubectl get operations` prints it: its columns by the headings.
fn row(namespace: &str, name: &str) -> Vec<String> {
    let table = ok(world().cluster.kubectl(&["get", "operations", name, "--namespace", namespace]));
    let mut lines = table.lines();
    let headings: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(headings, ["NAME", "HOOK", "TARGET", "PHASE", "REASON", "AGE"], "{table}");
    lines.next().unwrap().split_whitespace().map(str::to_owned).collect()
}

#[test]
fn the_list_of_operations_shows_hook_target_and_reason() {
    let world = world();
    let release = world.shop();
    let namespace = &release.namespace;
    let hook = world.spare("ok");
    let ran = world.operation(release, &hook, json!({}));
    world.phase(namespace, &ran, "Succeeded");
    let columns = row(namespace, &ran);
    assert_eq!(
        columns[1..5],
        [format!("shop-{hook}").as_str(), &release.instance, "Succeeded", "HelmHookJobSucceeded"]
    );

    let missing = world.operation(release, "nothing", json!({}));
    world.phase(namespace, &missing, "Failed");
    assert_eq!(row(namespace, &missing)[1..5], ["shop-nothing", &release.instance, "Failed", "HookNotFound"]);

    let waiting = world.operation(release, "nothing", json!({"waitForHook": true}));
    world.blocked(namespace, &waiting, "HookNotFound");
    assert_eq!(
        row(namespace, &waiting)[1..5],
        ["shop-nothing", &release.instance, "Pending", "HookNotFound"]
    );

    // Of a whole event, the event stands for the hook.
    let name = format!("shop-event-{}", world.number());
    let mut operation = world.operation_named(&name, release, "ok", json!({"event": "pre-delete"}));
    operation["spec"]["parameters"] = json!({"event": "pre-delete"});
    world.apply(namespace, &operation);
    world.phase(namespace, &name, "Failed");
    assert_eq!(row(namespace, &name)[1..4], ["pre-delete", &release.instance, "Failed"]);
    world.delete(namespace, &format!("operation/{waiting}"), None);
}

#[test]
fn a_release_by_its_name_whose_newest_revision_failed_is_shown_with_a_warning() {
    let world = world();
    let namespace = world.namespace("half-upgraded", &[GATE]);
    world.release("shop", &namespace, &json!({}));
    let names: Vec<String> = world
        .list(&namespace, "secrets", "owner=helm,status=deployed")
        .iter()
        .map(|secret| secret["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    let [deployed] = &names[..] else { panic!("{names:?}") };
    let hooks = |more: &[&str]| call(&[&["hooks", "shop", "--namespace", &namespace], more].concat());
    let before = hooks(&[]);
    assert!(!String::from_utf8_lossy(&before.stderr).contains("warning"), "{before:?}");

    // What Helm leaves of an upgrade that failed: the older revision is deployed still.
    let mut failed = world.get(&namespace, &format!("secret/{deployed}")).unwrap();
    failed["metadata"] = json!({
        "name": "sh.helm.release.v1.shop.v7", "namespace": namespace,
        "labels": {"owner": "helm", "name": "shop", "status": "failed", "version": "7"},
    });
    world.apply(&namespace, &failed);
    let file = world.cluster.logs().join("half-upgraded.json");
    let operation = json!({
        "apiVersion": "ops.vworkspace.io/v1alpha1", "kind": "Operation",
        "metadata": {"name": "planned", "namespace": namespace},
        "spec": {
            "targetRef": {"apiVersion": "helm.sh/v3", "kind": "Release", "name": "shop"},
            "type": "Migration", "engine": "helmHookJob", "parameters": {"hookName": "shop-ok"},
        },
    });
    std::fs::write(&file, operation.to_string()).unwrap();
    let plan = call(&["plan", "-f", &file.display().to_string(), "--release", "shop", "-o", "json"]);
    let plan: Value =
        serde_json::from_slice(&plan.stdout).unwrap_or_else(|error| panic!("{error}: {plan:?}"));
    let warned = plan["warnings"].as_array().unwrap().iter().find(|one| one["code"] == "NewerRevisionFailed");
    let message = warned.unwrap_or_else(|| panic!("{plan:#}"))["message"].as_str().unwrap();
    assert!(
        message.contains("the upgrade to revision 7 failed") && message.contains("helm history"),
        "{message}"
    );
    let listed = hooks(&[]);
    assert_eq!(listed.stdout, before.stdout);
    assert!(
        String::from_utf8_lossy(&listed.stderr).contains("the upgrade to revision 7 failed"),
        "{listed:?}"
    );
    // Who names a revision knows what it is.
    let named = hooks(&["--revision", "1"]);
    assert!(!String::from_utf8_lossy(&named.stderr).contains("warning"), "{named:?}");
}

#[test]
fn a_plan_for_a_cluster_asks_its_hook_policies_unless_one_is_given_in_its_place() {
    let world = world();
    let namespace = world.namespace("planned", &[GATE]);
    let release = world.release("shop", &namespace, &json!({}));
    let settings = json!({"otherwise": {"deadlineSeconds": {"atMost": 60}}});
    let policy = crate::closure::policy(&namespace, "deadline-cap", json!({"settings": settings}));
    let operation = world.operation_named("planned", &release, "ok", json!({}));
    let file = world.cluster.logs().join("asks.json").display().to_string();
    let mut in_namespace = operation.clone();
    in_namespace["metadata"]["namespace"] = json!(namespace);
    std::fs::write(&file, in_namespace.to_string()).unwrap();
    let plan = |more: &[&str]| {
        let args = [&["plan", "-f", &file, "-o", "json"][..], more].concat();
        let plan = call(&args);
        let printed: Value =
            serde_json::from_slice(&plan.stdout).unwrap_or_else(|error| panic!("{error}: {plan:?}"));
        (plan.status.code(), printed)
    };
    let (code, planned) = plan(&[]);
    assert_eq!(code, Some(0), "{planned:#}");
    assert_eq!(planned["job"]["spec"]["activeDeadlineSeconds"], 60, "{planned:#}");
    assert_eq!(planned["policies"][0]["name"], json!(policy), "{planned:#}");

    // What a change of that policy would do.
    let mut changed = world.get("", &format!("hookpolicy/{policy}")).unwrap();
    changed["spec"]["settings"]["otherwise"]["deadlineSeconds"]["atMost"] = json!(30);
    changed["spec"]["match"] = json!({});
    let manifest = world.cluster.logs().join("changed.json");
    std::fs::write(&manifest, changed.to_string()).unwrap();
    let module = stock_policies().join("deadline-cap.wasm");
    let (code, planned) = plan(&["--policy", &format!("{}={}", module.display(), manifest.display())]);
    assert_eq!(
        (code, &planned["job"]["spec"]["activeDeadlineSeconds"]),
        (Some(0), &json!(30)),
        "{planned:#}"
    );

    // One that no run may pass.
    let held = crate::closure::policy(
        &namespace,
        "deadline-cap",
        json!({
            "settings": {"otherwise": {"deadlineSeconds": {"atLeast": 600}}},
        }),
    );
    let (code, planned) = plan(&[]);
    assert_eq!((code, &planned["reason"]), (Some(3), &json!("PolicyConflict")), "{planned:#}");
    assert!(planned["message"].as_str().unwrap().contains(&held), "{planned:#}");
}

#[test]
fn the_roles_of_the_charts_readme_are_enough_to_run_a_hook_see_its_log_and_cancel_it() {
    let world = world();
    let namespace = world.namespace("role-of-readme", &[GATE]);
    let hooks = json!({"hooks": {
        "says": {"script": "echo hello from the hook", "events": "pre-upgrade"},
        "stays": {"script": "sleep 600", "events": "pre-upgrade"},
    }});
    let release = world.release("shop", &namespace, &hooks);
    let kubectl = |args: &[&str]| ok(world.cluster.kubectl(args));

    // As the README has them.
    let readme = std::fs::read_to_string(chart().join("README.md")).unwrap().replace("\\\n", " ");
    let commands: Vec<&str> =
        readme.lines().filter_map(|line| line.strip_prefix("kubectl create role ")).collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    kubectl(&["create", "serviceaccount", "person", "--namespace", &namespace]);
    for command in commands {
        let words = command.split_whitespace();
        let words: Vec<&str> =
            words.map(|word| if word == "org-myteam" { namespace.as_str() } else { word }).collect();
        kubectl(&[&["create", "role"], &words[..]].concat());
        let (role, account) =
            (format!("--role={}", words[0]), format!("--serviceaccount={namespace}:person"));
        kubectl(&["create", "rolebinding", words[0], "--namespace", &namespace, &role, &account]);
    }
    let token = kubectl(&["create", "token", "person", "--namespace", &namespace]);
    let kubeconfig = ok(world.cluster.kubeconfig_of(token.trim(), None)).display().to_string();
    let person = |args: &[&str]| {
        let all = [args, &["--namespace", &namespace, "--kubeconfig", &kubeconfig]].concat();
        Command::new(hookhost()).args(all).output().unwrap()
    };
    let own = format!("--kubeconfig={kubeconfig}");

    let ran = person(&["run", "shop-says", "--target", &release.instance, "--name", "says-1"]);
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert_eq!(ran.status.code(), Some(0), "{out}\n{err}");
    assert!(out.contains("hello from the hook") && !err.contains("not shown"), "{out}\n{err}");
    let log = kubectl(&["logs", "job/says-1", "--namespace", &namespace, &own]);
    assert!(log.contains("hello from the hook"), "{log}");

    for (name, cancel) in [
        ("stays-1", &["annotate", "operation", "stays-1", "ops.vworkspace.io/cancel=true"][..]),
        ("stays-2", &["delete", "operation", "stays-2", "--wait=false"]),
    ] {
        let made =
            person(&["run", "shop-stays", "--target", &release.instance, "--name", name, "--no-follow"]);
        assert_eq!(made.status.code(), Some(0), "{made:?}");
        world.started(&namespace, name);
        kubectl(&[cancel, &["--namespace", &namespace, &own]].concat());
        world.until_gone(&namespace, &format!("job/{name}"));
    }
}
