//! `hookhost completions`: a shell's completions for hookhost.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::exit::Outcome;
use crate::output;

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookhost completions bash > /etc/bash_completion.d/hookhost
  hookhost completions zsh > \"${fpath[1]}/_hookhost\"")]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the completions.
pub(crate) fn run(args: Args) -> Result<Outcome> {
    let Args { shell } = args;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::Args::command(), "hookhost", &mut script);
    output::result(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Done)
}
