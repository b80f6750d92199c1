//! *Isolation* is running inside namespaces of one's own: network, mounts and processes.
//!
//! Namespaces cannot be entered halfway through a program without unsafe code, so the program is started again under
//! util-linux's `unshare` and the first one only waits for it. Two things end the inside when the outside ends: a
//! *lifeline*, a socket that the outside holds open as long as it lives, and unshare's own --kill-child. As the inside
//! is PID 1 of its process namespace, the kernel ends everything in there with it. What the kernel does not remove with
//! a namespace is the cgroup folders made in it; a *keeper*, the shell that runs unshare, waits to do that.

use std::env;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::{Error, Result, needs};

/// Set inside: the path of the lifeline, or nothing where the inside is to outlive the process that started it.
const LIFELINE: &str = "TESTBED_LIFELINE";

/// The keeper's script.
const KEEPER: &str = include_str!("isolation/keeper.sh");

/// Set by the keeper: name of the cgroup folder, in each hierarchy, that it will remove.
const CGROUP: &str = "TESTBED_CGROUP";

/// Exit code of an inside whose outside ended: that of a program interrupted at the terminal.
const CUT_OFF: i32 = 130;

/// Returns inside namespaces of this process's own. Outside, the same command line is run again inside, and this
/// process ends with its exit code; so call it before anything that should not happen twice.
///
/// # Errors
/// Programs or rights are missing.
pub fn isolate() -> Result<()> {
    // Tests call this from several threads; one of them speaks for the process.
    static FIRST: Mutex<bool> = Mutex::new(true);
    let mut first = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    if is_isolated() {
        if std::mem::replace(&mut *first, false) {
            hold_lifeline();
        }
        return Ok(());
    }
    let path = env::temp_dir().join(format!("testbed-{}.lifeline", process::id()));
    // Kept to the end of this process, never accepted from: an unaccepted connection ends with its listener too.
    let _lifeline = UnixListener::bind(&path).map_err(Error::file("create", &path))?;
    let program = env::current_exe().map_err(Error::file("find", "the running program"))?;
    let mut again = isolated_command(&program)?;
    let status = again.args(env::args_os().skip(1)).env(LIFELINE, &path).status();
    let status = status.map_err(Error::file("run", &program))?;
    // The inside removes it once connected; it may have ended before.
    let _ = std::fs::remove_file(&path);
    process::exit(status.code().unwrap_or(CUT_OFF))
}

/// A command that runs `program` inside namespaces of its own, where [`isolate`] returns at once. It lives until it
/// ends by itself or is killed, whatever becomes of this process.
///
/// # Errors
/// Programs or rights are missing.
pub fn isolated_command(program: impl AsRef<OsStr>) -> Result<Command> {
    needs::need("unshare")?;
    needs::need("ip")?;
    let trial = Command::new("unshare").args(unshare_args()).arg("true").stdin(Stdio::null()).output();
    let trial = trial.map_err(Error::file("run", "unshare"))?;
    if !trial.status.success() {
        let reason = String::from_utf8_lossy(&trial.stderr).trim().to_owned();
        return Err(Error::Namespaces { reason });
    }
    let mut command = Command::new("sh");
    command.args(["-c", KEEPER, "testbed-keeper", "unshare"]).args(unshare_args()).arg(program);
    command.env(LIFELINE, "");
    Ok(command)
}

pub(crate) fn is_isolated() -> bool {
    env::var_os(LIFELINE).is_some()
}

/// Name of the cgroup folder of this isolation.
pub(crate) fn cgroup() -> Option<String> {
    env::var(CGROUP).ok()
}

/// Whether root here is root outside too. In a user namespace of its own it may make namespaces, but no cgroups.
pub fn is_root() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    rustix::process::geteuid().is_root() && map.split_whitespace().eq(["0", "0", "4294967295"])
}

fn unshare_args() -> Vec<&'static str> {
    let user: &[&str] =
        if rustix::process::geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
    [user, &["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]].concat()
}

/// Ends this process when the lifeline's other end is gone.
fn hold_lifeline() {
    let Some(path) = env::var_os(LIFELINE).filter(|path| !path.is_empty()) else { return };
    // A program started from inside, in a shell for example, has the variable too. It ends with PID 1 anyway.
    if process::id() != 1 {
        return;
    }
    let path = PathBuf::from(path);
    let Ok(mut lifeline) = UnixStream::connect(&path) else { process::exit(CUT_OFF) };
    let _ = std::fs::remove_file(&path);
    thread::spawn(move || {
        let _ = lifeline.read(&mut [0]);
        process::exit(CUT_OFF);
    });
}
