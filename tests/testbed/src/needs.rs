//! A *need* is a program that a cluster runs, that Debian has in a package, and that is not built here.

use std::env;
use std::path::PathBuf;

use crate::{Error, Result};

/// Programs that every cluster needs, those of pods and that of the registry, each with its package.
pub(crate) const ALWAYS: &[Need] =
    &[("ip", "iproute2"), ("nsenter", "util-linux"), ("unshare", "util-linux")];
pub(crate) const FOR_PODS: &[Need] = &[
    ("busybox", "busybox-static"),
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    // Stands for all network plugins. Not `bridge`, by which name there is another program too.
    ("host-local", "containernetworking-plugins"),
    ("runc", "runc"),
];
pub(crate) const FOR_REGISTRY: &[Need] = &[("docker-registry", "docker-registry")];

type Need = (&'static str, &'static str);

/// Where programs are that an ordinary user's PATH does not lead to, or nobody's: network plugins, in Debian's folder and
/// in the one that their own releases name.
const ALSO_IN: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/lib/cni", "/opt/cni/bin"];

/// The place of a program, one of those above.
pub(crate) fn need(program: &'static str) -> Result<PathBuf> {
    let known = ALWAYS.iter().chain(FOR_PODS).chain(FOR_REGISTRY);
    find(program).ok_or_else(|| Error::Missing {
        program,
        package: known.copied().find(|(name, _)| *name == program).map_or(program, |(_, package)| package),
    })
}

/// Packages of those programs that are not there, each once.
pub(crate) fn missing(needs: &[&[Need]]) -> Vec<&'static str> {
    let missing = needs.iter().copied().flatten().filter(|(program, _)| find(program).is_none());
    let mut packages: Vec<_> = missing.map(|(_, package)| *package).collect();
    packages.dedup();
    packages
}

/// Looks for a program on the PATH, and in [`ALSO_IN`].
fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain(ALSO_IN.map(PathBuf::from));
    dirs.map(|dir| dir.join(program)).find(|path| path.is_file())
}
