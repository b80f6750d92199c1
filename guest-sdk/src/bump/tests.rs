use proptest::prelude::*;

use super::{ARENA, Bump, Memory, PAGE};

/// Memory of at most `limit` pages.
struct Fake {
    pages: usize,
    limit: usize,
}

impl Memory for Fake {
    fn pages(&self) -> usize {
        self.pages
    }

    fn grow(&mut self, pages: usize) -> bool {
        let fits = self.pages.checked_add(pages).is_some_and(|sum| sum <= self.limit);
        if fits {
            self.pages += pages;
        }
        fits
    }
}

/// An arena in the second page of a memory of four, as in a policy: stack below it, constants above.
fn policy_memory(limit: usize) -> (Bump, Fake) {
    (Bump { next: PAGE, end: PAGE + ARENA }, Fake { pages: 4, limit })
}

#[derive(Clone, Debug)]
enum Step {
    Allocate { size: usize, align: u32 },
    Resize { which: usize, new: usize },
    Free { which: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size =
        prop_oneof![8 => 0usize..200, 2 => 0usize..40_000, 1 => 0usize..3_000_000, 1 => Just(usize::MAX - 8)];
    let step = prop_oneof![
        4 => (size.clone(), 0u32..18).prop_map(|(size, align)| Step::Allocate { size, align }),
        3 => (0usize..64, size).prop_map(|(which, new)| Step::Resize { which, new }),
        2 => (0usize..64).prop_map(|which| Step::Free { which }),
    ];
    prop::collection::vec(step, 1..60)
}

/// That every live allocation lies in the arena or in grown memory, and that no two share a byte.
fn check(live: &[(usize, usize)], memory: &Fake) {
    let top = memory.pages * PAGE;
    for (address, size) in live {
        let in_arena = *address >= PAGE && address + size <= PAGE + ARENA;
        let in_grown = *address >= 4 * PAGE && address + size <= top;
        assert!(in_arena || in_grown, "{address}+{size} is nobody's memory; top {top}");
    }
    let mut sorted: Vec<_> = live.iter().filter(|(_, size)| *size > 0).collect();
    sorted.sort();
    for pair in sorted.windows(2) {
        assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{pair:?} overlap");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn live_allocations_are_aligned_inside_memory_and_never_overlap(steps in steps(), limit in 4usize..300) {
        let (mut bump, mut memory) = policy_memory(limit);
        let mut live: Vec<(usize, usize)> = Vec::new();
        for step in steps {
            match step {
                Step::Allocate { size, align } => {
                    if let Some(address) = bump.allocate(size, 1 << align, &mut memory) {
                        prop_assert_eq!(address % (1 << align), 0);
                        live.push((address, size));
                    }
                }
                Step::Resize { which, new } if which < live.len() => {
                    let (address, old) = live[which];
                    if bump.resize(address, old, new, &mut memory) {
                        live[which].1 = new;
                    }
                }
                Step::Free { which } if which < live.len() => {
                    let (address, size) = live.swap_remove(which);
                    bump.free(address, size);
                }
                _ => {}
            }
            check(&live, &memory);
        }
    }
}

#[test]
fn what_fits_the_arena_never_grows_memory() {
    let (mut bump, mut memory) = policy_memory(4);
    for _ in 0..ARENA / 16 {
        assert!(bump.allocate(16, 16, &mut memory).is_some());
    }
    assert_eq!(bump.allocate(16, 16, &mut memory), None);
}

#[test]
fn the_last_allocation_grows_in_place_even_out_of_grown_memory() {
    let (mut bump, mut memory) = policy_memory(1000);
    let address = bump.allocate(2 * ARENA, 1, &mut memory).unwrap();
    assert!(bump.resize(address, 2 * ARENA, 40 * ARENA, &mut memory));
    assert!(memory.pages * PAGE >= address + 40 * ARENA);
}

#[test]
fn near_the_limit_memory_still_grows_page_by_page() {
    let (mut bump, mut memory) = policy_memory(6);
    assert!(bump.allocate(ARENA + 1 - 1, 1, &mut memory).is_some());
    assert!(bump.allocate(2 * PAGE, 1, &mut memory).is_some());
    assert_eq!(bump.allocate(1, 1, &mut memory), None);
}

#[test]
fn what_is_dropped_last_first_is_used_again() {
    let (mut bump, mut memory) = policy_memory(4);
    let first = bump.allocate(96, 8, &mut memory).unwrap();
    let second = bump.allocate(96, 8, &mut memory).unwrap();
    bump.free(second, 96);
    bump.free(first, 96);
    assert_eq!(bump.allocate(96, 8, &mut memory), Some(first));
}
