//! What operators can read of conditions, reasons and events is all that there is.

use std::collections::BTreeSet;

use crate::api::{CONDITIONS, EVENTS, REASONS};
use crate::reason::Reason;

/// Reasons of HookPolicies that are no errors.
const OF_POLICIES: [&str; 2] = ["Loaded", "Evaluated"];

/// The rows of the tables in a section of the operators' reference, cell by cell.
fn rows(section: &str) -> Vec<Vec<String>> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/reference/reported.md");
    let reference = std::fs::read_to_string(file).unwrap();
    let (_, section) = reference.split_once(&format!("\n## {section}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let cells = |row: &str| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    section.lines().filter(|line| line.starts_with("| `")).map(cells).collect()
}

#[track_caller]
fn assert_lists(section: &str, words: impl IntoIterator<Item = &'static str>) {
    let rows = rows(section);
    let told: BTreeSet<String> = rows.iter().map(|cells| cells[0].trim_matches('`').to_owned()).collect();
    assert_eq!(told.len(), rows.len(), "a word of {section} is there twice");
    let words: BTreeSet<String> = words.into_iter().map(str::to_owned).collect();
    let differ: Vec<&String> = told.symmetric_difference(&words).collect();
    assert!(differ.is_empty(), "in {section} or in the code, not in both: {differ:?}");
}

#[test]
fn every_reason_is_explained_to_operators_with_what_to_do() {
    let reasons = Reason::ALL.iter().map(|reason| reason.as_str());
    assert_lists("Reasons", reasons.chain(REASONS.iter().copied()).chain(OF_POLICIES));
    for row in rows("Reasons") {
        assert!(row.len() == 3 && row.iter().all(|cell| !cell.is_empty()), "{row:?}");
    }
}

#[test]
fn every_condition_and_event_is_explained_to_operators() {
    assert_lists("Conditions of an Operation", CONDITIONS.iter().copied());
    assert_lists("Events", EVENTS.iter().copied());
}

#[test]
fn what_the_page_on_troubleshooting_names_are_reasons() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/src/operating/troubleshooting.md");
    let page = std::fs::read_to_string(file).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let named: Vec<&str> = rows.filter_map(|row| row.split_once('`')).map(|(reason, _)| reason).collect();
    assert!(named.len() > 10, "{named:?}");
    for reason in named {
        let is_known = Reason::ALL.iter().any(|it| it.as_str() == reason) || REASONS.contains(&reason);
        assert!(is_known, "{reason} is no reason");
    }
}
