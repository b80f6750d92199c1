//! Components that are not policies, or policies of another world.

use hookhost_core::Reason;
use hookhost_sandbox::Error;

use crate::error_of;
use crate::guest::{self, Guest};

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

#[track_caller]
fn forbidden(text: &str) -> String {
    let error = error_of(&component(text));
    assert_eq!(error.reason(), Reason::PolicyIncompatible);
    match &error {
        Error::ForbiddenImport { name } => format!("{name}\n{}", error.advice()),
        _ => panic!("{error}"),
    }
}

#[test]
fn a_wasi_import_is_refused_by_its_name() {
    let error = forbidden(r#"(component (import "wasi:filesystem/types@0.2.0" (instance)))"#);
    assert!(
        error.starts_with("wasi:filesystem/types@0.2.0\n") && error.contains("wasm32-unknown-unknown"),
        "{error}"
    );
}

#[test]
fn any_other_import_is_refused_by_its_name() {
    let error = forbidden(r#"(component (import "acme:telemetry/send@1.0.0" (instance)))"#);
    assert!(error.starts_with("acme:telemetry/send@1.0.0\n") && error.contains("logging@0.1.0"), "{error}");
    let error = forbidden(r#"(component (import "now" (func (result u64))))"#);
    assert!(error.starts_with("now\n"), "{error}");
}

#[test]
fn a_policy_for_another_version_of_the_contract_is_refused_with_both_versions() {
    let error = error_of(&guest::of_version("0.2.0"));
    let Error::Incompatible { found, expected } = &error else { panic!("{error}") };
    // Imports come first in a component.
    assert_eq!(found, "vworkspace:hook-policy/types@0.2.0");
    assert_eq!(expected, "vworkspace:hook-policy/types@0.1.0");
    assert_eq!(error.reason(), Reason::PolicyIncompatible);
}

#[test]
fn a_policy_for_a_later_patch_of_the_contract_loads() {
    assert!(crate::load(&guest::of_version("0.1.9")).is_ok());
}

#[test]
fn a_component_that_exports_no_policy_is_refused() {
    let error = error_of(&component("(component)"));
    assert!(
        matches!(&error, Error::MissingExport { expected } if expected.ends_with("/policy@0.1.0")),
        "{error}"
    );
    assert!(error.advice().contains("hook_policy::export!(YourPolicy);"), "{}", error.advice());
}

#[test]
fn an_export_of_the_right_name_with_other_functions_is_refused() {
    let error = error_of(&component(
        r#"(component (instance $i) (export "vworkspace:hook-policy/policy@0.1.0" (instance $i)))"#,
    ));
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    assert_eq!(error.reason(), Reason::PolicyIncompatible);
}

#[test]
fn a_function_with_another_signature_is_refused() {
    let wit = "package vworkspace:hook-policy@0.1.0;
        interface policy { describe: func() -> string; }
        world w { export policy; }";
    let module = wat::parse_str(
        r#"(module (memory (export "memory") 1)
            (func (export "vworkspace:hook-policy/policy@0.1.0#describe") (result i32) unreachable))"#,
    );
    let error = error_of(&guest::component(module.unwrap(), wit, "w"));
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
}

#[test]
fn a_core_module_is_refused_as_one() {
    let error = error_of(&Guest::new().module());
    assert!(matches!(error, Error::CoreModule), "{error}");
    assert_eq!(error.reason(), Reason::PolicyInvalid);
}

#[test]
fn bytes_that_are_not_webassembly_are_refused_as_such() {
    for bytes in [&b""[..], b"\0asm", b"\x7fELF\x02\x01\x01\0\0\0\0\0", b"(component)", b"\0asm\x0d\0\x01"] {
        let error = error_of(bytes);
        assert!(matches!(error, Error::NotWasm), "{error}");
    }
}

#[test]
fn a_component_cut_at_any_place_is_refused_and_never_accepted() {
    let whole = Guest::new().build();
    for len in (8..whole.len()).step_by(whole.len() / 50) {
        let error = crate::load(&whole[..len]).expect_err("cut");
        assert!(matches!(error, Error::Malformed { .. } | Error::MissingExport { .. }), "{len}: {error}");
    }
}

#[test]
fn parts_of_webassembly_that_policies_may_not_use_are_refused() {
    for fields in [
        "(func (drop (v128.const i64x2 0 0)))",
        "(func (drop (i32.atomic.load (i32.const 0))))",
        "(memory i64 1)",
        "(type $s (struct (field i32))) (func (drop (struct.new_default $s)))",
        "(memory 1) (memory 1)",
    ] {
        let error = error_of(&Guest::new().with(fields).build());
        let refused = matches!(error, Error::Malformed { .. } | Error::DoesNotFit { .. });
        assert!(refused && error.reason() == Reason::PolicyInvalid, "{fields}: {error}");
    }
}
