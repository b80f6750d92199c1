//! The *scan* reads a component before anything compiles it and refuses what would be too costly to compile.
//!
//! A component of 2 KB can make any compiler need gigabytes or abort the process, so nothing is compiled that has not
//! passed here. Real policies are far below the limits; what passes compiles in under a second.

use wasmparser::{
    Encoding, FunctionBody, MemorySectionReader, Operator, Parser, Payload, TableSectionReader,
};

use crate::Error;
use crate::contract;
use crate::error::MEMORY_AT_START;
use crate::limits;
use crate::text::clean;

/// What a component may consist of: a class of sizes. There is one, for policies in languages that compile to plain
/// WebAssembly (Rust, C, Go, Zig, AssemblyScript).
#[derive(Debug)]
pub(crate) struct SizeClass {
    /// Bytes of the whole component.
    pub(crate) bytes: u64,
    modules: u64,
    components: u64,
    instances: u64,
    types: u64,
    imports: u64,
    functions: u64,
    body_bytes: u64,
    locals: u64,
    blocks: u64,
    depth: u64,
    locals_by_blocks: u64,
}

/// Measured: each limit is where the worst component that just passes still compiles in 0.7 s, and at least five times
/// what a policy with serde_json and schemars needs.
pub(crate) const SMALL: SizeClass = SizeClass {
    bytes: 4 << 20,
    modules: 8,
    // Doubling nested components grow exponentially while they are translated.
    components: 4,
    instances: 64,
    types: 5000,
    imports: 1000,
    functions: 20_000,
    body_bytes: 256 << 10,
    locals: 2000,
    blocks: 5000,
    depth: 300,
    // Register allocation takes time and memory by the product of the two.
    locals_by_blocks: 500_000,
};

/// Checks what a component is, which names it imports and exports, and what it would cost.
pub(crate) fn scan(wasm: &[u8], class: &SizeClass) -> Result<(), Error> {
    check_size(wasm, class)?;
    let mut found = Found::default();
    let mut exports = Vec::new();
    // Versions seen minus ends seen: 1 is the component itself, more is what is nested in it.
    let mut depth = 0u32;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(malformed)?;
        match &payload {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section.clone() {
                    contract::check_import(import.map_err(malformed)?.name.name)?;
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section.clone() {
                    exports.push(export.map_err(malformed)?.name.name);
                }
            }
            _ => {}
        }
        found.add(&payload, class)?;
    }
    contract::check_exports(exports)
}

/// Whether the bytes are a component by their first eight, and not too many.
pub(crate) fn check_size(wasm: &[u8], class: &SizeClass) -> Result<(), Error> {
    if Parser::is_component(wasm) {
        limit("bytes", wasm.len() as u64, class.bytes)
    } else if Parser::is_core_wasm(wasm) {
        Err(Error::CoreModule)
    } else {
        Err(Error::NotWasm)
    }
}

/// What was found so far, in the whole component.
#[derive(Default)]
struct Found {
    modules: u64,
    components: u64,
    instances: u64,
    types: u64,
    imports: u64,
    functions: u64,
}

impl Found {
    fn add(&mut self, payload: &Payload<'_>, class: &SizeClass) -> Result<(), Error> {
        let (count, more, what, most) = match payload {
            Payload::Version { encoding: Encoding::Module, .. } => {
                (&mut self.modules, 1, "core modules", class.modules)
            }
            Payload::ComponentSection { .. } => {
                (&mut self.components, 1, "nested components", class.components)
            }
            Payload::InstanceSection(s) => (&mut self.instances, s.count(), "instances", class.instances),
            Payload::ComponentInstanceSection(s) => {
                (&mut self.instances, s.count(), "instances", class.instances)
            }
            Payload::TypeSection(s) => (&mut self.types, s.count(), "types", class.types),
            Payload::CoreTypeSection(s) => (&mut self.types, s.count(), "types", class.types),
            Payload::ComponentTypeSection(s) => (&mut self.types, s.count(), "types", class.types),
            Payload::ImportSection(s) => (&mut self.imports, s.count(), "imports", class.imports),
            Payload::ComponentImportSection(s) => (&mut self.imports, s.count(), "imports", class.imports),
            Payload::FunctionSection(s) => (&mut self.functions, s.count(), "functions", class.functions),
            Payload::CodeSectionEntry(body) => return function(body, class),
            Payload::MemorySection(memories) => return memories_fit(memories),
            Payload::TableSection(tables) => return tables_fit(tables),
            _ => return Ok(()),
        };
        *count = count.saturating_add(u64::from(more));
        limit(what, *count, most)
    }
}

/// Checks one function: the cost of compiling it grows with its size and, faster, with locals times blocks.
fn function(body: &FunctionBody<'_>, class: &SizeClass) -> Result<(), Error> {
    limit("bytes in one function", body.range().len() as u64, class.body_bytes)?;
    let mut locals = 0u64;
    for group in body.get_locals_reader().map_err(malformed)? {
        locals = locals.saturating_add(u64::from(group.map_err(malformed)?.0));
    }
    limit("locals in one function", locals, class.locals)?;
    let (mut blocks, mut depth) = (0u64, 0u64);
    for operator in body.get_operators_reader().map_err(malformed)? {
        match operator.map_err(malformed)? {
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::TryTable { .. } => {
                blocks += 1;
                depth += 1;
                limit("blocks nested in one function", depth, class.depth)?;
            }
            Operator::Else => blocks += 1,
            Operator::End => depth = depth.saturating_sub(1),
            _ => continue,
        }
        limit("blocks in one function", blocks, class.blocks)?;
        limit("locals times blocks in one function", locals * blocks, class.locals_by_blocks)?;
    }
    Ok(())
}

/// Checks what memories have at their start; a policy's own limit, at most this, is checked when it is known.
fn memories_fit(memories: &MemorySectionReader<'_>) -> Result<(), Error> {
    for memory in memories.clone() {
        let memory = memory.map_err(malformed)?;
        let page = 1u64 << memory.page_size_log2.unwrap_or(16).min(16);
        limit(MEMORY_AT_START, memory.initial.saturating_mul(page), limits::MAX_MEMORY as u64)?;
    }
    Ok(())
}

fn tables_fit(tables: &TableSectionReader<'_>) -> Result<(), Error> {
    limit("tables in one module", u64::from(tables.count()), u64::from(limits::TABLES))?;
    for table in tables.clone() {
        let table = table.map_err(malformed)?;
        limit("entries in one table", table.ty.initial, limits::TABLE_ELEMENTS as u64)?;
    }
    Ok(())
}

fn limit(what: &'static str, found: u64, limit: u64) -> Result<(), Error> {
    if found > limit { Err(Error::TooCostly { what, found, limit }) } else { Ok(()) }
}

fn malformed(error: wasmparser::BinaryReaderError) -> Error {
    Error::Malformed { problem: clean(&error.to_string(), 300) }
}
