//! The *stock policies* are the crates in `policies/`, built by the same `hookhost policy build` that a policy author
//! uses.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::run::{cargo, command, root, step, target};
use crate::setup;

/// Names of the stock policies: the folders of `policies/`, sorted.
pub(crate) fn names() -> Result<Vec<String>> {
    let dir = root().join("policies");
    let mut names = Vec::new();
    for entry in dir.read_dir().with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").exists() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// How `hookhost` is built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// As the tests build it anyway: minutes sooner on a new machine.
    Dev,
    /// As users get it, to be measured.
    Release,
}

/// Builds the `hookhost` binary; gives back its place.
pub(crate) fn hookhost(profile: Profile) -> Result<PathBuf> {
    let (mut build, hookhost) = hookhost_build(profile);
    step("build hookhost", &mut build)?;
    Ok(hookhost)
}

/// The command that builds the `hookhost` binary, and the place where it will be.
pub(crate) fn hookhost_build(profile: Profile) -> (Command, PathBuf) {
    let mut build = cargo();
    // Of the whole workspace, as the tests are: with the features of one package alone, cargo would compile what it depends
    // on, wasmtime among it, once more.
    build.args(["build", "--workspace", "--bin", "hookhost"]);
    let folder = match profile {
        Profile::Dev => "debug",
        Profile::Release => {
            build.arg("--release");
            "release"
        }
    };
    (build, target().join(folder).join("hookhost"))
}

/// Where built policies are.
pub(crate) fn dir() -> PathBuf {
    target().join("policies")
}

/// Builds hookhost and all stock policies into `target/policies`; gives back the hookhost that did it.
pub(crate) fn build(profile: Profile) -> Result<PathBuf> {
    setup::wasm()?;
    let hookhost = hookhost(profile)?;
    step("build the stock policies", &mut stock_build(&hookhost)?)?;
    Ok(hookhost)
}

/// The command with which a hookhost builds all stock policies.
pub(crate) fn stock_build(hookhost: &Path) -> Result<Command> {
    let crates = names()?.into_iter().map(|name| root().join("policies").join(name));
    let mut build = command(hookhost);
    build.args(["policy", "build"]).args(crates);
    Ok(build)
}
