//! The stock policies, and the manifests that the documentation shows, with hookhost as it is installed: its image has the
//! policies, and nobody needs Rust for a first HookPolicy.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use e2e::{PATIENCE, Release, chart, message, ok, says, world};
use hookhost_helm::yaml;
use serde_json::{Value, json};
use testbed::Helm;

use crate::installed::{IMAGE, Installed, load_image};

/// The gate of this file's installation.
const GATE: &str = "e2e=stock";

/// The organisation, and namespace, of all examples: no other test has it.
const ORGANISATION: &str = "org-myteam";

/// One installation, and a release with a hook in a namespace that it serves.
fn installed() -> &'static (Installed, Release) {
    static INSTALLED: OnceLock<(Installed, Release)> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let namespace = world().namespace("stock", &[GATE]);
        let release = world().release("shop", &namespace, &json!({}));
        (Installed::new(Helm::Four, "hookhost-stock", GATE, &[&namespace], 1), release)
    })
}

/// The repository's top folder.
fn root() -> PathBuf {
    chart().join("../..")
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of a folder, or of the folders in it, whose names end so.
fn files(folder: &str, end: &str) -> Vec<PathBuf> {
    let entries = |dir: PathBuf| dir.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries(root().join(folder))
        .flat_map(|path| if path.is_dir() { entries(path).collect() } else { vec![path] })
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect();
    files.sort();
    files
}

/// The whole manifests that a page shows: in blocks of YAML, and what its commands apply from the terminal.
fn shown(page: &str) -> Vec<String> {
    let blocks = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next());
    let typed = page.split("<<EOF\n").skip(1).map(|rest| rest.split("\nEOF\n").next());
    let all = blocks.chain(typed).flatten();
    all.filter(|text| text.contains("apiVersion: ")).map(str::to_owned).collect()
}

#[test]
fn every_manifest_of_the_docs_is_applied_and_each_hookpolicy_becomes_ready_without_rust() {
    let world = world();
    let (installed, _) = installed();
    ok(world.cluster.kubectl(&["create", "namespace", ORGANISATION]));
    let mut manifests: Vec<(String, String)> = Vec::new();
    for example in files("deploy/examples", ".yaml") {
        manifests.push((example.display().to_string(), text(&example)));
    }
    let book = ["docs/src/policies/use.md"].map(|page| root().join(page)).to_vec();
    for page in [files("policies", "README.md"), vec![chart().join("README.md")], book].concat() {
        let shown = shown(&text(&page));
        assert!(!shown.is_empty(), "{} shows no whole manifest", page.display());
        manifests.extend(shown.into_iter().map(|text| (page.display().to_string(), text)));
    }
    let (mut stock, mut known) = (Vec::new(), BTreeMap::<String, usize>::new());
    for (place, text) in &manifests {
        ok(world.cluster.apply(ORGANISATION, text));
        for object in ok(yaml::read(text)) {
            if object["kind"] != "HookPolicy" {
                continue;
            }
            let name = object["metadata"]["name"].as_str().unwrap();
            let at = format!("hookpolicy/{name}");
            let ready = world.until_object("", &at, place, |policy| {
                says(policy, "Ready") == "True/Loaded"
                    && policy["status"]["observedGeneration"] == policy["metadata"]["generation"]
            });
            assert_eq!(ready["status"]["describe"]["name"], object["spec"]["module"]["stock"], "{place}");
            // Other hosts of the cluster may have said so: the one of the image knows it, too.
            *known.entry(name.to_owned()).or_insert(0) += 1;
            ok(world.cluster.eventually("the installed hookhost has it", PATIENCE, || {
                (loaded(installed, name) >= known[name]).then_some(())
            }));
            stock.push(object["spec"]["module"]["stock"].as_str().unwrap().to_owned());
            ok(world.cluster.kubectl(&["delete", &at]));
        }
    }
    stock.sort();
    stock.dedup();
    let all: Vec<String> = files("policies", "Cargo.toml")
        .iter()
        .map(|path| path.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(stock, all, "each stock policy has a manifest");
    // And the first of them is short.
    let first = text(&root().join("deploy/examples/deadline-cap.yaml"));
    assert!(first.lines().filter(|line| !line.starts_with('#')).count() <= 10, "{first}");
}

/// How often the installed hookhost has said that a HookPolicy of this name is ready.
fn loaded(installed: &Installed, name: &str) -> usize {
    let log = installed.kubectl(&["logs", &installed.pods()[0]]);
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["msg"] == "a policy is ready" && line["policy"] == name).count()
}

#[test]
fn a_stock_policy_denies_a_hook_and_one_that_is_not_there_says_which_are() {
    let world = world();
    let (_, release) = installed();
    let policy = |name: &str, stock: &str, settings: Value| {
        let name = format!("{name}-{}", world.number());
        let here =
            json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": release.namespace}}});
        world.apply(
            "",
            &json!({"apiVersion": "policy.vworkspace.io/v1alpha1", "kind": "HookPolicy", "metadata": {"name": name},
                "spec": {"module": {"stock": stock}, "match": here, "settings": settings}}),
        );
        name
    };
    let allow = policy("stock-allow", "hook-allowlist", json!({"allow": [{"match": {"events": ["test"]}}]}));
    let operation = world.operation(release, "ok", json!({}));
    let said = world.refused(&release.namespace, &operation, "PolicyDenied");
    assert!(said.contains(&allow) && said.contains("HookNotAllowed"), "{said}");

    let wrong = policy("stock-wrong", "deadline-caps", json!({}));
    let unready = world.until_object("", &format!("hookpolicy/{wrong}"), "not ready", |policy| {
        says(policy, "Ready") == "False/PolicyModuleMissing"
    });
    let said = message(&unready, "Ready");
    let known = "deadline-cap, hook-allowlist, image-provenance, maintenance-window and org-labels";
    assert!(said.contains("\"deadline-caps\"") && said.contains(known), "{said}");
    for policy in [allow, wrong] {
        ok(world.cluster.kubectl(&["delete", "hookpolicy", &policy]));
    }
}

#[test]
fn the_image_is_the_command_line_with_the_stock_policies() {
    let world = world();
    load_image();
    let namespace = world.namespace("command-line", &[]);
    let image = format!("{}:{}", IMAGE.0, IMAGE.1);
    world.apply(
        &namespace,
        &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "inspect"}, "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "main", "image": image, "args": ["policy", "inspect", "deadline-cap"]}],
        }}),
    );
    let pod = ok(world.cluster.eventually("the command has ended", PATIENCE, || {
        let pod = world.get(&namespace, "pod/inspect")?;
        let phase = pod["status"]["phase"].as_str()?;
        ["Succeeded", "Failed"].contains(&phase).then_some(pod)
    }));
    let said = ok(world.cluster.kubectl(&["logs", "inspect", "--namespace", &namespace]));
    assert_eq!(pod["status"]["phase"], "Succeeded", "{said}");
    assert!(said.contains("Name:      deadline-cap"), "{said}");
}
