//! The sandbox as its users see it: policies that behave, and every kind that does not.

// Helpers of tests are tests: clippy's own exception is for functions marked #[test] only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod any_answer;
mod cache;
mod compiling;
mod contract;
mod guest;
mod runaway;
mod size;

use std::sync::LazyLock;

use hookhost_core::{Decision, Overrides, Request};
use hookhost_sandbox::{Compiler, Error, Evaluation, Limits, Policy, PreparedRequest, Sandbox};

use guest::Guest;

/// One sandbox for all tests, as a host has one for all policies: what a hostile policy breaks, the next test sees.
static SANDBOX: LazyLock<Sandbox> = LazyLock::new(|| Sandbox::new(compiler()).unwrap());

fn compiler() -> Compiler {
    Compiler::new(env!("CARGO_BIN_EXE_hookhost-compile-policy"), [""; 0])
}

fn load(wasm: &[u8]) -> Result<Policy, Error> {
    SANDBOX.load(wasm, Limits::default())
}

fn evaluate(wasm: &[u8]) -> Result<Evaluation, Error> {
    let request = Request::default();
    let prepared = PreparedRequest::new(&request).unwrap();
    load(wasm)?.evaluate(&prepared, "{}")
}

/// The error of a hostile policy, after which a good policy still gets its answer.
#[track_caller]
fn error_of(wasm: &[u8]) -> Error {
    let error = evaluate(wasm).expect_err("this policy is hostile");
    let good = evaluate(&Guest::new().build()).expect("a good policy still works");
    assert_eq!(good.decision, Decision::Allow(Overrides::default()));
    assert!(!error.advice().is_empty());
    assert!(!error.to_string().contains(char::is_control), "{error}");
    error
}
