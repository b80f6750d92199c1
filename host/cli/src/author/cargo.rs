//! *Cargo* is what knows the crates of a folder and builds them. This module asks it which policies there are, and has
//! it compile them the way policies must be compiled, so that an author's Cargo.toml needs no profile for it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use hookhost_core::Reason;
use serde::Deserialize;

use super::toolchain::{TARGET, Toolchain};
use crate::output;
use crate::problem::Problem;

/// Bytes of a policy's stack. Rust's default is 1 MiB, which each fresh instance would have to clear; the deepest of
/// the stock policies uses a tenth of this.
const STACK_BYTES: u32 = 64 * 1024;

/// How policies are optimised: for speed, a third fewer instructions a decision than for size, at a third more bytes. Given on cargo's command line, which wins over a Cargo.toml.
const PROFILE: &[&str] = &[
    r#"profile.policy.inherits="release""#,
    "profile.policy.opt-level=3",
    r#"profile.policy.lto="fat""#,
    "profile.policy.codegen-units=1",
    r#"profile.policy.panic="abort""#,
    // Names of functions would be a third of the file; a panic names its place without them.
    r#"profile.policy.strip="symbols""#,
    "profile.policy.debug=false",
];

/// A crate that can be built as a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Crate {
    /// The package's name; also the name of the file that is built.
    pub(crate) name: String,
    /// How cargo tells it from other packages: a dependency may have the same name.
    pub(crate) id: String,
    /// Its Cargo.toml.
    pub(crate) manifest: PathBuf,
    /// The Cargo.toml of its workspace's folder, which is its own if it has no workspace.
    pub(crate) workspace: PathBuf,
    /// Where cargo puts what it builds for this workspace.
    pub(crate) target: PathBuf,
}

impl Crate {
    /// Where the built policy is kept.
    pub(crate) fn policy(&self) -> PathBuf {
        self.target.join("policies").join(format!("{}.wasm", self.name))
    }
}

/// What `cargo metadata` says; only what is used here.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    packages: Vec<Package>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    id: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    crate_types: Vec<String>,
}

impl Package {
    fn is_cdylib(&self) -> bool {
        self.targets.iter().any(|target| target.crate_types.iter().any(|kind| kind == "cdylib"))
    }
}

impl Metadata {
    /// Asks cargo about the workspace that a folder belongs to.
    pub(crate) fn read(folder: &Path) -> Result<Metadata> {
        let manifest = folder.join("Cargo.toml");
        if !manifest.is_file() {
            let message = format!("{} is not a crate: it has no Cargo.toml", folder.display());
            return Err(Problem::new(Reason::UsageInvalid, message)
                .with_advice("Name a policy's folder, or make one: hookhost policy new NAME")
                .into());
        }
        let mut cargo = cargo(folder);
        cargo.args(["metadata", "--no-deps", "--format-version", "1"]);
        let output = cargo.stderr(Stdio::inherit()).output().map_err(|error| no_cargo(&cargo, error))?;
        if !output.status.success() {
            let message = format!("cargo cannot read {}", manifest.display());
            return Err(Problem::new(Reason::PolicyBuildFailed, message).into());
        }
        serde_json::from_slice(&output.stdout).context("cannot read what cargo metadata says")
    }

    /// The policies that a folder stands for: its own crate; in a workspace's top folder without a crate of its own,
    /// every member that can be one. `names` picks some of the workspace's packages instead.
    pub(crate) fn policies(&self, folder: &Path, names: &[String]) -> Result<Vec<Crate>, Problem> {
        let manifest = folder.join("Cargo.toml");
        let manifest = manifest.canonicalize().unwrap_or(manifest);
        let own =
            |package: &&Package| package.manifest_path.canonicalize().is_ok_and(|path| path == manifest);
        let found: Vec<&Package> = if names.is_empty() {
            match self.packages.iter().find(own) {
                Some(package) => vec![package],
                None => self.packages.iter().filter(|package| package.is_cdylib()).collect(),
            }
        } else {
            names.iter().map(|name| self.package(name)).collect::<Result<_, _>>()?
        };
        if found.is_empty() {
            let message = format!("no crate of {} can be built as a policy", manifest.display());
            return Err(Problem::new(Reason::UsageInvalid, message).with_advice(CDYLIB));
        }
        found.into_iter().map(|package| self.policy(package)).collect()
    }

    fn package(&self, name: &str) -> Result<&Package, Problem> {
        self.packages.iter().find(|package| package.name == name).ok_or_else(|| {
            let message = format!("no package {name} in the workspace {}", self.workspace_root.display());
            let names: Vec<_> = self.packages.iter().map(|package| package.name.as_str()).collect();
            Problem::new(Reason::UsageInvalid, message).with_advice(format!("It has: {}", names.join(", ")))
        })
    }

    fn policy(&self, package: &Package) -> Result<Crate, Problem> {
        if !package.is_cdylib() {
            let message = format!("{} is not a policy: it is not a cdylib", package.manifest_path.display());
            return Err(Problem::new(Reason::UsageInvalid, message).with_advice(CDYLIB));
        }
        Ok(Crate {
            name: package.name.clone(),
            id: package.id.clone(),
            manifest: package.manifest_path.clone(),
            workspace: self.workspace_root.join("Cargo.toml"),
            target: self.target_directory.clone(),
        })
    }
}

const CDYLIB: &str = "A policy's Cargo.toml says:\n  [lib]\n  crate-type = [\"cdylib\", \"rlib\"]";

/// One line that cargo writes about a build; only what is used here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Compiles policies of one workspace with one call of cargo, whose own messages go to stderr as they come. Gives back
/// each crate's core module, in the order of the crates.
pub(crate) fn compile(crates: &[&Crate], toolchain: &Toolchain) -> Result<Vec<PathBuf>> {
    let Some(first) = crates.first() else { return Ok(Vec::new()) };
    let workspace = first.workspace.parent().unwrap_or(Path::new("."));
    let mut cargo = cargo(workspace);
    cargo.args(["build", "--lib", "--target", TARGET, "--profile", "policy"]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    // A folder of its own: the native build and this one neither wait for nor rebuild each other.
    let target = first.target.join("policy-build");
    if toolchain.builds_library() && !target.join(TARGET).exists() {
        output::message(&format!(
            "note: Rust's library for {TARGET} is not installed: it is built from its sources with Debian's compiler, which takes \
             some minutes, once for each target folder. `rustup target add {TARGET}` saves that.\n"
        ));
    }
    cargo.arg("--target-dir").arg(target);
    for setting in PROFILE {
        cargo.args(["--config", setting]);
    }
    cargo.arg("--config").arg(rustflags(workspace));
    for policy in crates {
        cargo.args(["--package", &policy.id]);
    }
    toolchain.apply(&mut cargo);
    // Flags for the native build, such as a CPU, would hide those given above and mean nothing here.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    let output = cargo.stderr(Stdio::inherit()).output().map_err(|error| no_cargo(&cargo, error))?;
    if !output.status.success() {
        let names: Vec<_> = crates.iter().map(|policy| policy.name.as_str()).collect();
        let message = format!("cargo could not build {}; its messages are above", names.join(", "));
        return Err(Problem::new(Reason::PolicyBuildFailed, message).into());
    }
    let messages: Vec<Message> = output
        .stdout
        .split(|&byte| byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .filter(|message: &Message| message.reason == "compiler-artifact")
        .collect();
    crates
        .iter()
        .map(|policy| {
            messages
                .iter()
                .filter(|message| message.manifest_path == policy.manifest)
                .flat_map(|message| &message.filenames)
                .find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
                .cloned()
                .with_context(|| format!("cargo built {} but named no .wasm file", policy.name))
        })
        .collect()
}

/// Flags of the compiler: the stack's size, and no path of this machine in panic messages, so that the same sources
/// give the same digest wherever they are built.
fn rustflags(workspace: &Path) -> OsString {
    let mut flags = vec![format!("-Clink-arg=-zstack-size={STACK_BYTES}")];
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    for (from, to) in [(home, "/cargo"), (Some(workspace.to_owned()), "/policy")] {
        if let Some(from) = from.as_deref().and_then(Path::to_str) {
            flags.push(format!("--remap-path-prefix={from}={to}"));
        }
    }
    let flags: Vec<_> = flags.iter().map(|flag| toml_string(flag)).collect();
    format!("target.{TARGET}.rustflags=[{}]", flags.join(",")).into()
}

/// A text as TOML has it, for paths with any characters.
pub(crate) fn toml_string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Whether the workspace around a folder takes the crate in it as a member; cargo decides. Without a cargo it does not.
pub(crate) fn is_member_of_outer_workspace(folder: &Path) -> bool {
    #[derive(Deserialize)]
    struct Root {
        workspace_root: PathBuf,
    }
    let mut cargo = cargo(folder);
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    let Ok(output) = cargo.stderr(Stdio::null()).output() else { return false };
    let Ok(Root { workspace_root }) = serde_json::from_slice(&output.stdout) else { return false };
    match (workspace_root.canonicalize(), folder.canonicalize()) {
        (Ok(root), Ok(folder)) => output.status.success() && root != folder,
        _ => false,
    }
}

/// The cargo that runs this process, if one does, else the one on the PATH.
fn cargo(folder: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(folder).stdin(Stdio::null());
    cargo
}

fn no_cargo(cargo: &Command, error: std::io::Error) -> Problem {
    let program = cargo.get_program().display().to_string();
    Problem::new(Reason::ToolMissing, format!("cannot run {program}"))
        .with_source(error)
        .with_advice("Install Rust with its cargo: https://rustup.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_any_characters_is_one_string_of_toml() {
        assert_eq!(toml_string("/a b/\"c\"\\é'\u{7f}\n"), r#""/a b/\"c\"\\é'\u007f\u000a""#);
    }

    #[test]
    fn policies_are_linked_with_the_stack_that_the_sdk_promises() {
        assert_eq!(STACK_BYTES, hook_policy::STACK_BYTES);
        let flags = rustflags(Path::new("/policy"));
        assert!(flags.to_string_lossy().contains(&format!("-zstack-size={}", hook_policy::STACK_BYTES)));
    }
}
