//! The loader: from a blueprint's name to a verified artifact.

use std::sync::Arc;
use std::time::Duration;

use kasmina_leyline::{BlueprintId, Monotonic, v1::BlueprintDescriptor};
use kasmina_memory::{Cache, CacheLimits, CacheStats, Evicted};
use kasmina_safety::BreakerOpen;

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
    /// It did not arrive before the request's deadline.
    #[error("the kernel of {blueprint} has not arrived after {after:?}")]
    Timeout { blueprint: BlueprintId, after: Duration },
    /// The library has failed again and again.
    #[error("the kernel library is not asked: {0}")]
    Breaker(BreakerOpen),
    #[error("{limit} requests for kernels are outstanding, and no more are allowed")]
    TooManyRequests { limit: usize },
    /// No more than this may be in flight, and the artifact alone exceeds it.
    #[error("the artifact has {bytes} bytes, at most {limit} may be in flight")]
    OverBudget { limit: u64, bytes: u64 },
    /// The library's answer is not one to the request.
    #[error("the library's answer is malformed: {detail}")]
    Answer { detail: String },
    /// The code of the library or the reader panicked.
    #[error("the library panicked: {detail}")]
    Panicked { detail: String },
    #[error("no thread could be started to load a kernel: {detail}")]
    NoThread { detail: String },
    /// The load manager was shut down.
    #[error("the load manager is closed")]
    Closed,
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
            Self::Timeout { .. } => "prefetch_timeout",
            Self::Breaker(open) => open.reason(),
            Self::TooManyRequests { .. } => "too_many_loads",
            Self::OverBudget { .. } => "load_over_budget",
            Self::Answer { .. } => "malformed_answer",
            Self::Panicked { .. } => "library_panicked",
            Self::NoThread { .. } => "no_load_thread",
            Self::Closed => "load_manager_closed",
        }
    }
}

/// Verifies an artifact, and that it is of this blueprint.
pub(crate) fn check(
    blueprint: &BlueprintId,
    artifact: &Artifact,
    limits: &ArtifactLimits,
) -> Result<VerifiedArtifact, LoadError> {
    let artifact = verify(&artifact.bytes, &artifact.digests, limits)?;
    let got = &artifact.manifest().blueprint_id;
    if got != blueprint {
        return Err(LoadError::WrongBlueprint { expected: blueprint.clone(), got: got.clone() });
    }
    Ok(artifact)
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

    /// The kernel of `blueprint`, from the cache, or fetched, verified and cached. A kernel that is too large for the
    /// cache is still returned, and fetched again the next time. [`Loaded::Later`] means that the library is getting
    /// it.
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

    /// Takes an artifact that has arrived, possibly long after [`load`](Self::load) asked for it. It is verified
    /// exactly like an artifact that the library had at once, and cached.
    ///
    /// # Errors
    /// [`LoadError`] names the check that failed. Then nothing is cached.
    pub fn deliver(
        &mut self,
        blueprint: &BlueprintId,
        artifact: &Artifact,
        now: Monotonic,
    ) -> Result<Arc<VerifiedArtifact>, LoadError> {
        let artifact = check(blueprint, artifact, &self.limits)?;
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
