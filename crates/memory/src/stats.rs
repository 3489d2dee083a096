//! The counters of a cache.

use std::ops::AddAssign;

/// What one call, or all calls so far, evicted from a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Entries that had expired.
    pub expired: u64,
    /// Entries that were evicted to make room for another.
    pub displaced: u64,
    /// Entries that a purge evicted.
    pub purged: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}

impl Evicted {
    /// The number of entries.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.expired + self.displaced + self.purged
    }
}

impl AddAssign for Evicted {
    fn add_assign(&mut self, more: Self) {
        self.expired += more.expired;
        self.displaced += more.displaced;
        self.purged += more.purged;
        self.bytes += more.bytes;
    }
}

/// Totals since the cache was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of `get` that found an entry.
    pub hits: u64,
    /// Calls of `get` that found none, or an expired one.
    pub misses: u64,
    /// Entries inserted.
    pub insertions: u64,
    /// Entries refused because they exceeded the whole budget.
    pub refusals: u64,
    /// Entries evicted.
    pub evicted: Evicted,
}

/// What a cache holds and what it has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Entries held, including expired ones that have not been collected yet.
    pub entries: u64,
    /// Bytes held.
    pub bytes: u64,
    /// Since the cache was created.
    pub total: Counts,
}
