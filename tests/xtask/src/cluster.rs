//! The *cluster* task keeps a testbed at hand for people: start it, look around in it, stop it. It is all of a testbed
//! that this user can have: without root, everything but pods.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use clap::Subcommand;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, nice, pidfd_open, pidfd_send_signal};
use testbed::{Image, Options, Programs};

use crate::policies::{self, Profile};
use crate::run::{forget_this_task, root, say, seconds, target};
use crate::setup;

/// The image of this build, as the Dockerfile makes it.
pub(crate) const IMAGE: &str = "localhost/hookhost:dev";

/// What the cluster says to the process that started it.
const READY: &str = "ready";

#[derive(Subcommand)]
pub(crate) enum Task {
    /// Start a cluster that stays until `down`: Kubernetes with one node, Flux, an OCI registry; without root, no pods
    Up,
    /// Stop it; its data are gone, its logs stay
    Down,
    /// Open a shell, or run a command, with kubectl, helm, helm3 and hookhost on the PATH; without `up`, in a cluster of its own
    Shell {
        /// The command, after --
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// What `up` starts
    #[command(hide = true)]
    Serve,
}

/// Runs the task.
pub(crate) fn cluster(task: Task) -> Result<()> {
    match task {
        Task::Up => up(),
        Task::Down => down(),
        Task::Shell { command } => shell(&command),
        Task::Serve => serve(),
    }
}

/// What the smallest cluster needs, installed and built.
pub(crate) fn programs() -> Result<Programs> {
    programs_for(Options::api_server())
}

/// What a cluster needs: programs of Debian packages, and those that are built here.
pub(crate) fn programs_for(options: Options) -> Result<Programs> {
    setup::packages("a cluster", &options.missing_packages(), "install these programs in another way")?;
    match Programs::build(say) {
        Err(testbed::Error::NoGo) => {
            setup::packages("a cluster", &["golang-go"], "https://go.dev/doc/install")?;
            Ok(Programs::build(say)?)
        }
        programs => Ok(programs?),
    }
}

/// The lowest priority that Linux knows.
const LOWEST: i32 = 19;

/// Does the same beside other work, with the time that it leaves: what a person waits for first is not slowed down.
/// Gives back a function that waits for the end.
pub(crate) fn programs_beside(options: Options) -> impl FnOnce() -> Result<Programs> {
    let building = thread::spawn(move || {
        // Of this thread, and of the programs that it starts.
        nice(LOWEST).context("cannot lower the priority")?;
        programs_for(options)
    });
    || building.join().map_err(|_| anyhow!("building the cluster's programs panicked"))?
}

/// Makes the image of a built `hookhost` and the built stock policies.
pub(crate) fn image(hookhost: &Path, name: &str) -> Result<Image> {
    let mut image = Image::new(name).program(hookhost, "/hookhost")?;
    for name in policies::names()? {
        let file = format!("{name}.wasm");
        image = image.file(&policies::dir().join(&file), &format!("/stock-policies/{file}"))?;
    }
    Ok(image.entrypoint(&["/hookhost"]).user("65532:65532"))
}

/// All that this user can have.
pub(crate) fn whole() -> Options {
    let options = if testbed::is_root() { Options::pods() } else { Options::controllers() };
    let whole = options.with_flux().with_registry();
    // Only root can have it installed.
    if testbed::is_root() || whole.missing_packages().is_empty() { whole } else { options.with_flux() }
}

/// Whether this user's cluster runs pods.
fn has_pods() -> bool {
    whole() == Options::pods().with_flux().with_registry()
}

/// Says what this user's cluster has not.
fn say_what_is_missing() {
    if has_pods() {
        return;
    }
    say("without root no pods run: the kubelet needs it");
    if whole() == Options::controllers().with_flux() {
        say("no OCI registry either; as root: apt-get install -y docker-registry");
    }
}

fn dir() -> PathBuf {
    root().join("tests/controlplane/run")
}

fn up() -> Result<()> {
    if running().is_some() {
        say("the cluster is up already: cargo xtask cluster shell");
        return Ok(());
    }
    programs_for(whole())?;
    if has_pods() {
        policies::build(Profile::Dev)?;
    }
    fs::create_dir_all(dir()).with_context(|| format!("cannot create {}", dir().display()))?;
    let start = Instant::now();
    let mut serve = testbed::isolated_command(std::env::current_exe()?)?;
    let log = dir().join("serve.log");
    let log_file = fs::File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
    serve.args(["cluster", "serve"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_file);
    // A group of its own: what is typed at this terminal later is not meant for it.
    let mut serve = serve.process_group(0).spawn().context("cannot start the cluster")?;
    let mut line = String::new();
    if let Some(stdout) = serve.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    if line.trim() != READY {
        bail!("the cluster did not start:\n{}", fs::read_to_string(&log).unwrap_or_default());
    }
    fs::write(pid_file(), serve.id().to_string()).context("cannot write the cluster's process id")?;
    say(&format!("the cluster is up after {}", seconds(start.elapsed())));
    say_what_is_missing();
    say("next:");
    say("  cargo xtask cluster shell                            a shell with kubectl, helm and helm3");
    say("  cargo xtask cluster shell -- kubectl get pods -A     or one command");
    say("  cargo xtask cluster down");
    if has_pods() {
        let (repository, tag) = IMAGE.rsplit_once(':').unwrap_or((IMAGE, ""));
        say(&format!(
            "this build is on the PATH of that shell, and in the cluster as the image {IMAGE}; there:"
        ));
        say(&format!(
            "  helm install hookhost deploy/hookhost -n hookhost --create-namespace --set \
             image.repository={repository},image.tag={tag}"
        ));
    }
    say(&format!("logs are in {}", dir().join("logs").display()));
    Ok(())
}

fn serve() -> Result<()> {
    let programs = programs_for(whole())?;
    testbed::isolate()?;
    let cluster = whole().start(&programs, &dir())?;
    if has_pods() {
        cluster.load(&image(&target().join("debug/hookhost"), IMAGE)?)?;
    }
    writeln!(io::stdout(), "{READY}")?;
    loop {
        thread::park();
    }
}

fn down() -> Result<()> {
    let Some(pid) = running() else {
        say("the cluster is not up");
        return Ok(());
    };
    // By handle, not by number: the number could be another process's by now.
    let keeper = pidfd_open(pid, PidfdFlags::empty()).context("cannot find the cluster's process")?;
    let inside =
        pidfd_open(inside(pid)?, PidfdFlags::empty()).context("cannot find the cluster's process")?;
    pidfd_send_signal(&inside, Signal::KILL).context("cannot stop the cluster")?;
    // The keeper ends when nothing is left.
    poll(&mut [PollFd::new(&keeper, PollFlags::IN)], None)?;
    fs::remove_file(pid_file())?;
    say("the cluster is down");
    Ok(())
}

fn shell(words: &[String]) -> Result<()> {
    let programs = programs_for(whole())?;
    let shell = [std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned())];
    let words = if words.is_empty() { &shell[..] } else { words };
    let status = if let Some(keeper) = running() {
        enter(inside(keeper)?, words, &programs)?
    } else {
        testbed::isolate()?;
        say_what_is_missing();
        let dir = tempfile::tempdir()?;
        let cluster = whole().start(&programs, dir.path())?;
        run(with_hookhost(&mut cluster.command(&words[0])).args(&words[1..]))?
    };
    if status.success() { Ok(()) } else { bail!("{} ended with {status}", words[0]) }
}

/// Runs a command in the namespaces of the cluster that is up, whose process 1 is `pid`.
fn enter(pid: Pid, words: &[String], programs: &Programs) -> Result<ExitStatus> {
    let mut nsenter = Command::new("nsenter");
    nsenter.args([&format!("--target={}", pid.as_raw_nonzero()), "--net", "--mount", "--pid"]);
    if !rustix::process::geteuid().is_root() {
        nsenter.args(["--user", "--preserve-credentials"]);
    }
    nsenter.arg(format!("--wd={}", std::env::current_dir()?.display())).arg("--").args(words);
    testbed::environment(&mut nsenter, programs, &dir());
    run(with_hookhost(&mut nsenter))
}

/// The variable by which `hookhost` finds the stock policies.
const STOCK_POLICIES: &str = "HOOKHOST_STOCK_POLICIES";

/// Puts this build's `hookhost` on a command's PATH, and lets it find this build's stock policies, unless the person has named others.
fn with_hookhost(command: &mut Command) -> &mut Command {
    if std::env::var_os(STOCK_POLICIES).is_none() {
        command.env(STOCK_POLICIES, policies::dir());
    }
    let given = command.get_envs().find(|(key, _)| *key == "PATH").and_then(|(_, path)| path);
    let path = given.map(ToOwned::to_owned).or_else(|| std::env::var_os("PATH")).unwrap_or_default();
    let paths = std::iter::once(target().join("debug")).chain(std::env::split_paths(&path));
    match std::env::join_paths(paths) {
        Ok(path) => command.env("PATH", path),
        // A folder with a colon in its name can be on no PATH.
        Err(_) => command,
    }
}

fn run(command: &mut Command) -> Result<ExitStatus> {
    forget_this_task(command);
    command.status().with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))
}

/// Process 1 of the cluster: the keeper's child is unshare, and that one's child is inside.
fn inside(keeper: Pid) -> Result<Pid> {
    child(keeper).and_then(child).context("the cluster is just starting or ending; try again")
}

fn child(pid: Pid) -> Option<Pid> {
    let pid = pid.as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)
}

/// The keeper of the cluster, if it is up.
fn running() -> Option<Pid> {
    let pid: i32 = fs::read_to_string(pid_file()).ok()?.trim().parse().ok()?;
    let line = fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline")).ok()?;
    // Process ids come around: it must be the one that `up` started.
    line.ends_with(b"\0cluster\0serve\0").then(|| Pid::from_raw(pid))?
}

fn pid_file() -> PathBuf {
    dir().join("pid")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn the_shells_hookhost_finds_this_builds_stock_policies() {
        let mut command = Command::new("hookhost");
        with_hookhost(&mut command);
        let is_named = |(key, value): (&OsStr, Option<&OsStr>)| {
            key == STOCK_POLICIES && value == Some(policies::dir().as_os_str())
        };
        assert!(std::env::var_os(STOCK_POLICIES).is_some() || command.get_envs().any(is_named));
    }
}
