//! `cargo xtask`: the developers' one command.
//!
//! A *task* is something a developer or CI does with this repository as a whole. Each has a module of its own; this
//! file only says which there are.

mod check;
mod cluster;
mod fixtures;
mod policies;
mod run;
mod setup;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The developers' one command. A task installs what it needs (Debian packages, when run as root) or says what is
/// missing.
#[derive(Parser)]
#[command(name = "cargo xtask", disable_help_subcommand = true)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run the tests: everything, as CI does, or what takes at most three minutes
    Test {
        /// Leave out what needs a control plane or builds crates outside the repository
        #[arg(long)]
        quick: bool,
    },
    /// Build the stock policies into target/policies
    Policies,
    /// Make the release records in tests/fixtures anew, with both Helms on a real API server
    Fixtures {
        /// Where to, instead of tests/fixtures
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
    },
    /// A Kubernetes control plane on this machine, in namespaces of its own
    Cluster {
        #[command(subcommand)]
        task: cluster::Task,
    },
    /// Formatting, lints, documentation, licences and sources of dependencies
    Check,
}

fn main() -> ExitCode {
    let result = match Args::parse().task {
        Task::Test { quick } => test::test(quick),
        Task::Policies => policies::build().map(drop),
        Task::Fixtures { into } => fixtures::fixtures(into.as_deref()),
        Task::Cluster { task } => cluster::cluster(task),
        Task::Check => check::check(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            run::say(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
