//! The loader: from a blueprint's name to a verified artifact.

use std::sync::Arc;
use std::time::Duration;

use kasmina_leyline::{BlueprintId, Monotonic, v1::BlueprintDescriptor};
use kasmina_memory::{Cache, CacheLimits, CacheStats, Evicted};

use crate::{Artifact, ArtifactError, ArtifactLimits, Fetched, KernelLibrary, LibraryError, VerifiedArtifact, verify};

/// Fetches kernels from a library, verifies them, and caches the verified ones.
///
/// It never returns a substitute: if the kernel is not available, that is an error.
#[derive(Debug)]
pub struct KernelLoader<L> {
    library: L,
    cache: Cache<BlueprintId, Arc<VerifiedArtifact>>,
    limits: ArtifactLimits,
}

/// The loader's answer to a request for a kernel.
#[derive(Clone, Debug, PartialEq)]
pub enum Loaded {
    /// The verified kernel.
    Ready(Arc<VerifiedArtifact>),
    /// The library is getting it. Give it to [`KernelLoader::deliver`] when it arrives.
    Later,
}

/// Why a kernel could not be loaded.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The artifact is not the one that the catalogue lists.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The artifact is valid, but its manifest is of another blueprint.
    #[error("expected a kernel of blueprint {expected}, got one of {got}")]
    WrongBlueprint { expected: BlueprintId, got: BlueprintId },
    /// The library is still getting it, and the caller cannot wait.
    #[error("the kernel of {blueprint} has not arrived yet")]
    NotHereYet { blueprint: BlueprintId },
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
    /// A loader with a cache of at most `cache_bytes` bytes of parameters in total, each kernel for at most `ttl`.
    #[must_use]
    pub fn new(library: L, cache_bytes: u64, ttl: Duration) -> Self {
        let cache = Cache::new(CacheLimits { bytes: cache_bytes, ttl });
        Self { library, cache, limits: ArtifactLimits::default() }
    }

    /// The same loader with other limits. They apply to artifacts that are fetched from now on.
    #[must_use]
    pub fn with_limits(mut self, limits: ArtifactLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The kernel of `blueprint`, from the cache, or fetched, verified and cached. A kernel that is too large for the cache is still
    /// returned, and fetched again the next time. [`Loaded::Later`] means that the library is getting it.
    ///
    /// # Errors
    /// [`LoadError`] names the check that failed. Then nothing is cached, so the next call asks the library again.
    pub fn load(&mut self, blueprint: &BlueprintId, now: Monotonic) -> Result<Loaded, LoadError> {
        if let Some(artifact) = self.cache.get(blueprint, now) {
            return Ok(Loaded::Ready(Arc::clone(artifact)));
        }
        match self.library.fetch(blueprint)? {
            Fetched::Here(artifact) => self.deliver(blueprint, &artifact, now).map(Loaded::Ready),
            Fetched::Later => Ok(Loaded::Later),
        }
    }

    /// Takes an artifact that has arrived, possibly long after [`load`](Self::load) asked for it. It is verified exactly like an
    /// artifact that the library had at once, and cached.
    ///
    /// # Errors
    /// [`LoadError`] names the check that failed. Then nothing is cached.
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
        // A kernel that is too large for the cache is not a failure; the cache counts it.
        let _ = self.cache.insert(blueprint.clone(), Arc::clone(&artifact), bytes, now);
        Ok(artifact)
    }

    /// The catalogue's description of `blueprint`. It is not cached.
    ///
    /// # Errors
    /// [`LoadError::Library`].
    pub fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LoadError> {
        Ok(self.library.descriptor(blueprint)?)
    }

    /// The library.
    #[must_use]
    pub fn library(&self) -> &L {
        &self.library
    }

    /// Drops the cached kernels that have expired, for example at the end of an epoch.
    pub fn collect(&mut self, now: Monotonic) -> Evicted {
        self.cache.collect(now)
    }

    /// Drops all cached kernels. Modules that were already built are not affected.
    pub fn purge(&mut self) -> Evicted {
        self.cache.purge()
    }

    /// The cache's content and counters.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        self.cache.stats()
    }
}
