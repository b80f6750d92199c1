//! A cluster starts, answers, takes what real Helms do to it, and leaves nothing to the next one.
// A test ends by panicking; clippy knows that of test functions only, not of their helpers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]

use std::fs;
use std::path::Path;
use std::time::Instant;

use testbed::{Cluster, Error, Helm, Options, Programs};

/// One test: there is room for one cluster at a time in an isolation, and a test process has one.
#[test]
fn clusters_one_after_the_other_answer_kubectl_and_both_helms_and_know_nothing_of_each_other() {
    let programs = Programs::build(|line| eprintln!("{line}")).unwrap();
    testbed::isolate().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let cluster = start(Options::api_server(), &programs, dir.path());
    assert_eq!(
        cluster.kubectl(&["get", "namespace", "default", "--output=name"]).unwrap(),
        "namespace/default"
    );
    let version = cluster.kubectl(&["version"]).unwrap();
    assert!(version.contains("Server Version: v1.34.4"), "{version}");
    for helm in Helm::ALL {
        assert_eq!(cluster.helm(helm, &["list", "--all-namespaces", "--short"]).unwrap(), "");
    }
    assert!(cluster.logs().join("etcd.log").exists());
    assert!(matches!(cluster.push_chart(dir.path()), Err(Error::NotAskedFor { .. })));
    assert_ne!(cluster.namespace("first").unwrap(), cluster.namespace("first").unwrap());
    drop(cluster);
    assert!(!dir.path().join("state").exists());

    let options = if testbed::is_root() { Options::pods() } else { Options::controllers() };
    let cluster = start(options, &programs, dir.path());
    let names = namespaces(&cluster);
    assert!(names.contains("namespace/default") && !names.contains("first"), "{names}");
    let namespace = cluster.namespace("second").unwrap();
    if testbed::is_root() {
        let pod =
            ["run", "long", "--image=localhost/busybox:1", "--namespace", &namespace, "--", "sleep", "1000"];
        cluster.kubectl(&pod).unwrap();
        let wait = ["wait", "--for=condition=Ready", "pod/long", "--timeout=60s", "--namespace", &namespace];
        cluster.kubectl(&wait).unwrap();
        assert!(runs("sleep 1000"));
    }
    drop(cluster);
    assert!(!runs("sleep 1000") && !runs("kubebox"), "what runs in pods ends with their cluster");

    let cluster = start(options, &programs, dir.path());
    assert!(!namespaces(&cluster).contains("second"));
}

/// Starts a cluster, and says how long that took.
fn start(options: Options, programs: &Programs, dir: &Path) -> Cluster {
    let start = Instant::now();
    let cluster = options.start(programs, dir).unwrap_or_else(|error| panic!("{error}"));
    eprintln!("{options:?}: ready after {:.1} s", start.elapsed().as_secs_f32());
    cluster
}

fn namespaces(cluster: &Cluster) -> String {
    cluster.kubectl(&["get", "namespaces", "--output=name"]).unwrap()
}

/// Whether a command line of a process in these namespaces has these words.
fn runs(words: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.any(|line| String::from_utf8_lossy(&line).replace('\0', " ").contains(words))
}
