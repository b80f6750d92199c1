//! A *sandbox* is the one place where policies run: an engine, its clock, and what a policy may import.

use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use crate::cache::Cache;
use crate::clock::Clock;
use crate::code::{Key, Sealed, WasmDigest};
use crate::compile::Compiler;
use crate::engine::{self, Allocation, Metering};
use crate::guest::Guest;
use crate::limits::Limits;
use crate::policy::Policy;
use crate::scan::{self, SMALL};
use crate::{Error, wit};

/// Where policies run. A process makes one and keeps it: it has a thread, and the address space of its pool.
pub struct Sandbox {
    engine: Engine,
    linker: Linker<Guest>,
    clock: Clock,
    compiler: Compiler,
    cache: Option<Cache>,
    metering: Metering,
}

impl Sandbox {
    /// A sandbox that compiles with `compiler` and keeps no code on disk.
    pub fn new(compiler: Compiler) -> Result<Sandbox, Error> {
        Sandbox::build(compiler, Allocation::Pooled, Metering::Off)
    }

    /// A sandbox that counts every instruction, so that [`Cost::fuel`](crate::Cost) is exact. A little slower.
    pub fn metered(compiler: Compiler) -> Result<Sandbox, Error> {
        Sandbox::build(compiler, Allocation::Pooled, Metering::Fuel)
    }

    /// A sandbox without the pool that makes fresh instances cheap: for a process that decides a few times and ends,
    /// since it reserves no address space. Decides the same.
    pub fn unpooled(compiler: Compiler) -> Result<Sandbox, Error> {
        Sandbox::build(compiler, Allocation::OnDemand, Metering::Off)
    }

    /// With code kept in a cache, so that a policy is compiled once on a machine, not once in each process.
    pub fn with_cache(self, cache: Cache) -> Sandbox {
        Sandbox { cache: Some(cache), ..self }
    }

    fn build(compiler: Compiler, allocation: Allocation, metering: Metering) -> Result<Sandbox, Error> {
        let failed = |e: wasmtime::Error| Error::host("the sandbox cannot be set up", e);
        let engine = engine::engine(allocation, metering).map_err(failed)?;
        let mut linker = Linker::new(&engine);
        wit::HookPolicy::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest| guest).map_err(failed)?;
        let clock =
            Clock::start(&engine).map_err(|e| Error::host("the sandbox cannot start its clock", e))?;
        Ok(Sandbox { engine, linker, clock, compiler, cache: None, metering })
    }

    /// Loads a policy from its Wasm. Compiles it in a child process, unless the cache has it.
    pub fn load(&self, wasm: &[u8], limits: Limits) -> Result<Policy, Error> {
        scan::check_size(wasm, &SMALL)?;
        let digest = WasmDigest::of(wasm);
        let component = self.code(wasm, digest)?.load(&self.engine)?;
        Policy::new(&component, &self.linker, self.clock.clone(), limits, self.metering, digest)
    }

    /// Code for a policy. What the cache has, has passed the scan: this version's, since the key says so.
    fn code(&self, wasm: &[u8], digest: WasmDigest) -> Result<Sealed, Error> {
        let key = Key::new(digest, &self.engine);
        if let Some(code) = self.cache.as_ref().and_then(|cache| cache.get(key)) {
            return Ok(code);
        }
        scan::scan(wasm, &SMALL)?;
        let code = self.compiler.compile(wasm, key, self.metering)?;
        if let Some(cache) = &self.cache {
            cache.put(key, &code);
        }
        Ok(code)
    }
}
