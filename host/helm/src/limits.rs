//! What a release record may take of memory and time, from what etcd can store of it.
//!
//! The API server takes 1 MiB as a Secret's data, and etcd 1.5 MiB as a request. Helm's record is base64 of gzip in it, so at
//! most 768 KiB of gzip. What that may inflate to is deflate's to say, up to 1,032 times as much; what charts make of it is
//! known: 10 times as much for the largest public one (kube-prometheus-stack, 6.6 MB of 662 KB), 7 times at most for the
//! records in tests/fixtures. So each bound here is a multiple of what can be stored that no chart comes near.
//!
//! A record is read on one thread, step by step, and each step frees what only it needed. [`READ_BYTES`] is what the widest
//! of the steps takes.

/// Bytes of a Secret's data: Kubernetes' own limit (`MaxSecretSize`).
pub const MAX_STORED_BYTES: usize = 1024 * 1024;

/// Bytes of a record once inflated: 21 times the gzip that a Secret can hold, twice what real charts make of it.
pub const MAX_INFLATED_BYTES: usize = 16 * MAX_STORED_BYTES;

/// Bytes of the manifests of all hooks. They are beside the chart's templates, files and values in the record, so half of it
/// is more than any chart has: of kube-prometheus-stack they are 20 KB, and 63 KB at most in tests/fixtures.
pub const MAX_MANIFEST_BYTES: usize = MAX_INFLATED_BYTES / 2;

/// Hooks of a record, and objects of its hooks. The charts with the most have a few dozen.
pub const MAX_HOOKS: usize = 4096;

/// Documents of all manifests that are looked into: each takes a parser of its own. Most hooks have one.
pub const MAX_DOCUMENTS: usize = 2 * MAX_HOOKS;

/// Values of all manifests that are looked at to list the hooks: one for each four bytes of the largest record's. Charts have
/// at least ten bytes for a value.
pub const MAX_NODES: usize = MAX_MANIFEST_BYTES / 4;

/// What the names, kinds, paths and events of all listed objects take together. Each object of a stored List has its own
/// copy of the List's, so this is not bounded by the record's size.
pub const MAX_LISTED_BYTES: usize = MAX_MANIFEST_BYTES;

/// What the manifests that are read in full for one run may take: its hook, or all hooks of its event, with all that they
/// need of the other hooks. Counted as [`yaml`](crate::yaml) does: bytes of texts,
/// [`NODE_BYTES`](crate::yaml::NODE_BYTES) a value and [`MAP_BYTES`](crate::yaml::MAP_BYTES) a mapping, which is some 40 times
/// a chart's dense YAML. So it is 200 KB of YAML; the largest hook of tests/fixtures has 13 KB.
pub const MAX_RUN_BYTES: usize = 8 * MAX_STORED_BYTES;

/// What all manifests may take, one after the other, that can be listed only by reading them in full: Lists, and those with
/// aliases. Charts have hardly any.
pub const MAX_WHOLE_BYTES: usize = 2 * MAX_RUN_BYTES;

/// What values take that count for so many bytes (tests/memory.rs).
const REAL: usize = 2;

/// An upper bound of what one record takes while it is read and a run is selected of it (tests/memory.rs). The wider of two
/// steps: the JSON with the texts that are copied out of it; and the manifests with their listing, one document, and what is
/// kept for the run.
pub const READ_BYTES: usize = {
    let json = MAX_STORED_BYTES + 3 * MAX_INFLATED_BYTES;
    let listing = MAX_MANIFEST_BYTES + MAX_LISTED_BYTES + 2 * REAL * MAX_RUN_BYTES;
    if json > listing { json } else { listing }
};

/// What remains of a record once a run is selected that counts for so many bytes: the values, and the copies of them that are
/// made on the way: the Job, its text, and what is made for the run.
pub const fn selected_bytes(counted: usize) -> usize {
    3 * REAL * counted
}

const _: () = assert!(selected_bytes(MAX_RUN_BYTES) <= READ_BYTES);

/// Events, and delete policies, of a hook. Helm knows 9 events and 3 policies.
pub const MAX_HOOK_WORDS: usize = 16;

/// Bytes of a hook's name, kind and path, and of each event and policy: Linux' own bound on a path.
pub const MAX_HOOK_TEXT_BYTES: usize = 4096;

/// Bytes of a release's name and namespace: Kubernetes' own limit of a name.
pub const MAX_NAME_BYTES: usize = 253;
