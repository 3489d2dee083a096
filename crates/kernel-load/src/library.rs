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
    /// [`LibraryError::UnknownBlueprint`] where there is no such blueprint, and whatever keeps the library from saying.
    fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LibraryError>;

    /// The artifact of a blueprint, unverified, and the digests to verify it against.
    ///
    /// # Errors
    /// [`LibraryError::UnknownBlueprint`] where there is no such blueprint, and whatever keeps the library from handing
    /// it over.
    fn fetch(&self, blueprint: &BlueprintId) -> Result<Fetched, LibraryError>;
}

/// An artifact as it came out of a library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The file.
    pub bytes: Vec<u8>,
    /// What the catalogue promises.
    pub digests: Digests,
}

/// Why a library does not hand something over.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LibraryError {
    /// Nothing in the catalogue has that name.
    #[error("there is no blueprint {blueprint}")]
    UnknownBlueprint {
        /// The name.
        blueprint: BlueprintId,
    },
    /// A file that should be there is not.
    #[error("{} does not exist", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Not a regular file: a link, a directory, a device.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A file beyond the limit. No more than the limit was read.
    #[error("{} has more than {limit} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: usize,
    },
    /// The operating system refused.
    #[error("{}: {detail}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        detail: String,
    },
    /// The catalogue is not one.
    #[error("the catalogue {} is malformed: {detail}", path.display())]
    Catalogue {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A catalogue that names something other than a file beside it.
    #[error("the catalogue gives {blueprint} the file {name:?}, which is not a plain file name")]
    FileName {
        /// Whose artifact.
        blueprint: String,
        /// The name, at most 80 characters of it.
        name: String,
    },
    /// A descriptor that cannot be published.
    #[error("the descriptor of {blueprint:?} is invalid: {detail}")]
    Descriptor {
        /// Its blueprint.
        blueprint: String,
        /// What is wrong.
        detail: String,
    },
    /// An artifact that cannot be published.
    #[error("the artifact is invalid: {0}")]
    Artifact(#[from] ArtifactError),
    /// The library cannot be reached. For libraries behind a network.
    #[error("the library is unavailable: {detail}")]
    Unavailable {
        /// What is known.
        detail: String,
    },
}

impl LibraryError {
    /// A stable name for telemetry.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownBlueprint { .. } => "unknown_blueprint",
            Self::Missing { .. } => "library_file_missing",
            Self::NotAFile { .. } => "library_not_a_file",
            Self::TooLarge { .. } => "library_file_too_large",
            Self::Io { .. } => "library_io",
            Self::Catalogue { .. } => "catalogue_malformed",
            Self::FileName { .. } => "catalogue_file_name",
            Self::Descriptor { .. } => "invalid_descriptor",
            Self::Artifact(error) => error.reason(),
            Self::Unavailable { .. } => "library_unavailable",
        }
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
