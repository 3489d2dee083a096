//! The kernels of a directory, and which of them are new.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    time::Duration,
};

use kasmina_kernel_load::{
    ArtifactLimits, Digests, DirectoryLibrary, Fetched, KernelLibrary, LibraryError, LoadError, VerifiedArtifact,
    verify,
};
use kasmina_leyline::{BlueprintId, Monotonic};
use kasmina_safety::Clock;

use crate::{
    prewarm::{Prewarm, Times, Warmth},
    settings::UrzaSettings,
};

/// A directory whose catalogue is read again from time to time.
pub(crate) struct Shelf {
    directory: PathBuf,
    library: DirectoryLibrary,
    limits: ArtifactLimits,
    /// What was announced, or cannot be.
    known: BTreeMap<BlueprintId, Digests>,
    measured: BTreeMap<BlueprintId, (Digests, Times)>,
    /// What is new or has changed, and was not looked at.
    news: VecDeque<BlueprintId>,
    looked: Monotonic,
}

/// A kernel that was read and verified just now.
pub(crate) struct Found {
    pub(crate) reference: String,
    pub(crate) digests: Digests,
    pub(crate) times: Times,
}

impl Shelf {
    pub(crate) fn open(directory: PathBuf, limits: ArtifactLimits, now: Monotonic) -> Result<Self, LibraryError> {
        let library = DirectoryLibrary::open(&directory)?.with_limits(limits);
        let news = library.blueprints().cloned().collect();
        Ok(Self { directory, library, limits, known: BTreeMap::new(), measured: BTreeMap::new(), news, looked: now })
    }

    /// Reads the catalogue again if it is time. If that fails, the one before stays.
    pub(crate) fn look(&mut self, now: Monotonic, every: Duration) -> Result<(), LibraryError> {
        if now.since(self.looked) < every {
            return Ok(());
        }
        self.looked = now;
        self.library = DirectoryLibrary::open(&self.directory)?.with_limits(self.limits);
        let library = &self.library;
        self.known.retain(|blueprint, known| digests(library, blueprint) == Some(*known));
        self.measured.retain(|blueprint, (measured, _)| digests(library, blueprint) == Some(*measured));
        self.news = library.blueprints().filter(|blueprint| !self.known.contains_key(*blueprint)).cloned().collect();
        Ok(())
    }

    /// A kernel that is new or has changed. After this it is no news any more.
    pub(crate) fn next_news(&mut self) -> Option<BlueprintId> {
        let blueprint = self.news.pop_front()?;
        self.known.insert(blueprint.clone(), digests(&self.library, &blueprint)?);
        Some(blueprint)
    }

    /// Reads and verifies a kernel. It is measured only once.
    pub(crate) fn find(
        &mut self,
        blueprint: &BlueprintId,
        prewarm: Option<&dyn Prewarm>,
        settings: &UrzaSettings,
        clock: &dyn Clock,
    ) -> Result<Found, LoadError> {
        let (reference, digests) = self.library.reference(blueprint)?;
        let began = clock.monotonic();
        let kernel = self.read(blueprint)?;
        let first = clock.monotonic().since(began);
        let reference = reference.to_owned();
        let measured = self.measured.get(blueprint).filter(|(measured, _)| *measured == digests);
        let times = match measured {
            Some((_, times)) => *times,
            None => Times::of(self.measure(blueprint, &kernel, first, prewarm, settings, clock)?),
        };
        self.measured.insert(blueprint.clone(), (digests, times));
        Ok(Found { reference, digests, times })
    }

    fn read(&self, blueprint: &BlueprintId) -> Result<VerifiedArtifact, LoadError> {
        let Fetched::Here(artifact) = self.library.fetch(blueprint)? else {
            return Err(LoadError::NotHereYet { blueprint: blueprint.clone() });
        };
        let kernel = verify(&artifact.bytes, &artifact.digests, &self.limits)?;
        let got = &kernel.manifest().blueprint_id;
        if got != blueprint {
            return Err(LoadError::WrongBlueprint { expected: blueprint.clone(), got: got.clone() });
        }
        Ok(kernel)
    }

    /// By running the kernel. Without a device, or if the kernel does not run on the input, by reading and verifying it
    /// again.
    fn measure(
        &self,
        blueprint: &BlueprintId,
        kernel: &VerifiedArtifact,
        first: Duration,
        prewarm: Option<&dyn Prewarm>,
        settings: &UrzaSettings,
        clock: &dyn Clock,
    ) -> Result<Warmth, LoadError> {
        if let Some(Ok(warmth)) = prewarm.map(|prewarm| prewarm.warm(kernel, settings.runs, clock)) {
            return Ok(warmth);
        }
        let mut later = Vec::with_capacity(settings.runs);
        for _ in 0..settings.runs {
            let began = clock.monotonic();
            self.read(blueprint)?;
            later.push(clock.monotonic().since(began));
        }
        Ok(Warmth { first, later })
    }
}

fn digests(library: &DirectoryLibrary, blueprint: &BlueprintId) -> Option<Digests> {
    library.reference(blueprint).ok().map(|(_, digests)| digests)
}
