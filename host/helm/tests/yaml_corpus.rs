//! YAML is read as Helm reads it: every document of tests/fixtures/yaml gives what Go's own reader made of it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use hookhost_helm::yaml;
use serde_json::Value;

/// Documents that Helm reads and hookhost refuses: such a hook is listed as unreadable, never misread. There are none that
/// Helm refuses and hookhost reads, nor any that both read to other values.
const REFUSED: [&str; 1] = [
    // 9,000 lists within lists. The deepest field of Kubernetes' own types is about 20 deep; what is deeper than
    // yaml::MAX_DEPTH is refused before it can exhaust a stack.
    "deep-flow-9000",
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
        let go = serde_json::from_str::<Value>(&answer).map_or(Some(Value::Null), |mut go| {
            go.as_object_mut().unwrap().remove("json").filter(Value::is_array)
        });
        let ours = yaml::read(&text).map(Value::Array);
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
    assert_eq!(tolerated, BTreeSet::new(), "Helm refuses these");
    assert_eq!(otherwise, BTreeSet::new(), "Helm reads these otherwise");
}
