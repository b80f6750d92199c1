//! hookhost on a real cluster: real Flux installs, the real API server stores, real containers run.
// A test ends by panicking; clippy knows that of test functions only, not of their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admission;
mod away;
mod beside;
mod bypasses;
mod charts;
mod claims;
mod closure;
mod deploy;
mod elsewhere;
mod event;
mod faults;
mod forged;
mod gone;
mod input;
mod installed;
mod kill;
mod laptop;
mod leaks;
mod lifecycle;
mod policies;
mod preconditions;
mod queue;
mod releases;
mod remains;
mod rights;
mod run;
mod spec;
mod stock;
mod suspended;
mod values;
