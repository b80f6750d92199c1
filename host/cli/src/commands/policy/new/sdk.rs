//! The *SDK* is the crate `hook-policy`: where a new policy takes it from.

use std::fmt;
use std::path::{Path, PathBuf};

use hookhost_core::Reason;

use crate::cargo::toml_string;
use crate::problem::Problem;

/// The variable that says where the SDK is, for those who make policies often.
const VARIABLE: &str = "HOOK_POLICY_SDK";
/// The version that this hookhost runs policies of: its own, without the patch.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));

/// Where the SDK comes from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sdk {
    /// A folder on this machine.
    Folder(PathBuf),
    /// A version in the registry.
    Version(String),
}

impl Sdk {
    /// The SDK that was asked for, else the one that is near. Never the registry's unasked: a name there may be anyone's.
    pub(super) fn find(asked: Option<&str>) -> Result<Sdk, Problem> {
        let variable = std::env::var(VARIABLE).ok().filter(|value| !value.is_empty());
        if let Some(asked) = asked.map(str::to_owned).or(variable) {
            return Sdk::parse(&asked);
        }
        let near = [std::env::current_exe().ok(), std::env::current_dir().ok()];
        let checkout = near.iter().flatten().find_map(|path| {
            path.ancestors().map(|folder| folder.join("guest-sdk")).find(|folder| is_sdk(folder))
        });
        checkout.map(Sdk::Folder).ok_or_else(|| {
            let message = "the SDK, the crate hook-policy, was not found beside hookhost or here";
            Problem::new(Reason::UsageInvalid, message).with_advice(format!(
                "Name its folder (guest-sdk in hookhost's repository): --sdk FOLDER, or once: export {VARIABLE}=FOLDER\n\
                 A version of it in cargo's registry: --sdk {VERSION}"
            ))
        })
    }

    fn parse(text: &str) -> Result<Sdk, Problem> {
        let is_version = text.starts_with(|c: char| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+'));
        if is_version && !Path::new(text).exists() {
            return Ok(Sdk::Version(text.to_owned()));
        }
        let folder = Path::new(text);
        match folder.canonicalize() {
            Ok(folder) if is_sdk(&folder) => Ok(Sdk::Folder(folder)),
            _ => Err(Problem::new(Reason::UsageInvalid, format!("the SDK is not in {text}")).with_advice(
                "Name the folder of the crate hook-policy (guest-sdk in hookhost's repository), or a version: --sdk 0.1",
            )),
        }
    }

    /// What stands after `hook-policy =` in a Cargo.toml.
    pub(super) fn dependency(&self) -> String {
        match self {
            Sdk::Folder(folder) => format!("{{ path = {} }}", toml_string(&folder.to_string_lossy())),
            Sdk::Version(version) => format!("\"{version}\""),
        }
    }
}

impl fmt::Display for Sdk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sdk::Folder(folder) => write!(f, "the SDK in {}", folder.display()),
            Sdk::Version(version) => write!(f, "version {version} of the SDK"),
        }
    }
}

fn is_sdk(folder: &Path) -> bool {
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
    manifest.lines().any(|line| line.trim() == "name = \"hook-policy\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_and_a_folder_are_told_apart() {
        assert_eq!(Sdk::parse("0.1").unwrap(), Sdk::Version("0.1".into()));
        assert_eq!(Sdk::parse("0.1").unwrap().dependency(), "\"0.1\"");
        let error = Sdk::parse("./nowhere").unwrap_err();
        assert_eq!(error.reason(), Reason::UsageInvalid);
    }
}
