//! What of the manager goes back: when a command cannot be made durable, and when a rollback is commanded.

use std::collections::BTreeMap;

use kasmina_isolation::ViolationLog;
use kasmina_leyline::SeedId;
use kasmina_lifecycle::Transition;
use kasmina_registry::Registry;

use crate::{
    GraftBackend, SeedManager, Validation, durability::Unjournaled, manager::Breakers, report::Mark, seed::Seed,
};

/// All that a command or a step can change, but for nonces. Cloning copies handles, no weights.
#[derive(Clone)]
pub(crate) struct State<B: GraftBackend> {
    pub(crate) seeds: BTreeMap<SeedId, Seed<B>>,
    pub(crate) registry: Registry,
    pub(crate) violations: ViolationLog,
    pub(crate) breakers: Breakers,
    pub(crate) fossils: Vec<SeedId>,
    pub(crate) validation: Vec<Validation>,
    pub(crate) step: u64,
    pub(crate) epoch: u64,
    /// The epoch that a command said to go back to, until that is done.
    pub(crate) commanded: Option<u64>,
}

/// A state with what had been told at that time.
pub(crate) struct UndoPoint<B: GraftBackend> {
    state: State<B>,
    moved: Vec<Transition>,
    unjournaled: Vec<Unjournaled>,
    reporter: Mark,
}

impl<B: GraftBackend> SeedManager<B> {
    pub(crate) fn state(&self) -> State<B> {
        State {
            seeds: self.seeds.clone(),
            registry: self.registry.clone(),
            violations: self.violations.clone(),
            breakers: self.breakers.clone(),
            fossils: self.fossils.clone(),
            validation: self.validation.clone(),
            step: self.step,
            epoch: self.epoch,
            commanded: self.commanded,
        }
    }

    pub(crate) fn put_back(&mut self, state: State<B>) {
        let State { seeds, registry, violations, breakers, fossils, validation, step, epoch, commanded } = state;
        (self.seeds, self.registry, self.violations, self.breakers) = (seeds, registry, violations, breakers);
        (self.fossils, self.validation) = (fossils, validation);
        (self.step, self.epoch, self.commanded) = (step, epoch, commanded);
    }

    /// Where to go back to should what follows not become durable; `None` where nothing has to.
    pub(crate) fn undo_point(&self) -> Option<UndoPoint<B>> {
        self.durability.is_some().then(|| UndoPoint {
            state: self.state(),
            moved: self.moved.clone(),
            unjournaled: self.unjournaled.clone(),
            reporter: self.reporter.mark(),
        })
    }

    pub(crate) fn undo(&mut self, point: Option<UndoPoint<B>>) {
        if let Some(UndoPoint { state, moved, unjournaled, reporter }) = point {
            self.put_back(state);
            (self.moved, self.unjournaled) = (moved, unjournaled);
            self.reporter.back_to(reporter);
        }
    }
}
