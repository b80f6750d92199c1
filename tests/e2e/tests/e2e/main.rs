//! hookhost on a real cluster: real Flux installs, the real API server stores, real containers run.

mod spec;
