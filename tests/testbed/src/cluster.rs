//! A *cluster* is etcd and an API server, started and answering, and as much of the rest of Kubernetes as its
//! [`Options`] say.

mod commands;
mod control_plane;
mod extras;
mod node;
mod parts;

use std::ffi::OsStr;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::certificates::{self, Certificate};
use crate::{Error, Options, Programs, Result, isolation, needs, run};
use node::{Node, NodePrograms};
use parts::Parts;

/// Where the API server listens: the first address of Kubernetes' usual service network, on which pods find it without
/// a proxy. Inside the namespaces only.
const API: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1)), 443);

/// How long each step of the start may take: all of them together need 5 s on two cores, also beside a build.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Folder of a cluster's files, a tmpfs.
const STATE: &str = "state";

/// The administrator's kubeconfig, in that folder.
const KUBECONFIG: &str = "kubeconfig";

/// A running cluster. Dropped, it is stopped and its data are gone; its logs stay.
#[derive(Debug)]
pub struct Cluster {
    options: Options,
    programs: Programs,
    dir: PathBuf,
    state: PathBuf,
    parts: Parts,
    node: Option<Node>,
    /// The next number for what must not have the name of anything else.
    next: AtomicU32,
}

impl Cluster {
    /// Starts a cluster of etcd and an API server alone: [`Options::api_server`] and [`Options::start`].
    ///
    /// # Errors
    /// Outside [`isolate`](crate::isolate), or when a part does not get ready.
    pub fn start(programs: &Programs, dir: &Path) -> Result<Cluster> {
        Options::api_server().start(programs, dir)
    }

    pub(crate) fn start_with(options: Options, programs: &Programs, dir: &Path) -> Result<Cluster> {
        if !isolation::is_isolated() {
            return Err(Error::NotIsolated);
        }
        // What is missing is said before anything is started.
        let node_programs = options.pods.then(NodePrograms::find).transpose()?;
        let registry = options.registry.then(|| needs::need("docker-registry")).transpose()?;
        let (state, logs) = (dir.join(STATE), dir.join("logs"));
        for dir in [&state, &logs] {
            fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
        }
        mount("testbed", &state, "tmpfs", MountFlags::empty(), None)
            .map_err(|error| Error::file("mount a tmpfs on", &state)(error.into()))?;
        let mut cluster = Cluster {
            options,
            programs: programs.clone(),
            dir: dir.to_owned(),
            state,
            parts: Parts::new(logs),
            node: None,
            next: AtomicU32::new(0),
        };
        ip(&["link", "set", "lo", "up"])?;
        ip(&["address", "replace", &format!("{}/32", API.ip()), "dev", "lo"])?;
        cluster.write_certificates()?;
        cluster.start_etcd()?;
        cluster.start_api_server()?;
        // While the API server starts.
        if let Some(programs) = node_programs {
            cluster.start_containerd(programs)?;
        }
        if let Some(registry) = &registry {
            cluster.start_registry(registry)?;
        }
        cluster.parts.wait_for("kube-apiserver", READY_WITHIN, || cluster.answers())?;
        if options.controllers {
            cluster.start_controller_manager()?;
        }
        if options.pods {
            cluster.start_scheduler()?;
            cluster.start_kubelet()?;
        }
        if options.flux {
            cluster.start_flux()?;
        }
        if options.controllers {
            cluster.wait_for_controllers()?;
        }
        if options.pods {
            cluster.wait_for_node()?;
        }
        Ok(cluster)
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.join(KUBECONFIG)
    }

    /// Where the logs are: NAME.log of each program and, in `pods`, those of the containers that still exist.
    pub fn logs(&self) -> &Path {
        self.parts.logs()
    }

    /// A command that finds this cluster; see [`environment`].
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        environment(&mut command, &self.programs, &self.dir);
        command
    }

    fn write_certificates(&self) -> Result<()> {
        let api = API.ip().to_string();
        let client =
            |name, common_name, organisation| Certificate { name, common_name, organisation, addresses: &[] };
        let server =
            |name, common_name, addresses| Certificate { name, common_name, organisation: None, addresses };
        certificates::write(
            &self.state,
            &[
                server(
                    "apiserver",
                    "kube-apiserver",
                    &[&api, "kubernetes", "kubernetes.default", "kubernetes.default.svc"],
                ),
                client("admin", "admin", Some("system:masters")),
                client("controller-manager", "system:kube-controller-manager", None),
                client("scheduler", "system:kube-scheduler", None),
                client("node", node::USER, Some("system:nodes")),
                // Both ways between the API server and the kubelet: logs and exec.
                client("apiserver-kubelet", "kube-apiserver", Some("system:masters")),
                server("kubelet", node::NAME, &[node::ADDRESS, node::NAME]),
            ],
        )?;
        self.write_kubeconfig(KUBECONFIG, "admin")?;
        for user in ["controller-manager", "scheduler", "node"] {
            self.write_kubeconfig(&format!("{user}.kubeconfig"), user)?;
        }
        Ok(())
    }

    /// Writes a kubeconfig for whoever has this token, and nothing else; gives back where it is. `server` is where they
    /// find the API server: at its own address, unless something stands before it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn kubeconfig_of(&self, token: &str, server: Option<&str>) -> Result<PathBuf> {
        let server = server.map_or_else(|| format!("https://{API}"), str::to_owned);
        let name = format!("token-{}.kubeconfig", self.number());
        self.write(&name, &kubeconfig("holder", &format!("token: {}", node::quoted(token)), &server))?;
        Ok(self.state.join(name))
    }

    fn write_kubeconfig(&self, name: &str, user: &str) -> Result<()> {
        let proof = format!("client-certificate: {user}.crt, client-key: {user}.key");
        self.write(name, &kubeconfig(user, &proof, &format!("https://{API}")))
    }

    /// Whether the API server says that it is ready, all its start-up work included.
    fn answers(&self) -> bool {
        if TcpStream::connect_timeout(&API, Duration::from_secs(1)).is_err() {
            return false;
        }
        let mut ask = self.command(self.programs.kubectl());
        ask.args(["get", "--raw=/readyz"]).stdin(Stdio::null());
        ask.output().is_ok_and(|answer| answer.status.success())
    }

    /// Writes one of the cluster's own files, by its name in the folder of its state.
    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.state.join(name);
        fs::write(&path, text).map_err(Error::file("write", path))
    }

    /// A number that was not given before.
    fn number(&self) -> u32 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn path(&self, name: &str) -> String {
        self.state.join(name).display().to_string()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The node first: it ends when the kernel has ended all that is in it, and then so do the parts that run there.
        // A part that is killed from here instead would leave an orphan that nobody takes in.
        if let Some(node) = self.node.take() {
            node.stop();
        }
        self.parts.stop();
        let _ = unmount(&self.state, UnmountFlags::DETACH);
        let _ = fs::remove_dir(&self.state);
    }
}

/// Lets a command find the cluster that was started in `dir`: KUBECONFIG, a PATH with kubectl, helm and helm3, and
/// folders of the cluster's own for what kubectl and Helm keep, so that nothing of the user's is read or written.
pub fn environment(command: &mut Command, programs: &Programs, dir: &Path) {
    let state = dir.join(STATE);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let paths = std::iter::once(programs.dir().to_owned()).chain(std::env::split_paths(&path));
    if let Ok(path) = std::env::join_paths(paths) {
        command.env("PATH", path);
    }
    command
        .env("KUBECONFIG", state.join(KUBECONFIG))
        .env("KUBECACHEDIR", state.join("kubectl"))
        .env("HELM_CACHE_HOME", state.join("helm/cache"))
        .env("HELM_CONFIG_HOME", state.join("helm/config"))
        .env("HELM_DATA_HOME", state.join("helm/data"));
}

/// A kubeconfig of a user with this proof of who they are, in the folder of the certificates.
fn kubeconfig(user: &str, proof: &str, server: &str) -> String {
    format!(
        "apiVersion: v1
kind: Config
current-context: testbed
contexts: [{{name: testbed, context: {{cluster: testbed, user: {user}}}}}]
clusters: [{{name: testbed, cluster: {{server: \"{server}\", certificate-authority: ca.crt}}}}]
users: [{{name: {user}, user: {{{proof}}}}}]
"
    )
}

/// Runs iproute2's `ip`.
fn ip(args: &[&str]) -> Result<()> {
    run::output(Command::new(needs::need("ip")?).args(args)).map(drop)
}
