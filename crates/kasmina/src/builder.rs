//! Wiring a manager up.

use std::{sync::Arc, time::Duration};

use kasmina_blending::{AlphaSchedule, GraftBackend};
use kasmina_engine::{Engine, EngineSettings, NoPolicy, Policy, StepPolicy, commands::ReadSettings};
use kasmina_gates::Gatekeepers;
use kasmina_kernel_load::{ArtifactReader, KernelLibrary, KernelMessages, NoKernels};
use kasmina_leyline::TrainingRunId;
use kasmina_memory::ResidentProbe;
use kasmina_reduce::{Alone, Reduce};
use kasmina_rollback::{Blobs, Journal, Keeper, KeeperSettings, NoBlobs, NoJournal, Store, StoreError};
use kasmina_safety::{Clock, SystemClock};
use kasmina_security::{RejectAll, Verifier};
use kasmina_telemetry::{Assembler, Reporter, Sink};

use crate::{
    durable::Durable,
    error::{BuildError, CheckpointError},
    kernels::{KernelSource, Kernels},
    manager::{Memory, Parts, SeedManager},
    report::Recovered,
    resident::ProcessMemory,
    settings::{Advance, Settings},
    tensors::Tensors,
    workers::Group,
};

/// Collects what a [`SeedManager`] is wired to. Whatever is left out fails closed.
pub struct SeedManagerBuilder<R = Alone> {
    reduce: R,
    run: TrainingRunId,
    settings: Settings,
    verifier: Box<dyn Verifier>,
    kernels: KernelSource,
    gatekeepers: Option<Box<dyn Gatekeepers + Send + Sync>>,
    policy: Option<Box<dyn Policy + Send>>,
    clock: Arc<dyn Clock>,
    probe: Box<dyn ResidentProbe + Send>,
    sinks: Vec<Box<dyn Sink>>,
    /// `None` if nothing is to outlive the process.
    storage: Option<Storage>,
}

struct Storage {
    journal: Box<dyn Journal>,
    blobs: Box<dyn Blobs>,
    torn_tail: Option<StoreError>,
}

impl SeedManagerBuilder {
    pub(crate) fn new(run: TrainingRunId) -> Self {
        Self {
            reduce: Alone,
            run,
            settings: Settings::default(),
            verifier: Box::new(RejectAll::default()),
            kernels: KernelSource::Library(Box::new(NoKernels)),
            gatekeepers: None,
            policy: None,
            clock: Arc::new(SystemClock::new()),
            probe: Box::new(ProcessMemory::new()),
            sinks: Vec::new(),
            storage: Some(Storage { journal: Box::new(NoJournal), blobs: Box::new(NoBlobs), torn_tail: None }),
        }
    }

    /// Who sums up the gradients of several workers, each of which has a manager and a replica of the model:
    /// docs/WORKERS.md. Default: [`Alone`], there are no others.
    ///
    /// All workers begin with the same model, which has the same parameter ids (one [file](kasmina_grown::Grown::load) for all), the same
    /// settings, and a policy that gives the same orders for the same state. What one of them is ordered, all are, between the same
    /// steps.
    #[must_use]
    pub fn reduce<S>(self, reduce: S) -> SeedManagerBuilder<S> {
        let Self { reduce: _, run, settings, verifier, kernels, gatekeepers, policy, clock, probe, sinks, storage } =
            self;
        SeedManagerBuilder {
            reduce,
            run,
            settings,
            verifier,
            kernels,
            gatekeepers,
            policy,
            clock,
            probe,
            sinks,
            storage,
        }
    }
}

impl<R> SeedManagerBuilder<R> {
    /// The settings. Default: [`Settings::default`].
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Decides which commands are authentic. Default: none is.
    #[must_use]
    pub fn verifier(mut self, verifier: impl Verifier + 'static) -> Self {
        self.verifier = Box::new(verifier);
        self
    }

    /// Where kernels come from. Default: there are none. The library is called on threads of the manager's own, so it may block on a disk
    /// or a network.
    #[must_use]
    pub fn kernels(mut self, library: impl KernelLibrary + 'static) -> Self {
        self.kernels = KernelSource::Library(Box::new(library));
        self
    }

    /// As [`kernels`](Self::kernels), from a library that answers by messages, such as `OonaKernels` of the crate `kasmina-urza`. What
    /// its answers name is read by `reader`.
    #[must_use]
    pub fn kernels_over(
        mut self,
        messages: impl KernelMessages + 'static,
        reader: impl ArtifactReader + 'static,
    ) -> Self {
        self.kernels = KernelSource::Messages(Box::new(messages), Box::new(reader));
        self
    }

    /// Who judges at the gates. Default: the policy of the settings, `gates`.
    #[must_use]
    pub fn gatekeepers(mut self, gatekeepers: impl Gatekeepers + Send + Sync + 'static) -> Self {
        self.gatekeepers = Some(Box::new(gatekeepers));
        self
    }

    /// Who gives orders after each step. Default: nobody, or a [`StepPolicy`] if the settings say
    /// [`Advance::Automatic`].
    #[must_use]
    pub fn policy(mut self, policy: impl Policy + Send + 'static) -> Self {
        self.policy = Some(Box::new(policy));
        self
    }

    /// The clock. Default: the system's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Who says how much memory the process has, if `memory.resident_bytes` limits it. Default: [`ProcessMemory`].
    #[must_use]
    pub fn resident_probe(mut self, probe: impl ResidentProbe + Send + 'static) -> Self {
        self.probe = Box::new(probe);
        self
    }

    /// Adds a receiver of telemetry packets.
    #[must_use]
    pub fn sink(mut self, sink: impl Sink + 'static) -> Self {
        self.sinks.push(Box::new(sink));
        self
    }

    /// Where everything that is acknowledged is written first. Without a store nothing is acknowledged, unless
    /// [`volatile`](Self::volatile) says that it need not be.
    #[must_use]
    pub fn store(mut self, store: Store) -> Self {
        let Store { journal, blobs, recovery } = store;
        self.storage =
            Some(Storage { journal: Box::new(journal), blobs: Box::new(blobs), torn_tail: recovery.torn_tail });
        self
    }

    /// As [`store`](Self::store), with a journal and blobs of one's own.
    #[must_use]
    pub fn journal(mut self, journal: impl Journal + 'static, blobs: impl Blobs + 'static) -> Self {
        self.storage = Some(Storage { journal: Box::new(journal), blobs: Box::new(blobs), torn_tail: None });
        self
    }

    /// Nothing outlives the process: what was acknowledged is forgotten with it, and the next process may obey a command again. For
    /// experiments.
    #[must_use]
    pub fn volatile(mut self) -> Self {
        self.storage = None;
        self
    }

    /// The manager of a run that begins, for hosts on `device`.
    ///
    /// # Errors
    /// [`BuildError`]: a setting is out of range, or the store already holds a run, which must be [recovered](Self::recover).
    pub fn build<B: GraftBackend>(self, device: &B::Device) -> Result<SeedManager<B>, BuildError>
    where
        R: Reduce<B::InnerBackend> + 'static,
    {
        let mut manager = self.assemble(device)?;
        match manager.records()? {
            0 => Ok(manager),
            records => Err(CheckpointError::NotEmpty { records }.into()),
        }
    }

    /// The manager as its store tells it: every seed in the stage that was acknowledged, with its kernel; weights and optimizer state
    /// as its last gate judged them, or newer; embargoes with what was left of them; breakers, violations and the steps of
    /// FINE_TUNE. No command that was answered before is obeyed again. Over an empty store a run begins.
    ///
    /// The time that the process was gone counts for nothing: no embargo ends early, and a breaker that was open stays open for
    /// another time-out. The model is the trainer's: [`restore_model`](SeedManager::restore_model) puts it back, or the trainer does so
    /// itself and says it ([`model_restored`](SeedManager::model_restored)); then comes [`attach_host`](SeedManager::attach_host) as ever.
    ///
    /// ```
    /// use burn::backend::{Autodiff, Flex};
    /// use kasmina::{SeedManager, leyline::{SeedId, SlotId, TrainingRunId, v1::SeedLifecycleStage}, rollback::Store};
    ///
    /// type B = Autodiff<Flex>;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// let open = || -> Result<_, Box<dyn std::error::Error>> {
    ///     let builder = SeedManager::<B>::builder(TrainingRunId::new("run-7")?);
    ///     Ok(builder.store(Store::open(directory.path())?).recover::<B>(&Default::default())?)
    /// };
    /// let seed = SeedId::new("seed-1")?;
    /// let (mut manager, found) = open()?;
    /// assert_eq!(found.incarnation, 0);
    /// manager.register_seed(seed.clone(), SlotId::new("mid")?)?;
    /// drop(manager); // or kill -9
    ///
    /// let (manager, found) = open()?;
    /// assert_eq!((found.incarnation, found.seeds), (1, 1));
    /// assert_eq!(manager.stage(&seed), Some(SeedLifecycleStage::SeedStageDormant));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`BuildError`]: the store cannot be read, is damaged (the error says where), or is of another run.
    pub fn recover<B: GraftBackend>(self, device: &B::Device) -> Result<(SeedManager<B>, Recovered), BuildError>
    where
        R: Reduce<B::InnerBackend> + 'static,
    {
        let mut manager = self.assemble::<B>(device)?;
        let recovered = manager.recover()?;
        Ok((manager, recovered))
    }

    fn assemble<B: GraftBackend>(self, device: &B::Device) -> Result<SeedManager<B>, BuildError>
    where
        R: Reduce<B::InnerBackend> + 'static,
    {
        self.settings.check()?;
        let Self { reduce, run, settings, verifier, kernels, gatekeepers, policy, clock, probe, sinks, storage } = self;
        let gatekeepers = gatekeepers.unwrap_or_else(|| Box::new(settings.gates.clone()));
        let durable = storage.map(|Storage { journal, blobs, torn_tail }| {
            // Nonces go when a watermark that stands for them is durable.
            let settings = KeeperSettings { retention: Duration::MAX, ..KeeperSettings::default() };
            let opened = clock.monotonic();
            let keeper = Keeper::open(journal, blobs, settings, opened).map_err(CheckpointError::from)?;
            Ok::<_, CheckpointError>(Durable::new(keeper, run.to_string(), verifier.retention().ttl, opened, torn_tail))
        });
        let group = Group::new(Box::new(reduce), Arc::clone(&clock));
        Ok(SeedManager::new(Parts {
            reading: settings.reading(&run),
            engine: Engine::new(EngineSettings { replicated: !group.is_alone(), ..settings.engine(&run) }, gatekeepers),
            tensors: Tensors::new(&settings, device),
            kernels: Kernels::new(kernels, &settings.kernels, run.clone(), Arc::clone(&clock)),
            policy: policy.unwrap_or_else(|| settings.policy()),
            reporter: Reporter::new(
                Assembler::new(&settings.telemetry.source, run.clone(), settings.telemetry.pending_events),
                sinks,
                settings.telemetry.pending_packets,
            )
            .with_budget(settings.memory.telemetry_wire_bytes(), settings.memory.telemetry_ttl()),
            memory: Memory::new(&settings, probe),
            durable: durable.transpose()?,
            group,
            verifier,
            clock,
            settings,
        }))
    }
}

impl Settings {
    /// What the reader of commands must know.
    fn reading(&self, run: &TrainingRunId) -> ReadSettings {
        ReadSettings {
            run: run.clone(),
            max_alpha_vec: self.blending.max_alpha_vec,
            default_total_steps: self.blending.total_steps,
            degraded_below: self.commands.degraded_below,
        }
    }

    /// What the engine must know.
    fn engine(&self, run: &TrainingRunId) -> EngineSettings {
        EngineSettings {
            run: run.clone(),
            embargo: Duration::from_secs(self.lifecycle.embargo_seconds),
            fast_path: self.lifecycle.fast_path,
            require_validation: self.lifecycle.require_validation,
            probe_every: self.training.probe_every,
            blend_budget: Duration::from_millis(self.gates.stability.max_blend_ms),
            replicated: false,
            isolation_breaker: self.isolation_breaker,
            kernel_breaker: self.kernel_breaker,
            blending_breaker: self.blending_breaker,
            telemetry_breaker: self.telemetry_breaker,
        }
    }

    /// The policy that the settings ask for.
    fn policy(&self) -> Box<dyn Policy + Send> {
        match self.lifecycle.advance {
            Advance::Manual => Box::new(NoPolicy),
            Advance::Automatic { training_steps, blending_steps, shadowing_steps, probationary_steps } => {
                let (total_steps, temperature) = (self.blending.total_steps, AlphaSchedule::DEFAULT_TEMPERATURE);
                Box::new(StepPolicy {
                    training_steps,
                    blending_steps,
                    shadowing_steps,
                    probationary_steps,
                    blend: self.blending.mode(),
                    schedule: AlphaSchedule::Sigmoid { total_steps, temperature },
                })
            }
        }
    }
}

impl<B: GraftBackend> SeedManager<B> {
    /// A manager for the run `run`. What is not wired up fails closed: without a verifier no command is obeyed, without a library no
    /// kernel is found.
    #[must_use]
    pub fn builder(run: TrainingRunId) -> SeedManagerBuilder {
        SeedManagerBuilder::new(run)
    }
}
