//! What every command has in common.

use std::process::Stdio;

use crate::support::{Dir, job, record};

/// Every command, as typed.
const COMMANDS: [&[&str]; 9] = [
    &["hooks"],
    &["plan"],
    &["policy", "new"],
    &["policy", "build"],
    &["policy", "test"],
    &["policy", "inspect"],
    &["policy", "eval"],
    &["policy", "bench"],
    &["completions"],
];

#[test]
fn every_command_has_help_with_examples_that_name_it() {
    let dir = Dir::new();
    for command in COMMANDS {
        let run = dir.run(&[command, &["--help"]].concat()).exits(0);
        let example = format!("hookhost {}", command.join(" "));
        let examples =
            run.stdout.split("Examples:").nth(1).unwrap_or_else(|| panic!("no examples: {run:#?}"));
        assert!(examples.contains(&example), "{run:#?}");
    }
}

#[test]
fn the_exit_codes_are_in_the_help_and_hidden_commands_are_not() {
    let run = Dir::new().run(&["--help"]).exits(0);
    for line in
        ["  0  done", "  1  failed", "  2  usage", "  3  denied", "  4  held", "  5  not found", "  6  timed"]
    {
        assert!(run.stdout.contains(line), "no {line}: {run:#?}");
    }
    assert!(!run.stdout.contains("compile"), "{run:#?}");
}

#[test]
fn arguments_that_cannot_be_right_exit_with_2() {
    let dir = Dir::new();
    dir.run(&[]).exits(2);
    dir.run(&["hoks"]).exits(2).says(&["hooks"]);
    dir.run(&["plan"]).exits(2).says(&["--filename"]);
    dir.run(&["hooks", "x", "-o", "xml"]).exits(2).says(&["json"]);
    dir.run(&["plan", "-f", "x", "--release", "y", "--now", "noon"]).exits(2).says(&["noon"]);
    dir.run(&["policy", "build", "."]).exits(2).says(&["no Cargo.toml", "hookhost policy new"]);
}

#[test]
fn arguments_that_cannot_be_right_are_json_for_programs_too() {
    let dir = Dir::new();
    for (args, message) in [
        (&["hoks", "-o", "json"][..], "unrecognized subcommand 'hoks'"),
        (&["hooks", "-o", "json"], "required arguments were not provided: <RELEASE>"),
        (
            &["plan", "--output=json", "-f", "x", "--release", "y", "--now", "noon"],
            "'noon' for '--now <TIME>'",
        ),
        (&["policy", "eval", "-ojson", "--colour"], "unexpected argument '--colour'"),
    ] {
        let run = dir.run(args).exits(2).prints_nothing();
        let error = run.error();
        assert_eq!(error["reason"], "UsageInvalid", "{run:#?}");
        assert!(error["message"].as_str().unwrap().contains(message), "{run:#?}");
        assert!(error["advice"].as_str().unwrap().contains("--help"), "{run:#?}");
    }
    dir.run(&["plan", "-o", "json", "--help"]).exits(0).prints(&["Usage:"]);
}

#[test]
fn stdin_is_one_input_only() {
    let dir = Dir::with_release();
    dir.write("cap.wasm", crate::support::policy(&crate::support::Does::Cap));
    let eval = ["policy", "eval", "cap.wasm", "--request", "-", "--settings", "-"];
    dir.run_with(&eval, b"{}")
        .exits(2)
        .prints_nothing()
        .says(&["the settings and the request cannot both be stdin"]);
    dir.run_with(&["policy", "eval", "cap.wasm", "--request", "-"], b"{}").exits(0);
    let plan =
        ["plan", "-f", "op.yaml", "--release", "release.json", "--target", "-", "--policy", "cap.wasm=-"];
    let target = b"{kind: ApplicationInstance, metadata: {name: shop}}";
    let run = dir.run_with(&[&plan[..], &["-o", "json"]].concat(), target).exits(2);
    assert_eq!(run.error()["reason"], "UsageInvalid");
}

#[test]
fn completions_know_every_command() {
    let dir = Dir::new();
    for shell in ["bash", "zsh", "fish"] {
        dir.run(&["completions", shell]).exits(0).prints(&["hooks", "plan", "inspect", "bench"]);
    }
}

#[test]
fn errors_are_text_for_people_and_json_for_programs() {
    let dir = Dir::new();
    let run = dir.run_with(&["hooks", "-"], b"{}").exits(1).prints_nothing();
    assert!(run.stderr.starts_with("hookhost: cannot read the release -: "), "{run:#?}");
    let run = dir.run_with(&["hooks", "-", "-o", "json"], b"{}").exits(1).prints_nothing();
    assert_eq!(run.error()["reason"], "ReleaseRecordInvalid");
    assert!(run.error()["message"].as_str().unwrap().starts_with("cannot read the release -: "));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let dir = Dir::new();
    let manifests: Vec<String> = (0..2000).map(|n| job(&format!("job-{n}"))).collect();
    dir.write("release.json", record(&manifests).to_string());
    let mut command = dir.command(&["hooks", "release.json", "-o", "json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Closing the reading end before anything can be read of the megabytes to come.
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn nothing_is_coloured_that_is_not_a_terminal() {
    let dir = Dir::new();
    for args in [&["--help"][..], &["hooks", "nowhere"]] {
        let run = dir.run(args);
        assert!(!run.stdout.contains('\u{1b}') && !run.stderr.contains('\u{1b}'), "{run:#?}");
    }
}
