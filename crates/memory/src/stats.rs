//! The counters of a cache.

use std::{
    ops::{AddAssign, Sub},
    time::Duration,
};

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

impl Sub for Evicted {
    type Output = Self;

    /// What was evicted since an earlier count of the same cache.
    fn sub(self, earlier: Self) -> Self {
        Self {
            expired: self.expired.saturating_sub(earlier.expired),
            displaced: self.displaced.saturating_sub(earlier.displaced),
            purged: self.purged.saturating_sub(earlier.purged),
            bytes: self.bytes.saturating_sub(earlier.bytes),
        }
    }
}

/// Totals since the cache was created. The difference of two is what happened in between.
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

impl Counts {
    /// The share of calls of `get` that found an entry, 0 to 1; `None` if there was no call.
    #[must_use]
    pub fn hit_rate(&self) -> Option<f64> {
        let calls = self.hits + self.misses;
        (calls > 0).then(|| self.hits as f64 / calls as f64)
    }
}

impl Sub for Counts {
    type Output = Self;

    /// What happened since an earlier count of the same cache.
    fn sub(self, earlier: Self) -> Self {
        Self {
            hits: self.hits.saturating_sub(earlier.hits),
            misses: self.misses.saturating_sub(earlier.misses),
            insertions: self.insertions.saturating_sub(earlier.insertions),
            refusals: self.refusals.saturating_sub(earlier.refusals),
            evicted: self.evicted - earlier.evicted,
        }
    }
}

/// What a cache holds and what it has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Entries held, including expired ones that have not been collected yet.
    pub entries: u64,
    /// Bytes held.
    pub bytes: u64,
    /// How long an entry lives from its insertion.
    pub ttl: Duration,
    /// Since the cache was created.
    pub total: Counts,
}
