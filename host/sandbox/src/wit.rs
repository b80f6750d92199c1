//! The contract's types and calls, generated from `wit/hook-policy.wit`.
//!
//! What goes in is borrowed from the request, so that asking a policy copies nothing but into the guest's memory.

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "hook-policy",
    ownership: Borrowing { duplicate_if_necessary: true },
    imports: { default: trappable },
});

pub(crate) use vworkspace::hook_policy::{logging, types};
