//! `hookhost policy build`: from a crate to the component that a host runs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hookhost_core::Reason;
use serde::Serialize;

use super::cargo::{self, Crate, Metadata};
use super::componentize::{componentize, digest};
use super::toolchain::Toolchain;
use crate::exit::{Format, Outcome};
use crate::output::{self, Table};
use crate::problem::Problem;
use crate::{file, policies};

/// Compile policies to WebAssembly components
///
/// Each policy is written to target/policies/NAME.wasm of its workspace. Needs rustup's wasm32-unknown-unknown target,
/// or a compiler with the sources of its library (Debian: rustc-web, rust-web-src).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookhost policy build                       the policy in this folder
  hookhost policy build policies/*            several, with one call of cargo for each workspace
  hookhost policy build --out cap.wasm        written elsewhere")]
pub(crate) struct Args {
    /// Folders of the policies' crates [default: this folder]
    #[arg(value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Package of the folder's workspace to build instead of the folder's own; can be given more than once
    #[arg(short, long = "package", value_name = "PACKAGE")]
    packages: Vec<String>,
    /// Where to write the policy; only with one policy
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How to print what was built
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub(super) output: Format,
}

/// A policy that was built.
#[derive(Serialize)]
struct Built {
    name: String,
    path: PathBuf,
    size: usize,
    digest: String,
}

/// Builds policies and prints what was built.
pub(crate) fn run(args: Args) -> Result<Outcome> {
    let Args { folders, packages, out, output } = args;
    let crates = find(folders, &packages)?;
    if let (Some(out), true) = (&out, crates.len() > 1) {
        let message =
            format!("--out {} is one file, but {} policies are to be built", out.display(), crates.len());
        return Err(Problem::new(Reason::UsageInvalid, message)
            .with_advice("Leave --out away, or build one policy at a time.")
            .into());
    }
    let mut built = Vec::new();
    for (policy, component) in build(&crates)? {
        let path = out.clone().unwrap_or_else(|| policy.policy());
        file::write(&path, &component)?;
        built.push(Built { name: policy.name, path, size: component.len(), digest: digest(&component) });
    }
    match output {
        Format::Json => output::json(&built)?,
        Format::Table => {
            let mut table = Table::new(&["NAME", "SIZE", "DIGEST", "PATH"]);
            for Built { name, path, size, digest } in &built {
                table.row([name, &size.to_string(), digest, &path.to_string_lossy()]);
            }
            output::result(&table.render())?;
        }
    }
    Ok(Outcome::Done)
}

/// The policies of the folders, each once.
pub(super) fn find(mut folders: Vec<PathBuf>, packages: &[String]) -> Result<Vec<Crate>> {
    if folders.is_empty() {
        folders.push(PathBuf::from("."));
    }
    let mut crates: Vec<Crate> = Vec::new();
    for folder in folders {
        let found = Metadata::read(&folder)?.policies(&folder, packages)?;
        for policy in found {
            if !crates.contains(&policy) {
                crates.push(policy);
            }
        }
    }
    Ok(crates)
}

/// Builds policies, those of one workspace with one call of cargo; gives back each one's component, which a sandbox has
/// taken and asked what it is.
pub(super) fn build(crates: &[Crate]) -> Result<Vec<(Crate, Vec<u8>)>> {
    let mut workspaces: Vec<&Path> = Vec::new();
    for policy in crates {
        if !workspaces.contains(&policy.workspace.as_path()) {
            workspaces.push(&policy.workspace);
        }
    }
    let sandbox = policies::sandbox()?;
    let mut built = Vec::new();
    for workspace in workspaces {
        let members: Vec<&Crate> = crates.iter().filter(|policy| policy.workspace == workspace).collect();
        let toolchain = Toolchain::find(workspace.parent().unwrap_or(Path::new(".")))?;
        let modules = cargo::compile(&members, &toolchain)?;
        for (policy, module) in members.into_iter().zip(modules) {
            let module =
                std::fs::read(&module).with_context(|| format!("cannot read {}", module.display()))?;
            let component = componentize(&module)
                .with_context(|| format!("cannot make a component of {}", policy.name))?;
            let loaded = sandbox.load(&component, policies::limits()?).map_err(|error| {
                policies::problem(format!("{} was built, but no host takes it", policy.name), error)
            })?;
            policies::describe(&loaded, &policy.name)?;
            built.push((policy.clone(), component));
        }
    }
    Ok(built)
}
