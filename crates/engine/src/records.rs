//! The seeds that a decision changes.

use std::fmt;

use kasmina_leyline::SeedId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use smallvec::SmallVec;

use crate::seed::Seed;

/// Seeds by their ids. Nearly all decisions change one seed: it lies in place. More are sorted, and looked up by halving; one that comes after
/// all others, as when all seeds take a step in turn, is added without a look.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Records(SmallVec<[Seed; 1]>);

impl Records {
    /// The seed of this id.
    #[must_use]
    pub fn get(&self, id: &SeedId) -> Option<&Seed> {
        self.0.get(self.place(id).ok()?)
    }

    /// Whether there is a seed of this id.
    #[must_use]
    pub fn contains_key(&self, id: &SeedId) -> bool {
        self.place(id).is_ok()
    }

    /// Adds a seed. It replaces one of the same id.
    pub fn insert(&mut self, seed: Seed) {
        match self.place(&seed.id) {
            Ok(at) => self.0[at] = seed,
            Err(at) => self.0.insert(at, seed),
        }
    }

    /// Removes the seed of this id, if there is one.
    pub fn remove(&mut self, id: &SeedId) {
        if let Ok(at) = self.place(id) {
            self.0.remove(at);
        }
    }

    /// The seed of the same id, to change it here. Until now it was `before`, unless it has been changed here.
    pub(crate) fn get_or_insert(&mut self, before: &Seed) -> &mut Seed {
        let place = self.place(&before.id);
        let (Ok(at) | Err(at)) = place;
        if place.is_err() {
            self.0.insert(at, before.clone());
        }
        &mut self.0[at]
    }

    pub(crate) fn get_mut(&mut self, id: &SeedId) -> Option<&mut Seed> {
        let at = self.place(id).ok()?;
        self.0.get_mut(at)
    }

    /// The seeds, by id.
    pub fn values(&self) -> impl Iterator<Item = &Seed> {
        self.0.iter()
    }

    /// The ids, in order.
    pub fn keys(&self) -> impl Iterator<Item = &SeedId> {
        self.0.iter().map(|seed| &seed.id)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where the seed of this id is, or would be.
    fn place(&self, id: &SeedId) -> Result<usize, usize> {
        match self.0.last() {
            Some(last) if last.id < *id => Err(self.0.len()),
            Some(last) if last.id == *id => Ok(self.0.len() - 1),
            _ => self.0.binary_search_by(|seed| seed.id.cmp(id)),
        }
    }
}

impl Extend<Seed> for Records {
    fn extend<I: IntoIterator<Item = Seed>>(&mut self, seeds: I) {
        seeds.into_iter().for_each(|seed| self.insert(seed));
    }
}

impl FromIterator<Seed> for Records {
    fn from_iter<I: IntoIterator<Item = Seed>>(seeds: I) -> Self {
        let mut records = Self::default();
        records.extend(seeds);
        records
    }
}

impl IntoIterator for Records {
    type Item = Seed;
    type IntoIter = smallvec::IntoIter<[Seed; 1]>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// As a map, whose keys are the ids.
impl Serialize for Records {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|seed| (&seed.id, seed)))
    }
}

impl<'de> Deserialize<'de> for Records {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Map)
    }
}

struct Map;

impl<'de> de::Visitor<'de> for Map {
    type Value = Records;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of seeds by id")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Records, A::Error> {
        let mut records = Records::default();
        while let Some((id, seed)) = map.next_entry::<SeedId, Seed>()? {
            if id != seed.id {
                return Err(de::Error::custom(format_args!("the record of {id} is that of {}", seed.id)));
            }
            records.insert(seed);
        }
        Ok(records)
    }
}
