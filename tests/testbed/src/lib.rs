//! A *testbed* is a Kubernetes control plane for one test run: real etcd and a real API server on this machine, in
//! namespaces of their own.
//!
//! ```text
//!  this process ──isolate()──► the same program again, inside new net, mount and pid namespaces (it is PID 1 there)
//!                                 ├── etcd
//!                                 └── kube-apiserver ◄── kubectl, helm, helm3
//! ```
//!
//! Guarantee: when the process that called [`isolate`] ends, however it ends, every process, mount, address and file of
//! the cluster is gone, logs excepted. Nothing listens on the machine's own addresses, so several testbeds can stand
//! side by side.
//!
//! Order of use: [`Programs::build`] (may need the network), [`isolate`] (from here on there is none), [`Cluster::start`].
//!
//! Caveat: nothing runs pods yet, and no controller acts on what is stored.

mod certificates;
mod cluster;
mod error;
mod go;
mod isolation;
mod programs;

pub use cluster::{Cluster, environment};
pub use error::{Error, Result};
pub use isolation::{isolate, isolated_command};
pub use programs::{Helm, Programs};
