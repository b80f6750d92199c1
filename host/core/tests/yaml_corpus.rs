//! YAML is read as Helm reads it: every document of tests/fixtures/yaml gives what Go's own reader made of it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use hookhost_core::yaml;
use serde_json::Value;

/// Documents that Helm reads and hookhost refuses: such a hook is listed as unreadable, never misread.
const REFUSED: [&str; 11] = [
    "bom-inside",
    "bom-second-line",
    "comment-no-space",
    "comment-no-space-after-quoted",
    // Deeper than yaml::MAX_DEPTH.
    "deep-flow-9000",
    // What follows the first document does not belong to it; Go does not look at it.
    "flow-trailing",
    "indent-top-wrong",
    "flow-outdented",
    "tab-after-colon",
    // Line ends of YAML 1.1 that YAML 1.2 takes for text.
    "unicode-line-breaks",
    "unicode-line-breaks-plain",
];

/// Documents that Helm refuses and hookhost reads: no hook that Helm stored has such text.
const TOLERATED: [&str; 9] = [
    "anchor-name-odd",
    "directive-12",
    "directive-13",
    "directive-unknown",
    "flow-json-slash",
    "flow-long-key",
    "tab-after-dash",
    "tab-indent-after-spaces",
    "tab-line-only",
];

/// Documents that are read to another value.
const OTHERWISE: [&str; 2] = [
    // A block without indentation at the top of a document, which is no Kubernetes object.
    "block-top-unindented",
    // "?c" as a key within braces.
    "flow-question",
];

#[test]
fn every_document_reads_as_go_reads_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/yaml");
    let (mut refused, mut tolerated, mut otherwise) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut checked = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        // A manifest comes out of JSON, so it is always UTF-8.
        let Ok(text) = String::from_utf8(fs::read(&path).unwrap()) else { continue };
        let answer = fs::read_to_string(path.with_extension("json")).unwrap();
        // Go reads deeper than serde_json does; that Go read it is all that counts then.
        let go = serde_json::from_str::<Value>(&answer)
            .map_or(Some(Value::Null), |mut go| go.as_object_mut().unwrap().remove("json"));
        let ours = yaml::read_first(&text);
        checked += 1;
        match (ours, go) {
            (Ok(ours), Some(go)) if ours == go => {}
            (Err(_), None) => {}
            (Err(_), Some(_)) => _ = refused.insert(name),
            (Ok(_), None) => _ = tolerated.insert(name),
            (Ok(_), Some(_)) => _ = otherwise.insert(name),
        }
    }
    assert!(checked > 250, "{checked} documents");
    let expected = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(refused, expected(&REFUSED), "Helm reads these");
    assert_eq!(tolerated, expected(&TOLERATED), "Helm refuses these");
    assert_eq!(otherwise, expected(&OTHERWISE), "Helm reads these otherwise");
}
