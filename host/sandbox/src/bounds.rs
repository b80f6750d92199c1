//! *Bounds* are numbers of the contract and of the sandbox that nobody changes, and the ends of those that an administrator may.

use std::time::Duration;

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
