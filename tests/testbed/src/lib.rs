//! A *testbed* is a Kubernetes cluster for one test run, on this machine, in namespaces of its own: as little of it as a
//! test needs, or the whole.
//!
//! ```text
//!  this process ──isolate()──► the same program again, inside new net, mount and pid namespaces (it is PID 1 there)
//!                                 │
//!        Options::api_server()    ├── etcd
//!                                 ├── kube-apiserver, https://10.96.0.1 ◄── kubectl, helm, helm3
//!        Options::controllers()   ├── kube-controller-manager
//!        Options::pods()          ├── kube-scheduler
//!                                 ├── the node, in mount and pid namespaces of its own in there
//!                                 │      ├── containerd ── shims ── runc ── containers ◄── Image
//!                                 │      └── kubelet                        (a bridge joins them to 10.96.0.1)
//!        .with_registry()         ├── docker-registry ◄── Cluster::push_chart
//!        .with_flux()             └── source-controller, helm-controller
//! ```
//!
//! Guarantee: when the process that called [`isolate`] ends, however it ends, every process, container, mount, address,
//! cgroup and file of the cluster is gone; logs stay. Nothing listens on the machine's own addresses, and no containerd
//! or kubelet of the machine is touched, so several testbeds can stand side by side.
//!
//! Order of use: [`Programs::build`] (may need the network), [`isolate`] (from here on there is none), [`Options::start`].
//! The tests of one process can have all three by [`shared`].
//!
//! Caveats:
//! - Pods need root, and Debian's containerd, runc and containernetworking-plugins. All else needs only that the
//!   machine lets a user make namespaces.
//! - There is no DNS in the cluster, no kube-proxy (only the API server's own service address works), no volume but
//!   those of the kubelet itself, and no way out to the Internet.
//! - A cluster keeps its data in memory. Empty folders that are mounted over stay: `state` in its own folder and, with
//!   pods, those where containerd, kubelet and network plugins keep their things.
//! - If this process and its keeper are both killed at once, empty cgroup folders stay until the next isolation.
//! - Pods were run with cgroups of version 1. With version 2 the kubelet needs `/sys/fs/cgroup` to be the real root.

mod certificates;
mod cgroup;
mod cluster;
mod error;
mod go;
mod image;
mod isolation;
mod needs;
mod options;
mod programs;
mod run;
mod shared;

pub use cgroup::Cgroup;
pub use cluster::{Cluster, environment};
pub use error::{Error, Result};
pub use image::Image;
pub use isolation::{is_root, isolate, isolated_command};
pub use options::Options;
pub use programs::{Helm, Programs};
pub use shared::shared;
