//! Any text is an object of the API server: it is cut down to what is read of it, and what comes of that is never much longer than
//! the text.
#![no_main]

use hookhost_core::operation::Stored;
use hookhost_core::target::{self, HelmRelease, Instance, TargetKind};
use hookhost_core::{dependency, loan};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// How much longer than its text an object may be cut down: names of fields that it always has, and what JSON escapes.
fn is_bounded(text: &str, cut: &Value) -> bool {
    cut.to_string().len() <= 6 * text.len() + 1024
}

fuzz_target!(|text: &str| {
    if let Some(stored) = Stored::read(text) {
        assert!(is_bounded(text, &stored.object));
    }
    for kind in [TargetKind::HelmRelease, TargetKind::ApplicationInstance] {
        match target::stored(kind, text) {
            Ok(Some(object)) => {
                assert!(is_bounded(text, &object));
                let _ = (HelmRelease::from_json(&object), Instance::from_json(&object));
            }
            Ok(None) => {}
            Err(error) => drop(error.to_string()),
        }
    }
    if let Err(refusal) = target::refuse_plain(text, "shop", "shop") {
        assert!(!refusal.message.is_empty());
    }
    if let Some(metadata) = loan::stored(text) {
        assert!(is_bounded(text, &metadata));
    }
    if let Some(keys) = dependency::keys(text, 64, |_| true) {
        assert!(keys.len() <= 64);
    }
});
