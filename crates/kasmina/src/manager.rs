//! The seed manager: who is where, and the views of the network that follow from it.

use std::{collections::BTreeMap, sync::Arc};

use burn::module::AutodiffModule;
use kasmina_blending::{Alpha, AlphaSchedule};
use kasmina_isolation::{Grafts, RngStream, SlotShape, Trace, ViolationLog, attach};
use kasmina_kernel_load::{KernelLibrary, KernelLoader, SlotContract};
use kasmina_leyline::{
    BlueprintId, Monotonic, SeedId, SlotId, TrainingRunId,
    v1::{SeedLifecycleStage, SeedState},
};
use kasmina_lifecycle::{Lifecycle, Transition};
use kasmina_registry::{Registry, parameter_ids};
use kasmina_safety::{Breaker, Clock};
use kasmina_security::Verifier;
use kasmina_telemetry::{Metric, names};
use serde::{Deserialize, Serialize};

use crate::{
    GraftBackend, Refusal, Settings,
    builder::SeedManagerBuilder,
    checkpoints::Remembered,
    durability::{Durability, Unjournaled},
    report::Reporter,
    seed::{Attached, Seed},
};

/// Grows a host network by seeds, on commands, without ever letting a seed touch the host.
///
/// Made by [`SeedManager::builder`]. Between batches it takes commands ([`submit`](Self::submit)); a batch is
/// [`train_batch`](Self::train_batch). It owns every seed's kernel and optimizer, and never the host.
pub struct SeedManager<B: GraftBackend> {
    pub(crate) settings: Settings,
    pub(crate) run: TrainingRunId,
    pub(crate) device: B::Device,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) verifier: Box<dyn Verifier>,
    pub(crate) kernels: KernelLoader<Box<dyn KernelLibrary>>,
    pub(crate) reporter: Reporter,
    pub(crate) registry: Registry,
    pub(crate) violations: ViolationLog,
    pub(crate) breakers: Breakers,
    pub(crate) seeds: BTreeMap<SeedId, Seed<B>>,
    pub(crate) shapes: BTreeMap<SlotId, SlotShape>,
    /// Fossilised seeds in the order in which they became part of the host.
    pub(crate) fossils: Vec<SeedId>,
    pub(crate) validation: Vec<Validation>,
    /// Moves that are durable and that nobody has been told of yet.
    pub(crate) moved: Vec<Transition>,
    /// What has happened and is not durable yet.
    pub(crate) unjournaled: Vec<Unjournaled>,
    /// `None` where nothing is to outlive the process.
    pub(crate) durability: Option<Durability>,
    /// Checkpoints in memory, oldest first.
    pub(crate) remembered: Vec<Remembered<B>>,
    /// The epoch that a command said to go back to, until that is done.
    pub(crate) commanded: Option<u64>,
    /// The time that the verifier was shown last: its ledger has forgotten what had run out by then.
    pub(crate) last_verified: Monotonic,
    pub(crate) step: u64,
    pub(crate) epoch: u64,
}

/// The breakers that guard the manager's operations.
#[derive(Clone)]
pub(crate) struct Breakers {
    pub(crate) isolation: Breaker,
    pub(crate) kernels: Breaker,
}

impl Breakers {
    pub(crate) fn named_mut(&mut self) -> [(&'static str, &mut Breaker); 2] {
        [("isolation", &mut self.isolation), ("kernels", &mut self.kernels)]
    }
}

/// A metric of the whole network, measured on the host with its committed structure and on the live view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Its name, e.g. `validation_accuracy`.
    pub name: String,
    /// Its value without the seeds under trial: [`SeedManager::committed_view`].
    pub host: f64,
    /// Its value with them: [`SeedManager::live_view`].
    pub live: f64,
    /// Which way is up.
    pub higher_is_better: bool,
}

impl<B: GraftBackend> SeedManager<B> {
    /// A manager for the run `run`. What is not wired up fails closed: without a verifier no command is obeyed, without
    /// a library no kernel is found.
    #[must_use]
    pub fn builder(run: TrainingRunId) -> SeedManagerBuilder {
        SeedManagerBuilder::new(run)
    }

    /// Registers a seed at a slot, from UNKNOWN to DORMANT. Commands name it by `seed`.
    ///
    /// A slot can have several registered seeds; G0 lets one at a time germinate. A manager that has come back from its journal
    /// knows its seeds already: ask [`stage`](Self::stage).
    ///
    /// # Errors
    /// [`Refusal::SeedExists`]; [`Refusal::NotDurable`], then it is not registered.
    pub fn register_seed(&mut self, seed: SeedId, slot: SlotId) -> Result<(), Refusal> {
        if self.seeds.contains_key(&seed) {
            return Err(Refusal::SeedExists(seed));
        }
        self.durably(|manager| {
            let mut lifecycle = Lifecycle::new(seed.clone(), manager.settings.lifecycle.embargo());
            let transition = lifecycle.advance(SeedLifecycleStage::SeedStageDormant, manager.clock.monotonic())?;
            manager.seeds.insert(seed.clone(), Seed { id: seed, slot, lifecycle, attached: None });
            manager.reporter.transition(&transition);
            manager.unjournaled.push(Unjournaled::Moved(transition, manager.clock.unix()));
            Ok(())
        })
    }

    /// Looks at the host: brings its lazy parameters into being, remembers which they are, and learns its slots by running
    /// `forward` once without effect on it. [`train_batch`](Self::train_batch) does the same on its first batch; call
    /// this where seeds shall germinate before it.
    ///
    /// # Errors
    /// [`Refusal::Registry`] where a parameter of the host belongs to a seed.
    pub fn attach_host<H: AutodiffModule<B>, R>(
        &mut self,
        host: &H,
        forward: impl FnOnce(&H, &mut Grafts<B>) -> R,
    ) -> Result<(), Refusal> {
        self.registry.register_host(parameter_ids(host))?;
        self.shapes.extend(attach(host, forward));
        self.rng().start(RngStream::Trainer);
        Ok(())
    }

    /// Fetches the blueprint's kernel, builds it and puts it into the seed's slot, where it does nothing yet.
    pub(crate) fn attach(
        &mut self,
        id: &SeedId,
        blueprint: &BlueprintId,
        learning_rate_scale: f64,
    ) -> Result<(), Refusal> {
        let started = self.clock.monotonic();
        let loaded = self.kernels.load(blueprint, started).and_then(|loaded| loaded.ready(blueprint));
        let now = self.clock.monotonic();
        let event = if loaded.is_ok() {
            self.breakers.kernels.record_success(now)
        } else {
            self.breakers.kernels.record_failure(now)
        };
        if let Some(event) = event {
            self.reporter.breaker("kernels", event);
        }
        self.reporter.cache(&self.kernels.stats());
        let artifact =
            loaded.map_err(|cause| Refusal::Kernel { blueprint: blueprint.clone(), cause: Box::new(cause) })?;
        let contract = artifact.manifest().contract;
        self.fits(id, blueprint, &contract)?;
        let kernel = artifact.build::<B>(&self.device);
        self.registry.register_seed(id, parameter_ids(&kernel), learning_rate_scale)?;
        let schedule = AlphaSchedule::Sigmoid {
            total_steps: self.settings.blending.total_steps,
            temperature: AlphaSchedule::DEFAULT_TEMPERATURE,
        };
        let epoch = self.epoch;
        let seed = self.seeds.get_mut(id).ok_or_else(|| Refusal::UnknownSeed(id.clone()))?;
        let manifest = Arc::new(artifact.manifest().clone());
        seed.attached = Some(Attached::new(manifest, kernel, schedule, epoch));
        let elapsed = self.clock.monotonic().since(started);
        self.reporter.metric(Some(id), Metric::new(names::KERNEL_LOAD_MS, elapsed.as_secs_f64() * 1e3));
        Ok(())
    }

    /// Whether a kernel of this contract fits what the slot has shown.
    fn fits(&self, id: &SeedId, blueprint: &BlueprintId, contract: &SlotContract) -> Result<(), Refusal> {
        let slot = &self.seed(id)?.slot;
        let fits = match self.shapes.get(slot) {
            Some(shape) => contract.fits(&shape.into()).map_err(|misfit| misfit.to_string()),
            None => Err("the host has not shown this slot yet".to_owned()),
        };
        fits.map_err(|cause| Refusal::Misfit { blueprint: blueprint.clone(), slot: slot.clone(), cause })
    }

    /// Ends an epoch: caches are cleaned every so many (`kernels.collect_every_epochs`), and the seeds grow older. The count outlives
    /// the process with the next checkpoint, for example a trainer's own ([`checkpoint`](Self::checkpoint)).
    pub fn end_epoch(&mut self) {
        self.epoch += 1;
        if self.epoch.is_multiple_of(self.settings.kernels.collect_every_epochs) {
            let evicted = self.kernels.collect(self.clock.monotonic());
            self.reporter.collected(&evicted);
        }
    }

    /// The states of all seeds, as Leyline's state packets carry them, by id. `learning_rate` is that of the seed's last
    /// optimizer step; `metrics` are `alpha`, `loss` and `parameter_tensors`, where they are known.
    #[must_use]
    pub fn export_seed_states(&self) -> Vec<SeedState> {
        self.seeds.values().map(|seed| self.export(seed)).collect()
    }

    fn export(&self, seed: &Seed<B>) -> SeedState {
        let mut state = SeedState { seed_id: seed.id.to_string(), stage: seed.stage().into(), ..SeedState::default() };
        if let Some(attached) = &seed.attached {
            let vitals = &attached.vitals;
            state.gradient_norm = vitals.gradient_norm.unwrap_or_default();
            state.learning_rate = vitals.learning_rate as f32;
            state.age_epochs = u32::try_from(self.epoch.saturating_sub(attached.epoch)).unwrap_or(u32::MAX);
            state.risk_score = self.kernels.descriptor(attached.blueprint()).map_or(0.0, |descriptor| descriptor.risk);
            state.metrics.insert("alpha".to_owned(), attached.alpha.get());
            state.metrics.extend(vitals.losses.back().map(|loss| ("loss".to_owned(), *loss)));
            let parameters = self.registry.parameters_of(&seed.id).count();
            state.metrics.insert("parameter_tensors".to_owned(), parameters as f32);
        }
        state
    }

    /// Hands what has been reported since the last step to the sinks. Every step does this at its end.
    pub fn flush_telemetry(&mut self) {
        let durability = &mut self.durability;
        self.reporter.flush(self.step, &mut |place| durability.as_mut()?.recall(place));
        durability.iter_mut().for_each(Durability::forget_recalled);
        self.spill_telemetry();
    }

    pub(crate) fn remember_shapes(&mut self, trace: &Trace<B>) {
        for (slot, shape) in &trace.shapes {
            if self.shapes.get(slot) != Some(shape) {
                self.shapes.insert(slot.clone(), shape.clone());
            }
        }
    }

    /// Tells the manager how the whole network does, measured on held-out data with both views. G4 looks at it before a seed
    /// is fossilised (`lifecycle.require_validation` makes it demand one). A later call replaces an earlier one, and any move of
    /// any seed drops it: it was measured on another network.
    pub fn report_validation(&mut self, validation: Vec<Validation>) {
        self.validation = validation;
    }

    /// Steps taken so far.
    #[must_use]
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The stage of a seed; `None` for one that was never registered.
    #[must_use]
    pub fn stage(&self, seed: &SeedId) -> Option<SeedLifecycleStage> {
        self.seeds.get(seed).map(Seed::stage)
    }

    /// The alpha of a grafted seed.
    #[must_use]
    pub fn alpha(&self, seed: &SeedId) -> Option<Alpha> {
        self.attached(seed).map(|attached| attached.alpha)
    }

    /// The slots that the host has shown so far, with the shapes of their last activations.
    #[must_use]
    pub fn slots(&self) -> &BTreeMap<SlotId, SlotShape> {
        &self.shapes
    }

    /// Who owns which parameter.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// When the manager next has something to do on its own: the end of the first embargo.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.seeds.values().filter_map(|seed| seed.lifecycle.embargo_until()).min()
    }

    pub(crate) fn attached(&self, seed: &SeedId) -> Option<&Attached<B>> {
        self.seeds.get(seed).and_then(|seed| seed.attached.as_ref())
    }

    pub(crate) fn attached_mut(&mut self, seed: &SeedId) -> Option<&mut Attached<B>> {
        self.seeds.get_mut(seed).and_then(|seed| seed.attached.as_mut())
    }
}

impl<B: GraftBackend> Drop for SeedManager<B> {
    /// What has not been told yet is told now.
    fn drop(&mut self) {
        self.flush_telemetry();
    }
}
