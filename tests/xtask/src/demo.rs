//! The *demo* is the main job on real input: the record of a release that Helm made, an Operation as the vWorkspace
//! documentation has it, three policies of the kind an organisation would have. Then the same on a cluster, where real Flux
//! or Helm has installed the chart and the hook really runs.

mod boxed;
mod person;
mod scene;
mod screen;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use testbed::Options;

pub(crate) use boxed::play as play_in_a_box;
use person::Person;

use crate::cluster;
use crate::policies::{self, Profile};
use crate::progress::{Progress, Step, time};
use crate::run::{command, line, root, say, succeed, target};
use crate::setup;

/// The release's record, as the API server gave it.
const RECORD: &str = "tests/fixtures/records/helm4/nextcloud-myteam.v2.yaml";
/// The Operation that asks for the migration.
const MIGRATION: &str = "tests/demo/migration.yaml";
/// One that asks for a hook that is meant for rollbacks too.
const ROLLBACK: &str = "tests/demo/rollback.yaml";
/// The organisation's policies; each has its settings in tests/demo.
const POLICIES: [&str; 3] = ["deadline-cap", "hook-allowlist", "org-labels"];
/// A Tuesday noon, when the maintenance window of the demo is closed.
const NOON: &str = "2026-05-26T12:00:00Z";

/// Shows the main job: first without a cluster, then on one of this machine, or on the one of a context.
///
/// On a new machine Kubernetes takes the longest to build by far, so it begins first and only takes the time that the rest
/// leaves; hookhost and its policies are built, and shown, before it.
pub(crate) fn demo(context: Option<&str>, image: &str) -> Result<()> {
    let start = Instant::now();
    setup::wasm()?;
    let options = context.map_or_else(boxed::options, |_| Options::api_server());
    let on_a_cluster = context.is_some() || testbed::is_root();
    let mut progress = Progress::of(steps(on_a_cluster));
    let programs = on_a_cluster.then(|| cluster::programs_beside(options));

    let built = progress.step(|| {
        let (mut build, hookhost) = policies::hookhost_build(Profile::Dev);
        // Its own progress would be in the middle of these lines.
        succeed(BUILD_HOOKHOST, build.arg("--quiet"))?;
        Ok(hookhost)
    })?;
    let hookhost = Hookhost(&built);
    hookhost.show("The hooks of a release, from the record that Helm keeps", &["hooks", RECORD], 0)?;
    let first_output = start.elapsed();
    say("");
    progress.step(|| succeed(BUILD_POLICIES, &mut policies::stock_build(&built)?))?;
    offline(&hookhost)?;
    say("");
    let Some(programs) = programs else {
        say(
            "The rest of the demo runs the hook in a cluster on this machine, whose pods need root. As root: cargo xtask demo",
        );
        say("Or on a cluster that you have: cargo xtask demo --context NAME");
        return Ok(());
    };
    let programs = progress.step(programs)?;
    progress.step(|| match context {
        Some(context) => person::play(&Person { context, image, programs: programs.dir() }),
        None => in_a_box(),
    })?;
    say(&format!("(first output after {}, all after {})", time(first_output), time(start.elapsed())));
    Ok(())
}

const BUILD_HOOKHOST: &str = "build hookhost";
const BUILD_POLICIES: &str = "build the stock policies";

/// What the demo does. The times are those of two cores; what is there already is taken for up to date.
fn steps(on_a_cluster: bool) -> Vec<Step> {
    let build = |name, minutes, built: PathBuf| Step {
        name,
        expected: if built.exists() { Duration::ZERO } else { Duration::from_mins(minutes) },
    };
    let policy = policies::dir().join(format!("{}.wasm", POLICIES[0]));
    let mut steps = vec![build(BUILD_HOOKHOST, 8, hookhost()), build(BUILD_POLICIES, 1, policy)];
    if on_a_cluster {
        let cluster = root().join("tests/controlplane/bin/kubebox");
        steps.push(build("build Kubernetes, Helm and Flux", 12, cluster));
        steps.push(Step { name: "run the hook in a cluster", expected: Duration::from_mins(1) });
    }
    steps
}

/// Plays the part on a cluster of this machine, in a process of its own.
fn in_a_box() -> Result<()> {
    let status = command(std::env::current_exe()?).arg("demo-in-a-box").status()?;
    if !status.success() {
        let logs = scene::made()?.join("logs");
        bail!("the demo on the cluster ended with {status}; its logs are in {}", logs.display());
    }
    Ok(())
}

/// The built `hookhost`.
fn hookhost() -> PathBuf {
    target().join("debug/hookhost")
}

/// The main job on a release record, without a cluster.
fn offline(hookhost: &Hookhost<'_>) -> Result<()> {
    let plan = |operation: &str| -> Vec<String> {
        let mut args = plan_args_for(operation, &POLICIES);
        args.extend(["-o".to_owned(), "explain".to_owned()]);
        args
    };

    hookhost.show("What would run, and where each value comes from", &plan(MIGRATION), 0)?;
    hookhost.show("The very Job: the chart's own, under the Operation's name", &plan_args(), 0)?;
    hookhost.show("A hook that is meant for rollbacks too is denied", &plan(ROLLBACK), 3)?;
    let mut hold = plan_args_for(MIGRATION, &["maintenance-window"]);
    hold.extend(["--now", NOON, "-o", "explain"].map(str::to_owned));
    hookhost.show("Outside the maintenance window a run waits", &hold, 4)
}

/// Arguments for planning the migration with three policies: the Job alone on stdout.
pub(crate) fn plan_args() -> Vec<String> {
    plan_args_for(MIGRATION, &POLICIES)
}

fn plan_args_for(operation: &str, policies: &[&str]) -> Vec<String> {
    let mut args: Vec<String> =
        ["plan", "-f", operation, "--release", RECORD, "--cluster-id", "cluster-prod-1"]
            .map(str::to_owned)
            .to_vec();
    for policy in policies {
        let wasm = target().join(format!("policies/{policy}.wasm"));
        let wasm = wasm.strip_prefix(root()).map(Path::to_owned).unwrap_or(wasm);
        args.extend(["--policy".to_owned(), format!("{}=tests/demo/{policy}.yaml", wasm.display())]);
    }
    args
}

struct Hookhost<'a>(&'a Path);

impl Hookhost<'_> {
    /// Runs one command in front of the person, as they would type it, and holds it to the exit code it should have.
    fn show<A: AsRef<std::ffi::OsStr>>(&self, title: &str, args: &[A], exit: i32) -> Result<()> {
        let mut run: Command = command(self.0);
        run.args(args);
        say(&format!("\n# {title}\n$ {}\n", typed(&run)));
        let status = run.status()?;
        if status.code() != Some(exit) {
            bail!("{} ended with {status}, not with exit code {exit}", line(&run));
        }
        if exit != 0 {
            say(&format!("(exit code {exit})"));
        }
        Ok(())
    }
}

/// The command with its long lines broken before each `--policy`.
fn typed(command: &Command) -> String {
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    format!("hookhost {}", words.join(" ")).replace(" --policy", " \\\n    --policy")
}
