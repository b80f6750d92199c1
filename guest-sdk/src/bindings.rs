//! The *bindings* are the contract of `wit/` as Rust types, generated while compiling; nothing here is written by hand.

#![allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, reason = "generated code")]

wit_bindgen::generate!({
    path: "wit",
    world: "hook-policy",
    pub_export_macro: true,
    export_macro_name: "export_bindings",
    additional_derives: [PartialEq, Default],
    additional_derives_ignore: ["decision", "level"],
});
