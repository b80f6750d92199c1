//! When the process that started a cluster is killed, nothing of the cluster is left.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use testbed::{Cluster, Error, Programs};

/// Where the victim starts its cluster.
const DIR: &str = "TESTBED_VICTIM_DIR";

#[test]
fn nothing_is_left_when_the_parent_is_killed() {
    Programs::build(|line| eprintln!("{line}")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut victim = Command::new(env::current_exe().unwrap())
        .args(["--exact", "victim", "--ignored", "--nocapture"])
        .env(DIR, dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    assert!(
        lines.map_while(Result::ok).any(|line| line.contains("cluster is ready")),
        "the victim started no cluster"
    );

    let parts = processes_naming(dir.path());
    let watched: Vec<_> = parts.iter().map(|pid| pidfd_open(*pid, PidfdFlags::empty()).unwrap()).collect();
    assert_eq!(watched.len(), 2, "etcd and kube-apiserver run");
    victim.kill().unwrap();
    victim.wait().unwrap();

    let deadline = Timespec { tv_sec: 30, tv_nsec: 0 };
    for process in &watched {
        let ended = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&deadline)).unwrap();
        assert_eq!(ended, 1, "a process outlived the one that started it");
    }
    assert_eq!(
        fs::read_dir(dir.path().join("state")).unwrap().count(),
        0,
        "only the empty mount point stays"
    );
    assert!(dir.path().join("logs/kube-apiserver.log").exists(), "logs stay");
}

#[test]
#[ignore = "the process that the other test kills"]
fn victim() {
    let programs = Programs::build(|_| ()).unwrap();
    testbed::isolate().unwrap();
    let _cluster = Cluster::start(&programs, Path::new(&env::var_os(DIR).unwrap())).unwrap();
    println!("cluster is ready");
    loop {
        thread::park();
    }
}

#[test]
fn outside_namespaces_no_cluster_starts() {
    let programs = Programs::build(|line| eprintln!("{line}")).unwrap();
    let error = Cluster::start(&programs, Path::new("/nonexistent")).unwrap_err();
    assert!(matches!(error, Error::NotIsolated), "{error}");
}

/// Ids of the etcd and kube-apiserver processes that were started with files in `dir`.
fn processes_naming(dir: &Path) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        if line.contains("kubebox") && line.contains(&*dir.to_string_lossy()) {
            found.extend(entry.file_name().to_str().and_then(|name| Pid::from_raw(name.parse().ok()?)));
        }
    }
    found
}
