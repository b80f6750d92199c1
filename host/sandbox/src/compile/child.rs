//! The child's side of compiling.

use std::io::{Read, Write};
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};

use super::confine::confine;
use super::{CHILD_CPU, CHILD_FILES, CHILD_MEMORY, METERED, REFUSED};
use crate::code::{Key, Sealed, WasmDigest};
use crate::engine::{Allocation, Metering, engine};
use crate::scan::SMALL;

/// Compiles one policy from stdin to stdout, under limits that this process first sets for itself, and without any system
/// call that a compiler does not need. Call it at the very
/// start of a program that was given [`SUBCOMMAND`](crate::SUBCOMMAND), before any thread is started; the process must
/// end with the exit code that it gives.
pub fn compile_child_main() -> ExitCode {
    let metering = if std::env::args_os().any(|arg| arg == METERED) { Metering::Fuel } else { Metering::Off };
    match limit_this_process().map_err(Failure::Host).and_then(|()| compile(metering)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Malformed(words)) => {
            say(&words);
            ExitCode::from(REFUSED)
        }
        Err(Failure::Host(error)) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

enum Failure {
    Malformed(String),
    Host(std::io::Error),
}

fn say(words: &str) {
    // There is nobody left to tell if this fails.
    let _ = std::io::stderr().write_all(words.as_bytes());
}

fn limit_this_process() -> std::io::Result<()> {
    for (resource, limit) in [
        (Resource::As, CHILD_MEMORY),
        (Resource::Cpu, CHILD_CPU.as_secs()),
        (Resource::Fsize, 0),
        (Resource::Core, 0),
        (Resource::Nofile, CHILD_FILES),
    ] {
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    // A parent that is killed takes its child with it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}

fn compile(metering: Metering) -> Result<(), Failure> {
    let engine = engine(Allocation::OnDemand, metering)
        .map_err(|e| Failure::Host(std::io::Error::other(format!("{e:#}"))))?;
    // Up to here nothing was read that came from outside.
    confine().map_err(|e| Failure::Host(std::io::Error::other(e)))?;
    let mut wasm = Vec::new();
    // One byte more than allowed would be refused by the parent's scan.
    std::io::stdin().take(SMALL.bytes).read_to_end(&mut wasm).map_err(Failure::Host)?;
    let code = engine.precompile_component(&wasm).map_err(|e| Failure::Malformed(format!("{e:#}")))?;
    let sealed = Sealed::seal(Key::new(WasmDigest::of(&wasm), &engine), &code);
    std::io::stdout().write_all(sealed.bytes()).map_err(Failure::Host)
}
