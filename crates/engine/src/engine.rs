//! The door: what an input needs to be decided, what follows from it, and making that so.

use std::{fmt, time::Duration};

use kasmina_commands::{BreakerName, Order};
use kasmina_gates::Gatekeepers;
use kasmina_leyline::{Monotonic, TrainingRunId};
use kasmina_safety::BreakerSettings;

use crate::{
    decision::Decision,
    draft::Draft,
    input::{Facts, Input, Want},
    seed::Seed,
    state::{Breakers, Delta, State},
};

/// What the engine must know of the run, and never changes.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineSettings {
    /// The run that G0 is shown.
    pub run: TrainingRunId,
    /// How long a culled seed rests.
    pub embargo: Duration,
    /// Whether a kernel that arrives is carried on through G1 at once.
    pub fast_path: bool,
    /// Whether FOSSILIZE needs metrics of the whole network.
    pub require_validation: bool,
    /// Losses that G2 needs before it can judge. Fewer postpone it.
    pub min_losses: usize,
    /// The breaker that isolation violations open.
    pub isolation_breaker: BreakerSettings,
    /// The breaker that failed loads open.
    pub kernel_breaker: BreakerSettings,
}

impl EngineSettings {
    /// Violations of one seed, since it was last DORMANT, that cull it and open the isolation breaker. Source: Esper's
    /// contract.
    pub const VIOLATIONS: u64 = 3;

    /// The defaults for a run. Their sources are beside the settings that they come from.
    #[must_use]
    pub fn new(run: TrainingRunId) -> Self {
        Self {
            run,
            embargo: Duration::from_secs(30),
            fast_path: true,
            require_validation: false,
            min_losses: 8,
            isolation_breaker: BreakerSettings::default(),
            kernel_breaker: BreakerSettings::default(),
        }
    }

    /// Both breakers, by name.
    #[must_use]
    pub const fn breakers(&self) -> [(BreakerName, BreakerSettings); 2] {
        [(BreakerName::Isolation, self.isolation_breaker), (BreakerName::Kernels, self.kernel_breaker)]
    }
}

/// Whoever judges at the gates.
pub(crate) type Keepers = dyn Gatekeepers + Send + Sync + 'static;

/// Decides. It knows every seed, holds no tensor, reads no clock and touches no file.
///
/// The way through it has three steps. [`wants`](Self::wants) names the facts that only the shell can measure;
/// [`decide`](Self::decide) is pure; [`commit`](Self::commit) makes what was decided so. Several inputs that shall happen together
/// or not at all go through an [`Overlay`].
pub struct Engine {
    settings: EngineSettings,
    keepers: Box<Keepers>,
    state: State,
}

impl Engine {
    /// The engine of a run that begins.
    #[must_use]
    pub fn new(settings: EngineSettings, keepers: impl Gatekeepers + Send + Sync + 'static) -> Self {
        let mut state = State::default();
        state.run.breakers = Breakers::new(settings.isolation_breaker, settings.kernel_breaker);
        Self { settings, keepers: Box::new(keepers), state }
    }

    /// Goes on from a state that another process left at `then` of its own monotonic clock; this one's reads `now`.
    pub fn restore(&mut self, state: State, then: Monotonic, now: Monotonic) {
        self.state = state.rebase(then, now, self.settings.breakers());
    }

    /// What is known.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// What it was made with.
    #[must_use]
    pub const fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    /// The facts that deciding this input needs.
    #[must_use]
    pub fn wants(&self, input: &Input, now: Monotonic) -> Vec<Want> {
        self.overlay().wants(input, now)
    }

    /// What follows from this input. Nothing changes.
    #[must_use]
    pub fn decide(&self, input: Input, facts: &Facts, now: Monotonic) -> Decision {
        self.overlay().decide(input, facts, now)
    }

    /// Makes a change that was decided on this state.
    pub fn commit(&mut self, delta: Delta) {
        self.state.apply(delta);
    }

    /// A place to decide several inputs, each on top of those before it.
    #[must_use]
    pub fn overlay(&self) -> Overlay<'_> {
        self.overlay_on(Delta::default())
    }

    /// An overlay on which `delta` has been adopted: one that was taken apart to do something else in between.
    #[must_use]
    pub const fn overlay_on(&self, delta: Delta) -> Overlay<'_> {
        Overlay { engine: self, delta }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("settings", &self.settings).field("state", &self.state).finish_non_exhaustive()
    }
}

/// Decisions on top of an engine that have not been committed. Dropping it undoes them: nothing was done.
#[derive(Clone, Debug)]
pub struct Overlay<'a> {
    engine: &'a Engine,
    delta: Delta,
}

impl<'a> Overlay<'a> {
    /// As [`Engine::wants`], with what was adopted so far.
    #[must_use]
    pub fn wants(&self, input: &Input, now: Monotonic) -> Vec<Want> {
        let slot = |id| self.seed(id).map(|seed| Want::Slot(seed.slot.clone()));
        match input {
            Input::Order(order) => match order {
                Order::Germinate { seed, blueprint, .. } => {
                    slot(seed).into_iter().chain([Want::Descriptor(blueprint.clone())]).collect()
                }
                Order::StartTraining { seed } | Order::Resume { seed } => vec![Want::Rehearsal(seed.clone())],
                Order::StartGrafting { seed, .. } => slot(seed).into_iter().collect(),
                Order::Stabilize { seed } => slot(seed)
                    .into_iter()
                    .chain([Want::Ownership(seed.clone()), Want::Packets(seed.clone()), Want::PauseProof(seed.clone())])
                    .collect(),
                Order::Rollback { .. } => vec![Want::Epochs],
                Order::RollBackSeed { seed, epoch } => vec![Want::Checkpoint(seed.clone(), *epoch)],
                Order::Evaluate { .. }
                | Order::FineTune { .. }
                | Order::Fossilize { .. }
                | Order::Cull { .. }
                | Order::Cancel { .. }
                | Order::Pause { .. }
                | Order::Optimizer { .. }
                | Order::CircuitBreaker { .. }
                | Order::Emergency { .. }
                | Order::Terminate { .. } => Vec::new(),
            },
            Input::KernelReady(seed, _) if self.engine.settings.fast_path => vec![Want::Rehearsal(seed.clone())],
            Input::Tick => self.due(now).map(|seed| Want::Ownership(seed.id.clone())).collect(),
            Input::Register(..)
            | Input::KernelReady(..)
            | Input::KernelFailed(..)
            | Input::HostPass(_)
            | Input::HostPassFailed(_)
            | Input::SeedPass(..)
            | Input::Probe(..)
            | Input::StepTaken(_)
            | Input::Validation(_)
            | Input::EpochEnded
            | Input::RolledBack(..)
            | Input::RollbackAbandoned => Vec::new(),
        }
    }

    /// What follows from this input, on top of what was adopted so far. Nothing changes.
    #[must_use]
    pub fn decide(&self, input: Input, facts: &Facts, now: Monotonic) -> Decision {
        let mut draft = Draft::new(self, facts, now);
        let answer = draft.handle(input);
        draft.finish(answer)
    }

    /// Lets the next input be decided on top of this decision.
    pub fn adopt(&mut self, decision: &Decision) {
        self.delta.merge(decision.delta.clone());
    }

    /// Everything that was adopted, for [`Engine::commit`].
    #[must_use]
    pub fn into_delta(self) -> Delta {
        self.delta
    }

    /// The record of a seed, with what was adopted so far.
    #[must_use]
    pub fn seed(&self, id: &kasmina_leyline::SeedId) -> Option<&Seed> {
        self.delta.seeds.get(id).or_else(|| self.engine.state.seeds.get(id))
    }

    pub(crate) fn run(&self) -> &crate::state::RunState {
        self.delta.run.as_ref().unwrap_or(&self.engine.state.run)
    }

    /// All seeds, by id, with what was adopted so far.
    pub(crate) fn seeds(&self) -> impl Iterator<Item = &Seed> {
        let state = &self.engine.state.seeds;
        let new = self.delta.seeds.iter().filter(|(id, _)| !state.contains_key(*id)).map(|(_, seed)| seed);
        // Both are in order; registering in the middle of a batch is rare.
        let known = state.iter().map(|(id, seed)| self.delta.seeds.get(id).unwrap_or(seed));
        known.chain(new)
    }

    pub(crate) fn due(&self, now: Monotonic) -> impl Iterator<Item = &Seed> {
        self.seeds().filter(move |seed| seed.embargo_until().is_some_and(|until| until <= now))
    }

    pub(crate) const fn settings(&self) -> &'a EngineSettings {
        &self.engine.settings
    }

    pub(crate) fn keepers(&self) -> &'a Keepers {
        &*self.engine.keepers
    }
}
