//! The *clock* ends evaluations that take too long: a thread that moves the engine's epoch on every tick while
//! anything runs, and sleeps otherwise. It holds the engine weakly and ends with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::Engine;

/// The length of a tick: a tenth of the default timeout.
const TICK: Duration = Duration::from_millis(5);
/// Ticks without an evaluation after which the clock sleeps: a second, so that a busy host never pays for waking it.
const IDLE_TICKS: u32 = 200;
/// How often a sleeping clock looks whether its engine is gone.
const NAP: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct State {
    /// Evaluations running now.
    running: AtomicUsize,
    asleep: AtomicBool,
}

/// A clock; clones are the same clock.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    state: Arc<State>,
    thread: Thread,
}

/// While one of these lives, its clock ticks.
#[derive(Debug)]
pub(crate) struct Ticking(Arc<State>);

impl Clock {
    /// Starts the clock of an engine.
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Clock> {
        let state = Arc::new(State::default());
        let (weak, shared) = (engine.weak(), Arc::clone(&state));
        let handle = thread::Builder::new().name("policy-clock".into()).spawn(move || {
            let mut idle = 0;
            loop {
                thread::sleep(TICK);
                let Some(engine) = weak.upgrade() else { break };
                engine.increment_epoch();
                drop(engine);
                idle = if shared.running.load(SeqCst) == 0 { idle + 1 } else { 0 };
                if idle >= IDLE_TICKS {
                    // `asleep` is set before `running` is read, and `ticking` counts before it reads `asleep`: one
                    // of the two sees the other, so no evaluation runs with the clock asleep.
                    shared.asleep.store(true, SeqCst);
                    if shared.running.load(SeqCst) == 0 {
                        thread::park_timeout(NAP);
                    }
                    shared.asleep.store(false, SeqCst);
                }
            }
        })?;
        Ok(Clock { state, thread: handle.thread().clone() })
    }

    /// Keeps the clock ticking until the answer is dropped.
    pub(crate) fn ticking(&self) -> Ticking {
        self.state.running.fetch_add(1, SeqCst);
        if self.state.asleep.load(SeqCst) {
            self.thread.unpark();
        }
        Ticking(Arc::clone(&self.state))
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}

/// Ticks after which an evaluation has certainly had `timeout`: one more than fit in, for the tick under way.
pub(crate) fn ticks(timeout: Duration) -> u64 {
    let ticks = timeout.as_nanos().div_ceil(TICK.as_nanos()) + 1;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_rounded_up_to_ticks_and_one_more() {
        assert_eq!(ticks(Duration::from_millis(50)), 11);
        assert_eq!(ticks(Duration::from_millis(51)), 12);
        assert_eq!(ticks(Duration::ZERO), 1);
    }
}
