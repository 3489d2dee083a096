//! The seed manager: an engine that decides, and what it takes to do what it decided.

mod door;
mod epochs;
mod facts;
mod field_reports;
mod kernels;
mod learning;
mod memory;
mod model;
mod passes;
mod plant;
mod prewarm;
mod recover;
mod refit;
mod reset;
mod samples;
mod step;
mod submit;
mod teacher;
mod together;

use std::{collections::BTreeMap, sync::Arc};

use burn::{
    module::{AutodiffModule, Module},
    tensor::{Distribution, Tensor},
};
use kasmina_blending::{Alpha, BlendBackend, GraftBackend};
use kasmina_commands::BreakerName;
use kasmina_engine::{Deadline, Engine, Input, Policy, State, commands::ReadSettings};
use kasmina_grown::{Grown, HostModule, PendingJoins};
use kasmina_isolation::{Cast, Grafts, Override, RngStream, SlotShape, Statistics, StepRng};
use kasmina_leyline::{
    Monotonic, SeedId, SlotId,
    v1::{
        CircuitBreakerState::{CircuitStateHalfOpen, CircuitStateOpen},
        SeedLifecycleStage, SeedState,
    },
};
use kasmina_lifecycle::Transition;
use kasmina_registry::{Registry, parameter_ids};
use kasmina_safety::Clock;
use kasmina_security::Verifier;
use kasmina_telemetry::Reporter;

use crate::{
    durable::Durable,
    error::Refusal,
    events,
    gauges::{Gauges, Standing},
    kernels::Kernels,
    settings::{Settings, SettingsError},
    tensors::Tensors,
    workers::{Delivery, Group},
};

pub use epochs::RolledBack;
pub(crate) use memory::{Memory, conservation};
pub use memory::{MemoryReport, PoolReport};
pub use model::RestoredModel;
pub use passes::Probed;
pub use reset::Reset;
pub use step::Step;
pub use submit::Receipt;

/// Grows a network by seeds, on orders, without ever letting a seed touch it.
///
/// Made by [`SeedManager::builder`]. Between batches it takes commands ([`submit`](Self::submit)) and orders of the process that
/// owns it ([`order`](Self::order)); a batch is [`train_batch`](Self::train_batch), or a [`Step`] in parts. It owns the kernel and
/// optimizer of every seed. The model is the trainer's: a [`Grown`], the host with all that has become part of it.
pub struct SeedManager<B: GraftBackend> {
    settings: Settings,
    reading: ReadSettings,
    engine: Engine,
    tensors: Tensors<B>,
    kernels: Kernels,
    policy: Box<dyn Policy + Send>,
    verifier: Box<dyn Verifier>,
    clock: Arc<dyn Clock>,
    reporter: Reporter,
    gauges: Gauges,
    memory: Memory,
    /// `None` if nothing is to outlive the process.
    durable: Option<Durable>,
    /// Checkpoints in memory, oldest first.
    checkpoints: Vec<epochs::InMemory<B>>,
    /// Moves that are durable and that no call has returned yet.
    moved: Vec<Transition>,
    /// Whether seeds wait for kernels that this process, or what was undone, has not asked for.
    ask_again: bool,
    /// What the learning rates of seeds are multiplied by.
    rate_scale: f64,
    /// Whether the last flush of telemetry failed.
    flush_failed: bool,
    /// Steps that were refused since the last one that was taken.
    refused_steps: u64,
    /// Seeds that have joined the model and that no report has named yet.
    joined: Vec<SeedId>,
    /// Which run of a step this is, from 0.
    run: u64,
    /// Whether the store has a network that the trainer has not restored.
    unrestored: bool,
    /// Lets the model know what is about to join it.
    pending: PendingJoins,
    /// The other workers, if there are any.
    group: Group<B>,
    /// With other workers: the model's running statistics before a step that has not been taken yet.
    unsettled: Option<Statistics<B>>,
}

/// What the builder has collected.
pub(crate) struct Parts<B: GraftBackend> {
    pub(crate) settings: Settings,
    pub(crate) reading: ReadSettings,
    pub(crate) engine: Engine,
    pub(crate) tensors: Tensors<B>,
    pub(crate) kernels: Kernels,
    pub(crate) policy: Box<dyn Policy + Send>,
    pub(crate) verifier: Box<dyn Verifier>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) reporter: Reporter,
    pub(crate) durable: Option<Durable>,
    pub(crate) memory: Memory,
    pub(crate) group: Group<B>,
}

impl<B: GraftBackend> SeedManager<B> {
    pub(crate) fn new(parts: Parts<B>) -> Self {
        let Parts {
            settings,
            reading,
            engine,
            tensors,
            kernels,
            policy,
            verifier,
            clock,
            mut reporter,
            durable,
            memory,
            group,
        } = parts;
        reporter.set_journaled(durable.is_some());
        let (checkpoints, moved, ask_again) = (Vec::new(), Vec::new(), false);
        Self {
            settings,
            reading,
            engine,
            tensors,
            kernels,
            policy,
            verifier,
            clock,
            reporter,
            gauges: Gauges::default(),
            memory,
            durable,
            checkpoints,
            moved,
            ask_again,
            rate_scale: 1.0,
            flush_failed: false,
            refused_steps: 0,
            joined: Vec::new(),
            run: 0,
            unrestored: false,
            pending: PendingJoins::default(),
            group,
            unsettled: None,
        }
    }

    /// Registers a seed at a slot, from UNKNOWN to DORMANT. Orders name it by `seed`.
    ///
    /// A seed that was culled germinates again after its embargo, so a few names serve a run of any length. The record of a TERMINATED
    /// seed stays until [`forget_seed`](Self::forget_seed): a run that registers a new name each time grows by a record each time.
    ///
    /// A slot can have several registered seeds; G0 lets one at a time germinate. A manager that has come back from its journal
    /// knows its seeds already: ask [`stage`](Self::stage).
    ///
    /// # Errors
    /// `seed_exists`; [`Refusal::NotDurable`], then it is not registered.
    pub fn register_seed(&mut self, seed: SeedId, slot: SlotId) -> Result<(), Refusal> {
        self.durably(Input::Register(seed, slot))
    }

    /// Removes the record of a TERMINATED seed. Its name is free again, and [`stage`](Self::stage) does not know it any more. A
    /// rollback to an epoch in which it was registered brings it back as it was then.
    ///
    /// # Errors
    /// `unknown_seed`; `wrong_stage` for a seed that is not TERMINATED: a fossil is not before it has left the model, in the next step or in
    /// [`settle`](Self::settle); [`Refusal::NotDurable`], then it stays on record.
    pub fn forget_seed(&mut self, seed: &SeedId) -> Result<(), Refusal> {
        self.durably(Input::Forget(seed.clone()))
    }

    /// Looks at the model: creates its lazy parameters, remembers which they are, and learns its slots by running `forward` once
    /// without effect on it. If there is a store, and the run begins, it writes the first checkpoint of the whole network.
    /// [`train_batch`](Self::train_batch) does the same on its first batch; call this if seeds shall germinate before it.
    ///
    /// # Errors
    /// [`Refusal::Host`] if a parameter of the model belongs to a seed; [`Refusal::Model`] if seeds do not grow on this model;
    /// [`Refusal::NotDurable`].
    pub fn attach_host<H: HostModule<B>, R>(
        &mut self,
        model: &Grown<B, H>,
        forward: impl FnOnce(&H, &mut Grafts<B>) -> R,
    ) -> Result<(), Refusal> {
        self.check_model(model)?;
        self.begin_rng(model);
        let attached = self.tensors.attach_host(model, |model, grafts| forward(&model.host, grafts));
        self.reporter.emit(
            None,
            match &attached {
                Ok(()) => events::registered(parameter_ids(model).len() as u64, model.num_params()),
                Err(error) => events::not_registered(error),
            },
        );
        attached?;
        self.follow(model);
        self.save_first_network(model)?;
        self.rng().start(RngStream::Trainer);
        // Kernels that were asked for when another process ended are asked for again, now that their slots are known.
        self.fetch_awaited(self.patience())?;
        self.take_arrivals()
    }

    /// Ends an epoch: what has expired is freed every so many (`kernels.collect_every_epochs`), and the seeds grow older. The count
    /// outlives the process with the next record of the journal.
    pub fn end_epoch(&mut self) {
        self.act(Input::EpochEnded);
        if self.engine.state().run.epoch.is_multiple_of(self.settings.kernels.collect_every_epochs) {
            self.collect_memory();
        }
    }

    /// Tells the manager how the whole network does, measured on held-out data with both views. G4 looks at it before a seed is
    /// fossilized (`lifecycle.require_validation` makes it demand one). A later call replaces an earlier one, and any move of any
    /// seed drops it: it was measured on another network.
    ///
    /// A host with batch normalisation behind a slot must be given statistics that fit before the live view is measured:
    /// [`refit_statistics`](Self::refit_statistics). With its own, a good seed looks bad.
    pub fn report_validation(&mut self, validation: Vec<kasmina_engine::state::Validation>) {
        self.act(Input::Validation(validation));
    }

    /// Does what is due by time alone: ends embargoes that are over and puts the seeds before G5, and takes the kernels that have
    /// arrived. Every batch and every command does the first.
    pub fn tick(&mut self) -> Vec<Transition> {
        self.act(Input::Tick);
        // What the disk refuses is taken with the next step.
        let _ = self.take_arrivals();
        self.write_owed();
        self.take_moved()
    }

    /// Hands what has been reported since the last step to the sinks. Every step does this at its end.
    pub fn flush_telemetry(&mut self) {
        if self.reporter.is_silent() {
            return;
        }
        self.write_memory_gauges();
        let state = self.engine.state();
        let (loads, ledger) = (self.kernels.stats(), self.verifier.gauges());
        let standing = Standing { state, budgets: &self.settings.gates.stability, loads, ledger };
        self.gauges.write(&mut self.reporter, &standing);
        let (step, breaker) = (state.run.step, state.run.breakers.get(BreakerName::Telemetry).state());
        let durable = &mut self.durable;
        if breaker == CircuitStateOpen {
            self.reporter.hold(step, self.clock.unix());
        } else {
            let flushed = self.reporter.flush(step, self.clock.unix(), &mut |place| durable.as_mut()?.recall(place));
            durable.iter_mut().for_each(Durable::forget_recalled);
            // A breaker that is closed and has nothing to count need not hear of it; a half-open one counts what was delivered.
            let trial = breaker == CircuitStateHalfOpen && flushed.delivered > 0;
            if !self.group.is_alone() {
                let delivery = match (flushed.failed, flushed.delivered) {
                    (true, _) => Delivery::Failed,
                    (false, 0) => Delivery::Nothing,
                    (false, _) => Delivery::Delivered,
                };
                self.group.telemetry = self.group.telemetry.max(delivery);
            } else if flushed.failed || self.flush_failed || trial {
                self.flush_failed = flushed.failed;
                self.act(Input::Flushed { failed: flushed.failed });
            }
        }
        self.spill_telemetry();
    }

    /// The states of all seeds, as Leyline's state packets carry them, by id. `learning_rate` is that of the seed's last optimizer
    /// step; `metrics` are `alpha`, `loss` and `parameter_tensors`, if they are known. Of a fossil, which learns with the model, only
    /// `alpha` is.
    #[must_use]
    pub fn export_seed_states(&self) -> Vec<SeedState> {
        let state = self.engine.state();
        state.seeds.values().map(|seed| self.export(seed, state.run.epoch)).collect()
    }

    fn export(&self, seed: &kasmina_engine::Seed, epoch: u64) -> SeedState {
        let stage = seed.stage.leyline().into();
        let mut state = SeedState { seed_id: seed.id.to_string(), stage, ..SeedState::default() };
        state.metrics.extend(seed.stage.alpha().map(|alpha| ("alpha".to_owned(), alpha.get())));
        if let Some(graft) = seed.stage.graft() {
            let vitals = &graft.vitals;
            state.gradient_norm = vitals.gradient_norm.unwrap_or_default();
            state.learning_rate = vitals.learning_rate as f32;
            state.age_epochs = u32::try_from(epoch.saturating_sub(graft.epoch)).unwrap_or(u32::MAX);
            let kept = self.memory.descriptor(&graft.blueprint, self.clock.monotonic()).map(|kept| kept.risk);
            let asked = || Some(self.kernels.descriptor(&graft.blueprint).ok()??.risk);
            state.risk_score = kept.or_else(asked).unwrap_or_default();
            state.metrics.extend(vitals.losses.back().map(|loss| ("loss".to_owned(), *loss)));
            state.metrics.insert("parameter_tensors".to_owned(), graft.parameters as f32);
        }
        state
    }

    /// Every seed and what belongs to none.
    #[must_use]
    pub const fn state(&self) -> &State {
        self.engine.state()
    }

    /// Multiplies the learning rates of all seeds by `scale` from the next batch on, instead of by 1: for a schedule. The scale does not
    /// outlive the process.
    ///
    /// # Errors
    /// [`SettingsError::OutOfRange`](crate::SettingsError::OutOfRange) if it is not finite or below 0.
    pub fn scale_learning_rates(&mut self, scale: f64) -> Result<(), SettingsError> {
        if !(scale.is_finite() && scale >= 0.0) {
            let demand = "must be finite and not below 0";
            return Err(SettingsError::OutOfRange {
                key: "the learning rates' scale",
                value: scale.to_string(),
                demand,
            });
        }
        self.rate_scale = scale;
        Ok(())
    }

    /// Steps taken so far.
    #[must_use]
    pub const fn step(&self) -> u64 {
        self.engine.state().run.step
    }

    /// The stage of a seed; `None` for one that was never registered.
    #[must_use]
    pub fn stage(&self, seed: &SeedId) -> Option<SeedLifecycleStage> {
        self.engine.state().stage(seed)
    }

    /// The alpha of a grafted seed.
    #[must_use]
    pub fn alpha(&self, seed: &SeedId) -> Option<Alpha> {
        self.engine.state().alpha(seed)
    }

    /// The slots that the host has shown so far, with the shapes of their last activations.
    #[must_use]
    pub const fn slots(&self) -> &BTreeMap<SlotId, SlotShape> {
        self.tensors.slots()
    }

    /// Who owns which parameter.
    #[must_use]
    pub const fn registry(&self) -> &Registry {
        self.tensors.registry()
    }

    /// When the manager next has something to do on its own, and what.
    #[must_use]
    pub fn next_deadline(&self) -> Option<(Monotonic, Deadline)> {
        let kernel = self.kernels.next_deadline().map(|at| (at, Deadline::KernelDue));
        self.engine.state().next_deadline().into_iter().chain(kernel).min_by_key(|(at, _)| *at)
    }

    /// The pass that trains the model: a tap at every slot. Riders learn inside of [`host_pass`](kasmina_isolation::host_pass).
    #[must_use]
    pub fn host_view<H: HostModule<B>>(&self, model: &Grown<B, H>) -> Grafts<B> {
        self.cast(model).host()
    }

    /// The live view in training mode, with `seed` in it whatever its stage. Nothing in it has a gradient. Goes with
    /// [`frozen_twin`](kasmina_isolation::frozen_twin) of the model's host.
    #[must_use]
    pub fn seed_view<H: HostModule<B>>(&self, model: &Grown<B, H>, seed: &SeedId) -> Grafts<B> {
        let cast = self.cast(model);
        let alpha = cast.participant(seed).map(|participant| participant.alpha);
        cast.measured(&[Override { seed, alpha }])
    }

    /// The network as it will be if all goes well: fossils, PROBATIONARY seeds at alpha 1, BLENDING seeds at theirs. Goes with
    /// `model.host.valid()`. The network without the seeds under trial is `model.valid()`, whose [`forward`](Grown::forward) needs no manager.
    #[must_use]
    pub fn live_view<H: HostModule<B>>(&self, model: &Grown<B, H>) -> Grafts<B::InnerBackend> {
        self.cast(model).live()
    }

    #[cfg(feature = "doubles")]
    pub(crate) const fn tensors(&self) -> &Tensors<B> {
        &self.tensors
    }

    #[cfg(feature = "doubles")]
    pub(crate) const fn tensors_mut(&mut self) -> &mut Tensors<B> {
        &mut self.tensors
    }

    fn cast<'a, H: HostModule<B>>(&'a self, model: &'a Grown<B, H>) -> Cast<'a, B> {
        let times_blends = !<B as BlendBackend>::is_queued() || self.samples(self.step().saturating_add(1));
        self.tensors.cast(model.fossils(), self.engine.state(), &self.clock).timing_blends(times_blends)
    }

    /// The random numbers of the step that comes next, in this run of it.
    fn rng(&self) -> StepRng<'_, B> {
        StepRng::new(self.tensors.device(), self.rng_seed_of_run(), self.step())
    }

    /// The random numbers after a step that was refused: others each time, or a trainer that draws its batches would draw the one
    /// that was refused again, for ever.
    fn rng_after_refusal(&self) -> StepRng<'_, B> {
        let apart = self.refused_steps.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        StepRng::new(self.tensors.device(), self.rng_seed().map(|seed| seed.wrapping_add(apart)), self.step())
    }

    /// Each run of a step draws other numbers: its batches are different ones.
    fn rng_seed_of_run(&self) -> Option<u64> {
        let apart = self.run.wrapping_mul(0xd1b5_4a32_d192_ed03);
        self.rng_seed().map(|seed| seed.wrapping_add(apart))
    }

    /// What the random numbers of all steps are derived from; `None` if they are left alone.
    fn rng_seed(&self) -> Option<u64> {
        let training = &self.settings.training;
        training.rng_seed.or(self.state().run.rng_seed).filter(|_| training.reseed)
    }

    /// Draws what the random numbers of all steps are derived from, if no setting says it.
    fn begin_rng<M: AutodiffModule<B>>(&mut self, model: &M) {
        if let Some(seed) = self.draw_rng_seed(model).filter(|_| self.group.is_alone()) {
            self.act(Input::RngSeeded(seed));
        }
    }

    /// `None` if it has been drawn, or need not be.
    fn draw_rng_seed<M: AutodiffModule<B>>(&self, model: &M) -> Option<u64> {
        if self.rng_seed().is_some() || !self.settings.training.reseed {
            return None;
        }
        // Burn draws parameters when they are first looked at, and plain Burn would have drawn them by now.
        let _ = parameter_ids(model);
        let drawn = Tensor::<B, 1>::random([3], Distribution::Uniform(0.0, 1.0), self.tensors.device()).into_data();
        let words = drawn.iter::<f32>().map(|share| u64::from((share * 16_777_216.0) as u32));
        Some(words.fold(0, |seed, word| (seed << 24) ^ word))
    }

    /// The time that decisions go by.
    fn now(&self) -> Monotonic {
        self.group.monotonic()
    }

    /// The moves that have become durable since they were last taken.
    fn take_moved(&mut self) -> Vec<Transition> {
        std::mem::take(&mut self.moved)
    }
}

impl<B: GraftBackend> Drop for SeedManager<B> {
    /// Flushes telemetry. Without a manager nothing joins the model, which can be saved as it is.
    fn drop(&mut self) {
        self.pending.set([]);
        self.flush_telemetry();
    }
}
