//! The *memory* that hookhost can need at worst, as a sum: the chart's limit is exactly this, so that nothing that input can
//! cause ends it. Each part is bounded by the constant that it names.

use hookhost_core::stored::COMPARED_BYTES;
use hookhost_helm::limits::MAX_STORED_BYTES;
use hookhost_sandbox::COMPILER_BYTES;

use crate::config::DEFAULT_CONCURRENCY;
use crate::looks::PLACES_PER_SHARE;
use crate::policy::{EVALUATIONS_BYTES, LOADS};
use crate::reconcile::LOGS_BYTES;
use hookhost_cluster::job::BRIEF_BYTES;
use hookhost_cluster::records::{LARGE_RUNS_BYTES, RECORDS_BYTES};

use crate::watch::{JOBS_BYTES, PODS_BYTES, TEXTS_BYTES, UNPROVEN_EVERYWHERE};
use hookhost_cluster::buffer::BUFFERS_BYTES;

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

/// Bytes of an Operation that is reconciled: as far as it is read, with its copies for the core and for policies, and what is to
/// be created for a run of a usual size; and the release's record as it is stored, which waits for its turn to be read.
const RECONCILE_BYTES: usize = (1 << 20) + MAX_STORED_BYTES;

/// Bytes of all that does not depend on a single input: the program and its allocator, connections, what is known of Operations
/// and of hookhost's own Jobs in brief (of an Operation a KiB), objects of a usual size on their way from the API server (32 KiB
/// each, some 250 of them at worst), and the code of policies. An idle hookhost has some 40 MiB.
const PROCESS_BYTES: usize = 70 << 20;

/// Bytes of what is kept of Jobs and pods: of those that are hookhost's and of those that only say so.
const KEPT_BYTES: usize = JOBS_BYTES + UNPROVEN_EVERYWHERE * BRIEF_BYTES + PODS_BYTES + LOGS_BYTES;

/// What hookhost can need at worst with the default concurrency.
pub const PARTS: [Part; 10] = [
    Part { name: "the child that compiles a policy, one at a time", bytes: LOADS * COMPILER_BYTES },
    Part { name: "policies at work", bytes: EVALUATIONS_BYTES },
    Part { name: "release records at work", bytes: RECORDS_BYTES },
    Part { name: "what large runs create, as text", bytes: LARGE_RUNS_BYTES },
    Part { name: "Operations, as text", bytes: TEXTS_BYTES },
    Part {
        name: "Operations being reconciled",
        bytes: PLACES_PER_SHARE * DEFAULT_CONCURRENCY as usize * RECONCILE_BYTES,
    },
    Part { name: "large objects that the API server sends", bytes: BUFFERS_BYTES },
    Part { name: "Jobs, pods, warnings and ends of logs, cut down", bytes: KEPT_BYTES },
    // Each thread compares small Jobs, which take little memory; large ones are compared one at a time.
    Part { name: "what Jobs run, compared with their claims", bytes: WORKERS * COMPARED_BYTES },
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
