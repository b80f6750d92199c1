//! `hookhost hooks`.

use crate::support::{Dir, account, binding, gzip, job, record, secret};

#[test]
fn the_table_says_which_hooks_can_be_run_and_why_not() {
    let dir = Dir::with_release();
    let run = dir.run(&["hooks", "release.json", "--all"]).exits(0);
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines[0], "NAME          KIND            EVENTS       WEIGHT  DEADLINE  NEEDS  RUNNABLE");
    let migrate = "shop-migrate  Job             pre-upgrade  -5      -         1      yes";
    assert!(lines.contains(&migrate), "{run:#?}");
    assert!(
        lines.iter().any(|line| line.starts_with("shop          ServiceAccount  ")
            && line.contains("no: not a Job or Pod")),
        "{run:#?}"
    );
    assert_eq!(run.stderr, "");
}

#[test]
fn json_has_everything_of_a_hook() {
    let dir = Dir::with_release();
    let listing = dir.run(&["hooks", "release.json", "-o", "json"]).exits(0).json();
    assert_eq!(listing["release"]["chart"], "shop");
    assert_eq!(listing["release"]["revision"], 3);
    let hooks = listing["hooks"].as_array().unwrap();
    let migrate = hooks.iter().find(|hook| hook["name"] == "shop-migrate").unwrap();
    assert_eq!(migrate["runnable"], true);
    assert_eq!(migrate["whyNot"], serde_json::Value::Null);
    assert_eq!(migrate["backoffLimit"], 2);
    assert_eq!(migrate["events"][0], "pre-upgrade");
    assert_eq!(migrate["path"], "shop/templates/hooks.yaml");
    assert_eq!(migrate["manifest"]["spec"]["template"]["spec"]["containers"][0]["image"], "shop:1");
}

#[test]
fn json_has_what_a_hook_needs_with_the_role_that_a_binding_grants() {
    let dir = Dir::new();
    let record = record(&[job("shop-migrate"), account(), binding("cluster-admin")]);
    let listing = dir.run_with(&["hooks", "-", "-o", "json"], record.to_string().as_bytes()).exits(0).json();
    let hooks = listing["hooks"].as_array().unwrap();
    let closure = |name: &str| &hooks.iter().find(|hook| hook["name"] == name).unwrap()["closure"];
    let expected = serde_json::json!([
        {"apiVersion": "v1", "kind": "ServiceAccount", "name": "shop", "namespace": "acme"},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "name": "shop-binding",
            "namespace": "acme", "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [
                {"kind": "ServiceAccount", "name": "shop", "namespace": "acme"},
                {"kind": "User", "name": "mallory"},
            ],
        },
    ]);
    assert_eq!(*closure("shop-migrate"), expected);
    // What is not run itself has none.
    assert_eq!(*closure("shop-binding"), serde_json::Value::Null);
}

#[test]
fn a_hook_that_needs_more_than_policies_are_shown_is_not_runnable() {
    let dir = Dir::new();
    let record = record(&[job("a"), binding(&"x".repeat(1 << 20))]).to_string();
    dir.run_with(&["hooks", "-", "--all"], record.as_bytes()).exits(0).prints(&["no: needs too much"]);
    let json = dir.run_with(&["hooks", "-", "-o", "json"], record.as_bytes()).exits(0).json();
    let a = json["hooks"].as_array().unwrap().iter().find(|hook| hook["name"] == "a").unwrap();
    assert!(a["whyNot"].as_str().unwrap().contains("1 MiB of text"), "{a:#}");
}

#[test]
fn many_hooks_that_share_a_large_closure_are_listed_without_growing_beyond_measure() {
    let dir = Dir::new();
    let jobs = (0..24).map(|n| job(&format!("j{n}")));
    let record = record(&jobs.chain([binding(&"x".repeat(1_000_000))]).collect::<Vec<_>>()).to_string();
    let run = dir.run_with(&["hooks", "-", "-o", "json"], record.as_bytes()).exits(0);
    let listing = run.json();
    let jobs: Vec<_> =
        listing["hooks"].as_array().unwrap().iter().filter(|hook| hook["runnable"] == true).collect();
    let shown = jobs.iter().filter(|hook| hook["closure"].is_array()).count();
    assert_eq!((jobs.len(), shown), (24, 16));
    assert!(run.stdout.len() < 20 << 20, "{}", run.stdout.len());
    let table = dir.run_with(&["hooks", "-"], record.as_bytes()).exits(0);
    assert_eq!(table.stdout.lines().filter(|line| line.ends_with("  1      yes")).count(), 24);
}

#[test]
fn a_secret_on_stdin_lists_as_the_bare_record_does() {
    let dir = Dir::new();
    let record = record(&[job("a"), account()]).to_string();
    let bare = dir.run_with(&["hooks", "-", "-o", "wide"], record.as_bytes()).exits(0);
    let secret = secret(&gzip(record.as_bytes())).to_string();
    let piped = dir.run_with(&["hooks", "-", "-o", "wide"], secret.as_bytes()).exits(0);
    assert_eq!(piped.stdout, bare.stdout);
}

#[test]
fn names_from_a_record_cannot_steer_the_terminal() {
    let dir = Dir::new();
    let mut record = record(&[job("a")]);
    record["hooks"][0]["path"] = "x\u{1b}[2J\u{202e}y".into();
    let run = dir.run_with(&["hooks", "-", "-o", "wide"], record.to_string().as_bytes()).exits(0);
    assert!(!run.stdout.contains(['\u{1b}', '\u{202e}']), "{run:#?}");
    assert!(run.stdout.contains("x\\u{1b}[2J\\u{202e}y"), "{run:#?}");
}

#[test]
fn a_release_without_hooks_is_no_error() {
    let dir = Dir::new();
    let run = dir.run_with(&["hooks", "-"], record(&[]).to_string().as_bytes());
    run.exits(0).prints_nothing().says(&["The release shop has no hooks."]);
}

#[test]
fn every_release_that_helm_wrote_is_listed_with_the_hooks_that_helm_names() {
    let records = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/records");
    let dir = Dir::new();
    let mut listed = 0;
    for helm in ["helm3", "helm4"] {
        for entry in records.join(helm).read_dir().unwrap() {
            let path = entry.unwrap().path();
            let name = path.to_str().unwrap();
            let expected = name.replace(".yaml", ".hooks.json");
            if !name.ends_with(".yaml") || !std::path::Path::new(&expected).exists() {
                continue;
            }
            let listing = dir.run(&["hooks", name, "-o", "json"]).exits(0).json();
            let expected: serde_json::Value =
                serde_json::from_str(&std::fs::read_to_string(expected).unwrap()).unwrap();
            let mut paths: Vec<_> = expected.as_array().unwrap().iter().map(|hook| &hook["path"]).collect();
            let hooks = listing["hooks"].as_array().unwrap();
            paths.retain(|path| !hooks.iter().any(|hook| hook["path"] == **path));
            assert!(paths.is_empty(), "{name}: no hook from {paths:?}");
            listed += 1;
        }
    }
    assert!(listed >= 24, "only {listed} records");
}

#[test]
fn what_can_be_run_is_listed_and_the_rest_is_counted() {
    let dir = Dir::with_release();
    let run = dir.run(&["hooks", "release.json"]).exits(0);
    assert_eq!(run.stdout.lines().count(), 2, "{run:#?}");
    let run = run.prints(&["shop-migrate  Job "]);
    run.says(&["1 of 2 hooks cannot be run and are not listed (1 not a Job or Pod); --all lists them too"]);
    let nothing = record(&[account()]).to_string();
    let run = dir.run_with(&["hooks", "-", "-o", "wide"], nothing.as_bytes()).exits(0).prints_nothing();
    run.says(&["1 of 1 hooks cannot be run", "--all"]);
    let wide = dir.run_with(&["hooks", "-", "-o", "wide", "--all"], nothing.as_bytes()).exits(0);
    wide.prints(&["it is a ServiceAccount (v1)"]);
}

#[test]
fn a_hook_that_cannot_be_read_is_listed_with_its_line_and_what_is_wrong() {
    let dir = Dir::new();
    let broken = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: bad\nspec: [\n".to_owned();
    let record = record(&[job("good"), account(), broken]).to_string();
    for args in [&["hooks", "-"][..], &["hooks", "-", "-o", "wide"]] {
        let run = dir.run_with(args, record.as_bytes()).exits(0);
        let line = run.stdout.lines().find(|line| line.contains("line 6, column 1")).unwrap_or_default();
        assert!(line.contains("not YAML"), "{run:#?}");
        assert!(run.stdout.contains("good ") && !run.stdout.contains("ServiceAccount"), "{run:#?}");
    }
}
