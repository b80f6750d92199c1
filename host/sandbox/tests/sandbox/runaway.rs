//! Policies that do not end, fall over, or want too much while they run.

use std::time::Duration;

use hookhost_core::Reason;
use hookhost_sandbox::{Error, Limits, PreparedRequest, Reused, Sandbox};

use crate::guest::{Guest, answer};
use crate::{SANDBOX, compiler, error_of, load};

const LOOP: &str = "(loop $l (br $l))";

#[track_caller]
fn times_out(guest: &Guest) {
    let error = error_of(&guest.build());
    assert!(matches!(error, Error::TimedOut { limit, .. } if limit == Duration::from_millis(50)), "{error}");
    assert_eq!(error.reason(), Reason::PolicyTimedOut);
}

#[track_caller]
fn traps(guest: &Guest, words: &str) {
    let error = error_of(&guest.build());
    assert!(matches!(&error, Error::Trapped { trap, .. } if trap.contains(words)), "{error}");
    assert_eq!(error.reason(), Reason::PolicyTrapped);
}

fn forever(body: &str) -> Guest {
    Guest::new().evaluate(&format!("(loop $l {body} (br $l)) {}", answer()))
}

#[test]
fn a_loop_in_evaluate_is_ended() {
    times_out(&forever(""));
}

#[test]
fn a_loop_in_the_allocator_is_ended() {
    times_out(&Guest::new().realloc(&format!("{LOOP} (i32.const 0)")));
}

#[test]
fn a_loop_in_the_start_function_is_ended() {
    times_out(&Guest::new().with(&format!("(start $s) (func $s {LOOP})")));
}

#[test]
fn a_loop_after_the_answer_is_ended() {
    times_out(&Guest::new().with(&format!(
        r#"(func (export "cabi_post_vworkspace:hook-policy/policy@0.1.0#evaluate") (param i32) {LOOP})"#
    )));
}

#[test]
fn growing_memory_forever_is_ended() {
    times_out(&forever("(drop (memory.grow (i32.const 1)))"));
}

#[test]
fn filling_memory_forever_is_ended() {
    times_out(
        &forever("(memory.fill (i32.const 0) (i32.const 1) (i32.const 16000000))")
            .memory("256 256")
            .realloc("(i32.const 65536)"),
    );
}

#[test]
fn growing_a_table_forever_is_ended() {
    times_out(&forever("(drop (table.grow $t (ref.null func) (i32.const 1)))").with("(table $t 0 funcref)"));
}

#[test]
fn endless_recursion_is_a_trap() {
    traps(
        &Guest::new().with("(func $f (result i32) (i32.add (call $f) (i32.const 1)))").evaluate("(call $f)"),
        "call stack exhausted",
    );
}

#[test]
fn unreachable_is_a_trap() {
    traps(&Guest::new().evaluate("unreachable"), "unreachable");
}

#[test]
fn division_by_zero_is_a_trap() {
    traps(&Guest::new().evaluate("(i32.div_u (i32.const 1) (i32.const 0))"), "divide by zero");
}

#[test]
fn reading_outside_memory_is_a_trap() {
    traps(&Guest::new().evaluate("(i32.load (i32.const -8))"), "out of bounds memory access");
}

#[test]
fn a_trap_in_the_start_function_is_a_trap() {
    traps(&Guest::new().with("(start $s) (func $s unreachable)"), "unreachable");
}

#[test]
fn a_trap_in_describe_and_in_validate_settings_is_a_trap() {
    let policy = load(&Guest::new().describe("unreachable").validate("unreachable").build()).unwrap();
    assert!(matches!(policy.describe(), Err(Error::Trapped { .. })));
    assert!(matches!(policy.validate_settings("{}"), Err(Error::Trapped { .. })));
}

#[test]
fn running_out_of_memory_is_told_apart_from_a_plain_trap() {
    // What Rust does: ask for memory, and trap if there is none.
    let body = format!(
        "(loop $l (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable)) (br $l)) {}",
        answer()
    );
    let error = error_of(&Guest::new().evaluate(&body).build());
    assert!(matches!(error, Error::OutOfMemory { limit, .. } if limit == 16 << 20), "{error}");
    assert_eq!(error.reason(), Reason::PolicyOutOfMemory);
}

#[test]
fn a_smaller_memory_limit_is_kept_exactly() {
    // Grows by 3 pages to 4 and answers; traps if it cannot.
    let body =
        format!("(if (i32.eq (memory.grow (i32.const 3)) (i32.const -1)) (then unreachable)) {}", answer());
    let wasm = Guest::new().evaluate(&body).build();
    let request = hookhost_core::Request::default();
    let prepared = PreparedRequest::new(&request).unwrap();
    let with = |bytes| {
        let limits = Limits::default().with_memory(bytes).unwrap();
        SANDBOX.load(&wasm, limits).unwrap().evaluate(&prepared, "{}")
    };
    assert_eq!(with(256 << 10).unwrap().cost.peak_memory, 256 << 10);
    assert!(matches!(with((256 << 10) - 1), Err(Error::OutOfMemory { .. })));
}

#[test]
fn another_time_limit_is_named_in_the_error() {
    let limits = Limits::default().with_timeout(Duration::from_millis(20)).unwrap();
    let policy = SANDBOX.load(&forever("").build(), limits).unwrap();
    let request = hookhost_core::Request::default();
    let error = policy.evaluate(&PreparedRequest::new(&request).unwrap(), "{}").unwrap_err();
    assert!(error.to_string().contains("20ms"), "{error}");
}

#[test]
fn limits_outside_their_range_are_refused_with_the_range() {
    let error = Limits::default().with_memory(1 << 30).unwrap_err();
    assert!(error.to_string().contains("65536 to 67108864 bytes"), "{error}");
    let error = Limits::default().with_timeout(Duration::ZERO).unwrap_err();
    assert!(error.to_string().contains("10ms to 10s"), "{error}");
}

#[test]
fn more_evaluations_at_once_than_there_are_slots_are_told_to_try_again() {
    let policy = Sandbox::new(compiler()).unwrap().load(&Guest::new().build(), Limits::default()).unwrap();
    let request = hookhost_core::Request::default();
    let prepared = PreparedRequest::new(&request).unwrap();
    let mut held: Vec<Reused> = (0..64).map(|_| Reused::new(&policy).unwrap()).collect();
    let error = policy.evaluate(&prepared, "{}").unwrap_err();
    assert!(matches!(error, Error::Busy { limit: 64 }), "{error}");
    assert_eq!(error.reason(), Reason::SandboxBusy);
    held.pop();
    assert!(policy.evaluate(&prepared, "{}").is_ok());
}
