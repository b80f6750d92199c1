//! SECURITY.md names the test that shows each promise: every one of them is there.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Adds the names of all functions in the Rust files below a folder.
fn functions(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            functions(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let lines = text.lines().map(str::trim_start);
            let lines = lines.map(|line| line.strip_prefix("async ").unwrap_or(line));
            let named = lines.filter_map(|line| line.strip_prefix("fn ")?.split_once('('));
            names.extend(named.map(|(name, _)| name.to_owned()));
        }
    }
}

#[test]
fn every_test_that_the_security_page_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut known = BTreeSet::new();
    for folder in ["guest-sdk", "host", "policies", "tests"] {
        functions(&root.join(folder), &mut known);
    }
    let page = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let is_test =
        |name: &&str| name.matches('_').count() > 1 && !name.contains(|c: char| c.is_uppercase() || c == ' ');
    let named: Vec<&str> = page.split('`').skip(1).step_by(2).filter(is_test).collect();
    let missing: Vec<&&str> = named.iter().filter(|name| !known.contains(**name)).collect();
    assert!(named.len() > 40, "{named:?}");
    assert!(missing.is_empty(), "SECURITY.md names tests that there are not: {missing:?}");
}
