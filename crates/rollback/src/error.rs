//! Why a store refuses.

use std::{io, path::PathBuf};

use crate::{CheckpointId, RecordError};

/// Why something could not be written, read or opened. `path` is the file; an offset counts bytes from its beginning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Environment: no space, a quota or a size limit is used up. What was there before is untouched.
    #[error("{}: cannot {action}: no space left ({detail})", .path.display())]
    Full {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system says.
        detail: String,
    },
    /// Environment: the directory or the file system is read-only, or the user may not use it.
    #[error("{}: cannot {action}: access denied ({detail})", .path.display())]
    Denied {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system says.
        detail: String,
    },
    /// Environment: another process, or another handle of this one, has the store open.
    #[error("{}: in use by another owner", .path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// Environment: the system failed in another way.
    #[error("{}: cannot {action}: {detail}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The kind of failure.
        kind: io::ErrorKind,
        /// What the system says.
        detail: String,
    },
    /// The path is something else: not a directory of a store, or not one of its files.
    #[error("{}: not a store of Kasmina: {detail}", .path.display())]
    NotAStore {
        /// Which file or directory.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// There are checkpoints, but the journal is gone. An empty one in its place would forget without a word.
    #[error("{}: missing, although the store has checkpoints", .path.display())]
    JournalMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// Written by a newer version of this crate.
    #[error("{}: format version {got}, at most {newest} is read", .path.display())]
    NewerVersion {
        /// Which file.
        path: PathBuf,
        /// The newest version that is read here.
        newest: u32,
        /// The version of the file.
        got: u32,
    },
    /// The journal ends within a batch that was never acknowledged, or was cut off later. [`Store::open`](crate::Store::open)
    /// drops those bytes and reports this in its [`Recovery`](crate::Recovery).
    #[error("{}: torn at offset {offset}: {bytes} bytes of an incomplete batch", .path.display())]
    TornTail {
        /// The journal.
        path: PathBuf,
        /// Where the incomplete batch begins.
        offset: u64,
        /// How many bytes of it there are.
        bytes: u64,
    },
    /// Bytes were changed.
    #[error("{}: damaged at offset {offset}: {detail}", .path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// Where the damaged part begins.
        offset: u64,
        /// What does not agree.
        detail: &'static str,
    },
    /// The numbers of the records have a gap or repeat.
    #[error("{}: at offset {offset} record {expected} was expected, {got} was found", .path.display())]
    Gap {
        /// The journal.
        path: PathBuf,
        /// Where the batch begins.
        offset: u64,
        /// The sequence number that should follow.
        expected: u64,
        /// The one that does.
        got: u64,
    },
    /// A batch arrived as it was written, but holds a record that this version cannot read.
    #[error("{}: a record of the batch {sequence} at offset {offset} cannot be read: {source}", .path.display())]
    Unreadable {
        /// The journal.
        path: PathBuf,
        /// Where the batch begins.
        offset: u64,
        /// The sequence number of the first record of the batch.
        sequence: u64,
        /// Why.
        source: RecordError,
    },
    /// A file is shorter than it says, or too short for its header.
    #[error("{}: ends at offset {offset}, {expected} bytes were expected", .path.display())]
    Truncated {
        /// Which file.
        path: PathBuf,
        /// Its length.
        offset: u64,
        /// The length that it should have.
        expected: u64,
    },
    /// A blob's SHA-256 does not agree.
    #[error("{}: the blob {blob:?} at offset {offset} is damaged: SHA-256 {expected} expected, got {got}", .path.display())]
    CorruptBlob {
        /// The checkpoint's file.
        path: PathBuf,
        /// Which blob.
        blob: String,
        /// Where it begins.
        offset: u64,
        /// The digest that was written, in hex.
        expected: String,
        /// The digest of what is there, in hex.
        got: String,
    },
    /// An earlier failure left it open what is on the disk. Open the store again.
    #[error("{}: not writable since an earlier failure; open the store again", .path.display())]
    Unusable {
        /// The journal.
        path: PathBuf,
    },
    /// Caller: a batch or a checkpoint's header beyond the limit.
    #[error("{what} has {got} bytes, at most {limit} are allowed")]
    TooLarge {
        /// What.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// Its size.
        got: u64,
    },
    /// Caller: no checkpoint has that name.
    #[error("there is no checkpoint {id}")]
    UnknownCheckpoint {
        /// The name.
        id: CheckpointId,
    },
    /// Caller: a checkpoint has that name already.
    #[error("there is already a checkpoint {id}")]
    CheckpointExists {
        /// The name.
        id: CheckpointId,
    },
    /// Caller: a null object stands where the manager needs a store.
    #[error("no {what} is wired")]
    NotWired {
        /// What is missing.
        what: &'static str,
    },
}

impl StoreError {
    /// The machine-readable name.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Full { .. } => "disk_full",
            Self::Denied { .. } => "access_denied",
            Self::Locked { .. } => "locked",
            Self::Io { .. } => "io",
            Self::NotAStore { .. } => "not_a_store",
            Self::JournalMissing { .. } => "journal_missing",
            Self::NewerVersion { .. } => "newer_version",
            Self::TornTail { .. } => "torn_tail",
            Self::Corrupt { .. } => "corrupt",
            Self::Gap { .. } => "sequence_gap",
            Self::Unreadable { .. } => "unreadable_record",
            Self::Truncated { .. } => "truncated",
            Self::CorruptBlob { .. } => "corrupt_blob",
            Self::Unusable { .. } => "unusable",
            Self::TooLarge { .. } => "too_large",
            Self::UnknownCheckpoint { .. } => "unknown_checkpoint",
            Self::CheckpointExists { .. } => "checkpoint_exists",
            Self::NotWired { .. } => "not_wired",
        }
    }

    /// The byte at which the file is damaged or ends, where there is one.
    #[must_use]
    pub const fn offset(&self) -> Option<u64> {
        match self {
            Self::TornTail { offset, .. }
            | Self::Corrupt { offset, .. }
            | Self::Gap { offset, .. }
            | Self::Unreadable { offset, .. }
            | Self::Truncated { offset, .. }
            | Self::CorruptBlob { offset, .. } => Some(*offset),
            Self::Full { .. }
            | Self::Denied { .. }
            | Self::Locked { .. }
            | Self::Io { .. }
            | Self::NotAStore { .. }
            | Self::JournalMissing { .. }
            | Self::NewerVersion { .. }
            | Self::Unusable { .. }
            | Self::TooLarge { .. }
            | Self::UnknownCheckpoint { .. }
            | Self::CheckpointExists { .. }
            | Self::NotWired { .. } => None,
        }
    }
}
