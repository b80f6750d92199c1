//! *Options* say how much of Kubernetes a cluster is.

use std::path::Path;

use crate::{Cluster, Programs, Result, needs};

/// How much of Kubernetes a cluster is. Each of the three constructors has all of the one before it, and takes longer to
/// start: 3 s, 3.5 s and 4 s on two cores; Flux and the registry add 1 s.
///
/// ```no_run
/// # fn main() -> testbed::Result<()> {
/// let programs = testbed::Programs::build(|line| eprintln!("{line}"))?;
/// testbed::isolate()?;
/// let cluster = testbed::Options::pods().with_flux().start(&programs, "target/cluster".as_ref())?;
/// cluster.kubectl(&["get", "nodes"])?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub(crate) controllers: bool,
    pub(crate) pods: bool,
    pub(crate) registry: bool,
    pub(crate) flux: bool,
    pub(crate) audit: bool,
}

impl Options {
    /// etcd and the API server: objects are stored and read, and nothing acts on them.
    pub fn api_server() -> Options {
        Options::default()
    }

    /// Kubernetes' own controllers too: Jobs make pods, namespaces get their service account, what has no owner any more
    /// is deleted. Pods stay Pending.
    pub fn controllers() -> Options {
        Options { controllers: true, ..Options::default() }
    }

    /// The whole: scheduler, kubelet, containerd and a network for pods too. Needs root.
    pub fn pods() -> Options {
        Options { pods: true, ..Options::controllers() }
    }

    /// With an OCI registry at [`Cluster::REGISTRY`], for charts and images.
    pub fn with_registry(self) -> Options {
        Options { registry: true, ..self }
    }

    /// With Flux's helm-controller and source-controller, and the definitions of their resources.
    pub fn with_flux(self) -> Options {
        Options { flux: true, ..self }
    }

    /// With a log of every request to the API server, see [`Cluster::audit_log`].
    pub fn with_audit(self) -> Options {
        Options { audit: true, ..self }
    }

    /// Debian packages of the programs that such a cluster needs and this machine has not.
    pub fn missing_packages(self) -> Vec<&'static str> {
        let mut needed = vec![needs::ALWAYS];
        if self.pods {
            needed.push(needs::FOR_PODS);
        }
        if self.registry {
            needed.push(needs::FOR_REGISTRY);
        }
        needs::missing(&needed)
    }

    /// Starts a cluster and waits until it is ready: with pods, until one can be scheduled. Logs go to `dir/logs`, one
    /// file a program; all other files are kept in memory under `dir/state`, seen only inside the namespaces. No two
    /// clusters may share a `dir` at a time, and only one at a time can stand in one isolation.
    ///
    /// # Errors
    /// Outside [`isolate`](crate::isolate), when programs or rights are missing, or when a part does not get ready.
    pub fn start(self, programs: &Programs, dir: &Path) -> Result<Cluster> {
        Cluster::start_with(self, programs, dir)
    }
}
