//! `hookhost`: lists the hooks of a Helm release, shows the Job that one of them would become, and helps to write the
//! policies that shape it.
//!
//! A *command* is one thing that a person asks for. Each has a module under `commands`, or under `author` if it is about
//! writing policies, with three parts: `Args` (what was typed), what the arguments resolve to (files read, values checked),
//! and the doing. stdout carries the result and nothing else; everything said on the way goes to stderr.

mod argument;
mod author;
mod cluster;
mod commands;
#[cfg(test)]
mod docs;
mod exit;
mod file;
mod logging;
mod output;
mod policies;
mod problem;
mod record;
mod usage;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // The sandbox starts this program again to compile a policy; that child must do nothing else first.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == hookhost_sandbox::SUBCOMMAND) {
        return hookhost_sandbox::compile_child_main();
    }
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // One of the YAML parser is an error of the text, and printed as such.
        if !hookhost_helm::yaml::is_parsing() {
            default(panic);
        }
    }));
    match commands::Args::try_parse() {
        Ok(args) => {
            let errors = args.error_format();
            exit::finish(args.run(), errors)
        }
        Err(error) => usage::finish(error, std::env::args_os()),
    }
}
