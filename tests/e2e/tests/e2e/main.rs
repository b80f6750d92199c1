//! hookhost on a real cluster: real Flux installs, the real API server stores, real containers run.

mod deploy;
mod faults;
mod input;
mod kill;
mod leaks;
mod lifecycle;
mod policies;
mod preconditions;
mod releases;
mod spec;
