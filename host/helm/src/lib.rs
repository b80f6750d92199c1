//! From Helm's storage to the hooks of a release, as Helm itself reads them.
//!
//! ```text
//! Secret ─► record ─► stored hooks ─► YAML ─► hooks ─► workload
//!              └─► Flux's digest of it
//! ```
//!
//! Everything here is a pure, synchronous function: no client, clock, file or network. Records are hostile input: each reader
//! checks sizes before it parses, and each bound is a named constant.

#[cfg(test)]
extern crate self as hookhost_helm;

pub mod encoding;
pub mod hook;
pub mod limits;
pub mod name;
pub mod record;
pub mod snapshot;
pub mod status;
#[cfg(test)]
mod testing;
pub mod text;
pub mod workload;
pub mod yaml;

pub use hook::Hook;
pub use record::Record;
