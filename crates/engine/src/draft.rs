//! A decision while it is being written.

use kasmina_commands::{BreakerName, Order};
use kasmina_leyline::{CommandId, Monotonic, SeedId, v1::SeedLifecycleStage};
use smallvec::SmallVec;

use crate::{
    decision::{Decision, Effect, Event},
    input::{Facts, Input},
    overlay::{Keepers, Overlay},
    refusal::Refusal,
    seed::{Graft, Seed, Stage},
    settings::EngineSettings,
    state::{Delta, RunState},
};

/// A decision while it is being written: reads go to what was changed here, then to what was there before.
pub(crate) struct Draft<'a> {
    before: &'a Overlay<'a>,
    pub(crate) facts: &'a Facts,
    pub(crate) now: Monotonic,
    /// The command that is decided, if it is one.
    by: Option<CommandId>,
    delta: Delta,
    effects: SmallVec<[Effect; 2]>,
    events: SmallVec<[Event; 4]>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(before: &'a Overlay<'a>, facts: &'a Facts, now: Monotonic) -> Self {
        Self {
            before,
            facts,
            now,
            by: None,
            delta: Delta::default(),
            effects: SmallVec::new(),
            events: SmallVec::new(),
        }
    }

    /// Sends an input to the file that decides it.
    pub(crate) fn handle(&mut self, input: Input) -> Result<(), Refusal> {
        match input {
            Input::Order(order) => self.order(order),
            Input::Command(id, order) => {
                self.by = Some(id);
                self.order(order)
            }
            Input::Register(id, slot) => self.register(id, slot),
            Input::Forget(id) => self.forget(&id),
            Input::KernelReady(id, kernel) => self.kernel_ready(&id, kernel),
            Input::KernelFailed(id, failure) => self.kernel_failed(&id, failure),
            Input::AlphaAdvanced => self.advance_alpha(),
            Input::HostPass(facts) => self.host_pass(facts),
            Input::HostPassFailed(faults) => self.host_pass_failed(&faults),
            Input::LearningPass(facts) => self.learning_pass(facts),
            Input::Probe(id, facts) => self.probe(&id, facts),
            Input::Interaction { seeds, value } => {
                if value.is_finite() {
                    self.emit(Event::Interacted { seeds, value });
                }
                Ok(())
            }
            Input::PauseProof(id, proven) => {
                if matches!(self.seed(&id)?.stage, Stage::Blending(..))
                    && let Stage::Blending(_, blend) = &mut self.seed_mut(&id)?.stage
                {
                    blend.pause_proven = Some(proven);
                }
                Ok(())
            }
            Input::StepTaken(facts) => self.step_taken(facts),
            Input::ModelSettled { joined, removed } => self.model_settled(&joined, &removed),
            Input::ModelRestored(step) => self.model_restored(step),
            Input::Memory(facts) => {
                self.memory_assessed(facts);
                Ok(())
            }
            Input::RngSeeded(seed) => {
                self.run_mut().rng_seed = Some(seed);
                Ok(())
            }
            Input::Flushed { failed } => {
                self.breaker_saw(BreakerName::Telemetry, failed);
                Ok(())
            }
            Input::Validation(validation) => {
                self.run_mut().validation = validation;
                Ok(())
            }
            Input::EpochEnded => {
                self.run_mut().epoch += 1;
                Ok(())
            }
            Input::RolledBack(epoch, state) => self.rolled_back(epoch, *state),
            Input::RollbackAbandoned => {
                self.run_mut().rollback = None;
                Ok(())
            }
            Input::Tick => self.tick(),
        }
    }

    /// Sends an order to the file that decides it. A new order is one arm here.
    fn order(&mut self, order: Order) -> Result<(), Refusal> {
        if let (Some(epoch), false) = (self.run().rollback, works_before_a_rollback(&order)) {
            return Err(Refusal::RollbackPending { epoch });
        }
        match order {
            Order::Germinate { seed, blueprint, tier, parameters, lr_scale } => {
                self.germinate(&seed, blueprint, tier, parameters, lr_scale)
            }
            Order::StartTraining { seed } => self.start_training(&seed),
            Order::StartGrafting { seed, blend, schedule } => self.start_grafting(&seed, blend, schedule),
            Order::Stabilize { seed } => self.stabilize(&seed),
            Order::Evaluate { seed } => self.evaluate(&seed),
            Order::FineTune { seed, steps } => self.fine_tune(&seed, steps),
            Order::Fossilize { seed } => self.fossilize(&seed),
            Order::Cull { seed, blend_out_steps } => self.order_cull(&seed, blend_out_steps),
            Order::Cancel { seed } => self.cancel(&seed),
            Order::Pause { seed } => self.pause(&seed),
            Order::Resume { seed } => self.resume(&seed),
            Order::Optimizer { seed, lr_scale } => {
                check_scale(lr_scale)?;
                self.not_leaving(&seed, self.graft(&seed)?)?;
                self.not_joining(&seed)?;
                self.graft_mut(&seed)?.lr_scale = lr_scale;
                Ok(())
            }
            Order::CircuitBreaker { breaker, state } => self.force_breaker(breaker, state),
            Order::Emergency { include_teacher } => {
                self.effect(Effect::Purge { include_teacher });
                Ok(())
            }
            Order::Rollback { epoch } => self.order_rollback(epoch),
            Order::RollBackSeed { seed, epoch: _ } => self.roll_back_seed(&seed),
            Order::Terminate { seed } => self.terminate(&seed),
        }
    }

    pub(crate) fn finish(self, answer: Result<(), Refusal>) -> Decision {
        Decision { delta: self.delta, effects: self.effects, events: self.events, answer }
    }

    pub(crate) fn seed(&self, id: &SeedId) -> Result<&Seed, Refusal> {
        let before = || self.before.seed(id).filter(|_| !self.delta.forgotten.contains(id));
        let found = self.delta.seeds.get(id).or_else(before);
        found.ok_or_else(|| Refusal::UnknownSeed(id.clone()))
    }

    pub(crate) fn seed_mut(&mut self, id: &SeedId) -> Result<&mut Seed, Refusal> {
        let unknown = || Refusal::UnknownSeed(id.clone());
        if self.delta.seeds.contains_key(id) {
            return self.delta.seeds.get_mut(id).ok_or_else(unknown);
        }
        let before = self.before.seed(id).filter(|_| !self.delta.forgotten.contains(id)).ok_or_else(unknown)?;
        Ok(self.delta.seeds.get_or_insert(before))
    }

    pub(crate) fn put(&mut self, seed: Seed) {
        self.delta.seeds.insert(seed);
    }

    pub(crate) fn forget_record(&mut self, id: &SeedId) {
        self.delta.seeds.remove(id);
        self.delta.forgotten.insert(id.clone());
    }

    /// The kernel of a seed that has one.
    pub(crate) fn graft(&self, id: &SeedId) -> Result<&Graft, Refusal> {
        self.seed(id)?.stage.graft().ok_or_else(|| self.wrong_stage(id, "it has no kernel"))
    }

    pub(crate) fn graft_mut(&mut self, id: &SeedId) -> Result<&mut Graft, Refusal> {
        self.graft(id)?;
        self.seed_mut(id)?.stage.graft_mut().ok_or_else(|| Refusal::UnknownSeed(id.clone()))
    }

    /// All seeds as they were before this decision, by id. What changes in it does not disturb the iteration: see [`latest`](Self::latest).
    pub(crate) fn seeds_before(&self) -> impl Iterator<Item = &'a Seed> + use<'a> {
        self.before.seeds()
    }

    /// The ids of these seeds, in order.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &'a SeedId> + use<'a> {
        self.seeds_before().map(|seed| &seed.id)
    }

    /// A seed as it is now, by what it was before this decision.
    pub(crate) fn latest<'s>(&'s self, before: &'s Seed) -> &'s Seed {
        self.delta.seeds.get(&before.id).unwrap_or(before)
    }

    /// The same, to change it.
    pub(crate) fn latest_mut(&mut self, before: &Seed) -> &mut Seed {
        self.delta.seeds.get_or_insert(before)
    }

    /// Seeds whose embargo has ended, and those whose reset was postponed.
    pub(crate) fn due(&self) -> Vec<SeedId> {
        self.before.due(self.now).map(|seed| seed.id.clone()).collect()
    }

    pub(crate) fn run(&self) -> &RunState {
        self.delta.run.as_ref().unwrap_or_else(|| self.before.run())
    }

    pub(crate) fn run_mut(&mut self) -> &mut RunState {
        let before = self.before;
        self.delta.run.get_or_insert_with(|| before.run().clone())
    }

    pub(crate) const fn settings(&self) -> &'a EngineSettings {
        self.before.settings()
    }

    pub(crate) fn keepers(&self) -> &'a Keepers {
        self.before.keepers()
    }

    pub(crate) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub(crate) fn emit(&mut self, event: Event) {
        self.events.push(event);
    }

    /// The command that is decided, if it is one.
    pub(crate) fn by(&self) -> Option<CommandId> {
        self.by.clone()
    }

    pub(crate) fn wrong_stage(&self, id: &SeedId, cause: &'static str) -> Refusal {
        match self.seed(id).map(|seed| seed.stage.leyline()) {
            Ok(stage) => Refusal::WrongStage { seed: id.clone(), stage, cause },
            Err(unknown) => unknown,
        }
    }

    /// A seed in another stage than the move that was wanted begins in.
    pub(crate) fn illegal(&self, seed: &Seed, to: SeedLifecycleStage) -> Refusal {
        let (seed_id, from) = (seed.id.clone(), seed.stage.leyline());
        Refusal::Illegal(kasmina_lifecycle::IllegalTransition::NotInTable { seed_id, from, to })
    }
}

/// A scale of the learning rate that an order may set.
pub(crate) fn check_scale(lr_scale: f64) -> Result<(), Refusal> {
    if lr_scale.is_finite() && lr_scale > 0.0 {
        return Ok(());
    }
    Err(Refusal::Malformed { field: "lr_scale", cause: format!("{lr_scale} must be finite and above 0") })
}

/// Whether the order makes sense between the order to go back and the trainer's doing so. What the others would change is about
/// to go.
const fn works_before_a_rollback(order: &Order) -> bool {
    match order {
        Order::Rollback { .. } | Order::CircuitBreaker { .. } | Order::Emergency { .. } => true,
        Order::Germinate { .. }
        | Order::StartTraining { .. }
        | Order::StartGrafting { .. }
        | Order::Stabilize { .. }
        | Order::Evaluate { .. }
        | Order::FineTune { .. }
        | Order::Fossilize { .. }
        | Order::Cull { .. }
        | Order::Cancel { .. }
        | Order::Pause { .. }
        | Order::Resume { .. }
        | Order::Optimizer { .. }
        | Order::RollBackSeed { .. }
        | Order::Terminate { .. } => false,
    }
}
