//! The commands, one module each.

mod completions;
mod controller;
mod crds;
mod hooks;
mod plan;
mod run;
mod uninstall;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::author;
use crate::exit::{self, ErrorFormat, Outcome};

/// Runs a Helm chart's own hook Job on demand, shaped by policies in WebAssembly.
#[derive(Debug, Parser)]
#[command(name = "hookhost", version, disable_help_subcommand = true, after_help = exit::HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Hooks(hooks::Args),
    Plan(plan::Args),
    Run(run::Args),
    Controller(controller::Args),
    Uninstall(uninstall::Args),
    /// Write, build, test and look at policies
    #[command(subcommand, disable_help_subcommand = true)]
    Policy(author::Command),
    Crds(crds::Args),
    Completions(completions::Args),
}

impl Args {
    /// How errors of this command are printed.
    pub(crate) fn error_format(&self) -> ErrorFormat {
        match &self.command {
            Command::Hooks(args) => args.error_format(),
            Command::Plan(args) => args.error_format(),
            Command::Run(args) => args.error_format(),
            Command::Policy(command) => command.error_format(),
            Command::Controller(_) | Command::Uninstall(_) | Command::Crds(_) | Command::Completions(_) => {
                ErrorFormat::Text
            }
        }
    }

    /// Does what was asked.
    pub(crate) fn run(self) -> Result<Outcome> {
        match self.command {
            Command::Hooks(args) => hooks::run(args),
            Command::Plan(args) => plan::run(args),
            Command::Run(args) => run::run(args),
            Command::Controller(args) => controller::run(args),
            Command::Uninstall(args) => uninstall::run(args),
            Command::Policy(command) => command.run(),
            Command::Crds(args) => crds::run(args),
            Command::Completions(args) => completions::run(args),
        }
    }
}
