//! What comes from charts, records and policies steers no terminal, in any format, and a program still reads all of it.

use serde_json::json;

use crate::support::{Dir, OPERATION, Run, job, record};

/// Clears a screen by C0, by C1 and as U+009B; DEL; each of Unicode's bidirectional controls; what hides.
const HOSTILE: &str = "h\u{1b}[2J\u{9b}2J\u{85}\u{7f}\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{2028}\u{2029}\u{200b}x";

/// Whether a character is more than itself to a terminal.
fn steers(c: char) -> bool {
    (c.is_control() && c != '\n') || HOSTILE.chars().any(|hostile| hostile == c && !c.is_ascii())
}

/// The text as YAML and JSON may have it in a file.
fn quoted() -> String {
    let escaped: String = HOSTILE.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    format!("\"{escaped}\"")
}

#[track_caller]
fn is_clean(run: &Run) {
    assert!(!run.stdout.chars().any(steers) && !run.stderr.chars().any(steers), "{run:#?}");
}

/// A folder with a release whose hook has the text in its command, and whose other hook is called so.
fn dir() -> Dir {
    let dir = Dir::new();
    let text = quoted();
    let migrate =
        job("shop-migrate").replace("image: shop:1", &format!("image: shop:1\n          args: [{text}]"));
    let named = job("name").replace("name: name", &format!("name: {text}"));
    dir.write("release.json", record(&[migrate, named]).to_string());
    dir.write("op.yaml", OPERATION);
    dir
}

#[test]
fn no_output_steers_a_terminal_and_json_and_yaml_lose_nothing() {
    let dir = dir();
    let listing = dir.run(&["hooks", "release.json", "-o", "json"]).exits(0);
    is_clean(&listing);
    let names: Vec<_> =
        listing.json()["hooks"].as_array().unwrap().iter().map(|hook| hook["name"].clone()).collect();
    assert!(names.contains(&json!(HOSTILE)), "{names:?}");

    let plan = |format| {
        let run = dir.run(&["plan", "-f", "op.yaml", "--release", "release.json", "-o", format]).exits(0);
        is_clean(&run);
        run
    };
    let container = "/spec/template/spec/containers/0/args/0";
    assert_eq!(plan("json").json()["job"].pointer(container), Some(&json!(HOSTILE)));
    let planned = hookhost_helm::yaml::read_one(&plan("yaml").stdout).unwrap();
    assert_eq!(planned.pointer(container), Some(&json!(HOSTILE)));
    plan("explain");
    for format in ["table", "wide"] {
        is_clean(&dir.run(&["hooks", "release.json", "-o", format]).exits(0));
    }
}

#[test]
fn no_error_steers_a_terminal_and_as_json_it_is_one_line() {
    let dir = dir();
    let name = quoted().replacen('"', "\"no-", 1);
    dir.write("op.yaml", OPERATION.replace("hookName: shop-migrate", &format!("hookName: {name}")));
    for format in ["json", "explain"] {
        let run = dir.run(&["plan", "-f", "op.yaml", "--release", "release.json", "-o", format]);
        assert_ne!(run.code, Some(0));
        is_clean(&run);
        if format == "json" {
            assert_eq!(run.stderr.lines().count(), 1);
            assert!(run.error()["message"].is_string());
        }
    }
    dir.write("op.yaml", format!("{name}: 1\n"));
    is_clean(&dir.run(&["plan", "-f", "op.yaml", "--release", "release.json", "-o", "json"]).exits(1));
}
