//! The *demo* is the main job on real input: the record of a release that Helm made, an Operation as the vWorkspace
//! documentation has it, three policies of the kind an organisation would have. Then the same on a cluster, where real Flux
//! or Helm has installed the chart and the hook really runs.

mod boxed;
mod person;
mod scene;
mod screen;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use testbed::{Options, Programs};

pub(crate) use boxed::play as play_in_a_box;
use person::Person;

use crate::cluster;
use crate::policies::{self, Profile};
use crate::run::{command, line, root, say, seconds, target};

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
/// How often a person who waits for a build hears of it.
const PROGRESS_EVERY: Duration = Duration::from_secs(30);

/// Shows the main job: first without a cluster, then on one of this machine, or on the one of a context.
pub(crate) fn demo(context: Option<&str>, image: &str) -> Result<()> {
    let start = Instant::now();
    // The first time it takes a quarter of an hour, beside what is built and shown meanwhile.
    let options = context.map_or_else(boxed::options, |_| Options::api_server());
    let on_a_cluster = context.is_some() || testbed::is_root();
    let programs = on_a_cluster.then(|| thread::spawn(move || cluster::programs_for(options)));
    offline(&policies::build(Profile::Dev)?)?;
    let Some(programs) = programs else {
        say(
            "\nThe rest of the demo runs the hook in a cluster on this machine, whose pods need root. As root: cargo xtask demo",
        );
        say("Or on a cluster that you have: cargo xtask demo --context NAME");
        return Ok(());
    };
    let programs = wait_for(programs)?;
    match context {
        Some(context) => person::play(&Person { context, image, programs: programs.dir() })?,
        None => {
            let status = command(std::env::current_exe()?).arg("demo-in-a-box").status()?;
            if !status.success() {
                bail!(
                    "the demo on the cluster ended with {status}; its logs are in {}",
                    scene::made()?.join("logs").display()
                );
            }
        }
    }
    say(&format!("({})", seconds(start.elapsed())));
    Ok(())
}

/// Waits for the cluster's programs, and says so when it takes long.
fn wait_for(programs: thread::JoinHandle<Result<Programs>>) -> Result<Programs> {
    let start = Instant::now();
    let mut told = Duration::ZERO;
    while !programs.is_finished() {
        thread::sleep(Duration::from_millis(100));
        if start.elapsed() >= told + PROGRESS_EVERY {
            told = start.elapsed();
            say(&format!("building the cluster's programs: {} s so far", told.as_secs()));
        }
    }
    programs.join().map_err(|_| anyhow!("building the cluster's programs panicked"))?
}

/// The built `hookhost`.
fn hookhost() -> PathBuf {
    target().join("debug/hookhost")
}

/// The main job on a release record, without a cluster.
fn offline(hookhost: &Path) -> Result<()> {
    let hookhost = Hookhost(hookhost);
    let plan = |operation: &str| -> Vec<String> {
        let mut args = plan_args_for(operation, &POLICIES);
        args.extend(["-o".to_owned(), "explain".to_owned()]);
        args
    };

    hookhost.show("The hooks of a release, from the record that Helm keeps", &["hooks", RECORD], 0)?;
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
