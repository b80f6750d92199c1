//! The compiler child: the wall behind the scan, for what the scan does not know.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};

use hookhost_core::Reason;
use hookhost_sandbox::{Compiler, Error, Limits, Sandbox};

use crate::guest::Guest;
use crate::size::doubling;

/// Gives Wasm to a child without any scan before it.
fn child(wasm: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hookhost-compile-policy"))
        // As hookhost starts it: with RUST_BACKTRACE, its last words would need more system calls than it may make.
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let wasm = wasm.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&wasm));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join().unwrap();
    output
}

/// The error of a sandbox whose compiler is a line of shell.
fn error_with(script: &str) -> Error {
    let sandbox = Sandbox::new(Compiler::new("/bin/sh", ["-c", script])).unwrap();
    sandbox.load(&Guest::new().build(), Limits::default()).expect_err("no code")
}

#[test]
fn a_bomb_that_no_scan_stopped_ends_the_child_not_the_host() {
    let output = child(&doubling(60));
    assert!(!output.status.success() && output.stdout.is_empty());
    // Out of its 1 GiB, or out of its 5 seconds.
    let signal = output.status.signal();
    assert!(matches!(signal, Some(6 | 9 | 24)), "{:?}", output.status);
}

#[test]
fn damaged_wasm_is_refused_by_the_child_with_words() {
    let output = child(b"\0asm\x0d\0\x01\0\xff");
    assert_eq!(output.status.code(), Some(3));
    assert!(!output.stderr.is_empty() && output.stdout.is_empty());
}

#[test]
fn before_it_reads_anything_the_child_has_given_up_what_no_compiler_needs() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hookhost-compile-policy"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    // It waits for its input, which never comes.
    let is_confined = || {
        let status = std::fs::read_to_string(&status).unwrap();
        ["Seccomp:\t2", "NoNewPrivs:\t1", "Threads:\t1"]
            .iter()
            .all(|line| status.lines().any(|is| is == *line))
    };
    while !is_confined() {
        assert_eq!(child.try_wait().unwrap(), None, "it has ended");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn each_way_a_child_can_end_is_an_error_of_its_own() {
    let error = error_with("echo 'bad section' >&2; exit 3");
    assert!(matches!(&error, Error::Malformed { problem } if problem == "bad section"), "{error}");
    let error = error_with("kill -ABRT $$");
    assert!(matches!(error, Error::CompileOutOfMemory { .. }), "{error}");
    let error = error_with("kill -XCPU $$");
    assert!(matches!(error, Error::CompileTimedOut { .. }), "{error}");
    let error = error_with("kill -SYS $$");
    assert!(matches!(error, Error::CompilerEscaped), "{error}");
    assert!(error.advice().contains("report it"), "{}", error.advice());
    let error = error_with("exit 101");
    assert!(matches!(error, Error::CompilerCrashed { .. }), "{error}");
    assert_eq!(error.reason(), Reason::PolicyInvalid);
    let error = error_with("exit 1");
    assert_eq!(error.reason(), Reason::HostFailed);
}

#[test]
fn output_that_is_not_our_compiler_s_is_never_loaded() {
    for script in ["", "echo running 0 tests", "cat", "printf 'hookhost-code-1\\n'; cat"] {
        let error = error_with(script);
        assert!(
            matches!(&error, Error::Host { what, .. } if what == "the policy compiler gave no code"),
            "{error}"
        );
    }
}

#[test]
fn a_compiler_that_is_not_there_is_a_failure_of_this_machine() {
    let sandbox = Sandbox::new(Compiler::new("/nonexistent/compiler", [""; 0])).unwrap();
    let error = sandbox.load(&Guest::new().build(), Limits::default()).unwrap_err();
    assert_eq!(error.reason(), Reason::HostFailed);
    assert!(error.to_string().contains("/nonexistent/compiler"), "{error}");
}

#[test]
fn fuel_and_peak_memory_are_exact_and_only_a_metered_sandbox_counts_fuel() {
    let wasm = Guest::new().build();
    let request = hookhost_core::Request::default();
    let prepared = hookhost_sandbox::PreparedRequest::new(&request).unwrap();
    let metered = Sandbox::metered(crate::compiler()).unwrap().load(&wasm, Limits::default()).unwrap();
    let first = metered.evaluate(&prepared, "{}").unwrap().cost;
    assert!(first.fuel.is_some_and(|fuel| fuel > 0));
    assert_eq!(first.peak_memory, 64 << 10);
    assert_eq!(first, metered.evaluate(&prepared, "{}").unwrap().cost);
    let plain = crate::load(&wasm).unwrap();
    assert_eq!(plain.evaluate(&prepared, "{}").unwrap().cost.fuel, None);
}
