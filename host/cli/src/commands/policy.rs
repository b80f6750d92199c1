//! `hookhost policy`: what the author of a policy does with it.

mod build;

use anyhow::Result;
use clap::Subcommand;

use crate::exit::{ErrorFormat, Outcome};

/// What to do with a policy.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Build(build::Args),
}

impl Command {
    /// How errors of this command are printed.
    pub(crate) fn error_format(&self) -> ErrorFormat {
        match self {
            Command::Build(args) => args.output.errors(),
        }
    }

    /// Does what was asked.
    pub(crate) fn run(self) -> Result<Outcome> {
        match self {
            Command::Build(args) => build::run(args),
        }
    }
}
