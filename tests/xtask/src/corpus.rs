//! The *corpus* task builds the program of tests/corpus, with what it needs for a cluster, and runs it.

use std::process::Command;

use anyhow::{Context, Result, bail};
use testbed::Options;

use crate::policies::{self, Profile};
use crate::run::{cargo, step, target};
use crate::{cluster, run};

/// Runs it with these arguments, in the folder where the person is.
pub(crate) fn corpus(arguments: &[String]) -> Result<()> {
    if testbed::is_root() && arguments.iter().any(|argument| argument == "--cluster") {
        cluster::programs_for(Options::pods())?;
        policies::hookhost(Profile::Dev)?;
    }
    step("build the corpus program", cargo().args(["build", "--workspace", "--bin", "corpus", "--quiet"]))?;
    let mut corpus = Command::new(target().join("debug/corpus"));
    let status =
        corpus.args(arguments).status().with_context(|| format!("cannot run {}", run::line(&corpus)))?;
    if status.success() { Ok(()) } else { bail!("the corpus ended with {status}") }
}
