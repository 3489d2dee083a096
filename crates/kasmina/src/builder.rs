//! Wiring a manager up.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kasmina_isolation::ViolationLog;
use kasmina_kernel_load::{KernelLibrary, KernelLoader, NoKernels};
use kasmina_leyline::{Monotonic, TrainingRunId};
use kasmina_registry::Registry;
use kasmina_rollback::{CheckpointStore, Journal, NoCheckpoints, NoJournal, Store};
use kasmina_safety::{Breaker, Clock, SystemClock};
use kasmina_security::{RejectAll, Verifier};
use kasmina_telemetry::Sink;

use crate::{
    BuildError, CheckpointError, GraftBackend, SeedManager, Settings, durability::Durability, manager::Breakers,
    report::Reporter,
};

/// Collects what a [`SeedManager`] is wired to. Whatever is left out fails closed.
pub struct SeedManagerBuilder {
    run: TrainingRunId,
    settings: Settings,
    verifier: Box<dyn Verifier>,
    library: Box<dyn KernelLibrary>,
    clock: Arc<dyn Clock>,
    sinks: Vec<Box<dyn Sink>>,
    durability: Option<Durability>,
}

impl SeedManagerBuilder {
    pub(crate) fn new(run: TrainingRunId) -> Self {
        Self {
            run,
            settings: Settings::default(),
            verifier: Box::new(RejectAll::default()),
            library: Box::new(NoKernels),
            clock: Arc::new(SystemClock::new()),
            sinks: Vec::new(),
            durability: Some(Durability::new(Box::new(NoJournal), Box::new(NoCheckpoints))),
        }
    }

    /// Settings; the defaults where this is not called.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Who says which commands are authentic; nobody's are where this is not called.
    #[must_use]
    pub fn verifier(mut self, verifier: impl Verifier + 'static) -> Self {
        self.verifier = Box::new(verifier);
        self
    }

    /// Where kernels come from; there are none where this is not called.
    #[must_use]
    pub fn kernels(mut self, library: impl KernelLibrary + 'static) -> Self {
        self.library = Box::new(library);
        self
    }

    /// The clock; the system's where this is not called.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Adds a receiver of telemetry packets.
    #[must_use]
    pub fn sink(mut self, sink: impl Sink + 'static) -> Self {
        self.sinks.push(Box::new(sink));
        self
    }

    /// Where everything that is acknowledged is written before it is: without a store nothing is acknowledged, unless
    /// [`volatile`](Self::volatile) says that it need not be.
    #[must_use]
    pub fn store(self, store: Store) -> Self {
        let torn_tail = store.recovery().torn_tail.clone();
        let (journal, checkpoints) = store.split();
        let mut builder = self.journal(journal, checkpoints);
        if let Some(durability) = &mut builder.durability {
            durability.torn_tail = torn_tail;
        }
        builder
    }

    /// As [`store`](Self::store), with a journal and a store of checkpoints of one's own.
    #[must_use]
    pub fn journal(mut self, journal: impl Journal + 'static, checkpoints: impl CheckpointStore + 'static) -> Self {
        self.durability = Some(Durability::new(Box::new(journal), Box::new(checkpoints)));
        self
    }

    /// Nothing outlives the process: what was acknowledged is forgotten with it, and a command may be obeyed again by the next
    /// one. For experiments.
    #[must_use]
    pub fn volatile(mut self) -> Self {
        self.durability = None;
        self
    }

    /// The manager of a run that begins, for hosts on `device`.
    ///
    /// # Errors
    /// [`BuildError`]: senseless settings, or a store that holds a run already, which is to be [recovered](Self::recover).
    pub fn build<B: GraftBackend>(self, device: &B::Device) -> Result<SeedManager<B>, BuildError> {
        let mut manager = self.assemble(device)?;
        match manager.records()? {
            0 => Ok(manager),
            records => Err(CheckpointError::NotEmpty { records }.into()),
        }
    }

    pub(crate) fn assemble<B: GraftBackend>(self, device: &B::Device) -> Result<SeedManager<B>, BuildError> {
        self.settings.check()?;
        let Self { run, settings, verifier, library, clock, sinks, durability } = self;
        let ttl = Duration::from_secs(settings.kernels.cache_ttl_seconds);
        let kernels =
            KernelLoader::new(library, settings.kernels.cache_bytes, ttl).with_limits(settings.kernels.limits);
        Ok(SeedManager {
            reporter: Reporter::new(&settings.telemetry, &run, Arc::clone(&clock), sinks),
            violations: ViolationLog::default(),
            breakers: Breakers {
                isolation: Breaker::new(settings.isolation_breaker),
                kernels: Breaker::new(settings.kernel_breaker),
            },
            run,
            device: device.clone(),
            clock,
            verifier,
            kernels,
            settings,
            registry: Registry::default(),
            seeds: BTreeMap::new(),
            shapes: BTreeMap::new(),
            fossils: Vec::new(),
            validation: Vec::new(),
            moved: Vec::new(),
            unjournaled: Vec::new(),
            durability,
            remembered: Vec::new(),
            commanded: None,
            last_verified: Monotonic::ORIGIN,
            step: 0,
            epoch: 0,
        })
    }
}
