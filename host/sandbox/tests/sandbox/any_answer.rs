//! Any bytes as an answer: they are held to the contract, or refused as what they are.

use std::sync::LazyLock;
use std::time::Duration;

use hookhost_core::{Request, decision};
use hookhost_sandbox::{Error, Limits, Policy, PreparedRequest};
use proptest::prelude::*;

use crate::SANDBOX;
use crate::guest::{ANSWER, Guest};

/// Writes the bytes whose hexadecimal digits are at `$from` to where an answer is.
const UNHEX: &str = r#"
    (global $record (mut i32) (i32.const 0))
    (func $digit (param $at i32) (result i32) (local $c i32)
      (local.set $c (i32.load8_u (local.get $at)))
      (if (result i32) (i32.gt_u (local.get $c) (i32.const 57))
        (then (i32.sub (local.get $c) (i32.const 87)))
        (else (i32.sub (local.get $c) (i32.const 48)))))
    (func $unhex (param $from i32) (param $chars i32) (local $n i32)
      (block $done (loop $next
        (br_if $done (i32.ge_u (i32.shl (local.get $n) (i32.const 1)) (local.get $chars)))
        (i32.store8 (i32.add (i32.const 1024) (local.get $n))
          (i32.or
            (i32.shl (call $digit (i32.add (local.get $from) (i32.shl (local.get $n) (i32.const 1)))) (i32.const 4))
            (call $digit (i32.add (local.get $from) (i32.add (i32.shl (local.get $n) (i32.const 1)) (i32.const 1))))))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br $next))))"#;

/// A policy whose answer is what its settings say, in hexadecimal.
static ECHO: LazyLock<Policy> = LazyLock::new(|| {
    // The first allocation of an evaluation is the record of its parameters, of which the settings are the last.
    let realloc = "(local $p i32)
        (if (i32.eqz (global.get $record)) (then (global.set $record (local.get 3))))
        (local.set $p (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
        (global.set $next (i32.add (local.get $p) (local.get 3)))
        (local.get $p)";
    let settings = |offset: i32| {
        format!(
            "(i32.load (i32.add (local.get 0) (i32.sub (global.get $record) (i32.const {}))))",
            8 - offset
        )
    };
    let evaluate = format!("(call $unhex {} {}) (i32.const {ANSWER})", settings(0), settings(4));
    let validate = format!("(call $unhex (local.get 0) (local.get 1)) (i32.const {ANSWER})");
    let wasm = Guest::new().with(UNHEX).realloc(realloc).evaluate(&evaluate).validate(&validate).build();
    let limits = Limits::default().with_timeout(Duration::from_secs(5)).unwrap();
    SANDBOX.load(&wasm, limits).unwrap()
});

/// Words of 32 bits: counts and tags, addresses within the answer, anything.
fn words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => 0..3u32,
        2 => 3..80u32,
        3 => ANSWER..ANSWER + 640,
        1 => any::<u32>(),
        1 => "[a-z]{4}".prop_map(|text| text.bytes().fold(0, |word, byte| word << 8 | u32::from(byte))),
    ];
    prop::collection::vec(word, 0..160).prop_map(|words| {
        words.iter().flat_map(|word| word.to_le_bytes()).map(|byte| format!("{byte:02x}")).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn any_bytes_as_a_decision_keep_the_contract_or_are_refused(answer in words()) {
        let request = Request::default();
        let prepared = PreparedRequest::new(&request).unwrap();
        match ECHO.evaluate(&prepared, &answer) {
            Ok(evaluation) => prop_assert_eq!(decision::check(&evaluation.decision), Ok(())),
            Err(error) => {
                prop_assert!(matches!(error, Error::BadOutput { .. }), "{error:?}");
                let text = error.to_string();
                prop_assert!(text.len() < 8192 && !text.contains(char::is_control), "{text}");
            }
        }
    }

    #[test]
    fn any_bytes_as_errors_of_settings_are_bounded_or_refused(answer in words()) {
        match ECHO.validate_settings(&answer) {
            Ok(errors) => {
                prop_assert!(errors.len() <= 64);
                for error in errors {
                    prop_assert!(error.path.chars().count() <= 1025 && !error.path.contains(char::is_control));
                    prop_assert!(error.message.chars().count() <= 1025 && !error.message.contains(char::is_control));
                }
            }
            Err(error) => prop_assert!(matches!(error, Error::BadOutput { .. }), "{error:?}"),
        }
    }
}

#[test]
fn the_policy_that_echoes_does_so() {
    let request = Request::default();
    let prepared = PreparedRequest::new(&request).unwrap();
    // Hold, with a reason and a message at address 1056, for 90 seconds.
    let words = [2, 0, 1056, 1, 1057, 2, 90, 0, u32::from_le_bytes(*b"Xyz.")];
    let answer: String =
        words.iter().flat_map(|word: &u32| word.to_le_bytes()).map(|byte| format!("{byte:02x}")).collect();
    let decision = ECHO.evaluate(&prepared, &answer).unwrap().decision;
    let hold =
        hookhost_core::Postponement { reason: "X".into(), message: "yz".into(), retry_after_seconds: 90 };
    assert_eq!(decision, hookhost_core::Decision::Hold(hold));
}
