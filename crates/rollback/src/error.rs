//! Why a store refuses.

use std::{
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{Digest, RecordError};

/// Why something could not be written, read or opened. `path` is the file; an offset counts bytes from its beginning.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the names of the fields say it")]
#[non_exhaustive]
pub enum StoreError {
    /// Environment: no space, or a quota or size limit is used up. What was there before is untouched.
    #[error("{}: cannot {action}: no space left ({detail})", .path.display())]
    Full { path: PathBuf, action: &'static str, detail: String },
    /// Environment: the directory or the file system is read-only, or the user may not use it.
    #[error("{}: cannot {action}: access denied ({detail})", .path.display())]
    Denied { path: PathBuf, action: &'static str, detail: String },
    /// Environment: another process, or another handle of this one, has the store open.
    #[error("{}: in use by another owner", .path.display())]
    Locked { path: PathBuf },
    /// Environment: the system failed in another way.
    #[error("{}: cannot {action}: {detail}", .path.display())]
    Io { path: PathBuf, action: &'static str, kind: ErrorKind, detail: String },
    /// The path is something else: not a directory of a store, or not one of its files.
    #[error("{}: not a store of Kasmina: {detail}", .path.display())]
    NotAStore { path: PathBuf, detail: String },
    /// There are blobs, but the journal is gone. An empty one in its place would hide the loss.
    #[error("{}: missing, although the store has blobs; restore it from a copy", .path.display())]
    JournalMissing { path: PathBuf },
    /// Written by an older version of this crate, in a format that is not read any more.
    #[error(
        "{}: format version {got} (protobuf records and whole checkpoints) is not read any more, only version {expected} is: \
         finish the run with the release that wrote it, or start in an empty directory", .path.display()
    )]
    OlderVersion { path: PathBuf, expected: u32, got: u32 },
    /// Written by a newer version of this crate.
    #[error("{}: format version {got}, at most {newest} is read: use the release that wrote it, or a later one", .path.display())]
    NewerVersion { path: PathBuf, newest: u32, got: u32 },
    /// The journal ends within a batch that was never acknowledged, or was truncated later. [`Store::open`](crate::Store::open)
    /// drops those bytes and reports this in its [`Recovery`](crate::Recovery).
    #[error("{}: torn at offset {offset}: {bytes} bytes of an incomplete batch", .path.display())]
    TornTail { path: PathBuf, offset: u64, bytes: u64 },
    /// Bytes were changed.
    #[error("{}: damaged at offset {offset}: {detail}", .path.display())]
    Corrupt { path: PathBuf, offset: u64, detail: &'static str },
    /// The sequence numbers of the records have a gap or repeat.
    #[error("{}: at offset {offset} record {expected} was expected, {got} was found", .path.display())]
    Gap { path: PathBuf, offset: u64, expected: u64, got: u64 },
    /// A batch is as it was written, but holds a record that this version cannot read. `sequence` is the record's number.
    #[error("{}: the record {sequence} of the batch at offset {offset} cannot be read: {source}", .path.display())]
    Unreadable { path: PathBuf, offset: u64, sequence: u64, source: RecordError },
    /// A file is shorter than it was, or too short for its header.
    #[error("{}: ends at offset {offset}, {expected} bytes were expected", .path.display())]
    Truncated { path: PathBuf, offset: u64, expected: u64 },
    /// A blob's bytes do not have the digest that names it.
    #[error("{}: the blob is damaged: its SHA-256 is {got}", .path.display())]
    CorruptBlob { path: PathBuf, expected: Digest, got: Digest },
    /// No blob has that digest.
    #[error("there is no blob {digest}")]
    UnknownBlob { digest: Digest },
    /// An earlier failure left it open what is on the disk. Open the store again.
    #[error("{}: not writable since an earlier failure; open the store again", .path.display())]
    Unusable { path: PathBuf },
    /// An earlier write failed for `cause`, a [`reason`](Self::reason); nothing is tried again before `wait` has passed.
    #[error("the last write failed ({cause}); the next attempt is in {wait:?}")]
    BackingOff { cause: &'static str, wait: Duration },
    /// Caller: a batch beyond the limit.
    #[error("{what} has {got} bytes, at most {limit} are allowed")]
    TooLarge { what: &'static str, limit: u64, got: u64 },
    /// Caller: an entry names a blob that was never stored.
    #[error("an entry names the blob {digest}, which is not stored")]
    UnstoredBlob { digest: Digest },
    /// Caller: a null object stands where the manager needs a store.
    #[error("no {what} is wired")]
    NotWired { what: &'static str },
}

impl StoreError {
    /// Describes what the system answered when `action` was tried on `path`.
    #[must_use]
    pub fn from_io(action: &'static str, path: &Path, error: &io::Error) -> Self {
        let (path, kind, detail) = (path.to_owned(), error.kind(), error.to_string());
        if matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge) {
            Self::Full { path, action, detail }
        } else if matches!(kind, ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) {
            Self::Denied { path, action, detail }
        } else {
            Self::Io { path, action, kind, detail }
        }
    }

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
            Self::OlderVersion { .. } => "older_version",
            Self::NewerVersion { .. } => "newer_version",
            Self::TornTail { .. } => "torn_tail",
            Self::Corrupt { .. } => "corrupt",
            Self::Gap { .. } => "sequence_gap",
            Self::Unreadable { .. } => "unreadable_record",
            Self::Truncated { .. } => "truncated",
            Self::CorruptBlob { .. } => "corrupt_blob",
            Self::UnknownBlob { .. } => "unknown_blob",
            Self::Unusable { .. } => "unusable",
            Self::BackingOff { .. } => "backing_off",
            Self::TooLarge { .. } => "too_large",
            Self::UnstoredBlob { .. } => "unstored_blob",
            Self::NotWired { .. } => "not_wired",
        }
    }

    /// The byte at which the file is damaged or ends, if there is one.
    #[must_use]
    pub const fn offset(&self) -> Option<u64> {
        match self {
            Self::TornTail { offset, .. }
            | Self::Corrupt { offset, .. }
            | Self::Gap { offset, .. }
            | Self::Unreadable { offset, .. }
            | Self::Truncated { offset, .. } => Some(*offset),
            Self::Full { .. }
            | Self::Denied { .. }
            | Self::Locked { .. }
            | Self::Io { .. }
            | Self::NotAStore { .. }
            | Self::JournalMissing { .. }
            | Self::OlderVersion { .. }
            | Self::NewerVersion { .. }
            | Self::CorruptBlob { .. }
            | Self::UnknownBlob { .. }
            | Self::Unusable { .. }
            | Self::BackingOff { .. }
            | Self::TooLarge { .. }
            | Self::UnstoredBlob { .. }
            | Self::NotWired { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn full_device_is_named_as_full() {
        let path = Path::new("/dev/full");
        let error = StoreError::from_io("write", path, &std::fs::write(path, b"x").unwrap_err());
        assert_eq!(error.reason(), "disk_full");
        assert!(error.to_string().starts_with("/dev/full: cannot write: no space left"), "{error}");
    }
}
