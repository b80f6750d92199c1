//! The documentation: its commands run, its links lead somewhere, its manifests are those that hookhost reads. That its
//! arguments are known is a test of the program itself (src/docs.rs); the page for authors of policies is run by tests/author.rs.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use hookhost_controller::crd::HookPolicy;
use hookhost_core::Request;
use hookhost_core::operation::Operation;
use hookhost_core::request::Numbers;
use hookhost_helm::yaml;
use serde_json::Value;

use crate::pages::{self, Page};
use crate::support::Dir;

/// Lines of the pages that people read first: more are not read.
const SHORT: [(&str, usize); 2] = [("README.md", 150), ("CONTRIBUTING.md", 100)];

fn book() -> impl Iterator<Item = Page> {
    pages::all().into_iter().filter(|page| page.path.starts_with("docs/src/"))
}

/// The stock policies of this build, which `cargo xtask` makes before it runs the tests.
fn stock_policies() -> std::path::PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_hookhost"));
    let policies = program.ancestors().nth(2).unwrap().join("policies");
    assert!(
        policies.join("deadline-cap.wasm").exists(),
        "the pages use the stock policies, and {} does not have them; make them with\n  cargo xtask policies",
        policies.display()
    );
    policies
}

#[test]
fn what_the_book_types_without_a_cluster_runs_and_prints_what_the_book_shows() {
    let stock = stock_policies();
    let path = std::env::var("PATH").unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_hookhost")).parent().unwrap();
    let mut ran = 0;
    for page in book() {
        let dir = Dir::new();
        for folder in ["deploy", "tests"] {
            symlink(pages::root().join(folder), dir.path(folder)).unwrap();
        }
        let mut at = dir.path("");
        for block in page.blocks() {
            if block.language() != "sh" || block.is("cluster") || block.is("author") {
                continue;
            }
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(block.script()).current_dir(&at).env_clear();
            shell.env("PATH", format!("{}:{path}", program.display())).env("HOME", dir.path("home"));
            shell.env("HOOKHOST_STOCK_POLICIES", &stock).env("DOCS_FOLDER", dir.path("folder"));
            let output = shell.output().unwrap();
            let stdout = String::from_utf8_lossy(&output.stdout);
            let stderr = String::from_utf8_lossy(&output.stderr);
            let place = &block.place;
            assert_eq!(
                output.status.code(),
                Some(block.code()),
                "{place}\n{}\n{stdout}\n{stderr}",
                block.text
            );
            if let Some(shown) = &block.output {
                let printed = if block.code() == 0 { &stdout } else { &stderr };
                assert!(
                    pages::fits(shown, printed),
                    "{place} shows\n{shown}\nand not what is printed\n{printed}"
                );
            }
            at = dir.read("folder").trim().into();
            ran += 1;
        }
    }
    assert!(ran > 5, "only {ran} blocks");
}

#[test]
fn a_stock_policy_without_the_settings_that_it_needs_says_which_with_an_example() {
    let stock = stock_policies();
    let dir = Dir::with_release();
    for (name, needed, example) in [
        ("maintenance-window", "windows", "22:00"),
        ("image-provenance", "allowed", "registry.example.com"),
        ("org-labels", "rules", "${organisation}"),
    ] {
        let plan = ["plan", "-f", "op.yaml", "--release", "release.json", "--policy", name];
        let output = dir.command(&plan).env("HOOKHOST_STOCK_POLICIES", &stock).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let asked = format!("--policy {name}=SETTINGS.yaml");
        for words in [&format!("It needs {needed};"), &asked, "An example of such a file:", example] {
            assert!(stderr.contains(words), "{words} in {stderr}");
        }
    }
}

#[test]
fn an_output_fits_what_is_shown_of_it_and_nothing_else() {
    for (shown, printed) in
        [("a\nb\n", "a\nb\n"), ("a … c\n", "a  b  c\n"), ("a\n…\n", "a\nb\nc\n"), ("…\nc\n", "c\n")]
    {
        assert!(pages::fits(shown, printed), "{shown:?} {printed:?}");
    }
    for (shown, printed) in
        [("a\n", "a\nb\n"), ("a … c\n", "a  b  d\n"), ("a\n…\nd\n", "a\nb\nc\n"), ("a\n…\n", "b\n")]
    {
        assert!(!pages::fits(shown, printed), "{shown:?} {printed:?}");
    }
}

/// The name by which a heading is linked to.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|it| it.is_alphanumeric() || ['-', '_'].contains(it)).collect()
}

fn anchors(markdown: &str) -> BTreeSet<String> {
    let headings = markdown.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#'))).collect()
}

#[test]
fn every_link_of_the_documentation_leads_to_a_file_and_a_heading() {
    let (mut wrong, mut followed) = (Vec::new(), 0);
    for page in pages::all() {
        let file = pages::root().join(&page.path);
        let prose: String = page.prose().split('`').step_by(2).collect();
        for target in
            prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
        {
            if target.contains("://") {
                continue;
            }
            followed += 1;
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let to = if path.is_empty() { file.clone() } else { file.parent().unwrap().join(path) };
            let leads = to.exists()
                && (heading.is_empty() || anchors(&std::fs::read_to_string(&to).unwrap()).contains(heading));
            if !leads {
                wrong.push(format!("{}: {target}", page.path));
            }
        }
    }
    assert!(followed > 50, "only {followed} links");
    assert!(wrong.is_empty(), "links that lead nowhere: {wrong:#?}");
}

#[test]
fn the_books_contents_list_every_page_once() {
    let summary = pages::named("docs/src/SUMMARY.md").text;
    let mut listed: Vec<&str> =
        summary.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()).collect();
    listed.sort_unstable();
    let mut pages: Vec<String> = book().map(|page| page.path.replacen("docs/src/", "", 1)).collect();
    pages.retain(|page| page != "SUMMARY.md");
    pages.sort_unstable();
    assert_eq!(listed, pages);
}

#[test]
fn the_first_pages_are_short() {
    for (path, most) in SHORT {
        let lines = pages::named(path).text.lines().count();
        assert!(
            lines <= most,
            "{path} has {lines} lines, more than {most}: move what not everybody needs to docs/"
        );
    }
}

#[test]
fn every_manifest_of_the_book_is_what_hookhost_reads() {
    let mut read = 0;
    for page in book() {
        for block in page.blocks() {
            for text in block.manifests() {
                for object in yaml::read(&text).unwrap_or_else(|error| panic!("{}: {error}", block.place)) {
                    let place = &block.place;
                    match object["kind"].as_str() {
                        Some("Operation") => drop(
                            Operation::from_json(object.clone())
                                .unwrap_or_else(|error| panic!("{place}: {error}")),
                        ),
                        Some("HookPolicy") => assert_known(place, &object),
                        kind => panic!("{place}: a manifest of kind {kind:?}, which no test reads"),
                    }
                    read += 1;
                }
            }
        }
    }
    assert!(read > 1, "only {read} manifests");
}

/// Asserts that a HookPolicy has no field that its type does not have.
fn assert_known(place: &str, object: &Value) {
    let typed: HookPolicy =
        serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{place}: {error}"));
    let known = serde_json::to_value(typed).unwrap();
    assert!(
        is_within(object, &known),
        "{place} has a field that HookPolicies do not have:\n{object:#}\n{known:#}"
    );
}

fn is_within(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|other| is_within(value, other)))
        }
        (part, whole) => part == whole,
    }
}

/// The places of a value where nothing is, and not of the rules of a role, which have not all fields at once.
fn empty_places(path: &str, value: &Value, empty: &mut Vec<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields.iter().filter(|(key, _)| *key != "rules") {
                empty_places(&format!("{path}.{key}"), value, empty);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().for_each(|item| empty_places(&format!("{path}[]"), item, empty));
        }
        Value::Number(_) | Value::Bool(_) => {}
        Value::String(text) if !text.is_empty() => {}
        _ => empty.push(path.to_owned()),
    }
}

#[test]
fn the_complete_file_of_cases_has_every_field_of_a_request_and_every_kind_of_answer() {
    let file = std::fs::read_to_string(pages::root().join("docs/src/policies/cases.yaml")).unwrap();
    let file = yaml::read_one(&file).unwrap();
    let request: Request = serde_json::from_value(file["request"].clone()).unwrap();
    // Every field of the type is in its JSON, those that are not given as null or empty.
    let json = serde_json::to_value(&request).unwrap();
    let mut empty = Vec::new();
    empty_places("request", &json, &mut empty);
    assert!(empty.is_empty(), "the file shows nothing of {empty:?}");
    // But for these, which are left out.
    for numbers in [request.requested, request.hook.declared] {
        let Numbers { active_deadline_seconds, backoff_limit, ttl_seconds_after_finished } = numbers;
        assert!(
            active_deadline_seconds.is_some()
                && backoff_limit.is_some()
                && ttl_seconds_after_finished.is_some(),
            "{numbers:?}"
        );
    }
    let closure = &request.hook.closure;
    assert!(closure.iter().any(|object| !object.rules.is_empty() && !object.namespace.is_empty()));
    assert!(closure.iter().any(|object| object.role_ref.is_some() && !object.subjects.is_empty()));
    let cases = file["cases"].as_array().unwrap();
    let kinds: Vec<&str> = cases
        .iter()
        .flat_map(|case| case["expect"].as_object().unwrap().keys())
        .map(String::as_str)
        .collect();
    assert_eq!(kinds, ["allow", "deny", "hold", "invalidSettings"]);
}

/// Whether the chart has a value of this path. What is below an object that is empty by default is anybody's.
fn is_value(values: &Value, path: &str) -> bool {
    let mut at = values;
    for key in path.split('.') {
        if at.as_object().is_some_and(serde_json::Map::is_empty) {
            return true;
        }
        let Some(below) = at.get(key) else { return false };
        at = below;
    }
    true
}

#[test]
fn every_value_of_the_chart_that_a_command_sets_exists() {
    let values = std::fs::read_to_string(pages::root().join("deploy/hookhost/values.yaml")).unwrap();
    let values = yaml::read_one(&values).unwrap();
    let mut set = 0;
    for page in pages::all() {
        let mut commands: Vec<Vec<String>> = page.blocks().iter().flat_map(pages::Block::commands).collect();
        commands.extend(page.spans().iter().map(|span| span.split(' ').map(str::to_owned).collect()));
        for words in commands {
            for (_, given) in words.iter().zip(words.iter().skip(1)).filter(|(option, _)| *option == "--set")
            {
                for pair in given.split(',') {
                    let (path, _) =
                        pair.split_once('=').unwrap_or_else(|| panic!("{}: --set {given}", page.path));
                    assert!(
                        is_value(&values, path),
                        "{}: --set {given}: the chart has no value {path}",
                        page.path
                    );
                    set += 1;
                }
            }
        }
    }
    assert!(set > 10, "only {set} values");
}
