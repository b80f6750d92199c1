//! From a Helm release record to the Job that runs one of its hooks.
//!
//! ```text
//! Operation ─► target ─► release record ─► hook ─► request ─► verdict ─► plan ─► Job
//! ```
//!
//! One noun an arrow, one type a noun, one module a type. Everything here is a pure, synchronous function: no
//! client, clock, file or network. Both the controller and `hookhost plan` call the same functions, so the plan that
//! a person sees is the Job that will run.

mod api;
pub mod approval;
pub mod claim;
pub mod clone;
pub mod closure;
pub mod conflict;
pub mod decision;
pub mod dependency;
pub mod duration;
mod foreign;
pub mod hook_index;
pub mod json;
pub mod keys;
pub mod kind;
pub mod loan;
pub mod maker;
pub mod object;
pub mod operation;
pub mod outcome;
pub mod plan;
pub mod prerequisites;
pub mod reason;
pub mod refusal;
pub mod request;
pub mod selection;
pub mod status;
pub mod step;
pub mod stored;
pub mod strip;
pub mod target;
#[cfg(test)]
mod testing;
pub mod verdict;
pub mod wait;

pub use decision::{Bounds, Decision, Denial, Overrides, Postponement};
pub use reason::{HasReason, Reason};
pub use refusal::Refusal;
pub use request::Request;
