//! `hookhost policy`, as far as it needs no compiler.

use crate::support::{Dir, Does, policy};

#[test]
fn inspect_says_what_a_policy_is() {
    let dir = Dir::new();
    dir.write("cap.wasm", policy(&Does::Cap));
    dir.run(&["policy", "inspect", "cap.wasm"]).exits(0).prints(&[
        "Name:      cap",
        "Version:   1.0.0",
        "Summary:   for a test",
        "Contract:  vworkspace:hook-policy/policy@0.1.0",
        "vworkspace:hook-policy/logging@0.1.0",
    ]);
    let json = dir.run(&["policy", "inspect", "cap.wasm", "-o", "json"]).exits(0).json();
    assert_eq!(json["size"], policy(&Does::Cap).len());
    assert_eq!(json["digest"].as_str().unwrap().len(), "sha256:".len() + 64);
    assert_eq!(json["settingsSchema"], serde_json::json!({}));
}

#[test]
fn eval_prints_the_decision_and_exits_by_it() {
    let dir = Dir::new();
    dir.write("request.yaml", "organisation: acme\n");
    for (does, code, decision) in [
        (Does::Cap, 0, "allow:\n  activeDeadlineSeconds:\n    atMost: 600\n"),
        (Does::Deny, 3, "deny:\n  message: maybe two\n  reason: NotHere\n"),
        (Does::Hold, 4, "hold:\n  message: maybe two\n  reason: NotHere\n  retryAfterSeconds: 90\n"),
    ] {
        dir.write("policy.wasm", policy(&does));
        let run = dir.run(&["policy", "eval", "policy.wasm", "--request", "request.yaml"]).exits(code);
        assert_eq!(run.stdout, decision);
        let run = dir
            .run(&["policy", "eval", "policy.wasm", "--request", "request.yaml", "-o", "json"])
            .exits(code);
        assert!(run.json()["decision"].is_object());
    }
}

#[test]
fn what_a_policy_logs_cannot_steer_the_terminal() {
    let dir = Dir::new();
    dir.write("logs.wasm", policy(&Does::Log));
    let run = dir.run_with(&["policy", "eval", "logs.wasm", "--request", "-"], b"{}").exits(0);
    assert!(!run.stderr.contains('\u{1b}'), "{run:#?}");
    assert!(run.stderr.contains("warn: ") && run.stderr.contains("gone!!"), "{run:#?}");
    let run = dir.run_with(&["policy", "eval", "logs.wasm", "--request", "-", "-o", "json"], b"{}").exits(0);
    assert_eq!(run.json()["logs"][0]["level"], "warn");
}

#[test]
fn the_lines_that_a_policy_logs_are_below_their_case() {
    let dir = Dir::new();
    dir.write("cap.wasm", policy(&Does::Log));
    dir.write("tests/cases.yaml", "cases: [{name: first}, {name: second}]\n");
    let run = test(&dir, &[]).exits(1);
    let lines: Vec<&str> = run.stdout.lines().collect();
    for name in ["first", "second"] {
        let at = lines.iter().position(|line| line.ends_with(&format!("FAILED  {name}"))).unwrap();
        assert!(lines[at + 1].starts_with("         warn: ") && lines[at + 1].contains("gone!!"), "{run:#?}");
    }
    assert!(!run.stdout.contains('\u{1b}') && run.stderr.is_empty(), "{run:#?}");
    let json = test(&dir, &["-o", "json"]).exits(1).json();
    assert_eq!(json[1]["logs"][0]["level"], "warn");
}

#[test]
fn bench_gives_figures_that_repeat() {
    let dir = Dir::new();
    dir.write("cap.wasm", policy(&Does::Cap));
    let figures = || dir.run(&["policy", "bench", "cap.wasm", "-o", "json"]).exits(0).json();
    let (one, two) = (figures(), figures());
    assert_eq!(one["fuel"], two["fuel"]);
    assert_eq!(one["peakMemoryBytes"], 4 * 65536);
    assert!(one["fuel"].as_u64().unwrap() > 0 && one["p50Micros"].as_f64().unwrap() > 0.0);
    assert!(one["p99Micros"].as_f64().unwrap() >= one["p50Micros"].as_f64().unwrap());
}

const CASES: &str = "\
# Cases of a cap.
request: { organisation: acme }   # of all
cases:
  - name: a run is capped
    expect:
      allow:
        activeDeadlineSeconds: { atMost: 600 }   # ten minutes

  - name: settings are refused
    settings: { any: thing }
    expect: { invalidSettings: [ { path: cap, message: 'only {} will do' } ] }
";

fn test(dir: &Dir, more: &[&str]) -> crate::support::Run {
    dir.run(&[&["policy", "test", "cap.wasm"], more].concat())
}

fn cap() -> Dir {
    let dir = Dir::new();
    dir.write("cap.wasm", policy(&Does::Cap));
    dir.write("tests/cases.yaml", CASES);
    dir
}

#[test]
fn cases_that_hold_pass() {
    let run = test(&cap(), &[]).exits(0);
    assert_eq!(
        run.stdout,
        "tests/cases.yaml\n  ok      a run is capped\n  ok      settings are refused\n2 passed, 0 failed\n"
    );
}

#[test]
fn a_case_that_fails_shows_the_difference_and_exits_with_1() {
    let dir = cap();
    dir.write("tests/cases.yaml", CASES.replace("600", "700"));
    test(&dir, &[]).exits(1).prints(&[
        "FAILED  a run is capped",
        "-    atMost: 700\n",
        "+    atMost: 600\n",
        "1 passed, 1 failed",
    ]);
    test(&dir, &["--filter", "refused"]).exits(0).prints(&["1 passed, 0 failed"]);
    let json = test(&dir, &["-o", "json"]).exits(1).json();
    assert_eq!(json[0]["result"], "failed");
    assert_eq!(json[0]["actual"]["allow"]["activeDeadlineSeconds"]["atMost"], 600);
    test(&dir, &["--filter", "nothing"]).exits(2).says(&["no cases to run"]);
}

#[test]
fn update_writes_the_answers_and_keeps_every_other_byte() {
    let dir = cap();
    dir.write("tests/cases.yaml", CASES.replace("{ atMost: 600 }", "{ atMost: 700 }"));
    test(&dir, &["--update"]).exits(0).prints(&["updated a run is capped", "1 passed, 0 failed, 1 updated"]);
    // `allow` is a block, so its new answer is one too; the comment beside it stays.
    assert_eq!(dir.read("tests/cases.yaml"), CASES.replace(" { atMost: 600 }", "\n          atMost: 600"));
    test(&dir, &[]).exits(0);
    let before = dir.read("tests/cases.yaml");
    test(&dir, &["--update"]).exits(0).prints(&["2 passed, 0 failed\n"]);
    assert_eq!(dir.read("tests/cases.yaml"), before);
}

#[test]
fn a_policy_that_traps_fails_its_case_and_is_not_written_down() {
    let dir = cap();
    dir.write("cap.wasm", policy(&Does::Trap));
    test(&dir, &["--update", "--filter", "capped"])
        .exits(1)
        .prints(&["FAILED  a run is capped", "unreachable"]);
    assert_eq!(dir.read("tests/cases.yaml"), CASES);
}

#[test]
fn a_misspelt_field_of_a_case_is_named_with_its_place() {
    let dir = cap();
    dir.write("tests/cases.yaml", "cases: [{name: x, request: {hook: {evnts: []}}}]\n");
    test(&dir, &[]).exits(1).says(&["tests/cases.yaml", "cases[0] (x)", "hook.evnts", "unknown field"]);
    dir.write("tests/cases.yaml", "cases: [{name: x, expct: 1}]\n");
    test(&dir, &[]).exits(1).says(&["cases[0].expct", "unknown field"]);
    dir.write("tests/cases.yaml", "cases: [{name: x, request: {now: 2026-03-02 22:00}}]\n");
    test(&dir, &[]).exits(1).says(&[
        "cases[0] (x)",
        "at now",
        "Write a time as RFC 3339",
        "2026-03-02T09:00:00Z",
    ]);
    dir.write("tests/cases.yaml", "cases: [{name: x}, {name: x}]\n");
    test(&dir, &[]).exits(1).says(&["two cases of the name \"x\""]);
}

#[test]
fn policies_are_compiled_once_and_work_without_a_cache() {
    let dir = Dir::new();
    dir.write("cap.wasm", policy(&Does::Cap));
    dir.run(&["policy", "inspect", "cap.wasm"]).exits(0);
    let cached = || dir.path(".cache/hookhost/policies").read_dir().unwrap().count();
    assert_eq!(cached(), 1);
    dir.run(&["policy", "inspect", "cap.wasm"]).exits(0);
    assert_eq!(cached(), 1);
    let output = dir.command(&["policy", "inspect", "cap.wasm"]).env_remove("HOME").output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("compiled each time"));
}

#[test]
fn new_makes_a_crate_and_touches_nothing_that_is_there() {
    let dir = Dir::new();
    let sdk =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-sdk").canonicalize().unwrap();
    let sdk = sdk.to_str().unwrap();
    dir.run(&["policy", "new", "short-runs", "--sdk", sdk]).exits(0).prints(&["short-runs\n"]);
    assert!(dir.read("short-runs/Cargo.toml").contains(&format!("hook-policy = {{ path = \"{sdk}\" }}")));
    assert!(dir.read("short-runs/src/lib.rs").contains("hook_policy::export!(ShortRunsPolicy);"));
    for file in ["README.md", ".gitignore", "tests/cases.yaml"] {
        assert!(!dir.read(&format!("short-runs/{file}")).contains("{name}"), "{file}");
    }
    dir.run(&["policy", "new", "short-runs"]).exits(2).says(&["there already"]);
    dir.run(&["policy", "new", "Short"]).exits(2).says(&["cannot be a policy's name"]);
    dir.run(&["policy", "new", "match"]).exits(2).says(&["keyword of Rust", "match-hooks"]);
    dir.run(&["policy", "new", "x", "--path", "a:b"]).exits(2).says(&["':'", "--path"]);
    dir.run(&["policy", "new", "x", "--sdk", "./nowhere"]).exits(2).says(&["the SDK is not in ./nowhere"]);
    // The name is nobody's in cargo's registry: whoever takes it there would be compiled.
    dir.run(&["policy", "new", "x", "--sdk", "0.1"])
        .exits(2)
        .says(&["the SDK is not in 0.1", "in no registry yet"]);
}

/// The cargo that runs this test, which needs no home to be found.
fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// What cargo says of a folder's crate: whether it can be read, and where its workspace is.
fn workspace_root(folder: &std::path::Path) -> std::path::PathBuf {
    let mut cargo = std::process::Command::new(cargo());
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(folder);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    std::path::Path::new(metadata["workspace_root"].as_str().unwrap()).canonicalize().unwrap()
}

#[test]
fn a_new_policy_can_be_read_by_cargo_wherever_it_is() {
    let sdk = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-sdk");
    let sdk = sdk.to_str().unwrap();
    let dir = Dir::new();
    let outer = "[workspace]\nresolver = \"3\"\nmembers = [\"policies/*\"]\n";
    dir.write("outer/Cargo.toml", outer);
    dir.write("outer/policies/.keep", "");
    dir.write("lone/Cargo.toml", "[package]\nname = \"lone\"\nversion = \"0.1.0\"\n");
    dir.write("lone/src/lib.rs", "");
    dir.write("broken/Cargo.toml", "no toml");
    let new = |name: &str, folder: &str| {
        let mut command = dir.command(&["policy", "new", name, "--sdk", sdk, "--path", folder]);
        let output = command.env("CARGO", cargo()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    // The folder, and where the workspace of a crate in it is.
    for (folder, root) in [
        ("outer/lost", "outer/lost"),
        ("outer/a/b c", "outer/a/b c"),
        ("outer/policies/member", "outer"),
        ("lone/inner", "lone/inner"),
        ("broken/inner", "broken/inner"),
        ("it's [a] \"b\" #é\\", "it's [a] \"b\" #é\\"),
    ] {
        new("short-runs", folder);
        assert_eq!(workspace_root(&dir.path(folder)), dir.path(root).canonicalize().unwrap(), "{folder}");
    }
    // A member's name must be its own, as for all members.
    new("second", "outer/policies/second");
    assert_eq!(workspace_root(&dir.path("outer/policies/second")), dir.path("outer").canonicalize().unwrap());
}
