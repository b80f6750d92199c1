//! `hookhost policy new`: a crate that is a policy, with its tests, ready to be built and changed.

mod sdk;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use hookhost_core::Reason;

use super::cargo;
use crate::exit::Outcome;
use crate::problem::Problem;
use crate::{file, output};
use sdk::Sdk;

/// The files of a new policy: where, and what is in them. `{name}`, `{type}` and `{sdk}` are filled in.
const FILES: [(&str, &str); 5] = [
    ("Cargo.toml", include_str!("../../templates/policy/Cargo.toml.template")),
    ("src/lib.rs", include_str!("../../templates/policy/lib.rs.template")),
    ("tests/cases.yaml", include_str!("../../templates/policy/cases.yaml")),
    ("README.md", include_str!("../../templates/policy/README.md.template")),
    (".gitignore", include_str!("../../templates/policy/gitignore")),
];

/// Characters of a name: with ".wasm" it is a file's name, and registries take no more.
const NAME_CHARS: usize = 64;

/// Make a new policy: a crate with an example to change, unit tests, test cases and a README
///
/// Inside a Cargo workspace the crate is a member where the workspace's `members` say so, and else a workspace of its own.
///
/// The SDK, the crate hook-policy, is taken from --sdk, else from $HOOK_POLICY_SDK, else from the checkout that hookhost
/// or this folder is in.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookhost policy new short-runs && cd short-runs && hookhost policy test
  hookhost policy new short-runs --sdk ~/hookhost/guest-sdk")]
pub(crate) struct Args {
    /// Name of the policy and its crate: lower-case letters, digits and dashes
    name: String,
    /// The SDK: its folder, guest-sdk in a checkout of hookhost's repository; it is in no registry yet
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
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
    // Asked for now that the crate is there: only cargo knows which folders a workspace takes as its members.
    if !cargo::is_member_of_outer_workspace(&folder) {
        let manifest = folder.join("Cargo.toml");
        let text = std::fs::read_to_string(&manifest)
            .with_context(|| format!("cannot read {}", manifest.display()))?;
        file::write(&manifest, format!("{text}{OWN_WORKSPACE}").as_bytes())?;
    }
    output::message(&format!(
        "made the policy {name}, with {sdk}\nnext: cd {} && hookhost policy test\n",
        output::escape(&shell_word(&folder.to_string_lossy()))
    ));
    output::result(&format!("{}\n", folder.display()))?;
    Ok(Outcome::Done)
}

/// What keeps a workspace that the crate's folder happens to be in from taking it for a lost member.
const OWN_WORKSPACE: &str = "
# Of no workspace but its own. To make it a member of another one, remove this.
[workspace]
";

fn fill(template: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(template.to_owned(), |text, (key, value)| text.replace(key, value))
}

/// A path as a POSIX shell takes it after `cd`.
fn shell_word(path: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=@,".contains(c);
    let word = if path.chars().all(is_plain) && !path.is_empty() {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    };
    if path.starts_with('-') { format!("-- {word}") } else { word }
}

/// Names that mean something else to cargo, the compiler or the crate's own dependencies.
const TAKEN: [&str; 9] =
    ["alloc", "core", "hook-policy", "proc-macro", "schemars", "serde", "serde-json", "std", "test"];

/// Rust's keywords, also those of the future: no crate is imported by such a name, and `cargo new` refuses them too.
const KEYWORDS: [&str; 51] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop",
    "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static",
    "struct", "super", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual",
    "where", "while", "yield",
];

/// Whether no file can have this name on Windows, whatever its extension.
fn is_device(name: &str) -> bool {
    let is_numbered =
        |prefix: &str| name.strip_prefix(prefix).is_some_and(|n| matches!(n.as_bytes(), [b'1'..=b'9']));
    matches!(name, "aux" | "con" | "nul" | "prn") || is_numbered("com") || is_numbered("lpt")
}

fn check_name(name: &str) -> Result<(), Problem> {
    let Some((why, advice)) = unfit(name) else { return Ok(()) };
    let message = format!("{name:?} cannot be a policy's name: {why}");
    Err(Problem::new(Reason::UsageInvalid, message).with_advice(advice))
}

/// Why a name cannot be one, and what could.
fn unfit(name: &str) -> Option<(&'static str, String)> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = name.chars().all(is_plain)
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && !name.contains("--")
        && name.len() <= NAME_CHARS;
    let why = if !fits {
        let advice = format!(
            "Use lower-case letters, digits and single dashes, a letter first, at most {NAME_CHARS}: short-runs"
        );
        return Some(("it is no name of a crate and a file everywhere", advice));
    } else if TAKEN.contains(&name) {
        "Rust itself, or what a policy needs, has a crate of that name"
    } else if KEYWORDS.contains(&name) {
        "it is a keyword of Rust"
    } else if is_device(name) {
        "no file can be called so on Windows"
    } else {
        return None;
    };
    Some((why, format!("Add a word to it: {name}-hooks")))
}

/// Characters of a path that the tools of a build cannot do with, and who says so.
const UNUSABLE: [(char, &str); 2] = [
    (':', "cargo puts the path into a list whose parts it separates"),
    ('%', "the linker replaces it and what follows"),
];

fn check_folder(folder: &Path) -> Result<()> {
    let whole = std::path::absolute(folder).with_context(|| format!("cannot use {}", folder.display()))?;
    let unusable = match whole.to_str() {
        None => Some("its path is not UTF-8, and cargo takes no other".to_owned()),
        Some(path) if path.contains(char::is_control) => Some("its path has a control character".to_owned()),
        Some(path) => UNUSABLE
            .iter()
            .find(|(c, _)| path.contains(*c))
            .map(|(c, why)| format!("its path has a {c:?}, and {why}")),
    };
    if let Some(why) = unusable {
        let message = format!("no crate can be built in {}: {why}", whole.display());
        return Err(Problem::new(Reason::UsageInvalid, message)
            .with_advice("Choose another folder: --path DIR")
            .into());
    }
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

/// `short-runs` as a type: `ShortRunsPolicy`. The last word keeps it from being a type that the crate uses already, such
/// as `Request` or `Vec`.
fn type_name(name: &str) -> String {
    let word = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_ascii_uppercase() + rest
    };
    let words: String = name.split('-').map(word).collect();
    match words.strip_suffix("Policy") {
        Some(before) if !before.is_empty() => words,
        _ => words + "Policy",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cannot_be_compiled_are_refused_first() {
        for good in ["a", "short-runs", "cap2", "a-1", "policy", "vec", "self-care", "com", "syn", "com10"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        let long = "x".repeat(65);
        for bad in [
            "",
            "Short",
            "1st",
            "a_b",
            "-a",
            "a-",
            "a--b",
            "ä",
            "a/b",
            "..",
            "test",
            "std",
            "serde",
            "hook-policy",
            "fn",
            "self",
            "match",
            "gen",
            "nul",
            "com1",
            long.as_str(),
        ] {
            let error = check_name(bad).unwrap_err();
            assert!(error.advice().is_some_and(|advice| !advice.is_empty()), "{bad}");
        }
    }

    #[test]
    fn a_name_becomes_a_type_that_nothing_else_is() {
        assert_eq!(type_name("short-runs-2"), "ShortRuns2Policy");
        assert_eq!(type_name("night-policy"), "NightPolicy");
        for name in ["policy", "request", "vec", "none", "default", "settings", "json-schema"] {
            assert!(type_name(name).len() > "Policy".len() && type_name(name).ends_with("Policy"), "{name}");
        }
        assert_eq!(type_name("policy"), "PolicyPolicy");
    }

    #[test]
    fn the_next_step_can_be_pasted() {
        assert_eq!(shell_word("short-runs"), "short-runs");
        assert_eq!(shell_word("my policies/it's"), r"'my policies/it'\''s'");
        assert_eq!(shell_word("-x"), "-- -x");
    }
}
