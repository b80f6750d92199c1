//! What is *stored* of Jobs and pods in the API server, cut down to what is read of it.
//!
//! Whoever may create a Job or pod decides how large it is: its annotations have up to 256 KiB, of which JSON can make six times
//! as much, and all of it up to etcd's 1.5 MiB; parsed it takes up to ninety times as much memory as its text. Labels and
//! annotations that say that hookhost made it are anybody's to write.
//!
//! So the text is gone through once, and an object is made of what [`outcome`](crate::outcome), [`status`](crate::status),
//! [`claim`](crate::claim) and [`loan`](crate::loan) read and of nothing else: [`StoredJob`] and [`stored_pod`]. Each text in it has
//! a bound, which none of what hookhost and Kubernetes write exceeds. So what is kept is bounded whoever made it, and says of
//! one of hookhost's own what the whole of it says.

mod job;
mod json;
mod pod;
#[cfg(test)]
mod tests;

pub use job::{CLOSURE_BYTES, COMPARED_BYTES, SPEC_BYTES, StoredJob};
pub use pod::{CONTAINERS, WORDS_BYTES, stored_pod};

/// Bytes of a name: Kubernetes' longest. What is cut off can only be wrong, and equals no name.
const NAME_BYTES: usize = 253;

/// Bytes of a namespace's name, a UID, a time, a version or one of Kubernetes' own words. A UID has 36, the longest namespace or
/// label value 63.
const WORD_BYTES: usize = 64;

/// Bytes of a reason or message: those that [`outcome`](crate::outcome) looks at to show a quarter of them.
const MESSAGE_BYTES: usize = 4 * crate::outcome::WORDS_BYTES;
