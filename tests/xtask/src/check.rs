//! A *check* reads the code without running it: formatting, lints, documentation, licences and sources.

use anyhow::Result;

use crate::run::{cargo, step};
use crate::setup::exists;

/// Version of cargo-deny that `check` installs when there is none.
const CARGO_DENY: &str = "^0.20";

/// Runs all checks.
pub(crate) fn check() -> Result<()> {
    quick()?;
    let mut doc = cargo();
    doc.args(["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings");
    step("documentation", &mut doc)?;
    if !exists("cargo-deny") {
        let install = ["install", "cargo-deny", "--locked", "--quiet", "--version", CARGO_DENY];
        step("install cargo-deny (minutes, once)", cargo().args(install))?;
    }
    // Advisories need a database that cargo-deny fetches from a Git host; everything else is in the lock file.
    step(
        "licences and sources",
        cargo().args([
            "deny",
            "--all-features",
            "check",
            "--hide-inclusion-graph",
            "bans",
            "licenses",
            "sources",
        ]),
    )
}

/// The checks that are part of every test run.
pub(crate) fn quick() -> Result<()> {
    step("formatting", cargo().args(["fmt", "--all", "--check"]))?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    step("lints", cargo().args(clippy))
}
