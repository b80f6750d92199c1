//! What the end-to-end tests stand on: a *host*, which is hookhost as a process against a real cluster; a *proxy* before
//! the API server that can kill it at any write; and a *world*, which is that cluster with releases in it.
//!
//! ```text
//!  test ──► world: cluster in a box, CRDs, a gated namespace, releases made by Helm and Flux
//!    │
//!    └────► host: hookhost controller ──► (proxy) ──► API server
//! ```
// What helps tests ends as they do: by panicking.
#![allow(clippy::panic)]

mod api;
mod host;
mod proxy;
mod waits;
mod world;

pub use host::{Host, hookhost};
pub use proxy::{Fault, Proxy};
pub use waits::WAITS;
pub use world::{
    CLUSTER_ID, GATE, PATIENCE, Release, World, condition, furnish, message, ok, release_yaml, says,
    source_yaml, world,
};
