//! A *test run* is what CI does: the checks, every crate's tests, the stock policies in the sandbox and, unless quick,
//! what needs a cluster (hookhost end to end among it), a crate outside the repository, or the demo.

use std::time::Instant;

use anyhow::Result;

use crate::differential::{Differential, differential};
use crate::policies::{self, Profile};
use crate::run::{cargo, command, root, say, seconds, step, target};
use crate::{check, cluster, demo, setup};

/// Runs the tests.
pub(crate) fn test(quick: bool) -> Result<()> {
    let start = Instant::now();
    setup::wasm()?;
    // What takes longest on a new machine begins first, beside the rest.
    let programs = (!quick).then(|| cluster::programs_beside(cluster::whole()));
    check::quick()?;
    let hookhost = policies::build(Profile::Dev)?;
    if let Some(programs) = programs {
        programs()?;
    }

    // The other two need a cluster.
    step(
        "tests",
        cargo().args(["test", "--workspace", "--exclude", "testbed", "--exclude", "e2e", "--quiet"]),
    )?;
    for name in policies::names()? {
        let policy = root().join("policies").join(&name);
        step(&format!("cases of {name}"), command(&hookhost).args(["policy", "test"]).arg(policy))?;
    }
    if !quick {
        // `--workspace` here and below: with the features of one package alone, cargo would compile kube once more.
        let author = ["test", "--workspace", "--test", "author", "--quiet", "--", "--ignored"];
        step("the way of a policy's author", cargo().args(author))?;
        let mut testbed = cargo();
        testbed.args(["test", "--package", "testbed", "--quiet"]);
        if testbed::is_root() {
            step("the testbed", &mut testbed)?;
            // Most of them wait most of their time: for a pod, for Flux. More than this, and the API server starves.
            let end_to_end = ["test", "--workspace", "--test", "e2e", "--quiet", "--", "--test-threads=6"];
            step("end to end", cargo().args(end_to_end))?;
            // By themselves, since they are about time: how long others wait while one asks for too much.
            let hostile = ["test", "--workspace", "--test", "hostile", "--quiet", "--", "--nocapture"];
            step("hostile loads", cargo().args(hostile))?;
        } else {
            say(
                "without root no pods run: their tests are left out, and all of hookhost end to end (tests/e2e)",
            );
            step("the testbed", testbed.args(["--lib", "--test", "cluster", "--test", "killed"]))?;
        }
        live_records()?;
        differential(&Differential::TEST)?;
        demo::demo(None, "")?;
    }
    say(&format!("all tests passed in {}", seconds(start.elapsed())));
    Ok(())
}

/// The records that Helm writes today are read as well as those that are kept: same charts, new names and times.
fn live_records() -> Result<()> {
    let fresh = target().join("fresh-fixtures");
    // A process of its own, since it moves into namespaces of its own.
    step("records written now", command(std::env::current_exe()?).args(["fixtures", "--into"]).arg(&fresh))?;
    let mut tests = cargo();
    tests.args(["test", "--quiet", "--workspace", "--test", "real_records"]);
    step("fresh records", tests.env("HOOKHOST_FIXTURES", fresh))
}
