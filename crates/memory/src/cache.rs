//! The cache.

use std::{borrow::Borrow, hash::Hash, time::Duration};

use kasmina_leyline::Monotonic;
use lru::LruCache;

use crate::{CacheStats, Counts, Evicted};

/// How much a cache may hold, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// The byte budget. The caller states the size of each entry.
    pub bytes: u64,
    /// How long an entry lives from its insertion. Reading it does not prolong its life.
    pub ttl: Duration,
}

/// An entry that alone exceeds the cache's budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry of {bytes} bytes does not fit a cache of {limit} bytes")]
#[allow(missing_docs, reason = "the names say it")]
pub struct TooLarge {
    pub bytes: u64,
    pub limit: u64,
}

/// A map with a byte budget. Entries expire by age ([`CacheLimits::ttl`]), and the least recently used are evicted to make
/// room.
///
/// [`get`](Self::get) takes constant time. [`insert`](Self::insert) looks at every entry if the budget is exceeded, and
/// [`collect`](Self::collect) always does. If time goes back between calls, entries live longer, never shorter.
#[derive(Debug)]
pub struct Cache<K: Hash + Eq, V> {
    limits: CacheLimits,
    entries: LruCache<K, Entry<V>>,
    bytes: u64,
    total: Counts,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: u64,
    expires: Monotonic,
}

impl<K: Hash + Eq + Clone, V> Cache<K, V> {
    /// An empty cache.
    #[must_use]
    pub fn new(limits: CacheLimits) -> Self {
        Self { limits, entries: LruCache::unbounded(), bytes: 0, total: Counts::default() }
    }

    /// The value under `key`, which becomes the most recently used. An expired entry is evicted and not returned.
    pub fn get<Q>(&mut self, key: &Q, now: Monotonic) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.get_with(key, now, drop)
    }

    /// The same, but gives the value of an expired entry to `out`.
    pub fn get_with<Q>(&mut self, key: &Q, now: Monotonic, out: impl FnOnce(V)) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if self.entries.peek(key).is_some_and(|entry| entry.expires <= now)
            && let Some(Entry { value, bytes, .. }) = self.take(key)
        {
            self.total.evicted += Evicted { expired: 1, bytes, ..Evicted::default() };
            out(value);
        }
        let entry = self.entries.get(key);
        let counted = if entry.is_some() { &mut self.total.hits } else { &mut self.total.misses };
        *counted += 1;
        entry.map(|entry| &entry.value)
    }

    /// The value under `key`, if it has not expired. Neither counts the look-up nor makes the entry the most recently used.
    pub fn peek<Q>(&self, key: &Q, now: Monotonic) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.entries.peek(key).filter(|entry| entry.expires > now).map(|entry| &entry.value)
    }

    /// Puts `value`, of size `bytes`, under `key`, and replaces what was there. Returns what was evicted to make room: first
    /// expired entries, then the least recently used.
    ///
    /// # Errors
    /// [`TooLarge`] for an entry that exceeds the whole budget; nothing changes but the count of refusals.
    pub fn insert(&mut self, key: K, value: V, bytes: u64, now: Monotonic) -> Result<Evicted, TooLarge> {
        self.insert_with(key, value, bytes, now, drop)
    }

    /// The same, but gives the values that leave the cache to `out`: those that were evicted, and the one that was replaced. An owner
    /// that holds a lock can drop large values after it.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn insert_with(
        &mut self,
        key: K,
        value: V,
        bytes: u64,
        now: Monotonic,
        mut out: impl FnMut(V),
    ) -> Result<Evicted, TooLarge> {
        let limit = self.limits.bytes;
        if bytes > limit {
            self.total.refusals += 1;
            return Err(TooLarge { bytes, limit });
        }
        self.take(&key).into_iter().for_each(|entry| out(entry.value));
        let mut evicted = Evicted::default();
        if self.bytes > limit - bytes {
            evicted = self.collect_with(now, &mut out);
            evicted += self.displace(limit - bytes, out);
        }
        self.entries.put(key, Entry { value, bytes, expires: now.after(self.limits.ttl) });
        self.bytes += bytes;
        self.total.insertions += 1;
        Ok(evicted)
    }

    /// Evicts every expired entry.
    pub fn collect(&mut self, now: Monotonic) -> Evicted {
        self.collect_with(now, drop)
    }

    /// The same, but gives the values to `out`.
    pub fn collect_with(&mut self, now: Monotonic, mut out: impl FnMut(V)) -> Evicted {
        let expired = self.entries.iter().filter(|(_, entry)| entry.expires <= now);
        let expired: Vec<K> = expired.map(|(key, _)| key.clone()).collect();
        let mut evicted = Evicted::default();
        for entry in expired.iter().filter_map(|key| self.take(key)) {
            evicted += Evicted { expired: 1, bytes: entry.bytes, ..Evicted::default() };
            out(entry.value);
        }
        self.total.evicted += evicted;
        evicted
    }

    /// Evicts everything.
    pub fn purge(&mut self) -> Evicted {
        self.purge_with(drop)
    }

    /// The same, but gives the values to `out`.
    pub fn purge_with(&mut self, mut out: impl FnMut(V)) -> Evicted {
        let evicted = Evicted { purged: self.entries.len() as u64, bytes: self.bytes, ..Evicted::default() };
        while let Some((_, entry)) = self.entries.pop_lru() {
            out(entry.value);
        }
        self.bytes = 0;
        self.total.evicted += evicted;
        evicted
    }

    /// What the cache holds and what it has done. The difference of two totals is what happened in between.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        CacheStats { entries: self.entries.len() as u64, bytes: self.bytes, ttl: self.limits.ttl, total: self.total }
    }

    /// Evicts the least recently used entries until at most `limit` bytes are held.
    fn displace(&mut self, limit: u64, mut out: impl FnMut(V)) -> Evicted {
        let mut evicted = Evicted::default();
        while self.bytes > limit {
            let Some((_, entry)) = self.entries.pop_lru() else { break };
            self.bytes -= entry.bytes;
            evicted.bytes += entry.bytes;
            evicted.displaced += 1;
            out(entry.value);
        }
        self.total.evicted += evicted;
        evicted
    }

    /// Removes an entry.
    fn take<Q>(&mut self, key: &Q) -> Option<Entry<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let entry = self.entries.pop(key)?;
        self.bytes -= entry.bytes;
        Some(entry)
    }
}
