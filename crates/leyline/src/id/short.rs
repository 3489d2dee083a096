//! A text that lies in place if it is short.

use std::{
    cmp::Ordering,
    hash::{Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

/// The longest text in place. A UUID has 36 bytes.
const IN_PLACE: usize = 38;

/// A text. One of up to 38 bytes lies in place, so that neither making nor copying it allocates; a longer one is shared by its copies.
#[derive(Clone)]
pub(super) enum ShortText {
    InPlace { length: u8, bytes: [u8; IN_PLACE] },
    Shared(Arc<str>),
}

impl From<&str> for ShortText {
    fn from(text: &str) -> Self {
        let mut bytes = [0; IN_PLACE];
        match bytes.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text.as_bytes());
                Self::InPlace { length: text.len() as u8, bytes }
            }
            None => Self::Shared(text.into()),
        }
    }
}

impl ShortText {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::InPlace { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Self::Shared(text) => text.as_bytes(),
        }
    }
}

impl Deref for ShortText {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            // It was made of a text.
            Self::InPlace { .. } => std::str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Self::Shared(text) => text,
        }
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
            prop_assert_eq!(short == longer, one == other);
            prop_assert_eq!(short.cmp(&longer), one.cmp(&other));
            let hasher = BuildHasherDefault::<DefaultHasher>::default();
            prop_assert_eq!(hasher.hash_one(&short), hasher.hash_one(one.as_str()));
        }
    }

    #[test]
    fn text_of_38_bytes_lies_in_place_and_one_of_39_does_not() {
        let text = |bytes: usize| ShortText::from("x".repeat(bytes).as_str());
        assert!(matches!(text(38), ShortText::InPlace { length: 38, .. }));
        assert!(matches!(text(39), ShortText::Shared(_)));
        assert_eq!(size_of::<ShortText>(), 40);
    }
}
