//! The *drawing* of the crates in ARCHITECTURE.md is true: its arrows are the dependencies between them, but for those that
//! follow from others. Crates of tests are left out, and no other crate depends on one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::run::{cargo, output, root};

/// Folders of crates, each with those that it depends on.
type Crates = BTreeMap<String, BTreeSet<String>>;

/// The crates of this workspace with what they are built with, as `cargo metadata` reports it; all policies as one.
fn crates() -> Crates {
    let metadata =
        output(cargo().args(["metadata", "--no-deps", "--offline", "--format-version=1"])).unwrap();
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let folder = |path: &str| {
        let folder = Path::new(path).strip_prefix(root()).unwrap().to_str().unwrap();
        if folder.starts_with("policies/") { "policies/*".to_owned() } else { folder.to_owned() }
    };
    let mut crates = Crates::new();
    for package in metadata["packages"].as_array().unwrap() {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        let from = folder(manifest.parent().unwrap().to_str().unwrap());
        if from.starts_with("tests/") {
            continue;
        }
        let built_with =
            package["dependencies"].as_array().unwrap().iter().filter(|one| one["kind"].is_null());
        let paths = built_with.filter_map(|one| one["path"].as_str());
        crates.entry(from).or_default().extend(paths.map(folder));
    }
    crates
}

/// The dependencies that follow from no others.
fn direct(crates: &Crates) -> Crates {
    fn reaches(from: &str, to: &str, crates: &Crates) -> bool {
        crates.get(from).into_iter().flatten().any(|next| next == to || reaches(next, to, crates))
    }
    let reduced = crates.iter().map(|(from, all)| {
        let is_direct = |to: &&String| !all.iter().any(|other| reaches(other, to, crates));
        (from.clone(), all.iter().filter(is_direct).cloned().collect())
    });
    reduced.collect()
}

/// A step to the next character of a drawing: rows, then columns.
type Step = (isize, isize);
const LEFT: Step = (0, -1);
const RIGHT: Step = (0, 1);
const UP: Step = (-1, 0);
const DOWN: Step = (1, 0);

/// Where a line goes on from a character.
fn joins(character: char) -> &'static [Step] {
    match character {
        '─' => &[LEFT, RIGHT],
        '│' => &[UP, DOWN],
        '┬' => &[LEFT, RIGHT, DOWN],
        '┴' => &[LEFT, RIGHT, UP],
        '├' => &[RIGHT, UP, DOWN],
        '┤' => &[LEFT, UP, DOWN],
        '┌' => &[RIGHT, DOWN],
        '┐' => &[LEFT, DOWN],
        '└' => &[RIGHT, UP],
        '┘' => &[LEFT, UP],
        _ => &[],
    }
}

/// The arrows of a drawing: each begins on the right of a crate, and ends with its head on the left of another.
fn drawn(text: &str) -> Crates {
    let rows: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
    let at = |(row, column): (isize, isize)| -> char {
        let row = usize::try_from(row).ok().and_then(|row| rows.get(row));
        let column = usize::try_from(column).ok();
        row.zip(column).and_then(|(row, column)| row.get(column)).copied().unwrap_or(' ')
    };
    let word = |row: isize, column: isize| -> String {
        (column..).map(|column| at((row, column))).take_while(|character| *character != ' ').collect()
    };
    let mut crates = Crates::new();
    for (row, characters) in rows.iter().enumerate() {
        for column in 0..characters.len() {
            let (row, column) = (row as isize, column as isize);
            let name = word(row, column);
            if at((row, column - 1)) != ' ' || !name.starts_with(char::is_alphabetic) {
                continue;
            }
            let begin = (row, column + name.chars().count() as isize + 1);
            let found = crates.entry(name).or_default();
            let (mut open, mut seen) = (vec![begin], BTreeSet::new());
            while let Some(place) = open.pop() {
                if at(place) == '►' {
                    found.insert(word(place.0, place.1 + 2));
                } else if seen.insert(place) {
                    open.extend(joins(at(place)).iter().map(|step| (place.0 + step.0, place.1 + step.1)));
                }
            }
        }
    }
    crates
}

#[test]
fn the_drawing_of_the_crates_has_an_arrow_for_each_dependency_and_no_other() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let drawing = text.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let crates = crates();
    assert!(crates.len() > 5, "{crates:?}");
    assert_eq!(drawn(drawing), direct(&crates), "the first drawing of ARCHITECTURE.md against Cargo.toml");
}

#[test]
fn arrows_are_followed_round_corners_and_what_follows_from_others_is_left_out() {
    let drawing = "a ─┬─► b ─┬─► d\n   └─► c ─┘\n        e ─► d";
    let of = |pairs: &[(&str, &[&str])]| -> Crates {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        pairs.iter().map(|(from, to)| ((*from).to_owned(), owned(to))).collect()
    };
    let direct_ones = of(&[("a", &["b", "c"]), ("b", &["d"]), ("c", &["d"]), ("d", &[]), ("e", &["d"])]);
    assert_eq!(drawn(drawing), direct_ones);
    let mut all = direct_ones.clone();
    all.get_mut("a").unwrap().insert("d".to_owned());
    assert_eq!(direct(&all), direct_ones);
}
