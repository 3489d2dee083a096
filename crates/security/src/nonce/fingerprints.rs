//! A set of 64-bit hashes.

use std::{hint, num::NonZeroU64};

/// A hash of something, which is never 0.
pub(super) type Fingerprint = NonZeroU64;

/// A set of fingerprints, as an open table with linear probing that is at most half full. To look one up, to add it and to remove it touch one
/// line of memory each, or two. A removal closes the gap that it leaves, so the table needs no cleaning: a set that neither grows nor
/// shrinks never allocates.
#[derive(Clone, Debug, Default)]
pub(super) struct Fingerprints {
    /// None, or a power of two.
    slots: Vec<Option<Fingerprint>>,
    held: usize,
}

impl Fingerprints {
    const FEWEST_SLOTS: usize = 16;

    pub(super) fn contains(&self, fingerprint: Fingerprint) -> bool {
        self.held > 0 && self.slots[self.place(fingerprint)].is_some()
    }

    /// Asks for the memory of several before any of them is looked up, so that it comes for all at the same time. With 100,000 held, that
    /// memory is most of what a look-up costs.
    pub(super) fn fetch<const N: usize>(&self, fingerprints: [Fingerprint; N]) {
        if self.held > 0 {
            hint::black_box(fingerprints.map(|fingerprint| self.slots[self.home(fingerprint)]));
        }
    }

    /// Adds one, and says whether it is new.
    pub(super) fn insert(&mut self, fingerprint: Fingerprint) -> bool {
        if 2 * self.held >= self.slots.len() {
            self.grow();
        }
        let place = self.place(fingerprint);
        let is_new = self.slots[place].replace(fingerprint).is_none();
        self.held += usize::from(is_new);
        is_new
    }

    pub(super) fn remove(&mut self, fingerprint: Fingerprint) {
        if self.held == 0 {
            return;
        }
        let mut gap = self.place(fingerprint);
        if self.slots[gap].take().is_none() {
            return;
        }
        self.held -= 1;
        let mut at = gap;
        // Whatever was pushed past the gap moves into it.
        loop {
            at = self.wrapped(at + 1);
            let Some(other) = self.slots[at] else { return };
            let (pushed, past) = (self.distance(self.home(other), at), self.distance(gap, at));
            if pushed >= past {
                self.slots.swap(gap, at);
                gap = at;
            }
        }
    }

    /// The slot of this fingerprint, or the empty one where it would be. There is an empty one.
    fn place(&self, fingerprint: Fingerprint) -> usize {
        let mut at = self.home(fingerprint);
        while self.slots[at].is_some_and(|other| other != fingerprint) {
            at = self.wrapped(at + 1);
        }
        at
    }

    /// Where the search for it begins.
    fn home(&self, fingerprint: Fingerprint) -> usize {
        self.wrapped(fingerprint.get() as usize)
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        self.wrapped(to.wrapping_sub(from))
    }

    fn wrapped(&self, at: usize) -> usize {
        at & (self.slots.len() - 1)
    }

    fn grow(&mut self) {
        let slots = vec![None; (2 * self.slots.len()).max(Self::FEWEST_SLOTS)];
        let before = std::mem::replace(&mut self.slots, slots);
        for fingerprint in before.into_iter().flatten() {
            let place = self.place(fingerprint);
            self.slots[place] = Some(fingerprint);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few homes, so that most fingerprints are pushed, around the end of the table too.
        #[test]
        fn any_history_leaves_what_a_plain_set_holds(
            history in prop::collection::vec((any::<bool>(), 0..4_u64, 12..16_u64), 0..200),
        ) {
            let (mut set, mut plain) = (Fingerprints::default(), BTreeSet::new());
            for (adds, high, low) in history {
                let fingerprint = Fingerprint::new(high << 32 | low).unwrap();
                if adds {
                    prop_assert_eq!(set.insert(fingerprint), plain.insert(fingerprint));
                } else {
                    set.remove(fingerprint);
                    plain.remove(&fingerprint);
                }
                prop_assert_eq!(set.held, plain.len());
                for high in 0..4 {
                    for low in 12..16 {
                        let asked = Fingerprint::new(high << 32 | low).unwrap();
                        prop_assert_eq!(set.contains(asked), plain.contains(&asked));
                    }
                }
            }
        }
    }

    #[test]
    fn set_that_grows_keeps_all() {
        let mut set = Fingerprints::default();
        let spread = |number: u64| Fingerprint::new(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).unwrap();
        (1..10_000).for_each(|number| assert!(set.insert(spread(number))));
        assert!((1..10_000).all(|number| set.contains(spread(number)) && !set.insert(spread(number))));
        assert!(!set.contains(spread(10_000)));
        (1..10_000).for_each(|number| set.remove(spread(number)));
        assert!(set.slots.iter().all(Option::is_none) && set.held == 0);
    }
}
