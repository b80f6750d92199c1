//! *Code* is what a policy was compiled to, sealed: with the key it was compiled for and a checksum over both, so that
//! nothing but what our own compiler wrote is ever loaded.
//!
//! A sealed file is `MAGIC`, the key (32 bytes), CRC-32 of key and code (4 bytes, little-endian), the code. The checksum
//! finds damage, not malice: who could forge it could run code anyway. SHA-256 in its place took a third of a cold
//! start, more on processors without instructions for it.

use std::hash::{Hash, Hasher};

use hookhost_helm::text::hex;
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::Error;
use crate::text::clean;

/// Says what the bytes are, and the version of this layout.
const MAGIC: &[u8; 16] = b"hookhost-code-1\n";
const KEY_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;
const HEADER: usize = MAGIC.len() + KEY_BYTES + CHECKSUM_BYTES;

/// SHA-256 of a policy's Wasm: its name for machines.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct WasmDigest([u8; KEY_BYTES]);

impl WasmDigest {
    pub(crate) fn of(wasm: &[u8]) -> WasmDigest {
        WasmDigest(Sha256::digest(wasm).into())
    }
}

impl std::fmt::Display for WasmDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex(self.0))
    }
}

/// What code was compiled from and for: the Wasm, the engine's settings, wasmtime's and this crate's version.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key([u8; KEY_BYTES]);

impl Key {
    pub(crate) fn new(wasm: WasmDigest, engine: &Engine) -> Key {
        let mut hasher = Sha256Hasher(Sha256::new());
        // Also says which limits the Wasm was scanned with, since those are constants of this version.
        hasher.write(env!("CARGO_PKG_VERSION").as_bytes());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        hasher.write(&wasm.0);
        Key(hasher.0.finalize().into())
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex(self.0))
    }
}

/// `Hash` into SHA-256; `finish` is never asked for.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// Code whose seal was found unbroken: the only thing that [`Sealed::load`] loads.
pub(crate) struct Sealed(Vec<u8>);

impl Sealed {
    /// Seals code that was just compiled in this process.
    pub(crate) fn seal(key: Key, code: &[u8]) -> Sealed {
        let mut bytes = Vec::with_capacity(HEADER + code.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&key.0);
        bytes.extend_from_slice(&checksum(key, code));
        bytes.extend_from_slice(code);
        Sealed(bytes)
    }

    /// Takes bytes that a compiler child or the cache gave, if they are whole and were compiled for `key`.
    pub(crate) fn check(bytes: Vec<u8>, key: Key) -> Option<Sealed> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (found, rest) = rest.split_at_checked(KEY_BYTES)?;
        let (seal, code) = rest.split_at_checked(CHECKSUM_BYTES)?;
        (found == key.0 && seal == checksum(key, code)).then_some(Sealed(bytes))
    }

    /// Everything, as it is stored and sent.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Makes a component of it.
    pub(crate) fn load(&self, engine: &Engine) -> Result<Component, Error> {
        let code = self.0.get(HEADER..).unwrap_or_default();
        // SAFETY: `deserialize` demands bytes that `Engine::precompile_component` made and nobody changed since.
        // A `Sealed` is only made by `seal`, right after compiling, or by `check`, whose callers take bytes from
        // 1. the pipe of a child that is this very program, whole (it ended with success) and sealed, or
        // 2. a file owned by this user, writable by no other, in a directory of the same kind, sealed.
        // A seal holds the key and a checksum of both, so a flipped byte, a cut file, or a file of another
        // policy, engine, wasmtime or hookhost is refused before it comes here. Who can forge a seal in 1 or 2
        // already runs code as this user. wasmtime itself checks its version, the processor's features and the
        // engine's settings again.
        #[allow(unsafe_code)]
        let component = unsafe { Component::deserialize(engine, code) };
        // The key has ruled out other versions and settings; what is left is the pool, which looks at sizes.
        component.map_err(|e| Error::DoesNotFit { problem: clean(&format!("{e:#}"), 300) })
    }
}

fn checksum(key: Key, code: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&key.0);
    crc.update(code);
    crc.finalize().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key([7; KEY_BYTES]);

    #[test]
    fn a_whole_seal_of_the_same_key_is_accepted() {
        let sealed = Sealed::seal(KEY, b"code");
        assert!(Sealed::check(sealed.bytes().to_vec(), KEY).is_some());
    }

    #[test]
    fn any_flipped_bit_any_cut_and_any_other_key_are_refused() {
        let whole = Sealed::seal(KEY, b"some code").bytes().to_vec();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Sealed::check(bytes, KEY).is_none(), "bit {bit}");
        }
        for len in 0..whole.len() {
            assert!(Sealed::check(whole[..len].to_vec(), KEY).is_none(), "{len} bytes");
        }
        assert!(Sealed::check(whole, Key([8; KEY_BYTES])).is_none());
    }
}
