//! What hookhost asks of the API server, and what it writes there.
//!
//! ```text
//! client ─► stream ─► reader ─► resolve ─► (decisions of hookhost-core) ─► writer, held by the lease
//! ```
//!
//! Answers are hostile input: each reader knows how many bytes it takes before anything is parsed.

pub mod buffer;
pub mod client;
pub mod error;
pub mod items;
pub mod job;
pub mod key;
pub mod lease;
pub mod observe;
pub mod operation;
pub mod prerequisites;
pub mod read;
pub mod records;
pub mod resolve;
pub mod resource;
pub mod stream;
pub mod text;
pub mod write;
pub mod writer;

pub use error::Error;
