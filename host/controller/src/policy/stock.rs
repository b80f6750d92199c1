//! The *stock policies* come with hookhost: components in the folder `stock-policies` beside its program, as in its image,
//! each named as its file is without `.wasm`.
//!
//! They are trusted as hookhost's own program is, and no more: who can change the one can change the other. They are loaded as
//! any other policy, in the same sandbox within the same limits, and can be pinned by their digest.

use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use hookhost_helm::name::is_dns_label;
use hookhost_helm::text::list;

/// The environment variable that names the folder of the stock policies.
pub const ENV: &str = "HOOKHOST_STOCK_POLICIES";
/// The folder's name, beside the program.
const FOLDER: &str = "stock-policies";
/// What their files are called, after their names.
const EXTENSION: &str = ".wasm";
/// Entries of the folder that are looked at for a message: hookhost comes with five, a person may add some.
const MAX_ENTRIES: usize = 256;
/// Stock policies that a message names.
const MAX_NAMED: usize = 32;

/// Whether `text` can be the name of a stock policy: a DNS label, which no path and no file with an extension is.
pub fn is_name(text: &str) -> bool {
    is_dns_label(text)
}

/// The folder of the stock policies where none is chosen: the one beside this program, wherever links to the program are. None
/// where the system does not tell where the program is.
pub fn beside_program() -> Option<PathBuf> {
    let program = std::env::current_exe().and_then(|program| program.canonicalize()).ok()?;
    Some(program.parent()?.join(FOLDER))
}

/// The file of the stock policy `name`, below the folder.
pub fn file(name: &str) -> PathBuf {
    PathBuf::from(format!("{name}{EXTENSION}"))
}

/// Says which stock policies there are in `dir`, as the end of an error about one that is not among them.
pub fn known(dir: Option<&Path>) -> String {
    let Some(dir) = dir else {
        return format!("the folder of the stock policies is not known; name it in {ENV}");
    };
    let names = names(dir);
    if names.is_empty() {
        return format!(
            "the folder {} has no stock policies; hookhost's image has them, and {ENV} names another folder, such as \
             target/policies of a build",
            dir.display()
        );
    }
    format!("the stock policies are {}", list(&names))
}

/// The names of the stock policies in a folder, sorted.
fn names(dir: &Path) -> Vec<String> {
    let entries = dir.read_dir().into_iter().flatten().take(MAX_ENTRIES);
    let name = |entry: DirEntry| {
        let name = entry.file_name().to_str()?.strip_suffix(EXTENSION)?.to_owned();
        is_name(&name).then_some(name)
    };
    let mut names: Vec<String> = entries.filter_map(Result::ok).filter_map(name).collect();
    names.sort();
    names.truncate(MAX_NAMED);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stock_policies_are_the_components_of_their_folder() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["org-labels.wasm", "deadline-cap.wasm", "README.md", "Own.wasm", ".wasm"] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        assert_eq!(known(Some(dir.path())), "the stock policies are deadline-cap and org-labels");
    }

    #[test]
    fn without_any_the_message_names_the_folder_and_the_variable() {
        let dir = tempfile::tempdir().unwrap();
        let nowhere = dir.path().join("nowhere");
        for dir in [dir.path(), &nowhere] {
            let said = known(Some(dir));
            assert!(said.contains(&dir.display().to_string()) && said.contains(ENV), "{said}");
        }
        assert!(known(None).contains(ENV));
    }

    #[test]
    fn no_path_is_a_name() {
        assert!(is_name("deadline-cap"));
        for text in ["", "-", "a.wasm", "a/b", "..", "Cap", "-a"] {
            assert!(!is_name(text), "{text}");
        }
    }
}
