//! A *bump allocator* hands out memory from one end of an arena to the other and gives nearly nothing back.
//!
//! A policy's instance lives for one call and is then thrown away, so there is nothing to gain from freeing; and what
//! a fresh call costs is system calls. Growing the memory is two of them, which is why the arena is part of the
//! instance's initial memory and large enough for ordinary requests. Only what a growing `Vec` or `String` does is
//! served well: the last allocation grows and shrinks in place, and is given back when dropped.
//!
//! The arithmetic is safe code over addresses, tested on any machine; only `global` touches memory.

/// Bytes of the arena. A decision of a stock policy takes less than half of it; a manifest of 2 KB read into a
/// `serde_json::Value`, which is about 20 times its text, just fits. With the stack and the constants of a usual policy
/// this makes 192 KiB, within what the host keeps resident between calls: each page less is one less to clear.
pub(crate) const ARENA: usize = 64 * 1024;

/// Bytes of a page of WebAssembly's memory.
const PAGE: usize = 64 * 1024;

/// Memory that can only grow at its end.
trait Memory {
    /// How many pages there are.
    fn pages(&self) -> usize;
    /// Adds pages at the end; false where the host refuses.
    fn grow(&mut self, pages: usize) -> bool;
}

/// Where the next allocation may begin and where it must have ended: addresses, `next <= end`.
#[derive(Clone, Copy)]
struct Bump {
    next: usize,
    end: usize,
}

impl Bump {
    /// The address of `size` bytes aligned to `align` (a power of two), or none if memory is used up.
    fn allocate(&mut self, size: usize, align: usize, memory: &mut impl Memory) -> Option<usize> {
        if let Some((start, stop)) = self.place(size, align)
            && stop <= self.end
        {
            self.next = stop;
            return Some(start);
        }
        self.allocate_beyond(size, align, memory)
    }

    /// As `allocate`, where the arena is too small.
    #[cold]
    fn allocate_beyond(&mut self, size: usize, align: usize, memory: &mut impl Memory) -> Option<usize> {
        let top = memory.pages().checked_mul(PAGE)?;
        // What is left of the arena is given up: behind it lie constants, and only memory's end can grow.
        let mut beyond = if self.end == top { *self } else { Bump { next: top, end: top } };
        let (start, stop) = beyond.place(size, align)?;
        if !beyond.reach(stop, memory) {
            return None;
        }
        beyond.next = stop;
        *self = beyond;
        Some(start)
    }

    /// Makes the allocation at `address` of `old` bytes `new` bytes large without moving it, if it is the last one.
    fn resize(&mut self, address: usize, old: usize, new: usize, memory: &mut impl Memory) -> bool {
        if address.checked_add(old) != Some(self.next) {
            return new <= old;
        }
        match address.checked_add(new) {
            Some(stop) if stop <= self.end || self.reach(stop, memory) => {
                self.next = stop;
                true
            }
            _ => false,
        }
    }

    /// Gives back the allocation at `address`, if it is the last one.
    fn free(&mut self, address: usize, size: usize) {
        if address.checked_add(size) == Some(self.next) {
            self.next = address;
        }
    }

    /// Where an allocation would begin and end. None: beyond the address space.
    fn place(&self, size: usize, align: usize) -> Option<(usize, usize)> {
        // `align` is a power of two: a mask, where `next_multiple_of` would divide for each allocation.
        let below = align.wrapping_sub(1);
        let start = self.next.checked_add(below)? & !below;
        Some((start, start.checked_add(size)?))
    }

    /// Grows memory until `end` is at least `stop`; only where `end` is memory's own end.
    fn reach(&mut self, stop: usize, memory: &mut impl Memory) -> bool {
        let pages = memory.pages();
        if pages.checked_mul(PAGE) != Some(self.end) {
            return false;
        }
        let missing = stop.saturating_sub(self.end).div_ceil(PAGE);
        // By half of what there is, so that a policy that needs much asks few times; while one that needs little more
        // than the arena stays within what the host keeps resident (a call that grows by a page takes 6 µs more, one
        // that grows by 16 takes 11). Near the host's limit the generous step may be refused where the exact one is not.
        let generous = missing.max(pages / 2);
        let Some(grown) = [generous, missing].into_iter().find(|pages| memory.grow(*pages)) else {
            return false;
        };
        self.end = self.end.saturating_add(grown.saturating_mul(PAGE));
        true
    }
}

/// The allocator of every policy built for WebAssembly.
#[cfg(all(target_arch = "wasm32", not(target_feature = "atomics")))]
#[allow(unsafe_code, reason = "a global allocator cannot be written without; the proof stands at each use")]
mod global {
    use core::alloc::{GlobalAlloc, Layout};
    use core::arch::wasm32::{memory_grow, memory_size};
    use core::cell::{Cell, UnsafeCell};
    use core::ptr::{null_mut, with_exposed_provenance_mut};

    use super::{ARENA, Bump, Memory};

    #[repr(align(16))]
    struct Arena(UnsafeCell<[u8; ARENA]>);

    // SAFETY: a module without atomics has one thread, so nothing is ever reached from two.
    unsafe impl Sync for Arena {}

    /// All zero, so it takes no room in the file.
    static MEMORY: Arena = Arena(UnsafeCell::new([0; ARENA]));

    struct Allocator(Cell<Bump>);

    // SAFETY: as for `Arena`.
    unsafe impl Sync for Allocator {}

    #[global_allocator]
    static ALLOCATOR: Allocator = Allocator(Cell::new(Bump { next: 0, end: 0 }));

    struct Linear;

    impl Memory for Linear {
        fn pages(&self) -> usize {
            memory_size::<0>()
        }

        fn grow(&mut self, pages: usize) -> bool {
            memory_grow::<0>(pages) != usize::MAX
        }
    }

    impl Allocator {
        fn with<T>(&self, f: impl FnOnce(&mut Bump) -> T) -> T {
            let mut bump = self.0.get();
            if bump.end == 0 {
                bump.next = MEMORY.0.get().expose_provenance();
                bump.end = bump.next + ARENA;
            }
            let result = f(&mut bump);
            self.0.set(bump);
            result
        }
    }

    // SAFETY, for the whole of the trait: an address handed out lies in the arena or in memory that `memory.grow` has
    // just added, neither of which anything else uses; it is a multiple of the alignment and `size` bytes from it are
    // in the same region (`Bump::place`, compared with `end`). `next` only moves back over the allocation that ends
    // there, which its owner gives up by calling `dealloc` or `realloc`, so that no two live allocations overlap. No
    // function panics: all arithmetic is checked. Property-tested in `tests`.
    unsafe impl GlobalAlloc for Allocator {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            match self.with(|bump| bump.allocate(layout.size(), layout.align(), &mut Linear)) {
                Some(address) => with_exposed_provenance_mut(address),
                None => null_mut(),
            }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            self.with(|bump| bump.free(pointer.addr(), layout.size()));
        }

        unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new: usize) -> *mut u8 {
            let (old, align) = (layout.size(), layout.align());
            if self.with(|bump| bump.resize(pointer.addr(), old, new, &mut Linear)) {
                return pointer;
            }
            match self.with(|bump| bump.allocate(new, align, &mut Linear)) {
                Some(address) => {
                    let moved = with_exposed_provenance_mut(address);
                    // SAFETY: the caller owns `old` bytes at `pointer`; `moved` is a fresh allocation of `new` > `old`
                    // bytes (else `resize` had said yes), so the two do not overlap.
                    unsafe { core::ptr::copy_nonoverlapping(pointer, moved, old) };
                    moved
                }
                None => null_mut(),
            }
        }
    }
}

#[cfg(test)]
mod tests;
