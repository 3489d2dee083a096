//! What a gatekeeper looked at.

use std::fmt;

use kasmina_leyline::ShortText;
use serde::{Serialize, Serializer};
use smallvec::SmallVec;

/// The values that a gatekeeper looked at: texts by name. Two lie in place, which is what a gate that passes has, or most that do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(SmallVec<[(&'static str, ShortText); 2]>);

impl Attributes {
    /// The value of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(self.place(name).ok()?).map(|(_, value)| value.as_str())
    }

    /// Whether there is a value of that name.
    #[must_use]
    pub fn contains_key(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    /// All names with their values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// Adds a value. It replaces one of the same name.
    pub(crate) fn insert(&mut self, name: &'static str, value: impl fmt::Display) {
        let value = ShortText::of(value);
        match self.place(name) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (name, value)),
        }
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| (*other).cmp(name))
    }
}

/// As a map of texts.
impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}
