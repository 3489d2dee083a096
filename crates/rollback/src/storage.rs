//! The seam between the store and what it lies on.

use std::{ops::Range, path::PathBuf, sync::Arc};

use crate::StoreError;

/// A flat directory of files: everything that journal and blobs do to a disk.
///
/// What a mistake costs: a `sync` that returns too early lets an acknowledged batch vanish in a power cut, and nothing above
/// can notice. Names are file names, without separators. Visible at once to later calls; durable only when `sync` (bytes and
/// length of a file) or `sync_directory` (which name is which file) has returned. `docs/DURABILITY.md` lists what is assumed.
pub trait Storage: Send + Sync {
    /// Where a file of that name is, for messages.
    fn path(&self, name: &str) -> PathBuf;

    /// The names of all files, in any order.
    ///
    /// # Errors
    /// [`StoreError`] for this and all other methods: what the system answered.
    fn list(&self) -> Result<Vec<String>, StoreError>;

    /// The length of a file; `None` if there is none of that name.
    fn length(&self, name: &str) -> Result<Option<u64>, StoreError>;

    /// The bytes of `range`; [`StoreError::Truncated`] if the file ends before.
    fn read(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>, StoreError>;

    /// Writes `bytes` at `offset`, and makes the file if there is none. After an error some of the bytes may be there.
    fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), StoreError>;

    /// Cuts a file to `length` bytes.
    fn truncate(&self, name: &str, length: u64) -> Result<(), StoreError>;

    /// Makes the bytes and the length of a file durable. After an error nothing is known about them any more, and a second
    /// sync proves nothing.
    fn sync(&self, name: &str) -> Result<(), StoreError>;

    /// Renames a file, in one step, over another one if there is one.
    fn rename(&self, from: &str, to: &str) -> Result<(), StoreError>;

    /// Deletes a file.
    fn remove(&self, name: &str) -> Result<(), StoreError>;

    /// Makes all names durable: what was created, renamed and removed.
    fn sync_directory(&self) -> Result<(), StoreError>;
}

/// Stands where no storage was wired: holds nothing and refuses everything with [`StoreError::NotWired`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoStorage;

const NOT_WIRED: StoreError = StoreError::NotWired { what: "storage" };

impl Storage for NoStorage {
    fn path(&self, name: &str) -> PathBuf {
        name.into()
    }

    fn list(&self) -> Result<Vec<String>, StoreError> {
        Err(NOT_WIRED)
    }

    fn length(&self, _: &str) -> Result<Option<u64>, StoreError> {
        Err(NOT_WIRED)
    }

    fn read(&self, _: &str, _: Range<u64>) -> Result<Vec<u8>, StoreError> {
        Err(NOT_WIRED)
    }

    fn write(&self, _: &str, _: u64, _: &[u8]) -> Result<(), StoreError> {
        Err(NOT_WIRED)
    }

    fn truncate(&self, _: &str, _: u64) -> Result<(), StoreError> {
        Err(NOT_WIRED)
    }

    fn sync(&self, _: &str) -> Result<(), StoreError> {
        Err(NOT_WIRED)
    }

    fn rename(&self, _: &str, _: &str) -> Result<(), StoreError> {
        Err(NOT_WIRED)
    }

    fn remove(&self, _: &str) -> Result<(), StoreError> {
        Err(NOT_WIRED)
    }

    fn sync_directory(&self) -> Result<(), StoreError> {
        Err(NOT_WIRED)
    }
}

macro_rules! forward {
    ($($holder:ty),*) => {$(
        impl<S: Storage + ?Sized> Storage for $holder {
            fn path(&self, name: &str) -> PathBuf {
                (**self).path(name)
            }

            fn list(&self) -> Result<Vec<String>, StoreError> {
                (**self).list()
            }

            fn length(&self, name: &str) -> Result<Option<u64>, StoreError> {
                (**self).length(name)
            }

            fn read(&self, name: &str, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
                (**self).read(name, range)
            }

            fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
                (**self).write(name, offset, bytes)
            }

            fn truncate(&self, name: &str, length: u64) -> Result<(), StoreError> {
                (**self).truncate(name, length)
            }

            fn sync(&self, name: &str) -> Result<(), StoreError> {
                (**self).sync(name)
            }

            fn rename(&self, from: &str, to: &str) -> Result<(), StoreError> {
                (**self).rename(from, to)
            }

            fn remove(&self, name: &str) -> Result<(), StoreError> {
                (**self).remove(name)
            }

            fn sync_directory(&self) -> Result<(), StoreError> {
                (**self).sync_directory()
            }
        }
    )*};
}

forward!(&S, Box<S>, Arc<S>);

/// The extension of a file that is not complete yet.
pub(crate) const STAGED: &str = ".new";

/// Writes a complete file beside the one that it will replace, and syncs it. `write` gets the staged file's name. Leaves
/// nothing behind on failure, if the system lets it.
pub(crate) fn stage(
    storage: &dyn Storage,
    name: &str,
    write: impl FnOnce(&str) -> Result<(), StoreError>,
) -> Result<String, StoreError> {
    let staged = format!("{name}{STAGED}");
    let attempt = || {
        if storage.length(&staged)?.is_some() {
            storage.truncate(&staged, 0)?;
        }
        write(&staged)?;
        storage.sync(&staged)
    };
    attempt().inspect_err(|_| discard(storage, &staged))?;
    Ok(staged)
}

/// Removes a file that nothing refers to. A leftover is harmless: it is overwritten, or removed when the store opens.
pub(crate) fn discard(storage: &dyn Storage, name: &str) {
    let _ = storage.remove(name);
}
