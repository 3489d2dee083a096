//! What a cache counts.

use std::ops::AddAssign;

/// What one call, or all calls so far, removed from a cache. Removals on request are not evictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Entries that outlived the time to live.
    pub expired: u64,
    /// Entries that made room for another.
    pub displaced: u64,
    /// Entries that a purge removed.
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

/// Events since some beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Questions answered with an entry.
    pub hits: u64,
    /// Questions answered with nothing, those for expired entries included.
    pub misses: u64,
    /// Entries taken in.
    pub insertions: u64,
    /// Entries refused because they alone were over the budget.
    pub refusals: u64,
    /// Entries evicted.
    pub evicted: Evicted,
}

/// How a cache stands and what it has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Entries held, expired ones that nobody has asked for included.
    pub entries: u64,
    /// Bytes held.
    pub bytes: u64,
    /// Since the cache was made.
    pub total: Counts,
    /// Since [`Cache::take_interval`](crate::Cache::take_interval) was last called.
    pub interval: Counts,
}
