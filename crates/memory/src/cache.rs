//! The cache.

use std::{borrow::Borrow, collections::BTreeMap, mem, time::Duration};

use kasmina_leyline::Monotonic;

use crate::{CacheStats, Counts, Evicted};

/// How much a cache may hold, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// The most bytes, as its user weighs them.
    pub bytes: u64,
    /// How long an entry lives, counted from its insertion; asking for it does not prolong its life.
    pub ttl: Duration,
}

/// An entry that alone is heavier than the cache's budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry of {bytes} bytes does not fit a cache of {limit} bytes")]
pub struct TooLarge {
    /// The entry's weight.
    pub bytes: u64,
    /// The cache's budget.
    pub limit: u64,
}

/// A map under a byte budget whose entries die of age ([`CacheLimits::ttl`]) and of disuse (the least recently used goes
/// first). Every call takes O(log n).
///
/// Time must not go back between calls; where it does, entries live longer, never shorter.
#[derive(Clone, Debug)]
pub struct Cache<K, V> {
    limits: CacheLimits,
    entries: BTreeMap<K, Entry<V>>,
    /// Least recently used first. Its keys are the entries' `used`.
    by_use: BTreeMap<u64, K>,
    /// Oldest first. Its keys are the entries' `(expires, inserted)`.
    by_age: BTreeMap<(Monotonic, u64), K>,
    bytes: u64,
    ticks: u64,
    total: Counts,
    interval: Counts,
}

#[derive(Clone, Debug)]
struct Entry<V> {
    value: V,
    bytes: u64,
    expires: Monotonic,
    inserted: u64,
    used: u64,
}

impl<K: Ord + Clone, V> Cache<K, V> {
    /// An empty cache.
    #[must_use]
    pub const fn new(limits: CacheLimits) -> Self {
        let zero = Evicted { expired: 0, displaced: 0, purged: 0, bytes: 0 };
        let none = Counts { hits: 0, misses: 0, insertions: 0, refusals: 0, evicted: zero };
        Self {
            limits,
            entries: BTreeMap::new(),
            by_use: BTreeMap::new(),
            by_age: BTreeMap::new(),
            bytes: 0,
            ticks: 0,
            total: none,
            interval: none,
        }
    }

    /// The value under `key`, which becomes the most recently used. An expired one is evicted and not given.
    pub fn get<Q>(&mut self, key: &Q, now: Monotonic) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        if self.entries.get(key).is_some_and(|entry| entry.expires <= now) {
            let bytes = self.take(key).map_or(0, |entry| entry.bytes);
            self.count(|counts| counts.evicted += Evicted { expired: 1, bytes, ..Evicted::default() });
        }
        let used = self.tick();
        let Some(entry) = self.entries.get_mut(key) else {
            self.total.misses += 1;
            self.interval.misses += 1;
            return None;
        };
        if let Some(key) = self.by_use.remove(&mem::replace(&mut entry.used, used)) {
            self.by_use.insert(used, key);
        }
        self.total.hits += 1;
        self.interval.hits += 1;
        Some(&entry.value)
    }

    /// Whether a living entry is held under `key`. Counts nothing and changes nothing.
    #[must_use]
    pub fn contains<Q>(&self, key: &Q, now: Monotonic) -> bool
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.entries.get(key).is_some_and(|entry| entry.expires > now)
    }

    /// Puts `value`, which weighs `bytes`, under `key`, in place of what was there. Says what had to go for it: first the
    /// expired, then the least recently used.
    ///
    /// # Errors
    /// [`TooLarge`] for an entry that no eviction could make room for; nothing changes but the count of refusals.
    pub fn insert(&mut self, key: K, value: V, bytes: u64, now: Monotonic) -> Result<Evicted, TooLarge> {
        let limit = self.limits.bytes;
        if bytes > limit {
            self.count(|counts| counts.refusals += 1);
            return Err(TooLarge { bytes, limit });
        }
        self.take(&key);
        let mut evicted = Evicted::default();
        if self.bytes + bytes > limit {
            evicted = self.collect(now);
            evicted += self.displace(limit - bytes);
        }
        let inserted = self.tick();
        let expires = now.after(self.limits.ttl);
        self.by_use.insert(inserted, key.clone());
        self.by_age.insert((expires, inserted), key.clone());
        self.entries.insert(key, Entry { value, bytes, expires, inserted, used: inserted });
        self.bytes += bytes;
        self.count(|counts| counts.insertions += 1);
        Ok(evicted)
    }

    /// Takes the value under `key` out, expired or not. This is no eviction.
    pub fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        self.take(key).map(|entry| entry.value)
    }

    /// Evicts what has expired.
    pub fn collect(&mut self, now: Monotonic) -> Evicted {
        let mut evicted = Evicted::default();
        while let Some((&(expires, _), key)) = self.by_age.first_key_value() {
            if expires > now {
                break;
            }
            let key = key.clone();
            evicted.bytes += self.take(&key).map_or(0, |entry| entry.bytes);
            evicted.expired += 1;
        }
        self.count(|counts| counts.evicted += evicted);
        evicted
    }

    /// Evicts everything.
    pub fn purge(&mut self) -> Evicted {
        let evicted = Evicted { purged: self.entries.len() as u64, bytes: self.bytes, ..Evicted::default() };
        self.entries.clear();
        self.by_use.clear();
        self.by_age.clear();
        self.bytes = 0;
        self.count(|counts| counts.evicted += evicted);
        evicted
    }

    /// How the cache stands.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let (entries, bytes) = (self.entries.len() as u64, self.bytes);
        CacheStats { entries, bytes, total: self.total, interval: self.interval }
    }

    /// What has happened since the last call; the next interval begins.
    pub fn take_interval(&mut self) -> Counts {
        mem::take(&mut self.interval)
    }

    /// Evicts the least recently used until at most `limit` bytes are held.
    fn displace(&mut self, limit: u64) -> Evicted {
        let mut evicted = Evicted::default();
        while self.bytes > limit {
            let Some(key) = self.by_use.first_key_value().map(|(_, key)| key.clone()) else { break };
            evicted.bytes += self.take(&key).map_or(0, |entry| entry.bytes);
            evicted.displaced += 1;
        }
        self.count(|counts| counts.evicted += evicted);
        evicted
    }

    fn take<Q>(&mut self, key: &Q) -> Option<Entry<V>>
    where
        K: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let entry = self.entries.remove(key)?;
        self.by_use.remove(&entry.used);
        self.by_age.remove(&(entry.expires, entry.inserted));
        self.bytes -= entry.bytes;
        Some(entry)
    }

    fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }

    fn count(&mut self, add: impl Fn(&mut Counts)) {
        add(&mut self.total);
        add(&mut self.interval);
    }
}
