//! The seam to a source of kernels.

use std::path::PathBuf;

use kasmina_leyline::{BlueprintId, v1::BlueprintDescriptor};

use crate::container::excerpt;
use crate::{ArtifactError, Digests};

/// A source of kernels.
///
/// Its artifacts are not trusted: the loader verifies each of them. Its digests and descriptors are trusted, so it must
/// get both from whoever approved the blueprint, and not from the artifact. If it returns wrong digests, unapproved
/// weights are trained; if it wrongly fails, one graft fails.
///
/// [`fetch`](Self::fetch) may block on a disk or a network: a [`KernelLoadManager`](crate::KernelLoadManager) calls it
/// on threads of its own, and a [`KernelLoader`](crate::KernelLoader) makes its caller wait.
/// [`descriptor`](Self::descriptor) is called for orders, in the training thread.
pub trait KernelLibrary: Send + Sync {
    /// The catalogue's description of a blueprint.
    ///
    /// # Errors
    /// [`LibraryError::UnknownBlueprint`] if there is no such blueprint; other variants if the library cannot answer.
    fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LibraryError>;

    /// The artifact of a blueprint, unverified, with the digests to verify it against. If the library does not have it
    /// yet, it starts to get it and answers [`Fetched::Later`]. When the artifact has arrived, the owner of the library
    /// and the loader gives it to [`KernelLoader::deliver`](crate::KernelLoader::deliver).
    ///
    /// # Errors
    /// [`LibraryError::UnknownBlueprint`] if there is no such blueprint; other variants if the library cannot get it.
    fn fetch(&self, blueprint: &BlueprintId) -> Result<Fetched, LibraryError>;
}

/// A library's answer to a request for an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The artifact, unverified.
    Here(Artifact),
    /// The library is getting it. It does no harm to ask again.
    Later,
}

/// An artifact from a library, unverified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The content of the file.
    pub bytes: Vec<u8>,
    /// The digests from the catalogue.
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

/// Why a library could not answer.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, thiserror::Error, strum::IntoStaticStr)]
#[non_exhaustive]
pub enum LibraryError {
    #[strum(serialize = "unknown_blueprint")]
    #[error("there is no blueprint {blueprint}")]
    UnknownBlueprint { blueprint: BlueprintId },
    #[strum(serialize = "library_file_missing")]
    #[error("{} does not exist", path.display())]
    Missing { path: PathBuf },
    /// It is a link, a directory or a device.
    #[strum(serialize = "library_not_a_file")]
    #[error("{} is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    /// No more than the limit was read.
    #[strum(serialize = "library_file_too_large")]
    #[error("{} has more than {limit} bytes", path.display())]
    TooLarge { path: PathBuf, limit: usize },
    #[strum(serialize = "library_io")]
    #[error("{}: {detail}", path.display())]
    Io { path: PathBuf, detail: String },
    #[strum(serialize = "catalogue_malformed")]
    #[error("the catalogue {} is malformed: {detail}", path.display())]
    Catalogue { path: PathBuf, detail: String },
    #[strum(serialize = "catalogue_file_name")]
    #[error("the catalogue lists the file {name:?} for {blueprint}, which is not a plain file name")]
    FileName { blueprint: String, name: String },
    #[strum(serialize = "invalid_descriptor")]
    #[error("the descriptor of {blueprint:?} is invalid: {detail}")]
    Descriptor { blueprint: String, detail: String },
    #[error("the artifact is invalid: {0}")]
    Artifact(#[from] ArtifactError),
    /// A library on a network cannot be reached.
    #[strum(serialize = "library_unavailable")]
    #[error("the library is unavailable: {detail}")]
    Unavailable { detail: String },
    /// The library answered that it cannot serve the kernel. At most the first 80 characters of what it said.
    #[strum(serialize = "library_refused")]
    #[error("the library cannot serve the kernel: {detail:?}")]
    Refused { detail: String },
    /// At most the first 80 characters of it.
    #[strum(serialize = "artifact_reference")]
    #[error("the artifact reference {name:?} is not allowed")]
    Reference { name: String },
}

impl LibraryError {
    /// An artifact reference that is not allowed.
    #[must_use]
    pub fn reference(name: &str) -> Self {
        Self::Reference { name: excerpt(name) }
    }

    /// A stable name for telemetry.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        if let Self::Artifact(error) = self { error.reason() } else { self.into() }
    }
}

/// The null object: a library without kernels, so that every graft fails. A manager uses it if it was given no library.
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
