//! A *test run* is what CI does: the checks, every crate's tests, the stock policies in the sandbox, and, unless
//! quick, what needs a control plane or a crate outside the repository.

use anyhow::Result;

use crate::run::{cargo, command, root, say, step};
use crate::{check, policies};

/// Runs the tests.
pub(crate) fn test(quick: bool) -> Result<()> {
    check::quick()?;
    let hookhost = policies::build()?;
    let mut tests = cargo();
    tests.args(["test", "--workspace", "--quiet"]).env("HOOKHOST_POLICIES", policies::dir());
    if quick {
        tests.args(["--lib", "--bins"]);
    }
    step("tests", &mut tests)?;
    for name in policies::names()? {
        let policy = root().join("policies").join(&name);
        step(&format!("cases of {name}"), command(&hookhost).args(["policy", "test"]).arg(policy))?;
    }
    say("all tests passed");
    Ok(())
}
