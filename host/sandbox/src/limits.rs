//! *Limits* are what one evaluation may use. Two of them an administrator may change; the rest are the contract's or
//! the sandbox's own and are constants here.

use std::time::Duration;

use crate::Error;
pub use crate::bounds::*;

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
