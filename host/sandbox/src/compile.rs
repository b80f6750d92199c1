//! A *compiler* turns the Wasm of a policy into code, in a child process with hard limits of its own.
//!
//! The scan refuses every bomb that we know of; the child is for those that we do not. It is a program that answers
//! with [`compile_child_main`]: `hookhost` itself, under its hidden subcommand [`SUBCOMMAND`]. Before it reads the Wasm it
//! gives up every system call that a compiler does not need.
//! Wasm goes in by stdin, sealed code comes out by stdout, words for people by stderr. Exit code 0 means compiled,
//! [`REFUSED`] that the Wasm is malformed.

mod child;
mod confine;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

pub use child::compile_child_main;

use crate::Error;
use crate::code::{Key, Sealed};
use crate::engine::Metering;
use crate::text::clean;

/// The hidden subcommand under which `hookhost` compiles.
pub const SUBCOMMAND: &str = "compile-policy";
/// The child's argument for code that counts fuel.
const METERED: &str = "--metered";
/// The child's exit code for Wasm that is malformed.
const REFUSED: u8 = 3;

/// The child's address space, in bytes: the compiler, 12 MB, and room for the largest policy that passes the scan.
const CHILD_MEMORY: u64 = 1 << 30;
/// Bytes of memory that compiling takes at worst, in a process of its own.
pub const COMPILER_BYTES: usize = CHILD_MEMORY as usize;
/// The child's processor time, whole seconds: what passes the scan takes under one.
const CHILD_CPU: Duration = Duration::from_secs(5);
/// The child's time by the wall clock: on a machine so loaded that it gets a quarter of a processor.
const CHILD_WALL: Duration = Duration::from_secs(20);
/// Files the child may have open: its three pipes, and what the runtime opens for itself.
const CHILD_FILES: u64 = 16;
/// Bytes of code that are taken from the child: 15 times the largest Wasm.
const CODE_BYTES: u64 = 64 << 20;
/// Bytes of the child's words that are read.
const STDERR_BYTES: u64 = 4096;
/// How long the child may take between two looks at whether it ended: it ends right after closing its output, so
/// that this is only waited for with a child that misbehaves.
const POLL: Duration = Duration::from_millis(1);

/// How to start a child that compiles.
#[derive(Clone, Debug)]
pub struct Compiler {
    program: PathBuf,
    args: Vec<OsString>,
}

impl Compiler {
    /// This very program, started as `PROGRAM compile-policy`. The program must call [`compile_child_main`] then.
    pub fn this_program() -> Compiler {
        // Not `current_exe`: this link still works after an upgrade has replaced the file, and then is the old one.
        Compiler::new("/proc/self/exe", [SUBCOMMAND])
    }

    /// Another program that calls [`compile_child_main`].
    pub fn new<A: Into<OsString>>(
        program: impl Into<PathBuf>,
        args: impl IntoIterator<Item = A>,
    ) -> Compiler {
        Compiler { program: program.into(), args: args.into_iter().map(Into::into).collect() }
    }

    /// Compiles. The Wasm has passed the scan.
    pub(crate) fn compile(&self, wasm: &[u8], key: Key, metering: Metering) -> Result<Sealed, Error> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).args((metering == Metering::Fuel).then_some(METERED)).env_clear();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command
            .spawn()
            .map_err(|e| Error::host(format!("cannot start {}", self.program.display()), e))?;
        let output = Running(child)
            .finish(wasm, CHILD_WALL)
            .map_err(|e| Error::host("cannot talk to the policy compiler", e))?;
        output.sealed(key)
    }
}

/// A child that is killed when its parent loses interest.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Output {
    /// None if it was killed at the limit of the wall clock.
    status: Option<ExitStatus>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Running {
    fn finish(mut self, wasm: &[u8], wall: Duration) -> std::io::Result<Output> {
        let stdin = self.0.stdin.take();
        let stdout = self.0.stdout.take();
        let stderr = self.0.stderr.take();
        let deadline = Instant::now() + wall;
        thread::scope(|scope| {
            // A child that ends early closes its input; its status then says why.
            scope.spawn(move || stdin.map(|mut pipe| pipe.write_all(wasm)));
            let stdout = scope.spawn(move || read(stdout, CODE_BYTES));
            let stderr = scope.spawn(move || read(stderr, STDERR_BYTES));
            let status = loop {
                match self.0.try_wait()? {
                    Some(status) => break Some(status),
                    None if Instant::now() >= deadline => {
                        self.0.kill()?;
                        self.0.wait()?;
                        break None;
                    }
                    None => thread::sleep(POLL),
                }
            };
            let join =
                |thread: thread::ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|_| Ok(Vec::new()));
            Ok(Output { status, stdout: join(stdout)?, stderr: join(stderr)? })
        })
    }
}

/// Reads up to `limit` bytes; closing the pipe then ends a child that writes more.
fn read(pipe: Option<impl Read>, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(limit).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

impl Output {
    fn sealed(self, key: Key) -> Result<Sealed, Error> {
        let Some(status) = self.status else { return Err(Error::CompileTimedOut { limit: CHILD_WALL }) };
        let words = clean(&String::from_utf8_lossy(&self.stderr), 300);
        if status.code() == Some(REFUSED.into()) {
            return Err(Error::Malformed { problem: words });
        }
        match status.signal().and_then(Signal::from_named_raw) {
            Some(Signal::XCPU | Signal::KILL) => return Err(Error::CompileTimedOut { limit: CHILD_CPU }),
            // How Rust ends when an allocation fails and when a stack overflows.
            Some(Signal::ABORT | Signal::SEGV | Signal::BUS) => {
                return Err(Error::CompileOutOfMemory { limit: CHILD_MEMORY });
            }
            Some(Signal::SYS) => return Err(Error::CompilerEscaped),
            _ => {}
        }
        match status.code() {
            Some(0) => {}
            Some(1) => return Err(Error::host("the policy compiler cannot work", words)),
            // A panic, or a signal that nobody expected.
            _ => return Err(Error::CompilerCrashed { problem: format!("{status}: {words}") }),
        }
        Sealed::check(self.stdout, key).ok_or_else(|| {
            Error::host(
                "the policy compiler gave no code",
                "its output is not what this hookhost's compiler writes",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_never_ends_is_killed_at_the_limit_of_the_wall_clock() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "while :; do :; done"]);
        let child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = Running(child).finish(b"", Duration::from_millis(20)).unwrap();
        assert!(output.status.is_none());
    }
}
