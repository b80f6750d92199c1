//! The *contract* by name: which interfaces a component may import and must export, and in which versions.

use crate::Error;
use crate::interface::{LOGGING, MINOR, PACKAGE, POLICY, TYPES};
use crate::text::clean;

/// Characters of an import's or export's name that an error repeats.
const NAME_CHARS: usize = 200;

/// Checks one import of a component.
pub(crate) fn check_import(name: &str) -> Result<(), Error> {
    match interface(name) {
        Some("types") => check_version(name, TYPES),
        Some("logging") => check_version(name, LOGGING),
        // An interface of another version's package: say that, rather than "forbidden".
        Some(_) if !of_this_version(name) => check_version(name, POLICY),
        _ => Err(Error::ForbiddenImport { name: clean(name, NAME_CHARS) }),
    }
}

/// Checks the exports of a component.
pub(crate) fn check_exports<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<(), Error> {
    let mut other = None;
    for name in names {
        if interface(name) == Some("policy") {
            match check_version(name, POLICY) {
                Ok(()) => return Ok(()),
                Err(error) => other = Some(error),
            }
        }
    }
    Err(other.unwrap_or_else(|| Error::MissingExport { expected: POLICY.into() }))
}

/// The interface of the contract's package that a name means, whatever the version.
fn interface(name: &str) -> Option<&str> {
    let name = name.strip_prefix(PACKAGE)?;
    Some(name.split_once('@').map_or(name, |(interface, _)| interface))
}

/// Whether the version is 0.1.x.
fn of_this_version(name: &str) -> bool {
    let version = name.split_once('@').map_or("", |(_, version)| version);
    version
        .strip_prefix(MINOR)
        .and_then(|rest| rest.strip_prefix('.'))
        .is_some_and(|patch| !patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit()))
}

fn check_version(name: &str, expected: &str) -> Result<(), Error> {
    if of_this_version(name) {
        return Ok(());
    }
    Err(Error::Incompatible { found: clean(name, NAME_CHARS), expected: expected.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_the_wit_file() {
        let wit = include_str!("../../../wit/hook-policy.wit");
        assert!(wit.contains(&format!("package {}@{MINOR}.0;", PACKAGE.trim_end_matches('/'))));
        for (name, interface) in [(POLICY, "policy"), (LOGGING, "logging"), (TYPES, "types")] {
            assert!(wit.contains(&format!("interface {interface} {{")));
            assert_eq!(name, format!("{PACKAGE}{interface}@{MINOR}.0"));
        }
    }

    #[test]
    fn a_later_patch_of_the_contract_is_accepted() {
        assert!(check_import("vworkspace:hook-policy/logging@0.1.7").is_ok());
        assert!(check_exports(["other", "vworkspace:hook-policy/policy@0.1.12"]).is_ok());
    }

    #[test]
    fn another_version_is_refused_with_what_was_found_and_expected() {
        for version in ["0.2.0", "1.0.0", "0.10.0", "0.1.0-rc1", "0.1."] {
            let name = format!("vworkspace:hook-policy/policy@{version}");
            let error = check_exports([name.as_str()]).unwrap_err();
            assert!(
                matches!(error, Error::Incompatible { found, expected } if found == name && expected == POLICY)
            );
        }
        let error = check_import("vworkspace:hook-policy/types@0.2.0").unwrap_err();
        assert!(matches!(error, Error::Incompatible { .. }));
    }

    #[test]
    fn an_unknown_interface_of_the_contract_s_own_version_is_a_forbidden_import() {
        let error = check_import("vworkspace:hook-policy/clock@0.1.0").unwrap_err();
        assert!(matches!(error, Error::ForbiddenImport { .. }));
    }
}
