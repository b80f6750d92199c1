//! A *part* is one program of a cluster: a process and its log.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// How many of a log's last lines an error shows.
const LOG_TAIL: usize = 15;

/// First and longest pause between two looks at a condition: longer and longer, so that a slow machine is not kept from
/// its work by questions.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

/// The parts of a cluster, in the order of their start.
#[derive(Debug)]
pub(crate) struct Parts {
    logs: PathBuf,
    running: Mutex<Vec<Part>>,
}

#[derive(Debug)]
struct Part {
    name: &'static str,
    process: Child,
}

impl Parts {
    /// No parts yet; each will have its log in the folder `logs`.
    pub(crate) fn new(logs: PathBuf) -> Parts {
        Parts { logs, running: Mutex::default() }
    }

    /// The folder of the logs.
    pub(crate) fn logs(&self) -> &Path {
        &self.logs
    }

    /// Starts a part.
    pub(crate) fn start(&self, name: &'static str, command: &mut Command) -> Result<()> {
        let path = self.log(name);
        let log = File::create(&path).map_err(Error::file("create", &path))?;
        let both = log.try_clone().map_err(Error::file("write", &path))?;
        let process = command.stdin(Stdio::null()).stdout(log).stderr(both).spawn();
        let process = process.map_err(Error::file("run", command.get_program()))?;
        self.running().push(Part { name, process });
        Ok(())
    }

    /// Waits until `probe` gives something. An error as soon as a part has ended: then there is nothing to wait for.
    pub(crate) fn wait<T>(
        &self,
        within: Duration,
        mut probe: impl FnMut() -> Option<T>,
    ) -> Result<Option<T>> {
        let start = Instant::now();
        let (mut pause, longest) = PAUSES;
        loop {
            if let Some(found) = probe() {
                return Ok(Some(found));
            }
            self.check()?;
            if start.elapsed() > within {
                return Ok(None);
            }
            thread::sleep(pause);
            pause = (pause * 3 / 2).min(longest);
        }
    }

    /// Waits until `probe` holds, which is when the part `name` is ready.
    pub(crate) fn wait_for(
        &self,
        name: &'static str,
        within: Duration,
        mut probe: impl FnMut() -> bool,
    ) -> Result<()> {
        match self.wait(within, || probe().then_some(()))? {
            Some(()) => Ok(()),
            None => Err(self.failure(name, format!("was not ready within {} s", within.as_secs()))),
        }
    }

    /// Stops all parts, the newest first: an API server would only complain about a missing etcd. Nothing here is worth
    /// a clean end.
    pub(crate) fn stop(&self) {
        for mut part in self.running().drain(..).rev() {
            let _ = part.process.kill();
            let _ = part.process.wait();
        }
    }

    fn check(&self) -> Result<()> {
        for part in self.running().iter_mut() {
            let ended = part.process.try_wait().map_err(Error::file("wait for", part.name))?;
            if let Some(status) = ended {
                return Err(self.failure(part.name, format!("ended ({status})")));
            }
        }
        Ok(())
    }

    fn failure(&self, program: &'static str, what: String) -> Error {
        let log = self.log(program);
        let text = fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n");
        Error::NotReady { program, what, log, tail }
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    fn running(&self) -> MutexGuard<'_, Vec<Part>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
