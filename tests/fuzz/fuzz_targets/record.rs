//! Any bytes are read as a release record or refused; what was read lists its hooks.
#![no_main]

use hookhost_helm::Record;
use hookhost_helm::hook::{self, Selector};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for record in [Record::read(bytes), Record::read_secret_value(bytes)] {
        match record {
            Ok(record) => {
                let _ =
                    hook::find(&record.hooks(), &Selector { name: "shop-migrate", ..Selector::default() });
                let _ = hookhost_core::plan::warnings_of_record(&record);
            }
            Err(error) => drop(error.to_string()),
        }
    }
});
