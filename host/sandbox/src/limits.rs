//! *Limits* are what one evaluation may use. Two of them an administrator may change; the rest are the contract's or
//! the sandbox's own and are constants here.

use std::time::Duration;

use crate::Error;

/// Memory of one evaluation unless the administrator says otherwise, in bytes. The contract promises this much.
pub const DEFAULT_MEMORY: usize = 16 << 20;
/// The most memory an administrator may give, in bytes: the size of a slot of the pool.
pub const MAX_MEMORY: usize = 64 << 20;
/// The least that makes sense: one page of WebAssembly.
pub const MIN_MEMORY: usize = 64 << 10;

/// Time of one evaluation unless the administrator says otherwise. The contract promises this much; a policy of the
/// SDK needs a five-thousandth of it.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_millis(50);
/// The most time an administrator may give: a run waits for its policies, one after the other.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(10);
/// The least: two ticks of the clock that ends evaluations.
pub const MIN_TIMEOUT: Duration = Duration::from_millis(10);

/// Log lines of one evaluation; the contract's number.
pub const LOG_LINES: usize = 64;
/// Characters of one log line; the contract's number.
pub const LOG_LINE_CHARS: usize = 1024;
/// Errors that are read from `validate-settings`; the contract's number.
pub const SETTINGS_ERRORS: usize = 64;
/// Bytes of a settings schema; the contract's number.
pub const SCHEMA_BYTES: usize = 64 << 10;
/// Characters of a policy's name and of its version: room for any sensible one, and a table still fits a screen.
pub const NAME_CHARS: usize = 128;

/// Bytes that all values coming out of a guest may take on the host in one call. A list of tuples that share one
/// string is small in the guest and huge here; 256 KiB is four times the largest answer that the contract allows
/// through, and bounds the worst case to 27 MB and 7 ms (measured).
pub(crate) const HOSTCALL_FUEL: usize = 256 << 10;
/// Bytes that reading one answer may take on the host for a moment, at worst: with [`HOSTCALL_FUEL`] it is 27 MB.
pub const ANSWER_BYTES: usize = 32 << 20;
/// Bytes of the guest's call stack (and of a host frame under it).
pub(crate) const STACK: usize = 256 << 10;
/// Entries of one table of a guest.
pub(crate) const TABLE_ELEMENTS: usize = 2000;
/// Core instances of one component: the guest, and the shims that a component is glued together with.
pub(crate) const CORE_INSTANCES: u32 = 8;
/// Tables of one component.
pub(crate) const TABLES: u32 = 4;
/// Resource handles a guest may hold. The contract has no resources.
pub(crate) const HANDLES: usize = 16;

/// What one evaluation of one policy may use.
///
/// ```
/// use std::time::Duration;
/// use hookhost_sandbox::Limits;
///
/// let limits = Limits::default().with_timeout(Duration::from_millis(200))?;
/// assert_eq!(limits.memory(), 16 << 20);
/// # Ok::<(), hookhost_sandbox::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    memory: usize,
    timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { memory: DEFAULT_MEMORY, timeout: DEFAULT_TIMEOUT }
    }
}

impl Limits {
    /// Bytes of memory.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Time, from the start of the instance to its answer.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// With other memory, [`MIN_MEMORY`] to [`MAX_MEMORY`] bytes, else [`Error::LimitOutOfRange`].
    pub fn with_memory(self, memory: usize) -> Result<Limits, Error> {
        if !(MIN_MEMORY..=MAX_MEMORY).contains(&memory) {
            return Err(Error::LimitOutOfRange {
                what: "memory",
                found: format!("{memory} bytes"),
                range: format!("{MIN_MEMORY} to {MAX_MEMORY} bytes"),
            });
        }
        Ok(Limits { memory, ..self })
    }

    /// With another timeout, [`MIN_TIMEOUT`] to [`MAX_TIMEOUT`], else [`Error::LimitOutOfRange`].
    pub fn with_timeout(self, timeout: Duration) -> Result<Limits, Error> {
        if !(MIN_TIMEOUT..=MAX_TIMEOUT).contains(&timeout) {
            return Err(Error::LimitOutOfRange {
                what: "timeout",
                found: format!("{timeout:?}"),
                range: format!("{MIN_TIMEOUT:?} to {MAX_TIMEOUT:?}"),
            });
        }
        Ok(Limits { timeout, ..self })
    }
}
