//! A *step* is one child process of a task: announced, timed, and named when it fails.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The repository's top folder: two above this crate's own.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").components().fold(PathBuf::new(), |mut path, part| {
        match part {
            std::path::Component::ParentDir => {
                path.pop();
            }
            part => path.push(part),
        }
        path
    })
}

/// Where cargo puts what it builds: CARGO_TARGET_DIR, else `target` at the top.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A line for the person who waits. Tasks talk on stderr; stdout is for results.
#[expect(clippy::print_stderr, reason = "the one place where tasks talk")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// A command in the repository's top folder.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// The very cargo that runs this task.
pub(crate) fn cargo() -> Command {
    let mut command = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    forget_this_task(&mut command);
    command
}

/// Takes away what the `cargo run` around this task has set. A cargo below must find its own, and crates that look at these
/// in their build scripts would be built anew.
pub(crate) fn forget_this_task(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let is_of_cargo = |prefix: &str| name.as_encoded_bytes().starts_with(prefix.as_bytes());
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].into_iter().any(is_of_cargo) {
            command.env_remove(name);
        }
    }
}

/// Runs a step to its end, its output shown as it comes.
pub(crate) fn step(name: &str, command: &mut Command) -> Result<()> {
    say(&format!("── {name}"));
    let start = Instant::now();
    succeed(name, command)?;
    let took = start.elapsed();
    if took > Duration::from_secs(1) {
        say(&format!("   {name}: {}", seconds(took)));
    }
    Ok(())
}

/// Runs a command to its end, which must be a good one; `name` is what it does.
pub(crate) fn succeed(name: &str, command: &mut Command) -> Result<()> {
    let start = Instant::now();
    let status = command.status().with_context(|| format!("{name}: cannot run {}", line(command)))?;
    if status.success() {
        return Ok(());
    }
    let took = seconds(start.elapsed());
    bail!("{name}: failed ({status}) after {took}\n  to run it alone: {}", line(command))
}

/// Runs a command and gives back what it printed on stdout.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {}", line(command)))?;
    if !output.status.success() {
        bail!(
            "{} failed ({}): {}",
            line(command),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// A duration with one decimal.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
