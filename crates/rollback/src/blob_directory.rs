//! Blobs in files of their own.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    Blobs, Digest, Storage, StoreError,
    storage::{STAGED, discard, stage},
};

/// The extension of a blob's file.
pub(crate) const BLOB: &str = ".blob";

/// The blobs of a [`Storage`], each in a file `<sha256>.blob` that holds its bytes and nothing else.
pub struct BlobDirectory {
    storage: Arc<dyn Storage>,
    /// The blobs whose bytes and name are durable.
    durable: BTreeSet<Digest>,
}

impl BlobDirectory {
    /// Lists what is there; opens no blob. Removes what interrupted writes left over.
    ///
    /// # Errors
    /// [`StoreError`]: the directory cannot be read, cleaned or synced.
    pub fn open(storage: Arc<dyn Storage>) -> Result<Self, StoreError> {
        let mut durable = BTreeSet::new();
        for name in storage.list()? {
            if name.strip_suffix(STAGED).is_some_and(|name| digest(name).is_some()) {
                storage.remove(&name)?;
            }
            durable.extend(digest(&name));
        }
        // A killed owner may have renamed a file without syncing the directory. From now on it counts as stored.
        storage.sync_directory()?;
        Ok(Self { storage, durable })
    }

    fn publish(&self, staged: &[(Digest, String)]) -> Result<(), StoreError> {
        for (digest, staged) in staged {
            self.storage.rename(staged, &name(digest))?;
        }
        self.storage.sync_directory()
    }
}

impl Blobs for BlobDirectory {
    /// For each new blob one file sync, then one directory sync.
    fn put_all(&mut self, blobs: &[&[u8]]) -> Result<Vec<Digest>, StoreError> {
        let digests: Vec<_> = blobs.iter().map(|bytes| Digest::of(bytes)).collect();
        let mut staged: Vec<(Digest, String)> = Vec::new();
        let mut failure = None;
        for (digest, bytes) in digests.iter().zip(blobs) {
            if self.durable.contains(digest) || staged.iter().any(|(other, _)| other == digest) {
                continue;
            }
            match stage(&*self.storage, &name(digest), |staged| self.storage.write(staged, 0, bytes)) {
                Ok(file) => staged.push((*digest, file)),
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        if failure.is_none() && !staged.is_empty() {
            failure = self.publish(&staged).err();
        }
        if let Some(error) = failure {
            for (digest, file) in &staged {
                discard(&*self.storage, file);
                discard(&*self.storage, &name(digest));
            }
            return Err(error);
        }
        self.durable.extend(staged.into_iter().map(|(digest, _)| digest));
        Ok(digests)
    }

    fn get(&mut self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        if !self.durable.contains(digest) {
            return Err(StoreError::UnknownBlob { digest: *digest });
        }
        let name = name(digest);
        let Some(length) = self.storage.length(&name)? else {
            self.durable.remove(digest);
            return Err(StoreError::UnknownBlob { digest: *digest });
        };
        let bytes = self.storage.read(&name, 0..length)?;
        let got = Digest::of(&bytes);
        if got == *digest {
            return Ok(bytes);
        }
        self.durable.remove(digest);
        Err(StoreError::CorruptBlob { path: self.storage.path(&name), expected: *digest, got })
    }

    fn contains(&self, digest: &Digest) -> bool {
        self.durable.contains(digest)
    }

    /// A removal is not synced: after a power cut the blob may be back, and the next sweep removes it again.
    fn retain(&mut self, keep: &mut dyn FnMut(&Digest) -> bool) -> Result<(), StoreError> {
        let surplus: Vec<_> = self.durable.iter().copied().filter(|digest| !keep(digest)).collect();
        for digest in surplus {
            // Removed or not, a later `put_all` must not count on it.
            self.durable.remove(&digest);
            if let Err(error) = self.storage.remove(&name(&digest)) {
                if self.storage.length(&name(&digest)).is_ok_and(|length| length.is_some()) {
                    self.durable.insert(digest);
                }
                return Err(error);
            }
        }
        Ok(())
    }
}

/// The file of a blob.
pub(crate) fn name(digest: &Digest) -> String {
    format!("{digest}{BLOB}")
}

/// The blob that a file holds, by its name.
pub(crate) fn digest(name: &str) -> Option<Digest> {
    name.strip_suffix(BLOB)?.parse().ok()
}

impl std::fmt::Debug for BlobDirectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobDirectory").field("blobs", &self.durable.len()).finish_non_exhaustive()
    }
}
