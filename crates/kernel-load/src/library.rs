//! Where kernels come from.

use std::path::PathBuf;

use kasmina_leyline::{BlueprintId, v1::BlueprintDescriptor};

use crate::{ArtifactError, Digests};

/// A source of kernels.
///
/// What it hands out is not trusted: the loader verifies every artifact. What it says about digests and descriptors is,
/// so a library must have both from whoever approved the blueprint, not from the artifact.
///
/// Both methods may block on a disk or a network; they are called from the control path, never between two batches.
pub trait KernelLibrary: Send {
    /// What the catalogue says of a blueprint.
    ///
    /// # Errors
    /// [`LibraryError::UnknownBlueprint`] if there is no such blueprint, and whatever keeps the library from saying.
    fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LibraryError>;

    /// The artifact of a blueprint, unverified, with the digests to verify it against; or word that it comes later.
    /// A library that answers [`Fetched::Later`] has begun to get the artifact. Whoever owns both hands it to
    /// [`KernelLoader::deliver`](crate::KernelLoader::deliver) when it has arrived.
    ///
    /// # Errors
    /// [`LibraryError::UnknownBlueprint`] if there is no such blueprint, and whatever keeps the library from handing it
    /// over.
    fn fetch(&self, blueprint: &BlueprintId) -> Result<Fetched, LibraryError>;
}

/// A library's answer to a request for an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The artifact, which nobody has verified yet.
    Here(Artifact),
    /// The library is getting it. Asking again does no harm.
    Later,
}

/// An artifact as it came out of a library: unverified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The content of the file.
    pub bytes: Vec<u8>,
    /// The digests that the catalogue promises.
    pub digests: Digests,
}

impl Fetched {
    /// The artifact, if it is here.
    #[must_use]
    pub fn here(self) -> Option<Artifact> {
        match self {
            Self::Here(artifact) => Some(artifact),
            Self::Later => None,
        }
    }
}

/// Why a library does not hand something over.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, thiserror::Error, strum::IntoStaticStr)]
#[non_exhaustive]
pub enum LibraryError {
    /// Nothing in the catalogue has that name.
    #[strum(serialize = "unknown_blueprint")]
    #[error("there is no blueprint {blueprint}")]
    UnknownBlueprint { blueprint: BlueprintId },
    /// A file that should be there is not.
    #[strum(serialize = "library_file_missing")]
    #[error("{} does not exist", path.display())]
    Missing { path: PathBuf },
    /// Not a regular file: a link, a directory, a device.
    #[strum(serialize = "library_not_a_file")]
    #[error("{} is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    /// A file beyond the limit. No more than the limit was read.
    #[strum(serialize = "library_file_too_large")]
    #[error("{} has more than {limit} bytes", path.display())]
    TooLarge { path: PathBuf, limit: usize },
    /// The operating system refused.
    #[strum(serialize = "library_io")]
    #[error("{}: {detail}", path.display())]
    Io { path: PathBuf, detail: String },
    /// The catalogue is not one.
    #[strum(serialize = "catalogue_malformed")]
    #[error("the catalogue {} is malformed: {detail}", path.display())]
    Catalogue { path: PathBuf, detail: String },
    /// A catalogue that names something other than a file beside it.
    #[strum(serialize = "catalogue_file_name")]
    #[error("the catalogue gives {blueprint} the file {name:?}, which is not a plain file name")]
    FileName { blueprint: String, name: String },
    /// A descriptor that cannot be published.
    #[strum(serialize = "invalid_descriptor")]
    #[error("the descriptor of {blueprint:?} is invalid: {detail}")]
    Descriptor { blueprint: String, detail: String },
    /// An artifact that cannot be published.
    #[error("the artifact is invalid: {0}")]
    Artifact(#[from] ArtifactError),
    /// The library cannot be reached. For libraries behind a network.
    #[strum(serialize = "library_unavailable")]
    #[error("the library is unavailable: {detail}")]
    Unavailable { detail: String },
}

impl LibraryError {
    /// A stable name for telemetry.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        if let Self::Artifact(error) = self { error.reason() } else { self.into() }
    }
}

/// A library without kernels: what a manager has that was not given any. Every graft fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoKernels;

impl KernelLibrary for NoKernels {
    fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LibraryError> {
        Err(LibraryError::UnknownBlueprint { blueprint: blueprint.clone() })
    }

    fn fetch(&self, blueprint: &BlueprintId) -> Result<Fetched, LibraryError> {
        Err(LibraryError::UnknownBlueprint { blueprint: blueprint.clone() })
    }
}

impl<L: KernelLibrary + ?Sized> KernelLibrary for Box<L> {
    fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LibraryError> {
        (**self).descriptor(blueprint)
    }

    fn fetch(&self, blueprint: &BlueprintId) -> Result<Fetched, LibraryError> {
        (**self).fetch(blueprint)
    }
}
