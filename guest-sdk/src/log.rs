//! A *log line* is for the policy's author: `hookhost policy test` and `policy eval` show it, a host writes it to its
//! log. Natively, under `cargo test`, lines go to stderr.
//!
//! The contract ends an evaluation that logs more than 64 lines or more than 1,024 characters in one. These functions
//! cannot get there: a long line is cut, and lines beyond the 63rd are dropped (the 64th is kept for a panic).

use std::sync::atomic::{AtomicUsize, Ordering};

pub use crate::bindings::vworkspace::hook_policy::types::Level;
use crate::limits::{LOG_LINE_CHARS, LOG_LINES};
use crate::text::cut;

/// Ordinary lines so far. An instance lives for one evaluation, so nobody has to set it back.
static WRITTEN: AtomicUsize = AtomicUsize::new(0);

/// What helps while writing a policy.
pub fn debug(message: impl AsRef<str>) {
    line(Level::Debug, message.as_ref());
}

/// What is worth knowing of a decision.
pub fn info(message: impl AsRef<str>) {
    line(Level::Info, message.as_ref());
}

/// What is odd, but did not change the decision.
pub fn warn(message: impl AsRef<str>) {
    line(Level::Warn, message.as_ref());
}

/// What went wrong.
pub fn error(message: impl AsRef<str>) {
    line(Level::Error, message.as_ref());
}

fn line(level: Level, message: &str) {
    if !cfg!(target_arch = "wasm32") || WRITTEN.fetch_add(1, Ordering::Relaxed) < LOG_LINES - 1 {
        write(level, message);
    }
}

/// Writes a line without counting it: for the panic that ends the evaluation.
pub(crate) fn write(level: Level, message: &str) {
    let message = cut(message, LOG_LINE_CHARS);
    #[cfg(target_arch = "wasm32")]
    crate::bindings::vworkspace::hook_policy::logging::log(level, &message);
    #[cfg(not(target_arch = "wasm32"))]
    #[expect(clippy::print_stderr, reason = "natively, this is where log lines go")]
    {
        eprintln!("{level:?}: {message}");
    }
}
