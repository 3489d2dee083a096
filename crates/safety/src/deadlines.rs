//! Deadlines.

use std::collections::{BTreeMap, BTreeSet};

use kasmina_leyline::Monotonic;

/// What falls due when: at most one deadline per key.
///
/// Whoever drives it waits until [`next`](Self::next) and then takes [`expired`](Self::expired). Waking up early, late
/// or twice does no harm: what has been taken is gone, and what is not due stays. Every operation is logarithmic in the
/// number of deadlines.
#[derive(Clone, Debug)]
pub struct Deadlines<K> {
    at: BTreeMap<K, Monotonic>,
    order: BTreeSet<(Monotonic, K)>,
}

impl<K: Ord + Clone> Deadlines<K> {
    /// Sets the deadline of `key`, in place of an earlier one.
    pub fn arm(&mut self, key: K, at: Monotonic) {
        self.disarm(&key);
        self.order.insert((at, key.clone()));
        self.at.insert(key, at);
    }

    /// Drops the deadline of `key`. False when there was none.
    pub fn disarm(&mut self, key: &K) -> bool {
        match self.at.remove_entry(key) {
            Some((key, at)) => self.order.remove(&(at, key)),
            None => false,
        }
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<(Monotonic, &K)> {
        self.order.first().map(|(at, key)| (*at, key))
    }

    /// Takes the deadlines that are due at `now` (at or before it), earliest first, and by key where times are equal.
    /// Those that the iterator has not come to stay armed.
    pub fn expired(&mut self, now: Monotonic) -> impl Iterator<Item = (Monotonic, K)> {
        std::iter::from_fn(move || {
            self.next().filter(|(at, _)| *at <= now)?;
            let (at, key) = self.order.pop_first()?;
            self.at.remove(&key);
            Some((at, key))
        })
    }
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self { at: BTreeMap::new(), order: BTreeSet::new() }
    }
}
