//! The *stock policies* are the crates in `policies/`, built by the same `hookhost policy build` that a policy author
//! uses.

use std::path::PathBuf;

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
    step("build hookhost", &mut build)?;
    Ok(target().join(folder).join("hookhost"))
}

/// Where built policies are.
pub(crate) fn dir() -> PathBuf {
    target().join("policies")
}

/// Builds hookhost and all stock policies into `target/policies`; gives back the hookhost that did it.
pub(crate) fn build(profile: Profile) -> Result<PathBuf> {
    setup::wasm()?;
    let hookhost = hookhost(profile)?;
    let crates = names()?.into_iter().map(|name| root().join("policies").join(name));
    step("build the stock policies", command(&hookhost).args(["policy", "build"]).args(crates))?;
    Ok(hookhost)
}
