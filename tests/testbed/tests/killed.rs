//! When the process that started a cluster is killed, nothing of the cluster is left.
// A test ends by panicking; clippy knows that of test functions only, not of their helpers.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use testbed::{Cluster, Error, Options, Programs};

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

    let family = descendants(victim.id());
    let commands: Vec<_> = family.iter().map(|pid| command_line(*pid)).collect();
    for part in parts() {
        assert!(commands.iter().any(|command| command.contains(part)), "{part} runs, in {commands:#?}");
    }
    assert_eq!(left_in_cgroups(&family).len(), usize::from(testbed::is_root()), "one keeper has cgroups");
    let watched: Vec<_> =
        family.iter().filter_map(|pid| pidfd_open(pid_of(*pid), PidfdFlags::empty()).ok()).collect();
    assert!(watched.len() > parts().len());
    victim.kill().unwrap();
    victim.wait().unwrap();

    let deadline = Timespec { tv_sec: 30, tv_nsec: 0 };
    for process in &watched {
        let ended = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&deadline)).unwrap();
        assert_eq!(ended, 1, "a process outlived the one that started it");
    }
    assert_eq!(left_in_cgroups(&family), BTreeSet::new(), "no cgroup folders");
    assert_eq!(mounts_naming(dir.path()), Vec::<String>::new(), "no mounts, in any namespace");
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
    let dir = env::var_os(DIR).unwrap();
    let options = if testbed::is_root() {
        Options::pods().with_registry().with_flux()
    } else {
        Options::controllers().with_flux()
    };
    let cluster = options.start(&programs, Path::new(&dir)).unwrap();
    if testbed::is_root() {
        let pod = "{apiVersion: v1, kind: Pod, metadata: {name: long}, spec: {containers: \
                   [{name: main, image: localhost/busybox:1, command: [sleep, '31536000']}]}}";
        cluster.apply("default", pod).unwrap();
        cluster.kubectl(&["wait", "--for=condition=Ready", "pod/long", "--timeout=60s"]).unwrap();
    }
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

/// What runs of the victim's cluster, by words of command lines.
fn parts() -> Vec<&'static str> {
    let mut parts = vec![
        "kubebox etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "helm-controller",
        "source-controller",
    ];
    if testbed::is_root() {
        parts.extend([
            "kube-scheduler",
            "containerd --config",
            "containerd-shim",
            "kubebox kubelet",
            "docker-registry",
            "sleep 31536000",
        ]);
    }
    parts
}

/// All processes that the process has started, and those have started, and so on. In process namespaces orphans do not
/// leave the family.
fn descendants(of: u32) -> Vec<u32> {
    let mut family = vec![of];
    let mut next = 0;
    while let Some(pid) = family.get(next) {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let children = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
        let children: Vec<u32> = children.flat_map(|line| numbers(&line)).collect();
        family.extend(children);
        next += 1;
    }
    family.split_off(1)
}

fn numbers(line: &str) -> Vec<u32> {
    line.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

fn pid_of(pid: u32) -> Pid {
    Pid::from_raw(pid.try_into().unwrap()).unwrap()
}

fn command_line(pid: u32) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()).replace('\0', " ")
}

/// Names of the cgroup folders of these processes, in any hierarchy.
fn left_in_cgroups(family: &[u32]) -> BTreeSet<String> {
    let names: BTreeSet<_> = family.iter().map(|pid| format!("testbed-{pid}")).collect();
    let tops = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    let in_tops = tops.flat_map(|top| {
        fs::read_dir(&top).into_iter().flatten().flatten().map(|entry| entry.path()).chain([top])
    });
    let found: BTreeSet<_> =
        in_tops.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect();
    names.intersection(&found).cloned().collect()
}

/// Mounts under `dir` in the mount namespaces of all processes.
fn mounts_naming(dir: &Path) -> Vec<String> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mounts = processes.filter_map(|process| fs::read_to_string(process.path().join("mountinfo")).ok());
    mounts
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter(|line| line.contains(&*dir.to_string_lossy()))
        .collect()
}
