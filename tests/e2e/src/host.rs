//! A *host* is hookhost's controller as a process of its own, as `cargo build` made it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use testbed::Cluster;

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

/// hookhost's controller. Dropped, it is killed.
#[derive(Debug)]
pub struct Host {
    process: Child,
    log: PathBuf,
}

impl Host {
    /// Starts a controller against the cluster of a kubeconfig, without a lease and with these further arguments. It is
    /// not waited for: what it does is.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(cluster: &Cluster, kubeconfig: &Path, args: &[&str]) -> Host {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let log = cluster.logs().join(format!("hookhost-{number}.log"));
        let output = File::create(&log).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        let mut command = Command::new(hookhost());
        command
            .arg("controller")
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(args)
            // Nothing of this user's, and compiled policies are kept for all hosts of a test run.
            .env("HOME", cluster.logs())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output);
        if !args.iter().any(|arg| arg.starts_with("--log-level")) {
            command.args(["--log-level", "hookhost=debug,info"]);
        }
        if !args.iter().any(|arg| arg.starts_with("--lease")) {
            command.arg("--no-lease");
        }
        if !args.iter().any(|arg| arg.starts_with("--admin-address")) {
            command.args(["--admin-address", "127.0.0.1:0"]);
        }
        let process = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", hookhost().display()));
        Host { process, log }
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
