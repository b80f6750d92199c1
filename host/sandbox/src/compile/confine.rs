//! To *confine* the compiler is to take from it every system call but those that a compiler needs, before it reads a byte
//! that came from outside. A fault in Cranelift then has a process that can compute, and read and write its three pipes:
//! no file, no socket, no other process, no code of its own.
//!
//! What is not on the list ends the process at once (SIGSYS): nothing that a compiler does can be on the way to it.

use std::collections::BTreeMap;
use std::process;

use libc::{c_int, c_long};
use seccompiler::SeccompCmpArgLen::Dword;
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// Why the compiler is not confined, and so must not compile.
#[derive(Debug, thiserror::Error)]
#[error(
    "this kernel does not take a filter of system calls (seccomp), without which no policy is compiled: {0}. Let the kernel \
     have CONFIG_SECCOMP_FILTER, and its sandbox, if there is one, pass seccomp on"
)]
pub(super) struct NotConfined(String);

/// System calls that are allowed whatever their arguments: memory that is given back or grows, a lock that nobody else
/// holds, a signal's handler, the time, randomness for hash maps, the end.
const FREE: [c_long; 18] = [
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
];

/// Takes from this thread, the only one of its process, what no compiler needs. That it can never be given back is part of
/// it: no program that it could start would have more rights (no_new_privs).
pub(super) fn confine() -> Result<(), NotConfined> {
    let program = program().map_err(|error| NotConfined(error.to_string()))?;
    seccompiler::apply_filter(&program).map_err(|error| NotConfined(error.to_string()))
}

/// The filter for this process.
fn program() -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> = FREE.iter().map(|call| (*call, Vec::new())).collect();
    let is = |argument, value: c_int| SeccompCondition::new(argument, Dword, Eq, bits(value));
    let has = |argument, mask: c_int, value: c_int| {
        SeccompCondition::new(argument, Dword, MaskedEq(bits(mask)), bits(value))
    };
    let one = |condition| SeccompRule::new(vec![condition]);

    let (stdin, stdout, stderr) = (libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO);
    rules.insert(libc::SYS_read, vec![one(is(0, stdin)?)?]);
    for call in [libc::SYS_write, libc::SYS_writev] {
        rules.insert(call, vec![one(is(0, stdout)?)?, one(is(0, stderr)?)?]);
    }
    // Memory that is nobody's file and that no code runs from.
    let anonymous = has(3, libc::MAP_ANONYMOUS, libc::MAP_ANONYMOUS)?;
    rules.insert(libc::SYS_mmap, vec![SeccompRule::new(vec![has(2, libc::PROT_EXEC, 0)?, anonymous])?]);
    rules.insert(libc::SYS_mprotect, vec![one(has(2, libc::PROT_EXEC, 0)?)?]);
    // To end itself: how Rust and the C library do that when memory is over.
    let own = c_int::try_from(process::id()).unwrap_or(c_int::MAX);
    rules.insert(libc::SYS_tgkill, vec![one(is(0, own)?)?]);
    rules.insert(libc::SYS_tkill, vec![one(is(0, own)?)?]);

    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch)?.try_into()
}

/// An argument as the filter compares it.
fn bits(value: c_int) -> u64 {
    u64::from(value.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::net::{TcpListener, UdpSocket};
    use std::os::unix::net::UnixStream;
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Command, ExitStatus, Stdio};

    use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit};

    use super::*;

    /// What the copy of this test does once it is confined.
    const DEED: &str = "HOOKHOST_TEST_DEED";
    /// The name of the test that is run again in a process of its own, to be confined there.
    const SELF: &str = "compile::confine::tests::what_a_compiler_does_not_need_ends_it";

    /// What no compiler does.
    const FORBIDDEN: [(&str, fn()); 12] = [
        ("open a file", || drop(File::open("/etc/hostname"))),
        ("create a file", || drop(File::create("/tmp/hookhost-test-confined"))),
        ("remove a file", || drop(std::fs::remove_file("/tmp/hookhost-test-confined"))),
        ("list a folder", || drop(std::fs::read_dir("/proc"))),
        ("look at a file", || drop(std::fs::metadata("/etc/passwd"))),
        ("make a socket", || drop(UdpSocket::bind("127.0.0.1:0"))),
        ("listen", || drop(TcpListener::bind("127.0.0.1:0"))),
        ("make a pair of sockets", || drop(UnixStream::pair())),
        ("start a program", || drop(Command::new("/bin/true").status())),
        ("become a program", || drop(Command::new("/bin/true").exec())),
        ("start a thread", || drop(std::thread::spawn(|| {}).join())),
        // It would hear nothing of this signal.
        ("send a signal", || assert!(kill_process(Pid::INIT, Signal::CONT).is_err())),
    ];

    /// What a compiler does.
    fn work() {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).unwrap();
        let large: Vec<u8> = vec![7; 64 << 20];
        let map: std::collections::HashMap<u8, usize> = large.iter().map(|byte| (*byte, 1)).collect();
        let _ = std::time::Instant::now();
        std::io::stdout().write_all(format!("{} {}", text, map.len()).as_bytes()).unwrap();
    }

    /// Runs the test of the name again in a process that does a deed once it is confined.
    fn confined(deed: &str) -> (ExitStatus, String) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", SELF, "--nocapture", "--test-threads=1"]).env(DEED, deed);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"read").unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status, String::from_utf8_lossy(&output.stdout).into_owned())
    }

    #[test]
    fn what_a_compiler_does_not_need_ends_it() {
        if let Ok(deed) = std::env::var(DEED) {
            // As for the compiler: whoever is ended by a signal would leave one.
            setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).unwrap();
            confine().unwrap();
            match FORBIDDEN.iter().find(|(name, _)| *name == deed) {
                Some((_, deed)) => deed(),
                None if deed == "abort" => process::abort(),
                None => work(),
            }
            // Not by returning: the harness would go on with what it needs.
            process::exit(0);
        }
        let (status, said) = confined("work");
        assert!(status.success() && said.ends_with("read 1"), "{status} {said:?}");
        let (status, _) = confined("abort");
        assert_eq!(status.signal(), Some(libc::SIGABRT), "{status}");
        for (deed, _) in FORBIDDEN {
            let (status, _) = confined(deed);
            assert_eq!(status.signal(), Some(libc::SIGSYS), "{deed}: {status}");
        }
    }
}
