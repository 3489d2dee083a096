//! What this program has allocated, counted by its allocator.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The bytes that are allocated and not freed.
pub(crate) fn live_bytes() -> u64 {
    let stats = ALLOCATOR.stats();
    // Two threads may be between two counters.
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated) as u64
}

#[cfg(test)]
mod tests {
    use super::live_bytes;

    #[test]
    fn allocation_is_counted_until_it_is_freed() {
        let before = live_bytes();
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        let during = live_bytes();
        drop(block);
        let after = live_bytes();
        // Other tests allocate too, but not as much.
        assert!(during >= before + (32 << 20) && after + (32 << 20) <= during, "{before} {during} {after}");
    }
}
