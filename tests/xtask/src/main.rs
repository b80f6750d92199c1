//! `cargo xtask`: the developers' one command.
//!
//! A *task* is something a developer or CI does with this repository as a whole. Each has a module of its own; this
//! file only says which there are.

mod bench;
mod check;
mod cluster;
mod corpus;
mod demo;
mod differential;
mod docs;
#[cfg(test)]
mod drawing;
mod fixtures;
mod policies;
mod progress;
#[cfg(test)]
mod rooms;
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
    /// Show the main job: plan a hook's run from a release record, then run it on a real cluster, in a minute
    ///
    /// With root the cluster is one of this machine, in namespaces of its own, that is gone afterwards. Without, or for a
    /// cluster that you have: --context.
    Demo {
        /// Use the cluster of this context of your kubeconfig; the demo makes a namespace hookhost-demo there, and removes it
        #[arg(long, value_name = "NAME")]
        context: Option<String>,
        /// Image of the demo's hooks in that cluster; it needs a shell
        #[arg(
            long,
            value_name = "IMAGE",
            default_value = "docker.io/library/busybox:1.36",
            requires = "context"
        )]
        image: String,
    },
    /// The demo's part on a cluster
    #[command(hide = true)]
    DemoInABox,
    /// Run the tests: everything, as CI does, or what takes at most three minutes
    Test {
        /// Leave out what needs a control plane or builds crates outside the repository
        #[arg(long)]
        quick: bool,
    },
    /// Measure, and print a line per target: name, measured, target, ok or short
    Bench {
        /// decision, record, plan, controller or hostile; all if left out
        name: Option<String>,
    },
    /// Build the stock policies into target/policies
    Policies,
    /// Make the release records in tests/fixtures anew, with both Helms on a real API server
    Fixtures {
        /// Where to, instead of tests/fixtures
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
    },
    /// Report on a folder of release records which of their hooks can be run; with --cluster, run each of them
    #[command(disable_help_flag = true)]
    Corpus {
        /// A folder and options: --help lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
        arguments: Vec<String>,
    },
    /// Read a million texts with hookhost and with Helm's own packages, and tell where they differ
    Differential(differential::Differential),
    /// A Kubernetes control plane on this machine, in namespaces of its own
    Cluster {
        #[command(subcommand)]
        task: cluster::Task,
    },
    /// Formatting, lints, documentation, licences and sources of dependencies
    Check,
    /// Write the generated pages of docs/, and the book where mdBook is installed
    Docs,
}

fn main() -> ExitCode {
    let result = match Args::parse().task {
        Task::Demo { context, image } => demo::demo(context.as_deref(), &image),
        Task::DemoInABox => demo::play_in_a_box(),
        Task::Test { quick } => test::test(quick),
        Task::Bench { name } => bench::bench(name.as_deref()),
        Task::Policies => policies::build(policies::Profile::Dev).map(drop),
        Task::Fixtures { into } => fixtures::fixtures(into.as_deref()),
        Task::Corpus { arguments } => corpus::corpus(&arguments),
        Task::Differential(run) => differential::differential(&run),
        Task::Cluster { task } => cluster::cluster(task),
        Task::Check => check::check(),
        Task::Docs => docs::docs(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            run::say(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
