//! The *clock* ends evaluations that take too long: a thread that moves the engine's epoch on every tick while
//! anything runs, and sleeps otherwise. It holds the engine weakly and ends with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use wasmtime::{Engine, EngineWeak};

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
        Ok(Clock::start_with(engine, IDLE_TICKS)?.0)
    }

    fn start_with(engine: &Engine, idle_ticks: u32) -> std::io::Result<(Clock, JoinHandle<()>)> {
        let state = Arc::new(State::default());
        let (weak, shared) = (engine.weak(), Arc::clone(&state));
        let handle = thread::Builder::new()
            .name("policy-clock".into())
            .spawn(move || tick(&weak, &shared, idle_ticks))?;
        Ok((Clock { state, thread: handle.thread().clone() }, handle))
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

/// Ticks until the engine is gone.
fn tick(engine: &EngineWeak, state: &State, idle_ticks: u32) {
    let mut idle = 0;
    loop {
        thread::sleep(TICK);
        match engine.upgrade() {
            Some(engine) => engine.increment_epoch(),
            None => break,
        }
        idle = if state.running.load(SeqCst) == 0 { idle + 1 } else { 0 };
        if idle >= idle_ticks {
            // `asleep` is set before `running` is read, and `ticking` counts before it reads `asleep`: one of the two
            // sees the other, so no evaluation runs with the clock asleep.
            state.asleep.store(true, SeqCst);
            if state.running.load(SeqCst) == 0 {
                thread::park_timeout(NAP);
            }
            state.asleep.store(false, SeqCst);
        }
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
    use wasmtime::{Instance, Module, Trap};

    use super::*;
    use crate::engine::{Allocation, Metering, engine};
    use crate::guest;
    use crate::limits::Limits;

    #[test]
    fn a_sleeping_clock_wakes_for_an_evaluation_and_ends_it() {
        let engine = engine(Allocation::OnDemand, Metering::Off).unwrap();
        let (clock, _) = Clock::start_with(&engine, 1).unwrap();
        let endless = wat::parse_str("(module (func $f (loop (br 0))) (start $f))").unwrap();
        let endless = Module::from_binary(&engine, &endless).unwrap();
        for _ in 0..5 {
            while !clock.state.asleep.load(SeqCst) {
                thread::yield_now();
            }
            let mut store = guest::store(&engine, &clock, Limits::default(), Metering::Off).unwrap();
            let error = Instance::new(&mut store, &endless, &[]).unwrap_err();
            assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
        }
    }

    #[test]
    fn the_clock_ends_with_its_engine() {
        let engine = engine(Allocation::OnDemand, Metering::Off).unwrap();
        let (_clock, thread) = Clock::start_with(&engine, u32::MAX).unwrap();
        drop(engine);
        thread.join().unwrap();
    }

    #[test]
    fn a_timeout_is_rounded_up_to_ticks_and_one_more() {
        assert_eq!(ticks(Duration::from_millis(50)), 11);
        assert_eq!(ticks(Duration::from_millis(51)), 12);
        assert_eq!(ticks(Duration::ZERO), 1);
    }
}
