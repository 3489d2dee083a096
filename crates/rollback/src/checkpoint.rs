//! States to go back to.

use std::{collections::BTreeMap, fmt, sync::Arc};

use kasmina_leyline::UnixTime;

use crate::StoreError;

/// Keeps checkpoints.
///
/// What mistakes cost: a checkpoint that is only half there, or that comes back changed, puts wrong weights into a host
/// without a trace. One that is refused costs a retry, or an older checkpoint.
pub trait CheckpointStore: Send {
    /// Saves a checkpoint, all of it or nothing, and makes it durable before it returns.
    ///
    /// # Errors
    /// [`StoreError::CheckpointExists`]: a checkpoint is never overwritten. Others when it could not be written.
    fn save(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError>;

    /// Loads a checkpoint and verifies every blob.
    ///
    /// # Errors
    /// [`StoreError::UnknownCheckpoint`]; [`StoreError::CorruptBlob`] and [`StoreError::Truncated`] name what is damaged
    /// and where.
    fn load(&mut self, id: &CheckpointId) -> Result<Checkpoint, StoreError>;

    /// Deletes every checkpoint that `keep` does not want and lists the others, oldest first. `|_| true` only lists.
    ///
    /// # Errors
    /// [`StoreError`] when one could not be deleted; some may have been.
    fn retain(
        &mut self,
        keep: &mut dyn FnMut(&CheckpointSummary) -> bool,
    ) -> Result<Vec<CheckpointSummary>, StoreError>;
}

/// A state with a name: kernels, seed weights, optimizer states, a host snapshot, the manager's own state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its name.
    pub id: CheckpointId,
    /// When it was taken.
    pub at: UnixTime,
    /// The last record of the journal that it covers; 0 for none.
    pub sequence: u64,
    /// The parts by name. Any name will do, none is used as a path.
    pub blobs: BTreeMap<String, Vec<u8>>,
}

/// What a list says of a checkpoint, without reading its blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointSummary {
    /// Its name.
    pub id: CheckpointId,
    /// When it was taken; the epoch where the header is damaged.
    pub at: UnixTime,
    /// The last record of the journal that it covers; 0 where the header is damaged.
    pub sequence: u64,
    /// How many bytes it takes.
    pub bytes: u64,
    /// What is wrong with its header. The blobs are verified when they are loaded.
    pub damage: Option<StoreError>,
}

/// Names a checkpoint: 1 to 128 bytes of ASCII letters, digits, `-`, `_` and `.`, beginning with a letter or a digit.
///
/// That is what every file system takes as a file name. Cloning copies a pointer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckpointId(Arc<str>);

/// A string that cannot name a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{got:?} cannot name a checkpoint: 1 to 128 ASCII letters, digits, '-', '_' and '.', beginning with a letter or digit"
)]
pub struct InvalidCheckpointId {
    /// The string, at most 160 characters of it.
    pub got: String,
}

impl CheckpointId {
    /// Checks `text` and keeps it.
    ///
    /// # Errors
    /// [`InvalidCheckpointId`] when the text is empty, too long, or holds what a file name should not.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidCheckpointId> {
        let text = text.as_ref();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if first && text.len() <= 128 && text.bytes().all(allowed) {
            return Ok(Self(text.into()));
        }
        Err(InvalidCheckpointId { got: text.chars().take(160).collect() })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for CheckpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckpointId({})", &self.0)
    }
}

/// Stands where no store was wired: saves nothing and has nothing to go back to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoCheckpoints;

impl CheckpointStore for NoCheckpoints {
    /// # Errors
    /// Always [`StoreError::NotWired`].
    fn save(&mut self, _: &Checkpoint) -> Result<(), StoreError> {
        Err(StoreError::NotWired { what: "checkpoint store" })
    }

    /// # Errors
    /// Always [`StoreError::NotWired`].
    fn load(&mut self, _: &CheckpointId) -> Result<Checkpoint, StoreError> {
        Err(StoreError::NotWired { what: "checkpoint store" })
    }

    /// # Errors
    /// Always [`StoreError::NotWired`].
    fn retain(&mut self, _: &mut dyn FnMut(&CheckpointSummary) -> bool) -> Result<Vec<CheckpointSummary>, StoreError> {
        Err(StoreError::NotWired { what: "checkpoint store" })
    }
}

macro_rules! forward {
    ($($holder:ty),*) => {$(
        impl<C: CheckpointStore + ?Sized> CheckpointStore for $holder {
            fn save(&mut self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
                (**self).save(checkpoint)
            }

            fn load(&mut self, id: &CheckpointId) -> Result<Checkpoint, StoreError> {
                (**self).load(id)
            }

            fn retain(
                &mut self,
                keep: &mut dyn FnMut(&CheckpointSummary) -> bool,
            ) -> Result<Vec<CheckpointSummary>, StoreError> {
                (**self).retain(keep)
            }
        }
    )*};
}

forward!(&mut C, Box<C>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_file_names() {
        for name in ["a", "Seed-7_v1.2", "0", &"x".repeat(128)] {
            assert_eq!(CheckpointId::new(name).map(|id| id.to_string()), Ok(name.to_owned()));
        }
        for name in ["", ".", "..", ".a", "-a", "a/b", "a\\b", "a b", "ä", "a\0", &"x".repeat(129)] {
            assert_eq!(CheckpointId::new(name), Err(InvalidCheckpointId { got: name.to_owned() }));
        }
    }

    #[test]
    fn nothing_is_kept_where_nothing_was_wired() {
        let id = CheckpointId::new("a").unwrap();
        let checkpoint = Checkpoint { id: id.clone(), at: UnixTime::default(), sequence: 0, blobs: BTreeMap::new() };
        assert_eq!(NoCheckpoints.save(&checkpoint).map_err(|error| error.reason()), Err("not_wired"));
        assert!(NoCheckpoints.load(&id).is_err());
        assert!(NoCheckpoints.retain(&mut |_| true).is_err());
        assert!(crate::Journal::append(&mut crate::NoJournal, &[]).is_err());
        assert!(crate::Journal::read(&mut crate::NoJournal, 0).is_err());
        assert!(crate::Journal::compact(&mut crate::NoJournal, 0).is_err());
    }
}
