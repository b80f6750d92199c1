//! Tiny policies, written as core WebAssembly text and made components as the SDK's tools do it.

use std::sync::LazyLock;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

const WIT: &str = include_str!("../../../../wit/hook-policy.wit");
const POLICY: &str = "vworkspace:hook-policy/policy@0.1.0";

/// Where a guest may write its answer: zeros, which as a decision are "allow, demanding nothing".
pub(crate) const ANSWER: u32 = 1024;
/// Where the guest's own data begins; a bump allocator starts after it.
pub(crate) const DATA: u32 = 4096;

/// A guest in parts; what is not said is harmless.
pub(crate) struct Guest {
    memory: String,
    globals: String,
    data: String,
    describe: String,
    validate: String,
    evaluate: String,
    realloc: String,
}

impl Guest {
    pub(crate) fn new() -> Guest {
        Guest {
            memory: "1 1024".into(),
            globals: String::new(),
            data: r#"(data (i32.const 4096) "name0.1.0a summary{}")"#.into(),
            describe: strings(&[(DATA, 4), (DATA + 4, 5), (DATA + 9, 9), (DATA + 18, 2)], 0),
            validate: answer(),
            evaluate: answer(),
            // A bump allocator without an end, enough for small requests.
            realloc: "(local $p i32)
                (local.set $p (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
                (global.set $next (i32.add (local.get $p) (local.get 3)))
                (local.get $p)"
                .into(),
        }
    }

    /// The memory's bounds in pages.
    pub(crate) fn memory(mut self, memory: &str) -> Guest {
        self.memory = memory.into();
        self
    }

    /// More fields of the module: tables, functions, a start function, exports.
    pub(crate) fn with(mut self, fields: &str) -> Guest {
        self.globals.push_str(fields);
        self
    }

    /// Bytes at [`DATA`] instead of the description's.
    pub(crate) fn data(mut self, text: &str) -> Guest {
        self.data = format!("(data (i32.const {DATA}) {text:?})");
        self
    }

    /// Instructions of `describe`, leaving the answer's address.
    pub(crate) fn describe(mut self, body: &str) -> Guest {
        self.describe = body.into();
        self
    }

    /// Instructions of `validate-settings`, leaving the answer's address; the settings are locals 0 and 1.
    pub(crate) fn validate(mut self, body: &str) -> Guest {
        self.validate = body.into();
        self
    }

    /// Instructions of `evaluate`, leaving the answer's address; the request's address is local 0.
    pub(crate) fn evaluate(mut self, body: &str) -> Guest {
        self.evaluate = body.into();
        self
    }

    /// Instructions of the allocator: old address, old size, alignment and new size are locals 0 to 3.
    pub(crate) fn realloc(mut self, body: &str) -> Guest {
        self.realloc = body.into();
        self
    }

    /// The core module.
    pub(crate) fn module(&self) -> Vec<u8> {
        let Guest { memory, globals, data, describe, validate, evaluate, realloc } = self;
        wat::parse_str(format!(
            r#"(module
              (import "vworkspace:hook-policy/logging@0.1.0" "log" (func $log (param i32 i32 i32)))
              (memory (export "memory") {memory})
              (global $next (mut i32) (i32.const 8192))
              {globals}
              {data}
              (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc})
              (func (export "{POLICY}#describe") (result i32) {describe})
              (func (export "{POLICY}#validate-settings") (param i32 i32) (result i32) {validate})
              (func (export "{POLICY}#evaluate") (param i32) (result i32) {evaluate})
            )"#
        ))
        .unwrap()
    }

    /// The component.
    pub(crate) fn build(&self) -> Vec<u8> {
        component(self.module(), WIT, "hook-policy")
    }
}

/// Makes a component of a core module, for a world of a WIT text.
pub(crate) fn component(mut module: Vec<u8>, wit: &str, world: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("test.wit", wit).unwrap();
    let world: WorldId = resolve.select_world(&[package], Some(world)).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(false).module(&module).unwrap().encode().unwrap()
}

/// A policy of another version of the contract: the same, with other numbers.
pub(crate) fn of_version(version: &str) -> Vec<u8> {
    static MODULE: LazyLock<String> = LazyLock::new(|| {
        format!(
            r#"(module (memory (export "memory") 1)
              (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
              (func (export "{POLICY}#describe") (result i32) unreachable)
              (func (export "{POLICY}#validate-settings") (param i32 i32) (result i32) unreachable)
              (func (export "{POLICY}#evaluate") (param i32) (result i32) unreachable))"#
        )
    });
    let module = wat::parse_str(MODULE.replace("@0.1.0", &format!("@{version}"))).unwrap();
    component(module, &WIT.replace("@0.1.0", &format!("@{version}")), "hook-policy")
}

/// Leaves the address of an untouched answer.
pub(crate) fn answer() -> String {
    format!("(i32.const {ANSWER})")
}

/// Writes strings (address, length) into the answer from `offset` on; leaves the answer's address.
pub(crate) fn strings(strings: &[(u32, u32)], offset: u32) -> String {
    let stores = strings.iter().zip(0u32..).map(|((at, len), n)| {
        let to = ANSWER + offset + 8 * n;
        format!(
            "(i32.store (i32.const {to}) (i32.const {at})) (i32.store (i32.const {}) (i32.const {len}))",
            to + 4
        )
    });
    stores.collect::<String>() + &answer()
}

/// Writes a number into the answer.
pub(crate) fn number(offset: u32, bits: u32, value: u64) -> String {
    let at = ANSWER + offset;
    match bits {
        8 => format!("(i32.store8 (i32.const {at}) (i32.const {value}))"),
        32 => format!("(i32.store (i32.const {at}) (i32.const {value}))"),
        _ => format!("(i64.store (i32.const {at}) (i64.const {value}))"),
    }
}
