//! The corpus on *clusters in a box*: one for each round of releases, gone when its hooks have run.

use std::collections::BTreeSet;
use std::fs::{self, File as LogFile};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use testbed::{Cluster, Image, Options, Programs};

use super::end::Way;
use super::file::File;
use super::prepared::{ORGANISATION, Prepared, Stage};
use super::report::Report;
use super::round::Rounds;
use super::runs::{PATIENCE, Runs, apply_each};
use super::{Corpus, judged};
use crate::run::{built, say, seconds};

/// What it needs of a cluster.
fn options() -> Options {
    Options::pods()
}

/// Where the clusters' logs are.
fn dir() -> PathBuf {
    built().with_file_name("corpus")
}

/// Runs the corpus. From then on this process is in namespaces of its own.
pub(super) fn play(corpus: &Corpus) -> Result<()> {
    if !testbed::is_root() {
        bail!("the hooks' pods need root");
    }
    let programs = Programs::build(say)?;
    testbed::isolate()?;
    let hookhost = built().join("hookhost");
    let (mut report, files) = judged(&corpus.dir(), corpus.cluster_objects)?;
    let mut rounds = Rounds::default();
    for (n, file) in files.iter().enumerate() {
        match Prepared::of(file, n, &stage(Path::new(""))) {
            Ok(release) if release.operations.is_empty() => report.refuse_all_but(n, &[]),
            Ok(release) => rounds.add(n, release.keys),
            Err(error) => report.fail(n, &format!("{error:#}")),
        }
    }
    let rounds = rounds.into_releases();
    let count = rounds.len();
    for (n, releases) in rounds.enumerate() {
        let start = Instant::now();
        say(&format!("── cluster {} of {count}, for {} records", n + 1, releases.len()));
        let cluster = options().start(&programs, &dir())?;
        let log = dir().join(format!("hookhost-{}.log", n + 1));
        let objects = releases.iter().flat_map(|&release| report.entries[release].cluster_objects());
        let _host = Host::start(&cluster, &hookhost, &objects.collect(), &log)?;
        play_round(&cluster, &files, &releases, &mut report)?;
        say(&format!("   {}", seconds(start.elapsed())));
    }
    corpus.print(&report)?;
    let [stuck, failed] = [Way::Stuck, Way::Failed].map(|way| report.count(way.word()));
    if stuck + failed > 0 {
        bail!("{stuck} hooks are stuck, {failed} failed");
    }
    Ok(())
}

fn stage(state: &Path) -> Stage<'static> {
    // Longer than anyone waits for it here, so that what is stuck is seen to be.
    let seconds = 2 * PATIENCE.as_secs();
    Stage { image: Image::BUSYBOX, volumes: state.join("volumes").display().to_string(), seconds }
}

/// Runs the hooks of some releases.
fn play_round(cluster: &Cluster, files: &[File], releases: &[usize], report: &mut Report) -> Result<()> {
    let kubeconfig = cluster.kubeconfig();
    let stage = stage(kubeconfig.parent().unwrap_or(&kubeconfig));
    let mut all = Vec::new();
    for &n in releases {
        all.push((n, Prepared::of(&files[n], n, &stage)?));
    }
    let groups = all.iter().map(|(_, release)| release.objects.iter().collect()).collect();
    let refused = apply_each(cluster, groups)?;
    let (mut operations, mut namespaces) = (Vec::new(), BTreeSet::new());
    for ((n, release), refused) in all.into_iter().zip(refused) {
        if let Some(message) = refused {
            report.fail(n, &message);
            continue;
        }
        let places: Vec<usize> = release.operations.iter().map(|(place, _)| *place).collect();
        report.refuse_all_but(n, &places);
        operations.extend(release.operations.into_iter().map(|(place, operation)| ((n, place), operation)));
        namespaces.extend(release.namespaces);
    }
    for namespace in namespaces {
        // Without it, no pod is admitted.
        let account = ["wait", "--for=create", "serviceaccount/default", "--timeout=60s", "--namespace"];
        cluster.kubectl(&[&account[..], &[&namespace]].concat())?;
    }
    Runs::new(cluster, operations)?.play(|place, end| report.end(place, end))
}

/// hookhost as a process against a cluster. Dropped, it is killed.
struct Host(Child);

impl Host {
    /// Starts one that is installed for these objects without a namespace.
    fn start(cluster: &Cluster, hookhost: &Path, objects: &BTreeSet<String>, log: &Path) -> Result<Host> {
        let crds = Command::new(hookhost).arg("crds").output().context("cannot run hookhost")?;
        cluster.apply("default", &String::from_utf8(crds.stdout)?)?;
        let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
        cluster.kubectl(&established)?;
        fs::create_dir_all(dir()).with_context(|| format!("cannot create {}", dir().display()))?;
        let log_file = LogFile::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let mut host = cluster.command(hookhost);
        host.args([
            "controller",
            "--helm-releases",
            "--closure",
            "--allow-unverified-namespaces",
            "--organisation-label",
            ORGANISATION,
            "--no-lease",
            "--admin-address",
            "127.0.0.1:0",
        ]);
        host.args(objects.iter().flat_map(|object| ["--closure-cluster-objects", object]));
        host.args(["--log-level", "hookhost=debug,info", "--kubeconfig"]).arg(cluster.kubeconfig());
        // Nothing of this user's.
        host.env("HOME", cluster.logs()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log_file);
        Ok(Host(host.spawn().context("cannot run hookhost")?))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
