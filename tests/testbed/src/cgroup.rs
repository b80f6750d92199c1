//! A *cgroup* holds a process, and all that it starts, to an amount of memory and processor time, as the kubelet holds
//! a container to its limits. All of an isolation are below one folder, which its keeper removes in the end.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Error, Result, isolation};

/// Where the kernel's cgroups are.
const TOP: &str = "/sys/fs/cgroup";

/// Microseconds in which the processor time of [`Cgroup::new`] is counted: Kubernetes' own default.
const PERIOD: u32 = 100_000;

/// Enters the cgroups that are named before `--`, then becomes what is named after it. 0 is whoever writes it.
const ENTER: &str =
    r#"while [ "$1" != -- ]; do echo 0 > "$1/cgroup.procs" || exit; shift; done; shift; exec "$@""#;

/// A cgroup of its own, with limits. Dropped, it is removed if nothing runs in it any more; the isolation's end removes
/// it in any case.
#[derive(Debug)]
pub struct Cgroup {
    version: Version,
    /// One with version 2; that of memory and that of processor time with version 1.
    folders: Vec<PathBuf>,
}

/// Which of the kernel's two kinds of cgroups a machine has.
#[derive(Clone, Copy, Debug)]
enum Version {
    /// A hierarchy of folders for each controller.
    One,
    /// One hierarchy for all.
    Two,
}

impl Version {
    fn here() -> Version {
        if is_hierarchy(Path::new(TOP)) { Version::Two } else { Version::One }
    }

    /// What a file is called with version 1, and with 2.
    fn name(self, one: &'static str, two: &'static str) -> &'static str {
        match self {
            Version::One => one,
            Version::Two => two,
        }
    }
}

impl Cgroup {
    /// Makes one with this limit of memory, in bytes, and with this many processors. No two may have the same name.
    ///
    /// # Errors
    /// Outside [`isolate`](crate::isolate), without root, or where the machine's cgroups cannot be limited.
    pub fn new(name: &str, memory: u64, processors: u32) -> Result<Cgroup> {
        let (version, all, top) = (Version::here(), make_all()?, Path::new(TOP));
        let folder = |root: PathBuf| root.join(&all).join(name);
        let folders = match version {
            Version::One => vec![folder(top.join("memory")), folder(top.join("cpu"))],
            Version::Two => {
                // What a folder can be limited in is said in each folder above it.
                for above in [top.to_owned(), top.join(&all)] {
                    write(&above, "cgroup.subtree_control", "+memory +cpu")?;
                }
                vec![folder(top.to_owned())]
            }
        };
        for folder in &folders {
            fs::create_dir(folder).map_err(Error::file("create the cgroup", folder))?;
        }
        let cgroup = Cgroup { version, folders };
        let (memory, time) = (memory.to_string(), PERIOD * processors);
        write(cgroup.memory(), version.name("memory.limit_in_bytes", "memory.max"), &memory)?;
        if let Some(folder) = cgroup.folders.last() {
            match version {
                Version::One => {
                    write(folder, "cpu.cfs_period_us", &PERIOD.to_string())?;
                    write(folder, "cpu.cfs_quota_us", &time.to_string())?;
                }
                Version::Two => write(folder, "cpu.max", &format!("{time} {PERIOD}"))?,
            }
        }
        Ok(cgroup)
    }

    /// A command that runs `program` in it, by the process id that the command is started with.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", ENTER, "cgroup"]).args(&self.folders).arg("--").arg(program);
        command
    }

    /// The most memory that was ever in use in it, in bytes: by its processes, and by the kernel for them, files that it
    /// keeps at hand included.
    ///
    /// # Errors
    /// The kernel does not tell (version 2 before Linux 5.19).
    pub fn peak(&self) -> Result<u64> {
        let peak = read(self.memory(), self.version.name("memory.max_usage_in_bytes", "memory.peak"))?;
        Ok(peak.trim().parse().unwrap_or_default())
    }

    /// How many processes the kernel has ended in it for want of memory.
    ///
    /// # Errors
    /// It is gone.
    pub fn out_of_memory(&self) -> Result<u64> {
        let events = read(self.memory(), self.version.name("memory.oom_control", "memory.events"))?;
        let count = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        Ok(count.and_then(|count| count.trim().parse().ok()).unwrap_or_default())
    }

    fn memory(&self) -> &Path {
        self.folders.first().map_or(Path::new(TOP), PathBuf::as_path)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for folder in &self.folders {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Makes this isolation's folder in each hierarchy: many with version 1, one with version 2. Gives back its name.
pub(crate) fn make_all() -> Result<String> {
    let name = isolation::cgroup().ok_or(Error::NotIsolated)?;
    let top = Path::new(TOP);
    let roots = match Version::here() {
        Version::Two => vec![top.to_owned()],
        Version::One => {
            let entries = top.read_dir().map_err(Error::file("read", top))?;
            let folders = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
            // A hierarchy's root has processes. Of version 2 there may be one beside them, without controllers.
            folders.filter(|dir| is_hierarchy(dir) && !dir.ends_with("unified")).collect()
        }
    };
    for root in roots {
        let folder = root.join(&name);
        match fs::create_dir(&folder) {
            // Made before, or the same hierarchy by its other name.
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(Error::file("create the cgroup", folder)(error));
            }
            _ => {}
        }
    }
    Ok(name)
}

fn is_hierarchy(dir: &Path) -> bool {
    dir.join("cgroup.procs").is_file()
}

fn write(folder: &Path, file: &str, text: &str) -> Result<()> {
    let path = folder.join(file);
    fs::write(&path, text).map_err(Error::file("write", path))
}

fn read(folder: &Path, file: &str) -> Result<String> {
    let path = folder.join(file);
    fs::read_to_string(&path).map_err(Error::file("read", path))
}
