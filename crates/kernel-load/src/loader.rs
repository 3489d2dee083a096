//! From a blueprint's name to a verified artifact.

use std::sync::Arc;
use std::time::Duration;

use kasmina_leyline::{BlueprintId, Monotonic, v1::BlueprintDescriptor};
use kasmina_memory::{Cache, CacheLimits, CacheStats, Evicted};

use crate::{Artifact, ArtifactError, ArtifactLimits, Fetched, KernelLibrary, LibraryError, VerifiedArtifact, verify};

/// Fetches kernels from a library, verifies them and keeps the verified ones for a while.
///
/// It never returns another kernel than the one asked for: a kernel that cannot be had is an error.
#[derive(Debug)]
pub struct KernelLoader<L> {
    library: L,
    cache: Cache<BlueprintId, Arc<VerifiedArtifact>>,
    limits: ArtifactLimits,
}

/// The loader's answer to a request for a kernel.
#[derive(Clone, Debug, PartialEq)]
pub enum Loaded {
    /// The kernel, verified.
    Ready(Arc<VerifiedArtifact>),
    /// The library is getting it. [`KernelLoader::deliver`] takes it when it arrives.
    Later,
}

/// Why a kernel cannot be had.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The library refuses.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The artifact is not the one that the catalogue promises.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The artifact is sound, but another blueprint's.
    #[error("asked for blueprint {expected}, the artifact is of {got}")]
    WrongBlueprint {
        /// The blueprint that was asked for.
        expected: BlueprintId,
        /// The manifest's.
        got: BlueprintId,
    },
    /// The library is still getting it, and the caller cannot wait.
    #[error("the kernel of {blueprint} is on its way and not here yet")]
    NotHereYet {
        /// The blueprint that was asked for.
        blueprint: BlueprintId,
    },
}

impl Loaded {
    /// The kernel, for a caller that cannot wait for `blueprint`.
    ///
    /// # Errors
    /// [`LoadError::NotHereYet`].
    pub fn ready(self, blueprint: &BlueprintId) -> Result<Arc<VerifiedArtifact>, LoadError> {
        match self {
            Self::Ready(artifact) => Ok(artifact),
            Self::Later => Err(LoadError::NotHereYet { blueprint: blueprint.clone() }),
        }
    }
}

impl LoadError {
    /// A stable name for telemetry.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Library(error) => error.reason(),
            Self::Artifact(error) => error.reason(),
            Self::WrongBlueprint { .. } => "wrong_blueprint",
            Self::NotHereYet { .. } => "kernel_not_here_yet",
        }
    }
}

impl<L: KernelLibrary> KernelLoader<L> {
    /// A loader that keeps kernels of at most `cache_bytes` bytes of parameters together, each for `ttl` at most.
    #[must_use]
    pub fn new(library: L, cache_bytes: u64, ttl: Duration) -> Self {
        let cache = Cache::new(CacheLimits { bytes: cache_bytes, ttl });
        Self { library, cache, limits: ArtifactLimits::default() }
    }

    /// The same loader with other limits. They hold for what is fetched from now on.
    #[must_use]
    pub fn with_limits(mut self, limits: ArtifactLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The kernel of `blueprint`: from the cache, or fetched, verified and kept. One that is too large for the cache is
    /// returned all the same and fetched again the next time. [`Loaded::Later`] means that the library is getting it.
    ///
    /// # Errors
    /// [`LoadError`], naming the check that failed. Nothing is kept then, so the next call asks the library again.
    pub fn load(&mut self, blueprint: &BlueprintId, now: Monotonic) -> Result<Loaded, LoadError> {
        if let Some(artifact) = self.cache.get(blueprint, now) {
            return Ok(Loaded::Ready(Arc::clone(artifact)));
        }
        match self.library.fetch(blueprint)? {
            Fetched::Here(artifact) => self.deliver(blueprint, &artifact, now).map(Loaded::Ready),
            Fetched::Later => Ok(Loaded::Later),
        }
    }

    /// Takes an artifact that has arrived, perhaps long after [`load`](Self::load) asked for it. It is verified exactly like
    /// one that the library had at once, and kept.
    ///
    /// # Errors
    /// [`LoadError`], naming the check that failed. Nothing is kept then.
    pub fn deliver(
        &mut self,
        blueprint: &BlueprintId,
        artifact: &Artifact,
        now: Monotonic,
    ) -> Result<Arc<VerifiedArtifact>, LoadError> {
        let artifact = verify(&artifact.bytes, &artifact.digests, &self.limits)?;
        let got = &artifact.manifest().blueprint_id;
        if got != blueprint {
            return Err(LoadError::WrongBlueprint { expected: blueprint.clone(), got: got.clone() });
        }
        let bytes = artifact.parameters_bytes();
        let artifact = Arc::new(artifact);
        // Too large for the cache is not a failure; the cache counts it.
        let _ = self.cache.insert(blueprint.clone(), Arc::clone(&artifact), bytes, now);
        Ok(artifact)
    }

    /// What the library's catalogue says of `blueprint`. Not cached.
    ///
    /// # Errors
    /// [`LoadError::Library`].
    pub fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LoadError> {
        Ok(self.library.descriptor(blueprint)?)
    }

    /// Where the kernels come from.
    #[must_use]
    pub fn library(&self) -> &L {
        &self.library
    }

    /// Forgets the kernels whose time is up, for example at the end of an epoch.
    pub fn collect(&mut self, now: Monotonic) -> Evicted {
        self.cache.collect(now)
    }

    /// Forgets every kernel. Modules that were built stay as they are.
    pub fn purge(&mut self) -> Evicted {
        self.cache.purge()
    }

    /// What the cache holds and how it did.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.cache.stats()
    }
}
