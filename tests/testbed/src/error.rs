//! What can go wrong with a testbed, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Short for a result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why there is no testbed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program that this crate runs is not installed.
    #[error("{program} is missing\n  as root: apt-get install -y {package}")]
    Missing {
        /// The program.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// There is no Go.
    #[error("go is missing\n  as root: apt-get install -y golang-go\n  or: https://go.dev/doc/install")]
    NoGo,
    /// The kernel does not let this user make namespaces.
    #[error(
        "cannot make namespaces: {reason}\n  run as root, or allow user namespaces: \
         sysctl kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0"
    )]
    Namespaces {
        /// What unshare said.
        reason: String,
    },
    /// The Go programs did not build.
    #[error("go build failed ({status}) in {}\n  its output is above", .dir.display())]
    Build {
        /// How go ended.
        status: std::process::ExitStatus,
        /// The Go module.
        dir: PathBuf,
    },
    /// Pods were asked for, but this user is not root, or only in a user namespace.
    #[error(
        "no pods can run here: the kubelet needs root\n  run as root, or start a cluster without pods: \
         testbed::Options::controllers"
    )]
    NoPods,
    /// A cluster has no part that would be needed for this.
    #[error("this cluster has no {what}\n  start it with testbed::Options::{option}")]
    NotAskedFor {
        /// The part.
        what: &'static str,
        /// The option that brings it.
        option: &'static str,
    },
    /// A part of the cluster ended, or was not ready in time.
    #[error("{program} {what}; the end of {}:\n{tail}", .log.display())]
    NotReady {
        /// As its log is named.
        program: &'static str,
        /// "ended (status)" or "was not ready within 60 s".
        what: String,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// What [`Cluster::eventually`](crate::Cluster::eventually) waited for did not come.
    #[error("{what}: not within {} s; logs are in {}", .within.as_secs_f32(), .logs.display())]
    NotInTime {
        /// What should have come about.
        what: String,
        /// How long it was waited for.
        within: Duration,
        /// Where the cluster's logs are.
        logs: PathBuf,
    },
    /// A file of an image is not there for a container as it is for this machine.
    #[error("cannot put {} into the image {image}: {reason}", .path.display())]
    Image {
        /// The image's name.
        image: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A helper program failed.
    #[error("{command} failed: {reason}")]
    Command {
        /// As a person would type it.
        command: String,
        /// What it said, or how it ended.
        reason: String,
    },
    /// [`Cluster::start`](crate::Cluster::start) was called outside [`isolate`](crate::isolate).
    #[error("a cluster starts only inside namespaces of its own: call testbed::isolate first")]
    NotIsolated,
    /// The certificates could not be made.
    #[error("cannot make the cluster's certificates")]
    Certificates(#[from] rcgen::Error),
    /// A file could not be read or written.
    #[error("cannot {action} {}", .path.display())]
    File {
        /// read, write, create.
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::File { action, path, source }
    }
}
