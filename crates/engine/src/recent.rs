//! The last values of something that is measured again and again.

use std::{iter, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The last values of something, oldest first. Copies share them: a record that changes for another reason is copied without them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recent<T>(Option<Arc<[T]>>);

impl<T> Recent<T> {
    /// The values, oldest first.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        self.0.as_deref().unwrap_or_default()
    }

    /// The values, oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &T> {
        self.as_slice().iter()
    }

    /// The newest.
    #[must_use]
    pub fn back(&self) -> Option<&T> {
        self.as_slice().last()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// Drops all.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }
}

impl<T: Clone> Recent<T> {
    /// Adds a value, and drops the oldest if there are more than `most` then.
    pub(crate) fn record(&mut self, value: T, most: usize) {
        let values = self.as_slice();
        let kept = &values[(values.len() + 1).saturating_sub(most)..];
        self.0 = Some(kept.iter().cloned().chain(iter::once(value)).collect());
    }
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> FromIterator<T> for Recent<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let values: Arc<[T]> = values.into_iter().collect();
        Self((!values.is_empty()).then_some(values))
    }
}

impl<T, const N: usize> From<[T; N]> for Recent<T> {
    fn from(values: [T; N]) -> Self {
        values.into_iter().collect()
    }
}

/// As a list.
impl<T: Serialize> Serialize for Recent<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Recent<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(|values| values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_window_drops_its_oldest_value_and_a_copy_keeps_its_own() {
        let mut recent = Recent::default();
        assert_eq!((recent.back(), recent.is_empty()), (None, true));
        (1..=3).for_each(|value| recent.record(value, 3));
        let copy = recent.clone();
        recent.record(4, 3);
        assert_eq!((recent.as_slice(), recent.back(), recent.len()), (&[2, 3, 4][..], Some(&4), 3));
        assert_eq!(copy.as_slice(), [1, 2, 3]);
        recent.clear();
        assert_eq!((recent.as_slice(), copy.len()), (&[][..], 3));
    }

    /// A record can hold more than is kept now.
    #[test]
    fn longer_window_is_cut_to_its_newest_values() {
        let mut recent: Recent<u8> = (1..=5).collect();
        recent.record(6, 3);
        assert_eq!(recent.as_slice(), [4, 5, 6]);
    }
}
