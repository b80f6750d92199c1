//! Any JSON or YAML is read as an Operation, or refused in a message of bounded length.
#![no_main]

use hookhost_core::operation::Operation;
use hookhost_helm::yaml;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Some(value) = serde_json::from_str(text).ok().or_else(|| yaml::read_one(text).ok()) else { return };
    match Operation::from_json(value) {
        Ok(operation) => drop(operation.warnings()),
        Err(error) => assert!(error.to_string().len() < 1 << 20),
    }
});
