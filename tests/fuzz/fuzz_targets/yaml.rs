//! Any text is read as YAML or refused; what was read is written so that it reads back the same.
#![no_main]

use hookhost_helm::yaml;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let documents = match yaml::read(text) {
        Ok(documents) => documents,
        Err(error) => return drop(error.to_string()),
    };
    // A text of nothing but null is no document.
    for document in documents.into_iter().filter(|document| !document.is_null()) {
        let written = yaml::write(&document);
        assert_eq!(yaml::read_one(&written).as_ref(), Ok(&document), "{written}");
    }
});
