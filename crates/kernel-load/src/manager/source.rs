//! The ports to where kernels come from.

use std::path::PathBuf;

use kasmina_leyline::BlueprintId;
use kasmina_leyline::v1::{BlueprintDescriptor, KernelPrefetchRequest};

use super::Answers;
use super::flights::{Job, Step};
use crate::{Artifact, Fetched, KernelLibrary, LibraryError, LoadError, NoKernels, catalogue, directory};

/// A library that is asked by a message and answers by one, which goes to [`Answers`](crate::Answers).
///
/// Its answers say which bytes are the approved ones, so they must come from an authentic sender: check the signature
/// of the envelope first. If a forged answer gets through, unapproved weights are trained; if an honest one is lost,
/// the request times out and one graft fails.
pub trait KernelMessages: Send + Sync {
    /// The catalogue's description of a blueprint. Must not wait for a network.
    ///
    /// # Errors
    /// [`LibraryError::UnknownBlueprint`] if there is no such blueprint; other variants if the library cannot answer.
    fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LibraryError>;

    /// Sends a request. It is called in the training thread: it must not wait for a network.
    ///
    /// # Errors
    /// [`LibraryError::Unavailable`] if the message cannot even be queued. Then the load fails.
    fn request(&self, request: KernelPrefetchRequest) -> Result<(), LibraryError>;

    /// Hands over the answers that have come. The manager calls this before each poll and while it waits, in the
    /// training thread: it must not wait for a network. By default it does nothing, for a port whose answers are handed over
    /// by somebody else.
    fn receive(&self, _answers: &Answers) {}
}

/// Reads the artifacts that a message names.
///
/// Its bytes are not trusted: they must match both digests of the message. It is called on the manager's threads and
/// may block.
pub trait ArtifactReader: Send + Sync {
    /// The content of `artifact_ref`, which comes from outside and can be any string.
    ///
    /// # Errors
    /// [`LibraryError::Reference`] for a reference that is not allowed; [`LibraryError::TooLarge`] if there
    /// are more than `limit` bytes, which were not read; other variants if it cannot be read.
    fn read(&self, artifact_ref: &str, limit: usize) -> Result<Vec<u8>, LibraryError>;
}

/// Reads artifacts in one directory. A reference is the name of a regular file in it, never a path or a link.
#[derive(Clone, Debug)]
pub struct DirectoryReader {
    directory: PathBuf,
}

impl DirectoryReader {
    /// A reader of this directory.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }
}

impl ArtifactReader for DirectoryReader {
    fn read(&self, artifact_ref: &str, limit: usize) -> Result<Vec<u8>, LibraryError> {
        if !catalogue::is_plain(artifact_ref) {
            return Err(LibraryError::reference(artifact_ref));
        }
        directory::read(&self.directory.join(artifact_ref), limit)
    }
}

impl<M: KernelMessages + ?Sized> KernelMessages for Box<M> {
    fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LibraryError> {
        (**self).descriptor(blueprint)
    }

    fn request(&self, request: KernelPrefetchRequest) -> Result<(), LibraryError> {
        (**self).request(request)
    }

    fn receive(&self, answers: &Answers) {
        (**self).receive(answers);
    }
}

impl<R: ArtifactReader + ?Sized> ArtifactReader for Box<R> {
    fn read(&self, artifact_ref: &str, limit: usize) -> Result<Vec<u8>, LibraryError> {
        (**self).read(artifact_ref, limit)
    }
}

/// Nothing can be sent to the library that is not there.
impl KernelMessages for NoKernels {
    fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LibraryError> {
        KernelLibrary::descriptor(self, blueprint)
    }

    fn request(&self, _request: KernelPrefetchRequest) -> Result<(), LibraryError> {
        Err(LibraryError::Unavailable { detail: "the manager was given no library".into() })
    }
}

/// No reference is allowed.
impl ArtifactReader for NoKernels {
    fn read(&self, artifact_ref: &str, _limit: usize) -> Result<Vec<u8>, LibraryError> {
        Err(LibraryError::reference(artifact_ref))
    }
}

/// Where a manager's kernels come from.
pub(crate) enum Source {
    Library(Box<dyn KernelLibrary>),
    Messages { port: Box<dyn KernelMessages>, reader: Box<dyn ArtifactReader> },
}

impl Source {
    pub(crate) const fn by_message(&self) -> bool {
        matches!(self, Self::Messages { .. })
    }

    pub(crate) fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LibraryError> {
        match self {
            Self::Library(library) => library.descriptor(blueprint),
            Self::Messages { port, .. } => port.descriptor(blueprint),
        }
    }

    /// Sends a request to a library that answers by messages.
    pub(crate) fn request(&self, request: KernelPrefetchRequest) -> Result<(), LibraryError> {
        match self {
            Self::Library(_) => Ok(()),
            Self::Messages { port, .. } => port.request(request),
        }
    }

    /// Takes the answers that have come to a library that answers by messages.
    pub(crate) fn receive(&self, answers: &Answers) {
        match self {
            Self::Library(_) => {}
            Self::Messages { port, .. } => port.receive(answers),
        }
    }

    /// The artifact that a job is about, unverified. May block.
    pub(crate) fn get(&self, Job { blueprint, step, limit }: Job) -> Result<Fetched, LoadError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(match (step, self) {
            (Step::Check(delivered), _) => Fetched::Here(delivered?),
            (Step::Fetch, Self::Library(library)) => library.fetch(&blueprint)?,
            (Step::Read { reference, digests }, Self::Messages { reader, .. }) => {
                Fetched::Here(Artifact { bytes: reader.read(&reference, limit)?, digests })
            }
            // The manager's state makes neither.
            (Step::Fetch, Self::Messages { .. }) | (Step::Read { .. }, Self::Library(_)) => {
                return Err(LibraryError::UnknownBlueprint { blueprint }.into());
            }
        })
    }
}
