//! Watches Operations in a cluster and runs the hook that each names exactly once.
