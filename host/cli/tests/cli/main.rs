//! The real binary, as a person or a script calls it.
//!
//! - `support`: a folder of its own for each test, calling the binary, records and policies to call it with
//! - `bad_input`: every kind of bad input: what is said, where, and the exit code
//! - `cluster`: commands for a cluster, where there is none
//! - `docs`: the documentation, with the `pages` that it has
//! - `hooks`, `plan`, `policy`: the commands' results
//! - `proxy`: the way to a cluster through proxies
//! - `terminal`: nothing that is printed steers a terminal
//! - `usage`: help, completions, exit codes, errors as JSON, pipes
// A test ends by panicking; clippy knows that of test functions only, not of their helpers.
#![allow(clippy::unwrap_used, clippy::panic)]

mod bad_input;
mod cluster;
mod docs;
mod hooks;
#[path = "../pages/mod.rs"]
mod pages;
mod plan;
mod policy;
mod proxy;
mod support;
mod terminal;
mod usage;
