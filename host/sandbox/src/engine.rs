//! An *engine* is wasmtime, set up once for policies: what WebAssembly may use, how code is made, and the pool that
//! instances are taken from. The numbers were found by measuring; each says why.

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy};

use crate::limits;

/// Evaluations that can run at the same moment. A decision takes microseconds, so this many are waiting for a
/// processor already; each slot costs 4 GiB of address space, but no memory until it is used.
pub(crate) const SLOTS: u32 = 64;
/// Memory of a slot that stays with the process between evaluations and is cleared by memset: no system call at all.
/// Covers all that a policy of the SDK has unless it grows, and a database of time zones beside it (maintenance-window:
/// a fresh call 17.5 µs, where half of this makes it 35); smaller policies are cleared as far as they go. For so little,
/// asking the kernel which pages were written (PAGEMAP_SCAN) takes longer than clearing them (15.7 µs against 22.8).
const KEEP_RESIDENT: usize = 512 << 10;
/// The same for tables.
const TABLE_KEEP_RESIDENT: usize = 16 << 10;
/// Slots that keep their image of a policy when idle, so that its next evaluation finds its memory laid out.
const WARM_SLOTS: u32 = 16;
/// Bytes of wasmtime's own bookkeeping for one core instance; a guest with thousands of globals or functions is larger.
const CORE_INSTANCE_BYTES: usize = 256 << 10;
/// Bytes of the same for one component.
const COMPONENT_INSTANCE_BYTES: usize = 64 << 10;

/// Where instances live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allocation {
    /// In slots made once: three to four times faster for a fresh instance.
    Pooled,
    /// In fresh mappings: for compiling, where no instance is ever made, and to compare with.
    OnDemand,
}

/// What the code is compiled with; the two kinds of code cannot be mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metering {
    /// Only the epoch check that ends evaluations in time.
    Off,
    /// Every instruction is counted as well: exact and repeatable, a little slower.
    Fuel,
}

/// Makes an engine.
pub(crate) fn engine(allocation: Allocation, metering: Metering) -> wasmtime::Result<Engine> {
    Engine::new(&config(allocation, metering))
}

fn config(allocation: Allocation, metering: Metering) -> Config {
    let mut config = Config::new();
    // The cargo features for threads, garbage collection, async and parallel compilation are left out as well.
    config
        .strategy(Strategy::Cranelift)
        .wasm_component_model(true)
        .epoch_interruption(true)
        .consume_fuel(metering == Metering::Fuel)
        .max_wasm_stack(limits::STACK)
        .memory_init_cow(true)
        // Function names are the guest's: no backtrace, nothing to escape, and less code to load.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        .native_unwind_info(false)
        // The same answer on every machine.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        // What policies do not need is not there. (wasm_multi_memory stays on: switching it off makes wasmtime panic
        // on nested components with adapters; the pool allows one memory anyway.)
        .wasm_relaxed_simd(false)
        .wasm_simd(false)
        .wasm_memory64(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false);
    if allocation == Allocation::Pooled {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
    }
    config
}

fn pool() -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(SLOTS)
        .total_memories(SLOTS)
        .total_core_instances(SLOTS * 4)
        .total_tables(SLOTS * limits::TABLES)
        .max_core_instances_per_component(limits::CORE_INSTANCES)
        .max_memories_per_component(1)
        .max_tables_per_component(limits::TABLES)
        .max_tables_per_module(1)
        .max_memory_size(limits::MAX_MEMORY)
        .table_elements(limits::TABLE_ELEMENTS)
        .max_core_instance_size(CORE_INSTANCE_BYTES)
        .max_component_instance_size(COMPONENT_INSTANCE_BYTES)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(TABLE_KEEP_RESIDENT)
        .pagemap_scan(Enabled::No)
        .max_unused_warm_slots(WARM_SLOTS);
    pool
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::code::{Key, WasmDigest};

    #[test]
    fn code_compiled_without_a_pool_fits_the_pooled_engine() {
        let key = |allocation| Key::new(WasmDigest::of(b""), &engine(allocation, Metering::Off).unwrap());
        assert!(key(Allocation::Pooled) == key(Allocation::OnDemand));
    }

    #[test]
    fn metered_code_never_fits_the_ordinary_engine() {
        let key = |metering| Key::new(WasmDigest::of(b""), &engine(Allocation::OnDemand, metering).unwrap());
        assert!(key(Metering::Off) != key(Metering::Fuel));
    }
}
