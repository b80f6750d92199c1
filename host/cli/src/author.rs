//! `hookhost policy`: what the *author* of a policy does with it. It needs the sandbox and a Rust toolchain, no cluster.

mod bench;
mod build;
mod cargo;
mod cases;
mod componentize;
mod eval;
mod inspect;
mod new;
mod test;
mod toolchain;

use anyhow::Result;
use clap::Subcommand;

use crate::exit::{ErrorFormat, Outcome};

/// What to do with a policy.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    New(new::Args),
    Build(build::Args),
    Test(test::Args),
    Inspect(inspect::Args),
    Eval(eval::Args),
    Bench(bench::Args),
}

impl Command {
    /// How errors of this command are printed.
    pub(crate) fn error_format(&self) -> ErrorFormat {
        match self {
            Command::New(_) => ErrorFormat::Text,
            Command::Build(args) => args.output.errors(),
            Command::Test(args) => args.output.errors(),
            Command::Inspect(args) => args.output.errors(),
            Command::Eval(args) => args.output.errors(),
            Command::Bench(args) => args.output.errors(),
        }
    }

    /// Does what was asked.
    pub(crate) fn run(self) -> Result<Outcome> {
        match self {
            Command::New(args) => new::run(args),
            Command::Build(args) => build::run(args),
            Command::Test(args) => test::run(args),
            Command::Inspect(args) => inspect::run(args),
            Command::Eval(args) => eval::run(args),
            Command::Bench(args) => bench::run(args),
        }
    }
}
