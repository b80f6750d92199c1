//! A *guest* is a policy's instance while it answers one call: a store with its limits, what it logged, what it used.
//!
//! One function makes stores, and every store it makes has all limits and dies after one call. No state, no memory and
//! no error of one evaluation reaches another.

use wasmtime::{Engine, PoolConcurrencyLimitError, ResourceLimiter, Store, Trap};

use crate::clock::{self, Clock, Ticking};
use crate::engine::{self, Metering};
use crate::limits::{self, Limits};
use crate::text::clean;
use crate::wit::{logging, types};
use crate::{Error, Level, LogLine};

/// Fuel that a metered guest starts with; its time limit ends it long before.
const FUEL: u64 = u64::MAX;
/// Characters of wasmtime's own words that an error repeats.
const PROBLEM_CHARS: usize = 300;

/// What the host keeps of one guest.
pub(crate) struct Guest {
    limits: Limits,
    logs: Vec<LogLine>,
    peak_memory: usize,
    refused_memory: bool,
    logged_too_much: bool,
    _ticking: Ticking,
}

/// Makes the store for one call: the only place that makes one.
pub(crate) fn store(
    engine: &Engine,
    clock: &Clock,
    limits: Limits,
    metering: Metering,
) -> Result<Store<Guest>, Error> {
    let guest = Guest {
        limits,
        logs: Vec::new(),
        peak_memory: 0,
        refused_memory: false,
        logged_too_much: false,
        _ticking: clock.ticking(),
    };
    let mut store =
        Store::try_new(engine, guest).map_err(|e| Error::host("no memory for an evaluation", e))?;
    store.limiter(|guest| guest);
    start_time(&mut store);
    store.epoch_deadline_trap();
    store.set_hostcall_fuel(limits::HOSTCALL_FUEL);
    store.set_max_component_handles(limits::HANDLES);
    if metering == Metering::Fuel {
        store.set_fuel(FUEL).map_err(|e| Error::host("an evaluation cannot be metered", e))?;
    }
    Ok(store)
}

/// Gives a guest its time, from now on.
pub(crate) fn start_time(store: &mut Store<Guest>) {
    let timeout = store.data().limits.timeout();
    store.set_epoch_deadline(clock::ticks(timeout));
}

/// What one evaluation used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The most memory that the policy had, in bytes.
    pub peak_memory: usize,
    /// Instructions executed, in wasmtime's fuel; only from a metered sandbox.
    pub fuel: Option<u64>,
}

/// What a guest used, and what it logged.
pub(crate) fn finish(store: Store<Guest>) -> (Cost, Vec<LogLine>) {
    let fuel = store.get_fuel().ok().map(|left| FUEL - left);
    let guest = store.into_data();
    (Cost { peak_memory: guest.peak_memory, fuel }, guest.logs)
}

/// Why a guest gave no answer.
pub(crate) fn failure(store: Store<Guest>, error: &wasmtime::Error) -> Error {
    if error.is::<PoolConcurrencyLimitError>() {
        return Error::Busy { limit: engine::SLOTS };
    }
    let Guest { limits, logs, refused_memory, logged_too_much, .. } = store.into_data();
    let trap = error.downcast_ref::<Trap>().copied();
    if trap == Some(Trap::Interrupt) {
        return Error::TimedOut { limit: limits.timeout(), logs };
    }
    if logged_too_much {
        return Error::LoggedTooMuch { logs };
    }
    if refused_memory {
        return Error::OutOfMemory { limit: limits.memory(), logs };
    }
    match trap {
        Some(trap) => {
            let message =
                logs.iter().rfind(|line| line.level == Level::Error).map(|line| line.message.clone());
            Error::Trapped { message, trap: clean(&trap.to_string(), PROBLEM_CHARS), logs }
        }
        None => Error::BadOutput { problem: clean(&format!("{error:#}"), PROBLEM_CHARS), logs },
    }
}

impl ResourceLimiter for Guest {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let allowed = desired <= self.limits.memory();
        if allowed {
            self.peak_memory = self.peak_memory.max(desired);
        } else {
            self.refused_memory = true;
        }
        Ok(allowed)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= limits::TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        limits::CORE_INSTANCES as usize
    }

    fn memories(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        limits::TABLES as usize
    }
}

impl types::Host for Guest {}

impl logging::Host for Guest {
    fn log(&mut self, level: types::Level, message: String) -> wasmtime::Result<()> {
        let too_long = message.chars().nth(limits::LOG_LINE_CHARS).is_some();
        if self.logs.len() < limits::LOG_LINES {
            let message = clean(&message, limits::LOG_LINE_CHARS);
            self.logs.push(LogLine { level: level.into(), message });
            if !too_long {
                return Ok(());
            }
        }
        self.logged_too_much = true;
        Err(wasmtime::Error::msg("logged too much"))
    }
}

impl From<types::Level> for Level {
    fn from(level: types::Level) -> Level {
        match level {
            types::Level::Debug => Level::Debug,
            types::Level::Info => Level::Info,
            types::Level::Warn => Level::Warn,
            types::Level::Error => Level::Error,
        }
    }
}
