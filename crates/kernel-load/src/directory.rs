//! A library in a directory.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kasmina_leyline::{BlueprintId, v1::BlueprintDescriptor};

use crate::atomic;
use crate::catalogue::{self, Catalogue, Entry};
use crate::{Artifact, ArtifactLimits, Digests, Fetched, KernelLibrary, LibraryError};

/// A library of artifacts in one directory, with a `catalogue.json` beside them.
///
/// The catalogue is an object from blueprint id to
/// `{"artifact", "checksum", "guard_digest", "name", "tier", "allowed_parameters", "risk", "stage", "quarantine_only",
/// "approval_required", "description"}`. `artifact` is the name of a file in the directory, and the digests are those of
/// [`Digests`]. The others are the fields of the descriptor, with `tier` one of `unspecified`, `safe`, `experimental` and
/// `high_risk`. `allowed_parameters`, `stage` and `description` can be absent.
///
/// Only regular files in the directory itself are read, never another path or a link. The catalogue is read once, by
/// [`open`](Self::open).
#[derive(Debug)]
pub struct DirectoryLibrary {
    directory: PathBuf,
    catalogue: Catalogue,
    limits: ArtifactLimits,
}

impl DirectoryLibrary {
    /// Opens the library in `directory`.
    ///
    /// # Errors
    /// [`LibraryError`] if the catalogue is missing, larger than 16 MiB, not a regular file, malformed, or holds an
    /// invalid name or descriptor.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self, LibraryError> {
        let directory = directory.into();
        let path = directory.join(catalogue::FILE);
        let catalogue = catalogue::parse(&read(&path, catalogue::MAX_BYTES)?, &path)?;
        Ok(Self { directory, catalogue, limits: ArtifactLimits::default() })
    }

    /// Opens the library in `directory`. If there is none, creates the directory and an empty catalogue.
    ///
    /// # Errors
    /// As [`open`](Self::open), and [`LibraryError::Io`] if the directory or the catalogue cannot be written.
    pub fn open_or_create(directory: impl Into<PathBuf>) -> Result<Self, LibraryError> {
        let directory = directory.into();
        if fs::symlink_metadata(directory.join(catalogue::FILE))
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        {
            atomic::create_directory(&directory).map_err(|error| refused(&directory, &error))?;
            let library =
                Self { directory: directory.clone(), catalogue: Catalogue::new(), limits: ArtifactLimits::default() };
            library.write_catalogue(&library.catalogue)?;
        }
        Self::open(directory)
    }

    /// The same library with other limits. `max_bytes` applies to reading, and all limits apply to publishing.
    #[must_use]
    pub fn with_limits(mut self, limits: ArtifactLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The blueprints in the catalogue, in the order of their names.
    pub fn blueprints(&self) -> impl Iterator<Item = &BlueprintId> {
        self.catalogue.keys()
    }

    /// The file name and the digests of a blueprint's artifact, as the catalogue has them.
    ///
    /// # Errors
    /// [`LibraryError::UnknownBlueprint`].
    pub fn reference(&self, blueprint: &BlueprintId) -> Result<(&str, Digests), LibraryError> {
        let entry = self.entry(blueprint)?;
        Ok((&entry.artifact, entry.digests()))
    }

    /// Adds a kernel, or replaces the one of the same blueprint. The artifact is verified first.
    ///
    /// The artifact's file is named after its checksum. Both files are replaced atomically, the catalogue last, so a reader sees the
    /// library with or without the kernel, and never half of it. Only one process may publish at a time. The file of a replaced
    /// artifact is not deleted.
    ///
    /// # Errors
    /// [`LibraryError::Artifact`] if the artifact does not verify; [`LibraryError::Descriptor`] if the descriptor is of another
    /// blueprint or has a NaN; [`LibraryError::Io`] if writing fails. Then the catalogue has not changed.
    pub fn publish(&mut self, artifact: &[u8], descriptor: BlueprintDescriptor) -> Result<Digests, LibraryError> {
        let (blueprint, entry) = Entry::of(artifact, descriptor, &self.limits)?;
        self.write(&entry.artifact, artifact)?;
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
        let json = catalogue::write(catalogue, &self.directory.join(catalogue::FILE))?;
        self.write(catalogue::FILE, &json)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), LibraryError> {
        let path = self.directory.join(name);
        atomic::replace(&self.directory, name.as_ref(), bytes).map_err(|error| refused(&path, &error))
    }
}

impl KernelLibrary for DirectoryLibrary {
    fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LibraryError> {
        Ok(self.entry(blueprint)?.descriptor(blueprint))
    }

    fn fetch(&self, blueprint: &BlueprintId) -> Result<Fetched, LibraryError> {
        let entry = self.entry(blueprint)?;
        let bytes = read(&self.directory.join(&entry.artifact), self.limits.max_bytes)?;
        Ok(Fetched::Here(Artifact { bytes, digests: entry.digests() }))
    }
}

/// Reads a regular file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: usize) -> Result<Vec<u8>, LibraryError> {
    let refused = |error: io::Error| refused(path, &error);
    let metadata = fs::symlink_metadata(path).map_err(refused)?;
    if !metadata.is_file() {
        return Err(LibraryError::NotAFile { path: path.into() });
    }
    let most = (limit as u64).saturating_add(1);
    // One more than the file has, so that its end is found without growing.
    let expected = metadata.len().saturating_add(1).min(most);
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(limit));
    File::open(path).map_err(refused)?.take(most).read_to_end(&mut bytes).map_err(refused)?;
    if bytes.len() > limit {
        return Err(LibraryError::TooLarge { path: path.into(), limit });
    }
    Ok(bytes)
}

fn refused(path: &Path, error: &io::Error) -> LibraryError {
    let path = path.to_owned();
    if error.kind() == io::ErrorKind::NotFound {
        return LibraryError::Missing { path };
    }
    LibraryError::Io { path, detail: error.to_string() }
}
