//! What the end-to-end tests stand on: a *host*, which is hookhost as a process against a real cluster, as its chart installs
//! it; a *proxy* before the API server that can kill it at any write; and a *world*, which is that cluster with releases in
//! it.
//!
//! ```text
//!  test ──► world: cluster in a box, CRDs, a gated namespace, releases made by Helm and Flux
//!    │
//!    └────► host: hookhost controller ──► (proxy) ──► API server
//!             arguments, account, rights and limits by `helm template deploy/hookhost` with the test's values
//! ```
//!
//! A test that needs a host of its own starts it with values of the chart; namespaces with the label that is its gate have
//! its RoleBindings, whichever of the two is made first:
//!
//! ```no_run
//! # use serde_json::json;
//! let world = e2e::world();
//! let host = world.host(json!({"namespaceGate": "e2e=mine", "closure": {"enabled": true}})).start();
//! let namespace = world.namespace("mine", &["e2e=mine"]);
//! ```
// What helps tests ends as they do: by panicking.
#![allow(clippy::panic)]

mod api;
mod host;
pub mod hostile;
mod installation;
mod operator;
mod parity;
mod proxy;
mod waits;
mod world;

pub use host::{Host, Setup, admin_answer, hookhost, stock_policies};
pub use installation::{MODULES, NAMESPACE, chart};
pub use operator::{Build, Operator};
pub use proxy::{Fault, Proxy};
pub use waits::WAITS;
pub use world::{
    CLUSTER_ID, GATE, PATIENCE, Release, World, condition, furnish, message, ok, release_yaml, says,
    source_yaml, world,
};
