//! The *memory* that hookhost can need at worst, as a sum: the chart's limit is exactly this, so that nothing that input can
//! cause ends it. Each part is bounded by the constant that it names.

use hookhost_sandbox::COMPILER_BYTES;

use crate::config::DEFAULT_CONCURRENCY;
use crate::looks::PLACES_PER_SHARE;
use crate::policy::{EVALUATIONS_BYTES, LOADS};
use crate::records::RECORDS_BYTES;
use crate::watch::{OBJECT_BYTES, TEXTS_BYTES};

/// A part of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is for.
    pub name: &'static str,
    /// How much it can be, in bytes.
    pub bytes: usize,
}

/// Threads that work: reconciles and watches.
pub const WORKERS: usize = 2;

/// Bytes of an Operation that is reconciled: as far as it is read, with its copies for the core and for policies.
const RECONCILE_BYTES: usize = 1 << 20;

/// Bytes of all that does not depend on a single input: the program and its allocator, connections, what is known of Jobs,
/// pods and Operations in brief (of an Operation a KiB), and the code of policies. An idle hookhost has less than 60 MiB.
const PROCESS_BYTES: usize = 94 << 20;

/// What hookhost can need at worst with the default concurrency.
pub const PARTS: [Part; 7] = [
    Part { name: "the child that compiles a policy, one at a time", bytes: LOADS * COMPILER_BYTES },
    Part { name: "policies at work", bytes: EVALUATIONS_BYTES },
    Part { name: "release records at work", bytes: RECORDS_BYTES },
    Part { name: "Operations, as text", bytes: TEXTS_BYTES },
    Part {
        name: "Operations being reconciled",
        bytes: PLACES_PER_SHARE * DEFAULT_CONCURRENCY as usize * RECONCILE_BYTES,
    },
    Part { name: "objects that the API server tells of, one for each thread", bytes: WORKERS * OBJECT_BYTES },
    Part { name: "the process itself", bytes: PROCESS_BYTES },
];

/// All of it.
pub const TOTAL_BYTES: usize = {
    let (mut sum, mut n) = (0, 0);
    while n < PARTS.len() {
        sum += PARTS[n].bytes;
        n += 1;
    }
    sum
};
