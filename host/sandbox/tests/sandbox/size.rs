//! Components that would be too costly to compile or to make an instance of.

use hookhost_core::Reason;
use hookhost_sandbox::{Error, Limits};

use crate::guest::Guest;
use crate::{error_of, load};

#[track_caller]
fn too_costly(wasm: &[u8]) -> &'static str {
    let error = error_of(wasm);
    assert_eq!(error.reason(), Reason::PolicyInvalid);
    match error {
        Error::TooCostly { what, found, limit } if found > limit => what,
        _ => panic!("{error}"),
    }
}

fn with(fields: &str) -> Vec<u8> {
    Guest::new().with(fields).build()
}

/// A function of `locals` locals around `body`.
fn function(locals: usize, body: &str) -> Vec<u8> {
    with(&format!("(func (local {}) {body})", "i32 ".repeat(locals)))
}

/// Components nested `depth` deep, each used twice by the one around it.
pub(crate) fn doubling(depth: usize) -> Vec<u8> {
    let mut text = "(component $c0)".to_owned();
    for n in 1..=depth {
        let inner = n - 1;
        text = format!(
            "(component $c{n} {text} (instance $a (instantiate $c{inner})) (instance $b (instantiate $c{inner})))"
        );
    }
    wat::parse_str(text).unwrap()
}

#[test]
fn a_policy_under_other_limits_is_held_to_those() {
    let policy = load(&Guest::new().memory("3").build()).unwrap();
    let small = Limits::default().with_memory(128 << 10).unwrap();
    assert!(matches!(
        policy.with_limits(small),
        Err(Error::TooCostly { found: 196_608, limit: 131_072, .. })
    ));
    let large = Limits::default().with_memory(256 << 10).unwrap();
    assert_eq!(policy.with_limits(large).unwrap().limits(), large);
    assert_eq!(policy.limits(), Limits::default());
}

#[test]
fn memory_beyond_the_policy_s_limit_at_its_start_is_refused() {
    assert_eq!(too_costly(&Guest::new().memory("272").build()), "bytes of memory at its start");
    assert_eq!(too_costly(&Guest::new().memory("65536").build()), "bytes of memory at its start");
}

#[test]
fn many_tables_and_huge_tables_are_refused() {
    assert_eq!(too_costly(&with(&"(table 1 funcref)".repeat(99))), "tables in one module");
    assert_eq!(too_costly(&with("(table 10000000 funcref)")), "entries in one table");
}

#[test]
fn more_than_4_mib_are_refused() {
    let data = format!("(data (i32.const 0) \"{}\")", "x".repeat(4 << 20));
    assert_eq!(too_costly(&Guest::new().memory("100").with(&data).build()), "bytes");
}

#[test]
fn components_that_double_at_each_level_are_refused() {
    assert_eq!(too_costly(&doubling(40)), "nested components");
}

#[test]
fn instances_of_instances_of_instances_are_refused() {
    let many = |inner: &str| format!("(instance (instantiate {inner}))").repeat(900);
    let text = format!(
        "(component (component $a (core module $m) {core}) (component $b (component $x) {x}) {a})",
        core = "(core instance (instantiate $m))".repeat(900),
        x = many("$x"),
        a = many("$a"),
    );
    assert_eq!(too_costly(&wat::parse_str(text).unwrap()), "instances");
}

#[test]
fn components_nested_20000_deep_are_refused() {
    // Written by hand: a section of kind 4 holds a component, whose length is that of all within.
    let mut wasm = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..20_000 {
        let mut outer = b"\0asm\x0d\0\x01\0\x04".to_vec();
        let mut len = wasm.len();
        while len >= 128 {
            outer.push((len & 127) as u8 | 128);
            len >>= 7;
        }
        outer.push(len as u8);
        outer.append(&mut wasm);
        wasm = outer;
    }
    assert_eq!(too_costly(&wasm), "nested components");
}

#[test]
fn nested_loops_with_many_locals_are_refused() {
    let body = |n| "(loop ".repeat(n) + &")".repeat(n);
    assert_eq!(too_costly(&function(1000, &body(299).repeat(10))), "locals times blocks in one function");
    assert_eq!(too_costly(&function(1, &body(301))), "blocks nested in one function");
    assert_eq!(too_costly(&function(2001, "")), "locals in one function");
}

#[test]
fn a_function_of_many_branches_is_refused() {
    let body = "(if (i32.const 0) (then))".repeat(5001);
    assert_eq!(too_costly(&function(0, &body)), "blocks in one function");
}

#[test]
fn a_huge_function_is_refused() {
    let body = "(drop (i32.const 0))".repeat(100_000);
    assert_eq!(too_costly(&function(0, &body)), "bytes in one function");
}

#[test]
fn a_great_many_functions_are_refused() {
    assert_eq!(too_costly(&with(&"(func)".repeat(20_001))), "functions");
}

#[test]
fn many_modules_types_and_imports_are_refused() {
    let component = |text: String| wat::parse_str(format!("(component {text})")).unwrap();
    assert_eq!(too_costly(&component("(core module)".repeat(9))), "core modules");
    assert_eq!(too_costly(&component("(type u8)".repeat(5001))), "types");
    let imports: String = (0..1001).map(|n| format!("(import \"i\" \"{n}\" (func))")).collect();
    assert_eq!(too_costly(&component(format!("(core module {imports})"))), "imports");
}

#[test]
fn what_is_just_within_the_limits_is_compiled() {
    let loops = |n| "(loop ".repeat(n) + &")".repeat(n);
    load(&function(99, &loops(250).repeat(20))).expect("99 locals, 5000 blocks, 250 deep");
}
