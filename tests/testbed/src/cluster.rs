//! A *cluster* is etcd and an API server, started and answering.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::{Error, Programs, Result, certificates, isolation};

/// Where the API server listens: the first address of Kubernetes' usual service network, on which pods will find it
/// without a proxy. Inside the namespaces only.
const API: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 96, 0, 1)), 443);

const ETCD: &str = "http://127.0.0.1:2379";
const ETCD_PEER: &str = "http://127.0.0.1:2380";

/// How long a cluster may take to answer: it needs 4 s on an idle machine with two cores, 10 s beside a build.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Folder of a cluster's files, a tmpfs.
const STATE: &str = "state";

/// The administrator's kubeconfig, in that folder.
const KUBECONFIG: &str = "kubeconfig";

/// How many of a log's last lines an error shows.
const LOG_TAIL: usize = 15;

/// A running cluster. Dropped, it is stopped and its data are gone; its logs stay.
#[derive(Debug)]
pub struct Cluster {
    programs: Programs,
    dir: PathBuf,
    state: PathBuf,
    logs: PathBuf,
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    name: &'static str,
    process: Child,
    log: PathBuf,
}

impl Cluster {
    /// Starts a cluster and waits until it is ready. Logs go to `dir/logs`, one file a program; all other files are
    /// kept in memory under `dir/state`, seen only inside the namespaces. No two clusters may share a `dir` at a time.
    ///
    /// # Errors
    /// Outside [`isolate`](crate::isolate), or when a part does not get ready.
    pub fn start(programs: &Programs, dir: &Path) -> Result<Cluster> {
        if !isolation::is_isolated() {
            return Err(Error::NotIsolated);
        }
        let (state, logs) = (dir.join(STATE), dir.join("logs"));
        for dir in [&state, &logs] {
            fs::create_dir_all(dir).map_err(Error::file("create", dir))?;
        }
        mount("testbed", &state, "tmpfs", MountFlags::empty(), None)
            .map_err(|error| Error::file("mount a tmpfs on", &state)(error.into()))?;
        let mut cluster =
            Cluster { programs: programs.clone(), dir: dir.to_owned(), state, logs, parts: Vec::new() };
        run("ip", &["link", "set", "lo", "up"])?;
        run("ip", &["address", "replace", &format!("{}/32", API.ip()), "dev", "lo"])?;
        let api = API.ip().to_string();
        certificates::write(
            &cluster.state,
            &[&api, "kubernetes", "kubernetes.default", "kubernetes.default.svc"],
        )?;
        cluster.write_kubeconfig()?;
        cluster.start_etcd()?;
        cluster.start_api_server()?;
        cluster.wait_until_ready()?;
        Ok(cluster)
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.join(KUBECONFIG)
    }

    /// Where the logs are.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// A command that finds this cluster; see [`environment`].
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        environment(&mut command, &self.programs, &self.dir);
        command
    }

    fn start_etcd(&mut self) -> Result<()> {
        let data = self.path("etcd");
        self.start_part(
            "etcd",
            &[
                "--name=testbed",
                &format!("--data-dir={data}"),
                &format!("--listen-client-urls={ETCD}"),
                &format!("--advertise-client-urls={ETCD}"),
                &format!("--listen-peer-urls={ETCD_PEER}"),
                &format!("--initial-advertise-peer-urls={ETCD_PEER}"),
                &format!("--initial-cluster=testbed={ETCD_PEER}"),
                "--unsafe-no-fsync",
                "--log-level=warn",
            ],
        )
    }

    fn start_api_server(&mut self) -> Result<()> {
        self.start_part(
            "kube-apiserver",
            &[
                &format!("--etcd-servers={ETCD}"),
                &format!("--bind-address={}", API.ip()),
                &format!("--advertise-address={}", API.ip()),
                &format!("--secure-port={}", API.port()),
                &format!("--tls-cert-file={}", self.path("apiserver.crt")),
                &format!("--tls-private-key-file={}", self.path("apiserver.key")),
                &format!("--client-ca-file={}", self.path("ca.crt")),
                &format!("--cert-dir={}", self.path("certificates")),
                "--service-account-issuer=https://kubernetes.default.svc",
                &format!("--service-account-key-file={}", self.path("service-accounts.pub")),
                &format!("--service-account-signing-key-file={}", self.path("service-accounts.key")),
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                "--service-cluster-ip-range=10.96.0.0/16",
                // There is one API server, and it is reached at the service's own address.
                "--endpoint-reconciler-type=none",
                "--profiling=false",
            ],
        )
    }

    fn start_part(&mut self, name: &'static str, flags: &[&str]) -> Result<()> {
        let path = self.logs.join(format!("{name}.log"));
        let log = File::create(&path).map_err(Error::file("create", &path))?;
        let both = log.try_clone().map_err(Error::file("write", &path))?;
        let program = self.programs.kubebox();
        let mut command = Command::new(&program);
        command.arg(name).args(flags).stdin(Stdio::null()).stdout(log).stderr(both);
        let process = command.spawn().map_err(Error::file("run", &program))?;
        self.parts.push(Part { name, process, log: path });
        Ok(())
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let start = Instant::now();
        let mut pause = Duration::from_millis(5);
        while !self.is_ready() {
            for part in &mut self.parts {
                let log = part.log.clone();
                if let Some(status) = part.process.try_wait().map_err(Error::file("wait for", &log))? {
                    return Err(not_ready(part.name, format!("ended ({status})"), log));
                }
            }
            if start.elapsed() > READY_WITHIN {
                let what = format!("was not ready within {} s", READY_WITHIN.as_secs());
                return Err(not_ready("kube-apiserver", what, self.logs.join("kube-apiserver.log")));
            }
            // Longer and longer, so that a slow machine is not kept from its work by questions.
            thread::sleep(pause);
            pause = (pause * 3 / 2).min(Duration::from_millis(250));
        }
        Ok(())
    }

    /// Whether the API server says that it is ready, all its start-up work included.
    fn is_ready(&self) -> bool {
        if TcpStream::connect_timeout(&API, Duration::from_secs(1)).is_err() {
            return false;
        }
        let mut ask = self.command(self.programs.kubectl());
        ask.args(["get", "--raw=/readyz"]).stdin(Stdio::null());
        ask.output().is_ok_and(|answer| answer.status.success())
    }

    fn write_kubeconfig(&self) -> Result<()> {
        let text = format!(
            "apiVersion: v1
kind: Config
current-context: testbed
contexts: [{{name: testbed, context: {{cluster: testbed, user: admin}}}}]
clusters: [{{name: testbed, cluster: {{server: \"https://{API}\", certificate-authority: ca.crt}}}}]
users: [{{name: admin, user: {{client-certificate: admin.crt, client-key: admin.key}}}}]
"
        );
        let path = self.kubeconfig();
        fs::write(&path, text).map_err(Error::file("write", path))
    }

    fn path(&self, name: &str) -> String {
        self.state.join(name).display().to_string()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // The API server first: it would only complain about a missing etcd. Nothing here is worth a clean end.
        for part in self.parts.iter_mut().rev() {
            let _ = part.process.kill();
            let _ = part.process.wait();
        }
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

fn not_ready(program: &'static str, what: String, log: PathBuf) -> Error {
    let text = fs::read_to_string(&log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n");
    Error::NotReady { program, what, log, tail }
}

fn run(program: &str, args: &[&str]) -> Result<()> {
    let mut command = Command::new(program);
    if let Some(path) = std::env::var_os("PATH") {
        let mut path = path;
        path.push(":/usr/sbin:/sbin");
        command.env("PATH", path);
    }
    let failed = |reason: String| Error::Command { command: format!("{program} {}", args.join(" ")), reason };
    let output = command.args(args).output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}
