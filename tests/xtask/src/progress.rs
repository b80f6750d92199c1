//! *Progress* is what a person who waits for a long task sees: which of its steps runs, for how long, and what is left.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::run::say;

/// How often a step that takes long reports on a terminal.
const EVERY: Duration = Duration::from_secs(15);
/// How often it does so in a log, where all lines stay.
const EVERY_IN_A_LOG: Duration = Duration::from_mins(1);

/// One step of a task.
pub(crate) struct Step {
    /// What it does.
    pub(crate) name: &'static str,
    /// About how long it takes.
    pub(crate) expected: Duration,
}

/// The steps of a task, which run one after the other.
pub(crate) struct Progress {
    steps: Vec<Step>,
    ended: usize,
    every: Duration,
}

impl Progress {
    /// A task of these steps, of which none has begun.
    pub(crate) fn of(steps: Vec<Step>) -> Progress {
        let every = if io::stderr().is_terminal() { EVERY } else { EVERY_IN_A_LOG };
        Progress { steps, ended: 0, every }
    }

    /// Runs the next step, and reports when it begins, while it runs, and when it has ended well.
    pub(crate) fn step<T>(&mut self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = Instant::now();
        say(&self.line(None));
        let result = thread::scope(|scope| {
            let (end, wait) = channel::<()>();
            let progress = &*self;
            scope.spawn(move || {
                while wait.recv_timeout(progress.every) == Err(RecvTimeoutError::Timeout) {
                    say(&progress.line(Some(start.elapsed())));
                }
            });
            let result = work();
            // The thread above ends with it.
            drop(end);
            result
        })?;
        let ended = format!("{}: {}", self.head(), time(start.elapsed()));
        self.ended += 1;
        say(&format!("{ended}{}", self.left(Duration::ZERO)));
        Ok(result)
    }

    /// The line about the step that runs, for so long if it has not just begun.
    fn line(&self, elapsed: Option<Duration>) -> String {
        let so_far = elapsed.map(|elapsed| format!(" {}", time(elapsed))).unwrap_or_default();
        format!("{} …{so_far}{}", self.head(), self.left(elapsed.unwrap_or_default()))
    }

    fn head(&self) -> String {
        let name = self.steps.get(self.ended).map_or("", |step| step.name);
        format!("[{}/{}] {name}", self.ended + 1, self.steps.len())
    }

    /// What has not ended, when the step that runs has done so for this long; nothing at the end.
    fn left(&self, elapsed: Duration) -> String {
        let left = self.steps.get(self.ended..).unwrap_or_default();
        let Some((now, later)) = left.split_first() else { return String::new() };
        let expected = later.iter().map(|step| step.expected).sum::<Duration>();
        let expected = expected + now.expected.saturating_sub(elapsed);
        let steps = if later.is_empty() { "step" } else { "steps" };
        format!("; left: {} {steps}, {}", left.len(), about(expected))
    }
}

/// A duration as people say it: `42 s`, `6 min 12 s`.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds / 60 {
        0 => format!("{seconds} s"),
        minutes => format!("{minutes} min {} s", seconds % 60),
    }
}

/// A duration that is only estimated.
fn about(duration: Duration) -> String {
    match duration.as_secs().div_ceil(60) {
        0 | 1 => "less than a minute".to_owned(),
        minutes => format!("about {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    fn progress() -> Progress {
        let step = |name, seconds| Step { name, expected: Duration::from_secs(seconds) };
        Progress::of(vec![step("build hookhost", 500), step("build Kubernetes", 600), step("run it", 50)])
    }

    #[test]
    fn a_line_names_the_step_its_time_and_what_is_left() {
        let mut progress = progress();
        assert_eq!(progress.line(None), "[1/3] build hookhost …; left: 3 steps, about 20 min");
        let line = progress.line(Some(Duration::from_secs(372)));
        assert_eq!(line, "[1/3] build hookhost … 6 min 12 s; left: 3 steps, about 13 min");
        progress.ended = 2;
        // It takes longer than expected.
        let line = progress.line(Some(Duration::from_secs(75)));
        assert_eq!(line, "[3/3] run it … 1 min 15 s; left: 1 step, less than a minute");
        progress.ended = 3;
        assert_eq!(progress.left(Duration::ZERO), "");
    }

    #[test]
    fn a_step_that_fails_does_not_count_as_ended() {
        let mut progress = progress();
        assert_eq!(progress.step(|| Ok(1)).unwrap(), 1);
        let failed: Result<()> = progress.step(|| bail!("no disk"));
        assert_eq!(failed.unwrap_err().to_string(), "no disk");
        assert_eq!(progress.head(), "[2/3] build Kubernetes");
    }
}
