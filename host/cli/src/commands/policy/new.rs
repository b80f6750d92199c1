//! `hookhost policy new`: a crate that is a policy, with its tests, ready to be built and changed.

mod sdk;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hookhost_core::Reason;

use crate::exit::Outcome;
use crate::problem::Problem;
use crate::{file, output};
use sdk::Sdk;

/// The files of a new policy: where, and what is in them. `{name}`, `{type}` and `{sdk}` are filled in.
const FILES: [(&str, &str); 5] = [
    ("Cargo.toml", include_str!("../../../templates/policy/Cargo.toml.template")),
    ("src/lib.rs", include_str!("../../../templates/policy/lib.rs.template")),
    ("tests/cases.yaml", include_str!("../../../templates/policy/cases.yaml")),
    ("README.md", include_str!("../../../templates/policy/README.md.template")),
    (".gitignore", include_str!("../../../templates/policy/gitignore")),
];

/// Characters of a name: with ".wasm" it is a file's name, and registries take no more.
const NAME_CHARS: usize = 64;

/// Make a new policy: a crate with an example to change, unit tests, test cases and a README
///
/// The SDK, the crate hook-policy, is taken from --sdk, else from $HOOK_POLICY_SDK, else from the checkout that hookhost
/// or this folder is in.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookhost policy new short-runs && cd short-runs && hookhost policy test
  hookhost policy new short-runs --sdk ~/hookhost/guest-sdk
  hookhost policy new short-runs --sdk 0.1")]
pub(crate) struct Args {
    /// Name of the policy and its crate: lower-case letters, digits and dashes
    name: String,
    /// The SDK: its folder, or a version of it from the registry
    #[arg(long, value_name = "PATH|VERSION")]
    sdk: Option<String>,
    /// Folder to make; must not exist or be empty [default: NAME]
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
}

/// Makes the crate and prints its folder.
pub(crate) fn run(args: Args) -> Result<Outcome> {
    let Args { name, sdk, path } = args;
    check_name(&name)?;
    let folder = path.unwrap_or_else(|| PathBuf::from(&name));
    check_folder(&folder)?;
    let sdk = Sdk::find(sdk.as_deref())?;
    for (path, template) in FILES {
        let text =
            fill(template, &[("{name}", &name), ("{type}", &type_name(&name)), ("{sdk}", &sdk.dependency())]);
        file::write(&folder.join(path), text.as_bytes())?;
    }
    output::message(&format!(
        "made the policy {name}, with {sdk}\nnext: cd {} && hookhost policy test\n",
        output::escape(&folder.to_string_lossy())
    ));
    output::result(&format!("{}\n", folder.display()))?;
    Ok(Outcome::Done)
}

fn fill(template: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(template.to_owned(), |text, (key, value)| text.replace(key, value))
}

/// Names that cargo or the compiler has taken.
const TAKEN: [&str; 7] = ["alloc", "core", "hook-policy", "proc-macro", "self", "std", "test"];

fn check_name(name: &str) -> Result<(), Problem> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = name.chars().all(is_plain)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && !name.contains("--")
        && name.len() <= NAME_CHARS
        && !TAKEN.contains(&name);
    if fits {
        return Ok(());
    }
    Err(Problem::new(Reason::UsageInvalid, format!("{name:?} cannot be a policy's name")).with_advice(format!(
        "Use lower-case letters, digits and single dashes, a letter first, at most {NAME_CHARS}: short-runs. Taken are: {}",
        TAKEN.join(", ")
    )))
}

fn check_folder(folder: &Path) -> Result<()> {
    let mut entries = match folder.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("cannot use {}", folder.display())),
    };
    if entries.next().is_none() {
        return Ok(());
    }
    let message = format!("{} is there already and not empty", folder.display());
    Err(Problem::new(Reason::UsageInvalid, message)
        .with_advice("Choose another name, or a folder: --path DIR")
        .into())
}

/// `short-runs` as a type: `ShortRuns`.
fn type_name(name: &str) -> String {
    let word = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    };
    name.split('-').map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cargo_would_refuse_are_refused_first() {
        for good in ["a", "short-runs", "cap2", "a-1"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        let long = "x".repeat(65);
        for bad in
            ["", "Short", "1st", "a_b", "-a", "a-", "a--b", "ä", "a/b", "..", "test", "std", long.as_str()]
        {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_becomes_a_type() {
        assert_eq!(type_name("short-runs-2"), "ShortRuns2");
    }
}
