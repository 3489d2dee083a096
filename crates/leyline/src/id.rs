//! Identifiers, checked once at the edge.

use std::{fmt, sync::Arc};

use crate::ShortText;

/// The longest accepted identifier, in bytes. Our choice: twice a UUID with a generous prefix.
pub const MAX_ID_BYTES: usize = 128;

/// Why a string is not an identifier. `kind` is the name of the identifier's type.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidId {
    #[error("{kind} is empty")]
    Empty { kind: &'static str },
    /// The string is longer than [`MAX_ID_BYTES`].
    #[error("{kind} has {bytes} bytes, at most {MAX_ID_BYTES} are allowed")]
    TooLong { kind: &'static str, bytes: usize },
    /// The string holds a space or a character that is not printable ASCII. `at` is its offset in bytes.
    #[error("{kind} holds {character:?} at byte {at}: only visible ASCII is allowed")]
    Character { kind: &'static str, character: char, at: usize },
}

fn check(kind: &'static str, text: &str) -> Result<(), InvalidId> {
    if text.is_empty() {
        return Err(InvalidId::Empty { kind });
    }
    if text.len() > MAX_ID_BYTES {
        return Err(InvalidId::TooLong { kind, bytes: text.len() });
    }
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    match text.char_indices().find(|(_, character)| !character.is_ascii_graphic()) {
        Some((at, character)) => Err(InvalidId::Character { kind, character, at }),
        None => Ok(()),
    }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident($text:ty)) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($text);

        impl $name {
            /// Checks `text` and keeps it.
            ///
            /// # Errors
            /// [`InvalidId`] if the text is empty, too long, or holds anything but visible ASCII.
            pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidId> {
                let text = text.as_ref();
                check(stringify!($name), text)?;
                Ok(Self(<$text>::from(text)))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        /// Checks the text. Anything that is not an identifier is an error.
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                Self::new(text).map_err(serde::de::Error::custom)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

identifier! {
    /// Names one seed for the length of a training run.
    ///
    /// Visible ASCII, 1 to [`MAX_ID_BYTES`] bytes. Cloning copies a pointer.
    SeedId(Arc<str>)
}
identifier! {
    /// Names a place in the host's forward pass where a seed can be grafted.
    ///
    /// Visible ASCII, 1 to [`MAX_ID_BYTES`] bytes. Cloning copies a pointer.
    SlotId(Arc<str>)
}
identifier! {
    /// Names a blueprint: the design that a kernel was compiled from.
    ///
    /// Visible ASCII, 1 to [`MAX_ID_BYTES`] bytes. Cloning copies a pointer.
    BlueprintId(Arc<str>)
}
identifier! {
    /// Names a command. It is the command's nonce: no two commands may share one.
    ///
    /// Visible ASCII, 1 to [`MAX_ID_BYTES`] bytes. One of up to 38 bytes is copied in place, so that a flood of commands allocates nothing;
    /// the copies of a longer one share it.
    CommandId(ShortText)
}
identifier! {
    /// Names a training run.
    ///
    /// Visible ASCII, 1 to [`MAX_ID_BYTES`] bytes. Cloning copies a pointer.
    TrainingRunId(Arc<str>)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refusal_names_type_and_cause() {
        assert_eq!(SeedId::new(""), Err(InvalidId::Empty { kind: "SeedId" }));
        assert_eq!(SlotId::new("x".repeat(129)), Err(InvalidId::TooLong { kind: "SlotId", bytes: 129 }));
        assert_eq!(BlueprintId::new("a b"), Err(InvalidId::Character { kind: "BlueprintId", character: ' ', at: 1 }));
        assert_eq!(
            CommandId::new("a\u{e9}").map_err(|error| error.to_string()),
            Err("CommandId holds 'é' at byte 1: only visible ASCII is allowed".to_owned())
        );
    }

    proptest! {
        #[test]
        fn accepted_text_comes_back(text in "[!-~]{1,128}") {
            let id = TrainingRunId::new(&text).unwrap();
            prop_assert_eq!(id.as_str(), text);
        }

        #[test]
        fn whatever_is_accepted_is_visible_ascii(text in any::<String>()) {
            if let Ok(id) = SeedId::new(&text) {
                prop_assert!(id.as_str().bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert!((1..=MAX_ID_BYTES).contains(&id.as_str().len()));
            }
        }
    }
}
