//! The seed manager: who is where, and the views of the network that follow from it.

use std::{collections::BTreeMap, sync::Arc};

use burn::module::{AutodiffModule, ParamId};
use kasmina_blending::Alpha;
use kasmina_isolation::{Part, View, ViolationLog, frozen_twin, part};
use kasmina_kernel_load::{KernelLibrary, KernelLoader};
use kasmina_leyline::{Monotonic, SeedId, SlotId, TrainingRunId, v1::SeedLifecycleStage};
use kasmina_lifecycle::{Lifecycle, Transition};
use kasmina_registry::Registry;
use kasmina_safety::{Breaker, Clock};
use kasmina_security::Verifier;

use crate::{
    GraftBackend, Refusal, Settings,
    builder::SeedManagerBuilder,
    grafts::{Graft, Grafts, Role},
    report::Reporter,
    seed::{Attached, Seed},
    slot::SlotShape,
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
    pub(crate) step: u64,
}

/// The breakers that guard the manager's operations.
pub(crate) struct Breakers {
    pub(crate) isolation: Breaker,
    pub(crate) kernels: Breaker,
}

/// A metric of the whole network, measured on the host with its committed structure and on the live view.
#[derive(Clone, Debug, PartialEq)]
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
    /// A slot can have several registered seeds; G0 lets one at a time germinate.
    ///
    /// # Errors
    /// [`Refusal::SeedExists`].
    pub fn register_seed(&mut self, seed: SeedId, slot: SlotId) -> Result<(), Refusal> {
        if self.seeds.contains_key(&seed) {
            return Err(Refusal::SeedExists(seed));
        }
        let mut lifecycle = Lifecycle::new(seed.clone()).with_embargo(self.settings.lifecycle.embargo());
        let transition = lifecycle.advance(SeedLifecycleStage::SeedStageDormant, self.clock.monotonic())?;
        self.seeds.insert(seed.clone(), Seed { id: seed, slot, lifecycle, attached: None });
        self.reporter.transition(&transition);
        Ok(())
    }

    /// Looks at the host: brings its lazy parameters into being, remembers which they are, and learns its slots by running
    /// `forward` once without effect on it. [`train_batch`](Self::train_batch) does the same on its first batch; call
    /// this where seeds shall germinate before it.
    pub fn attach_host<H: AutodiffModule<B>, R>(&mut self, host: &H, forward: impl FnOnce(&H, &mut Grafts<B>) -> R) {
        self.register_host(host);
        let mut grafts = Grafts::none();
        forward(&frozen_twin(host), &mut grafts);
        self.remember_shapes(grafts);
    }

    pub(crate) fn register_host<H: AutodiffModule<B>>(&mut self, host: &H) {
        self.registry.register_host(kasmina_registry::parameter_ids(host));
    }

    pub(crate) fn remember_shapes(&mut self, grafts: Grafts<B>) {
        for (slot, shape) in grafts.into_shapes() {
            self.shapes.insert(slot, shape);
        }
    }

    /// Tells the manager how the whole network does, measured on held-out data with both views. G4 looks at it for
    /// PROBATIONARY seeds. A later call replaces an earlier one.
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
