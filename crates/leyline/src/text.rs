//! A text that lies in place if it is short.

use std::{
    cmp::Ordering,
    fmt::{self, Write},
    hash::{Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest text in place. A UUID has 36 bytes.
const IN_PLACE: usize = 38;

/// A text that is written once. One of up to 38 bytes lies in place, so that neither making nor copying it allocates; a longer one is shared
/// by its copies.
#[derive(Clone)]
pub struct ShortText(Text);

#[derive(Clone)]
enum Text {
    InPlace { length: u8, bytes: [u8; IN_PLACE] },
    Shared(Arc<str>),
}

impl From<&str> for ShortText {
    fn from(text: &str) -> Self {
        let mut bytes = [0; IN_PLACE];
        match bytes.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text.as_bytes());
                Self(Text::InPlace { length: text.len() as u8, bytes })
            }
            None => Self(Text::Shared(text.into())),
        }
    }
}

impl ShortText {
    /// What is shown of a value.
    pub fn of(value: impl fmt::Display) -> Self {
        let mut place = Place { length: 0, bytes: [0; IN_PLACE] };
        match write!(place, "{value}") {
            Ok(()) => Self(Text::InPlace { length: place.length, bytes: place.bytes }),
            Err(_) => value.to_string().as_str().into(),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            // It was made of a text.
            Text::InPlace { .. } => std::str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Text::Shared(text) => text,
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Text::InPlace { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Text::Shared(text) => text.as_bytes(),
        }
    }
}

/// Takes what is written until it is full.
struct Place {
    length: u8,
    bytes: [u8; IN_PLACE],
}

impl fmt::Write for Place {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let (from, to) = (usize::from(self.length), usize::from(self.length) + text.len());
        self.bytes.get_mut(from..to).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = to as u8;
        Ok(())
    }
}

impl Deref for ShortText {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for ShortText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for ShortText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for ShortText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for ShortText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| text.as_str().into())
    }
}

impl PartialEq for ShortText {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for ShortText {}

impl PartialOrd for ShortText {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// That of the texts.
impl Ord for ShortText {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

/// That of the texts.
impl Hash for ShortText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        str::hash(self, state);
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A map that is keyed by them is asked with a text.
        #[test]
        fn short_and_long_texts_compare_and_hash_as_texts_do(one in ".{0,50}", other in ".{0,50}") {
            let (short, longer) = (ShortText::from(one.as_str()), ShortText::from(other.as_str()));
            prop_assert_eq!(&*short, one.as_str());
            prop_assert_eq!(&*ShortText::of(format_args!("{one}{other}")), format!("{one}{other}"));
            prop_assert_eq!(short == longer, one == other);
            prop_assert_eq!(short.cmp(&longer), one.cmp(&other));
            let hasher = BuildHasherDefault::<DefaultHasher>::default();
            prop_assert_eq!(hasher.hash_one(&short), hasher.hash_one(one.as_str()));
        }
    }

    #[test]
    fn text_of_38_bytes_lies_in_place_and_one_of_39_does_not() {
        let text = |bytes: usize| ShortText::from("x".repeat(bytes).as_str());
        assert!(matches!(text(38).0, Text::InPlace { length: 38, .. }));
        assert!(matches!(text(39).0, Text::Shared(_)));
        assert_eq!(size_of::<ShortText>(), 40);
    }
}
