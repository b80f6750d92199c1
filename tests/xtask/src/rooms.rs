//! The modules of a crate's top level depend on one another in one direction: no circle. So a reader can begin at the ground.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::run::root;

/// Crates that are looked at.
const CRATES: [&str; 6] = ["helm", "core", "sandbox", "cluster", "controller", "cli"];

/// A module of the top level, and those that it names.
type Rooms = BTreeMap<String, BTreeSet<String>>;

/// The modules of a crate's top level with those that each depends on, tests left out.
fn rooms(src: &Path) -> std::io::Result<Rooms> {
    let mut rooms = Rooms::new();
    let root_names = reexports(&fs::read_to_string(src.join("lib.rs")).unwrap_or_default());
    for file in files(src)? {
        let path = file.strip_prefix(src).unwrap_or(&file).with_extension("");
        let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
        let room = parts[0].to_owned();
        if ["lib", "main", "testing", "bin"].contains(&parts[0])
            || parts.iter().any(|part| part.ends_with("tests"))
        {
            continue;
        }
        let text = code(&fs::read_to_string(&file)?);
        let to_root = "super::".repeat(parts.len());
        let named = ["crate::", to_root.as_str()].into_iter().flat_map(|from| names_after(&text, from));
        let named = named.map(|name| root_names.get(&name).cloned().unwrap_or(name));
        rooms.entry(room).or_default().extend(named);
    }
    let known: BTreeSet<String> = rooms.keys().cloned().collect();
    for (room, named) in &mut rooms {
        named.retain(|name| name != room && known.contains(name));
    }
    Ok(rooms)
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

/// The text without comments and without the module of its tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// What `pub use room::Name` gives a crate's root, with the room that each is of.
fn reexports(text: &str) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for statement in code(text).split(';') {
        let Some((_, path)) = statement.split_once("pub use ") else { continue };
        let Some((room, rest)) = path.trim().split_once("::") else { continue };
        for name in rest.trim_matches(['{', '}']).split(',') {
            let name = name.rsplit(" as ").next().unwrap_or_default().trim();
            names.insert(name.to_owned(), room.to_owned());
        }
    }
    names
}

/// The names that follow a prefix: one, or all of a group in braces.
fn names_after(text: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in text.match_indices(prefix) {
        let is_whole =
            !text[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':');
        let rest = &text[at + prefix.len()..];
        if !is_whole {
            continue;
        }
        match rest.strip_prefix('{') {
            Some(group) => {
                let (mut depth, mut name, mut is_first) = (1, String::new(), true);
                for letter in group.chars() {
                    match letter {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 1 => is_first = true,
                        ':' if depth == 1 => is_first = false,
                        letter if depth == 1 && is_first && (letter.is_alphanumeric() || letter == '_') => {
                            name.push(letter);
                            continue;
                        }
                        _ => {}
                    }
                    if !name.is_empty() {
                        names.insert(std::mem::take(&mut name));
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
            None => {
                let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                names.insert(name);
            }
        }
    }
    names
}

/// A circle, if there is one: each of its modules depends on the next.
fn circle(rooms: &Rooms) -> Option<Vec<String>> {
    fn visit(
        at: &str,
        rooms: &Rooms,
        path: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> Option<Vec<String>> {
        if let Some(begin) = path.iter().position(|room| room == at) {
            return Some(path[begin..].to_vec());
        }
        if !done.insert(at.to_owned()) {
            return None;
        }
        path.push(at.to_owned());
        let found = rooms.get(at).into_iter().flatten().find_map(|next| visit(next, rooms, path, done));
        path.pop();
        found
    }
    let mut done = BTreeSet::new();
    rooms.keys().find_map(|room| visit(room, rooms, &mut Vec::new(), &mut done))
}

/// The modules in layers, the ground first: each depends only on modules of the layers before its own.
fn layers(rooms: &Rooms) -> Vec<Vec<&str>> {
    let mut layer: BTreeMap<&str, usize> = rooms.keys().map(|room| (room.as_str(), 0)).collect();
    // As often as the longest way can be.
    for (room, below) in rooms.keys().flat_map(|_| rooms) {
        let above = below.iter().filter_map(|next| layer.get(next.as_str())).max().map_or(0, |most| most + 1);
        layer.insert(room, above);
    }
    let mut layers = vec![Vec::new(); layer.values().max().map_or(0, |most| most + 1)];
    layer.into_iter().for_each(|(room, layer)| layers[layer].push(room));
    layers
}

/// How the table of the modules begins in ARCHITECTURE.md. It ends with an empty line.
const TABLE: &str = "| crate | modules, from the ground up |\n|---|---|\n";

/// After a change of modules: HOOKHOST_UPDATE_GOLDEN=1 cargo test --workspace --bin xtask rooms
#[test]
fn the_modules_in_architecture_md_are_those_of_the_code() {
    let file = root().join("ARCHITECTURE.md");
    let text = fs::read_to_string(&file).unwrap();
    let (before, rest) = text.split_once(TABLE).unwrap();
    // The rows, up to the empty line.
    let end = rest.lines().take_while(|line| !line.is_empty()).map(|line| line.len() + 1).sum();
    let (shown, after) = rest.split_at(end);
    let rows = CRATES.map(|name| {
        let rooms = rooms(&root().join("host").join(name).join("src")).unwrap();
        let layers: Vec<String> = layers(&rooms).into_iter().map(|layer| layer.join(", ")).collect();
        format!("| `host/{name}` | {} |\n", layers.join(" **◄** "))
    });
    let rows = rows.concat();
    if std::env::var_os("HOOKHOST_UPDATE_GOLDEN").is_some() {
        fs::write(&file, format!("{before}{TABLE}{rows}{after}")).unwrap();
    } else {
        assert_eq!(shown, rows);
    }
}

#[test]
fn no_modules_of_a_crate_depend_on_each_other_in_a_circle() {
    for name in CRATES {
        let rooms = rooms(&root().join("host").join(name).join("src")).unwrap();
        assert!(rooms.values().any(|named| !named.is_empty()), "{name}: no module names another");
        assert_eq!(circle(&rooms), None, "of host/{name}");
    }
}

#[test]
fn a_circle_is_found_and_names_in_groups_comments_and_tests_are_read_as_rust_reads_them() {
    let names = |text: &str| names_after(&code(text), "crate::").into_iter().collect::<Vec<_>>();
    assert_eq!(
        names("use crate::a::B;\nuse crate::{c::{D, E}, f, G};\n// crate::h\nlet x = crate::i::j();"),
        ["G", "a", "c", "f", "i"]
    );
    assert_eq!(names("fn a() {}\n#[cfg(test)]\nmod tests {\nuse crate::b;\n}"), [""; 0]);
    let of = |pairs: &[(&str, &[&str])]| -> Rooms {
        pairs
            .iter()
            .map(|(room, named)| ((*room).to_owned(), named.iter().map(|name| (*name).to_owned()).collect()))
            .collect()
    };
    let acyclic = of(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[]), ("d", &["c"])]);
    assert_eq!(circle(&acyclic), None);
    assert_eq!(layers(&acyclic), [vec!["c"], vec!["b", "d"], vec!["a"]]);
    assert_eq!(circle(&of(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])])).unwrap(), ["b", "c"]);
}
