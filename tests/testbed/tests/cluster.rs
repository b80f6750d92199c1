//! A cluster starts, answers, and takes what real Helms do to it.

use std::process::Command;

use testbed::{Cluster, Helm, Programs};

#[test]
fn a_cluster_answers_kubectl_and_both_helms() {
    let programs = Programs::build(|line| eprintln!("{line}")).unwrap();
    testbed::isolate().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(&programs, dir.path()).unwrap();

    assert_eq!(
        output(cluster.command(programs.kubectl()).args(["get", "ns", "default", "-o=name"])).unwrap(),
        "namespace/default"
    );
    let version = output(cluster.command(programs.kubectl()).args(["version"])).unwrap();
    assert!(version.contains("Server Version: v1.34.4"), "{version}");
    for helm in Helm::ALL {
        assert_eq!(output(cluster.command(programs.helm(helm)).args(["list", "-A", "-q"])).unwrap(), "");
    }
    assert!(cluster.logs().join("etcd.log").exists());

    // Two clusters one after the other: nothing of the first is in the way of the second, or in it.
    output(cluster.command(programs.kubectl()).args(["create", "ns", "first"])).unwrap();
    drop(cluster);
    assert!(!dir.path().join("state").exists());
    let second = Cluster::start(&programs, dir.path()).unwrap();
    let names = output(second.command(programs.kubectl()).args(["get", "ns", "-o=name"])).unwrap();
    assert!(names.contains("namespace/default") && !names.contains("first"), "{names}");
}

/// What a command prints, or what it complains about.
fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
