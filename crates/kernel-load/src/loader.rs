//! From a blueprint's name to a verified artifact.

use std::sync::Arc;
use std::time::Duration;

use kasmina_leyline::{BlueprintId, Monotonic, v1::BlueprintDescriptor};
use kasmina_memory::{Cache, CacheLimits, CacheStats, Evicted};

use crate::{ArtifactError, ArtifactLimits, KernelLibrary, LibraryError, VerifiedArtifact, verify};

/// Fetches kernels from a library, verifies them and keeps the verified ones for a while.
///
/// Never hands over another kernel than the one asked for: what cannot be had is an error.
#[derive(Debug)]
pub struct KernelLoader<L> {
    library: L,
    cache: Cache<BlueprintId, Arc<VerifiedArtifact>>,
    limits: ArtifactLimits,
}

/// Why a kernel cannot be had.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The library does not hand it over.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// What it hands over is not what its catalogue promises.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// What it hands over is sound, but another blueprint's.
    #[error("asked for blueprint {expected}, the artifact is of {got}")]
    WrongBlueprint {
        /// The blueprint that was asked for.
        expected: BlueprintId,
        /// The manifest's.
        got: BlueprintId,
    },
}

impl LoadError {
    /// A stable name for telemetry.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Library(error) => error.reason(),
            Self::Artifact(error) => error.reason(),
            Self::WrongBlueprint { .. } => "wrong_blueprint",
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

    /// The kernel of `blueprint`: out of the cache, or fetched, verified and kept. One that is too large for the cache
    /// is handed over all the same and fetched again the next time.
    ///
    /// # Errors
    /// [`LoadError`], naming the check that failed. Nothing is kept then, so the next call asks the library again.
    pub fn load(&mut self, blueprint: &BlueprintId, now: Monotonic) -> Result<Arc<VerifiedArtifact>, LoadError> {
        if let Some(artifact) = self.cache.get(blueprint, now) {
            return Ok(Arc::clone(artifact));
        }
        let fetched = self.library.fetch(blueprint)?;
        let artifact = verify(&fetched.bytes, &fetched.digests, &self.limits)?;
        let got = &artifact.manifest().blueprint_id;
        if got != blueprint {
            return Err(LoadError::WrongBlueprint { expected: blueprint.clone(), got: got.clone() });
        }
        let bytes = artifact.parameters_bytes();
        let artifact = Arc::new(artifact);
        // Too large for the cache is no failure; the cache counts it.
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
