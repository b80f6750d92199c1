//! Watches Operations in a cluster and runs the hook that each names exactly once.
//!
//! ```text
//!             ┌────────── watch ───────────┐            ┌──── read ────┐
//!  API server ┤ Operations, Jobs, pods, …  ├─► reconcile ┤ what decides ├─► core: may it run? plan ─► write ─► API server
//!             └────────────────────────────┘      ▲      └──────────────┘         │
//!                                               wake                           policy (sandbox)
//! ```
//!
//! What decides is in `hookhost-core`, and pure; here is what reads the cluster, what writes to it, and the order of the
//! two. [`run`] is all of it.

pub mod admin;
mod backoff;
mod binding_keeper;
mod bindings;
mod claim_key;
mod claims;
pub mod config;
pub mod crd;
pub mod event;
mod fair;
mod garbage;
mod in_flight;
mod lender;
mod lists;
mod looks;
pub mod memory;
pub mod metrics;
mod organisation;
mod orphans;
pub mod policy;
mod reconcile;
mod run;
mod search;
mod started;
mod stop;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod uninstall;
mod wake;
mod watch;
mod written;

pub use claim_key::{ClaimSecret, DEFAULT_SECRET};
pub use config::Config;
pub use run::{RunError, run};
