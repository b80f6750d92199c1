//! Runs hook policies: WebAssembly components that decide whether, and within which bounds, a hook may run.
//!
//! ```text
//!  Wasm ─► scan ─► compile (child process) ─► code ─► Policy ─► evaluate: fresh instance ─► Evaluation
//!                                              ▲  ▼
//!                                             Cache
//! ```
//!
//! # Guarantees
//! - **Isolation.** Every call gets an instance of its own that is discarded after the answer. Nothing of one
//!   evaluation, not even of one that failed, reaches another.
//! - **Determinism.** A policy has no clock, randomness, files or network; the same request and settings give the same
//!   decision, on every machine.
//! - **Bounds.** Time, memory, stack, logs, and the sizes of everything that goes in or comes out. What reaches a
//!   bound is an [`Error`] that says which, and the sandbox works on.
//! - **Compiling is bounded too.** No policy is compiled in this process: see [`Compiler`].
//!
//! # Use
//! ```no_run
//! use hookhost_core::Request;
//! use hookhost_sandbox::{Cache, Compiler, Limits, PreparedRequest, Sandbox};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let sandbox = Sandbox::new(Compiler::this_program())?.with_cache(Cache::open("/var/cache/hookhost")?);
//! let policy = sandbox.load(&std::fs::read("deadline-cap.wasm")?, Limits::default())?;
//!
//! let request = Request::default();
//! let prepared = PreparedRequest::new(&request)?; // once, for any number of policies
//! let evaluation = policy.evaluate(&prepared, "{}")?;
//! # Ok(())
//! # }
//! ```
//! [`Compiler::this_program`] starts the calling program again with the one argument [`SUBCOMMAND`]; its `main` must
//! answer that with [`compile_child_main`] before it does anything else.

mod answer;
mod bounds;
mod cache;
mod clock;
mod code;
mod compile;
mod contract;
mod engine;
mod error;
mod guest;
mod interface;
pub mod limits;
mod log;
mod policy;
mod reused;
mod sandbox;
mod scan;
mod text;
mod wire;
#[allow(unreachable_pub, clippy::all, missing_docs)] // generated
mod wit;

pub use answer::{Description, SettingsError};
pub use cache::Cache;
pub use compile::{COMPILER_BYTES, Compiler, SUBCOMMAND, compile_child_main};
pub use error::{Error, Source};
pub use guest::Cost;
pub use limits::Limits;
pub use log::{Level, LogLine};
pub use policy::{Evaluation, Policy};
#[doc(hidden)]
pub use reused::Reused;
pub use sandbox::Sandbox;
pub use wire::PreparedRequest;
