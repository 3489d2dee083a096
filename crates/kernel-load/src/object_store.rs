//! A library in an object store.

use std::sync::Arc;
use std::time::Duration;

use kasmina_leyline::{BlueprintId, v1::BlueprintDescriptor};

use crate::bucket::Bucket;
use crate::catalogue::{self, Catalogue, Entry};
use crate::{Artifact, ArtifactLimits, ArtifactReader, Digests, Fetched, KernelLibrary, LibraryError};

/// Reads artifacts in one folder of an object store (feature `object-store`). A reference is the name of an object in
/// it, never a path. A clone is a handle on the same one.
///
/// All methods block, for at most the time that was given. The store's client runs on one thread that ends with the
/// last handle.
#[derive(Clone, Debug)]
pub struct ObjectStoreReader {
    bucket: Arc<Bucket>,
}

impl ObjectStoreReader {
    /// Opens the folder that `url` names: `file:///var/kernels` or `memory:///`; with the features `aws`, `gcp` and
    /// `azure` also `s3://bucket/folder`, `gs://bucket/folder` and `az://account/container/folder`. `options` are the
    /// keys of the crate `object_store`, for example `("aws_region", "eu-central-1")`; others are ignored. Nothing is
    /// asked of the store yet.
    ///
    /// # Errors
    /// [`LibraryError::Unavailable`] if the URL or an option is malformed or the feature is off.
    pub fn open(
        url: &str,
        options: impl IntoIterator<Item = (String, String)>,
        timeout: Duration,
    ) -> Result<Self, LibraryError> {
        Ok(Self { bucket: Arc::new(Bucket::open(url, options, timeout)?) })
    }
}

impl ArtifactReader for ObjectStoreReader {
    fn read(&self, artifact_ref: &str, limit: usize) -> Result<Vec<u8>, LibraryError> {
        if !catalogue::is_plain(artifact_ref) {
            return Err(LibraryError::reference(artifact_ref));
        }
        self.bucket.get(artifact_ref, limit)
    }
}

/// A library of artifacts in one folder of an object store (feature `object-store`), laid out like a
/// [`DirectoryLibrary`](crate::DirectoryLibrary): a folder that one has written, the other reads.
///
/// The catalogue is read once, by [`open`](Self::open). In a `file` store links are followed.
#[derive(Debug)]
pub struct ObjectStoreLibrary {
    reader: ObjectStoreReader,
    catalogue: Catalogue,
    limits: ArtifactLimits,
}

impl ObjectStoreLibrary {
    /// Opens the library in a folder.
    ///
    /// # Errors
    /// [`LibraryError`] if the catalogue cannot be read, is larger than 16 MiB or malformed, or holds an
    /// invalid name or descriptor.
    pub fn open(reader: ObjectStoreReader) -> Result<Self, LibraryError> {
        let bytes = reader.bucket.get(catalogue::FILE, catalogue::MAX_BYTES)?;
        let catalogue = catalogue::parse(&bytes, &reader.bucket.full_name(catalogue::FILE))?;
        Ok(Self { reader, catalogue, limits: ArtifactLimits::default() })
    }

    /// Opens the library in a folder. If there is none, writes an empty catalogue.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`LibraryError::Unavailable`] if the catalogue cannot be written.
    pub fn open_or_create(reader: ObjectStoreReader) -> Result<Self, LibraryError> {
        match Self::open(reader.clone()) {
            Err(LibraryError::Missing { .. }) => {
                let library = Self { reader, catalogue: Catalogue::new(), limits: ArtifactLimits::default() };
                library.write_catalogue(&library.catalogue)?;
                Ok(library)
            }
            opened => opened,
        }
    }

    /// The same library with other limits. `max_bytes` applies to reading, and all limits apply to publishing.
    #[must_use]
    pub fn with_limits(mut self, limits: ArtifactLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Adds a kernel, or replaces the one of the same blueprint. The artifact is verified first, and the catalogue is
    /// written last. Only one process may publish at a time.
    ///
    /// # Errors
    /// [`LibraryError::Artifact`] if the artifact does not verify; [`LibraryError::Descriptor`] if the
    /// descriptor is of another blueprint or has a NaN; [`LibraryError::Unavailable`] if the store refuses. Then the
    /// catalogue has not changed.
    pub fn publish(&mut self, artifact: &[u8], descriptor: BlueprintDescriptor) -> Result<Digests, LibraryError> {
        let (blueprint, entry) = Entry::of(artifact, descriptor, &self.limits)?;
        self.reader.bucket.put(&entry.artifact, artifact.to_vec())?;
        let digests = entry.digests();
        let mut catalogue = self.catalogue.clone();
        catalogue.insert(blueprint, entry);
        self.write_catalogue(&catalogue)?;
        self.catalogue = catalogue;
        Ok(digests)
    }

    fn entry(&self, blueprint: &BlueprintId) -> Result<&Entry, LibraryError> {
        let unknown = || LibraryError::UnknownBlueprint { blueprint: blueprint.clone() };
        self.catalogue.get(blueprint).ok_or_else(unknown)
    }

    fn write_catalogue(&self, catalogue: &Catalogue) -> Result<(), LibraryError> {
        let json = catalogue::write(catalogue, &self.reader.bucket.full_name(catalogue::FILE))?;
        self.reader.bucket.put(catalogue::FILE, json)
    }
}

impl KernelLibrary for ObjectStoreLibrary {
    fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LibraryError> {
        Ok(self.entry(blueprint)?.descriptor(blueprint))
    }

    fn fetch(&self, blueprint: &BlueprintId) -> Result<Fetched, LibraryError> {
        let entry = self.entry(blueprint)?;
        let bytes = self.reader.bucket.get(&entry.artifact, self.limits.max_bytes)?;
        Ok(Fetched::Here(Artifact { bytes, digests: entry.digests() }))
    }
}
