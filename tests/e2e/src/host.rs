//! A *host* is hookhost's controller as a process of its own, as `cargo build` made it. It runs as it is installed: with the
//! chart's arguments, account and rights, and no more memory than the chart's limit and one processor.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use testbed::{Cgroup, Cluster};

use crate::installation::Installation;
use crate::proxy::Proxy;
use crate::world::ok;

/// Processors that a host may use. The chart sets no limit; with one it is seen what takes long.
const PROCESSORS: u32 = 1;

/// The `hookhost` binary beside the running test.
///
/// # Panics
/// It has not been built.
pub fn hookhost() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    // target/debug/deps/e2e-…
    let built = test.parent().and_then(Path::parent).unwrap_or(Path::new(".")).join("hookhost");
    assert!(built.exists(), "there is no {}: cargo build --package hookhost", built.display());
    built
}

/// The folder of the stock policies, beside that of this build. Every host takes them from there, as its image has them.
pub fn stock_policies() -> PathBuf {
    let built = hookhost();
    built.parent().and_then(Path::parent).unwrap_or(Path::new(".")).join("policies")
}

/// The binary that hosts run: that beside the test, or the one of `$HOOKHOST_BIN`, to measure another version by the
/// same tests. `$HOOKHOST_CHART` is its chart.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("HOOKHOST_BIN").map_or_else(hookhost, PathBuf::from)
}

/// A host that is not started yet: [`World::host`](crate::World::host).
#[must_use]
pub struct Setup {
    cluster: &'static Cluster,
    installation: Arc<Installation>,
    server: Option<String>,
    lease: bool,
    mounts: Vec<(&'static str, PathBuf)>,
}

impl Setup {
    /// The chart's limit of memory, in bytes.
    #[must_use]
    pub fn memory_limit(&self) -> u64 {
        self.installation.memory
    }

    pub(crate) fn new(cluster: &'static Cluster, installation: Arc<Installation>) -> Setup {
        Setup { cluster, installation, server: None, lease: true, mounts: Vec::new() }
    }

    /// Lets it reach the API server through a proxy only.
    pub fn through(mut self, proxy: &Proxy) -> Setup {
        self.server = Some(format!("http://{}", proxy.address()));
        self
    }

    /// Lets it work at once, whoever has the Lease.
    pub fn without_lease(mut self) -> Setup {
        self.lease = false;
        self
    }

    /// Gives it the folder `here` where the chart mounts a volume at `there`.
    pub fn mount(mut self, there: &'static str, here: &Path) -> Setup {
        self.mounts.push((there, here.to_owned()));
        self
    }

    /// Starts it. It is not waited for: what it does is.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(self) -> Host {
        let Setup { cluster, installation, .. } = &self;
        let kubeconfig = ok(cluster.kubeconfig_of(&installation.token, self.server.as_deref()));
        let mut args: Vec<String> = installation.args.iter().filter_map(|arg| self.arg(arg)).collect();
        args.push(format!("--kubeconfig={}", kubeconfig.display()));
        if !self.lease {
            args.push("--no-lease".to_owned());
        }
        let cgroup = format!("{}-{}", installation.name, number());
        let cgroup = ok(Cgroup::new(&cgroup, installation.memory, PROCESSORS));
        let command = cgroup.command(program());
        Host::spawn(cluster, command, &args, installation.name.clone(), Some(cgroup))
    }

    /// An argument of the chart, as it is outside a pod; none for what is left out.
    fn arg(&self, arg: &str) -> Option<String> {
        let Some((option, value)) = arg.split_once('=') else { return Some(arg.to_owned()) };
        let value = match option {
            "--lease-name" if !self.lease => return None,
            // All hosts have one network.
            "--admin-address" => "127.0.0.1:0".to_owned(),
            // What one has compiled is there for all.
            "--policy-cache" => self.cluster.logs().join("policy-cache").display().to_string(),
            _ => {
                let mut mounts = self.mounts.iter();
                let mounted = mounts.find_map(|(there, here)| Some((here, value.strip_prefix(there)?)));
                mounted.map_or_else(|| value.to_owned(), |(here, rest)| format!("{}{rest}", here.display()))
            }
        };
        Some(format!("{option}={value}"))
    }
}

/// hookhost's controller. Dropped, it is killed.
#[derive(Debug)]
pub struct Host {
    process: Child,
    log: PathBuf,
    name: String,
    cgroup: Option<Cgroup>,
}

impl Host {
    /// Starts a controller with the administrator's rights, without limits, without a lease unless the arguments name one,
    /// and with these arguments. `why` says why it may: what users have is [`World::host`](crate::World::host).
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn as_admin(cluster: &Cluster, args: &[&str], why: &str) -> Host {
        assert!(!why.is_empty(), "a host is the administrator for a reason");
        let kubeconfig = format!("--kubeconfig={}", cluster.kubeconfig().display());
        let mut all = vec!["controller", &kubeconfig, "--admin-address=127.0.0.1:0"];
        all.extend(args);
        if !args.iter().any(|arg| arg.starts_with("--lease")) {
            all.push("--no-lease");
        }
        let args: Vec<String> = all.into_iter().map(str::to_owned).collect();
        Host::spawn(cluster, Command::new(program()), &args, String::new(), None)
    }

    fn spawn(
        cluster: &Cluster,
        mut command: Command,
        args: &[String],
        name: String,
        cgroup: Option<Cgroup>,
    ) -> Host {
        let log = cluster.logs().join(format!("hookhost-{}.log", number()));
        let output = File::create(&log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        // Nothing of this user's.
        command.args(args).env("HOME", cluster.logs()).env("HOOKHOST_STOCK_POLICIES", stock_policies());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        let process = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program().display()));
        Host { process, log, name, cgroup }
    }

    /// Name of its installation: of its account and its Lease in [`NAMESPACE`](crate::NAMESPACE), and of its RoleBinding
    /// in each namespace that it serves.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Where it serves health and metrics; none before it does.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        let log = self.log();
        log.split_once("\"address\":\"")?.1.split('"').next()?.parse().ok()
    }

    /// The most memory that it and what it has started ever had, in bytes, as its limit counts it; none without a limit.
    #[must_use]
    pub fn peak(&self) -> Option<u64> {
        self.cgroup.as_ref().map(|cgroup| ok(cgroup.peak()))
    }

    /// How many processes of its own were ended because they reached its limit of memory.
    #[must_use]
    pub fn out_of_memory(&self) -> u64 {
        self.cgroup.as_ref().map_or(0, |cgroup| ok(cgroup.out_of_memory()))
    }

    /// The memory that its process has now, in bytes, without the pages of its program; none once it has ended.
    #[must_use]
    pub fn own_memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
    }

    /// Ends it with SIGKILL and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Asks it to end, as Kubernetes does, and waits for its exit code.
    ///
    /// # Panics
    /// It does not end.
    pub fn terminate(&mut self, cluster: &Cluster) -> ExitStatus {
        signal(self.pid(), Signal::TERM);
        let ended = cluster
            .eventually("hookhost ends", Duration::from_secs(30), || self.process.try_wait().ok().flatten());
        ended.unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    /// Whether it has ended, and how.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
        // A test that fails shows what the host did.
        if std::thread::panicking() {
            eprint(&format!("── {}\n{}", self.log.display(), tail(&self.log(), 60)));
        }
    }
}

/// What is answered to a GET of this path by whoever serves health and metrics there, its head included; none if nothing is
/// answered in that time.
#[must_use]
pub fn admin_answer(address: SocketAddr, path: &str, patience: Duration) -> Option<String> {
    let mut server = TcpStream::connect_timeout(&address, patience).ok()?;
    server.set_read_timeout(Some(patience)).ok()?;
    write!(server, "GET {path} HTTP/1.1\r\nHost: hookhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    server.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// A number that no other host of this process has.
fn number() -> u32 {
    static STARTED: AtomicU32 = AtomicU32::new(0);
    STARTED.fetch_add(1, Ordering::Relaxed)
}

#[expect(clippy::print_stderr, reason = "what a failed test shows")]
fn eprint(text: &str) {
    eprintln!("{text}");
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Sends a signal to a process of this test.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}
