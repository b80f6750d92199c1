//! Limits are set where a store is made, so there is one such place.

// Helpers of tests are tests: clippy's own exception is for functions marked #[test] only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;

#[test]
fn exactly_one_function_of_all_host_code_makes_a_store() {
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    for krate in fs::read_dir(host).unwrap() {
        collect(&krate.unwrap().path().join("src"), &mut found);
    }
    assert_eq!(found, [host.join("sandbox/src/guest.rs")]);
}

fn collect(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let count = ["Store::new(", "Store::try_new("].map(|make| text.matches(make).count());
            found.extend((0..count.iter().sum()).map(|_| path.clone()));
        }
    }
}
