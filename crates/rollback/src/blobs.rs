//! The seam between the manager and the weights that it must not lose.

use crate::{Digest, StoreError};

/// Blobs named by their SHA-256.
///
/// What a mistake costs: a blob that comes back changed puts wrong weights into a host without a trace; one that is not durable
/// when [`put_all`](Self::put_all) returns makes an acknowledged state unreadable. One that is refused costs a retry.
pub trait Blobs: Send {
    /// Stores several blobs, durable when it returns, with one directory sync for all. What is stored already costs nothing.
    ///
    /// # Errors
    /// [`StoreError`]: some of them may be stored; storing them again is safe.
    fn put_all(&mut self, blobs: &[&[u8]]) -> Result<Vec<Digest>, StoreError>;

    /// Reads a blob and verifies it.
    ///
    /// # Errors
    /// [`StoreError::UnknownBlob`]; [`StoreError::CorruptBlob`] if the bytes were changed. The next
    /// [`put_all`](Self::put_all) of the same bytes then writes them again.
    fn get(&mut self, digest: &Digest) -> Result<Vec<u8>, StoreError>;

    /// Whether the blob is stored. Reads nothing.
    fn contains(&self, digest: &Digest) -> bool;

    /// Deletes the blobs for which `keep` is false. Reads and verifies none of them.
    ///
    /// # Errors
    /// [`StoreError`] if one could not be deleted; some may have been.
    fn retain(&mut self, keep: &mut dyn FnMut(&Digest) -> bool) -> Result<(), StoreError>;
}

/// Stands where no blobs were wired: stores nothing and holds nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoBlobs;

const NOT_WIRED: StoreError = StoreError::NotWired { what: "blob store" };

impl Blobs for NoBlobs {
    fn put_all(&mut self, _: &[&[u8]]) -> Result<Vec<Digest>, StoreError> {
        Err(NOT_WIRED)
    }

    fn get(&mut self, _: &Digest) -> Result<Vec<u8>, StoreError> {
        Err(NOT_WIRED)
    }

    fn contains(&self, _: &Digest) -> bool {
        false
    }

    fn retain(&mut self, _: &mut dyn FnMut(&Digest) -> bool) -> Result<(), StoreError> {
        Err(NOT_WIRED)
    }
}

macro_rules! forward {
    ($($holder:ty),*) => {$(
        impl<B: Blobs + ?Sized> Blobs for $holder {
            fn put_all(&mut self, blobs: &[&[u8]]) -> Result<Vec<Digest>, StoreError> {
                (**self).put_all(blobs)
            }

            fn get(&mut self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
                (**self).get(digest)
            }

            fn contains(&self, digest: &Digest) -> bool {
                (**self).contains(digest)
            }

            fn retain(&mut self, keep: &mut dyn FnMut(&Digest) -> bool) -> Result<(), StoreError> {
                (**self).retain(keep)
            }
        }
    )*};
}

forward!(&mut B, Box<B>);
