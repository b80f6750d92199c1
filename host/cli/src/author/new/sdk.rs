//! The *SDK* is the crate `hook-policy`: where a new policy takes it from.

use std::fmt;
use std::path::{Path, PathBuf};

use hookhost_core::Reason;

use crate::author::cargo::toml_string;
use crate::problem::Problem;

/// The variable that says where the SDK is, for those who make policies often.
const VARIABLE: &str = "HOOK_POLICY_SDK";
/// Where the SDK is: a folder on this machine. It is in no registry yet, and whoever took its name there would be compiled.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sdk(PathBuf);

impl Sdk {
    /// The SDK that was asked for, else the one that is near.
    pub(super) fn find(asked: Option<&Path>) -> Result<Sdk, Problem> {
        let variable = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(asked) = asked.map(Path::to_owned).or(variable) {
            return Sdk::at(&asked);
        }
        let near = [std::env::current_exe().ok(), std::env::current_dir().ok()];
        let checkout = near.iter().flatten().find_map(|path| {
            path.ancestors().map(|folder| folder.join("guest-sdk")).find(|folder| is_sdk(folder))
        });
        checkout.map(Sdk).ok_or_else(|| {
            let message = "the SDK, the crate hook-policy, was not found beside hookhost or here";
            Problem::new(Reason::UsageInvalid, message).with_advice(format!(
                "Name its folder (guest-sdk in a checkout of hookhost's repository): --sdk DIR, or once: export {VARIABLE}=DIR"
            ))
        })
    }

    fn at(folder: &Path) -> Result<Sdk, Problem> {
        match folder.canonicalize() {
            Ok(folder) if is_sdk(&folder) => Ok(Sdk(folder)),
            _ => Err(Problem::new(Reason::UsageInvalid, format!("the SDK is not in {}", folder.display()))
                .with_advice(
                    "Name the folder of the crate hook-policy: guest-sdk in a checkout of hookhost's repository. It is in no registry yet.",
                )),
        }
    }

    /// What stands after `hook-policy =` in a Cargo.toml.
    pub(super) fn dependency(&self) -> String {
        format!("{{ path = {} }}", toml_string(&self.0.to_string_lossy()))
    }
}

impl fmt::Display for Sdk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the SDK in {}", self.0.display())
    }
}

fn is_sdk(folder: &Path) -> bool {
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
    manifest.lines().any(|line| line.trim() == "name = \"hook-policy\"")
}
