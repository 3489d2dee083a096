//! Going back: with one seed at once, with everything when the trainer hands its host over.

use kasmina_leyline::SeedId;

use crate::{
    decision::{Effect, Event},
    draft::Draft,
    input::{CheckpointFailure, SeedCheckpoint},
    refusal::Refusal,
    seed::{Seed, Stage},
    state::{Breakers, RunState, State},
};

impl Draft<'_> {
    /// Remembers that the trainer is to go back to `epoch`.
    pub(crate) fn order_rollback(&mut self, epoch: u64) -> Result<(), Refusal> {
        let held = &self.facts.epochs;
        if !held.contains(&epoch) {
            let detail = format!("there is no checkpoint of epoch {epoch}; there are checkpoints of {held:?}");
            return Err(Refusal::Checkpoint(CheckpointFailure { reason: "unknown_checkpoint", detail }));
        }
        self.run_mut().rollback = Some(epoch);
        Ok(())
    }

    /// One grafted seed becomes what it was in a checkpoint: stage, kernel, optimizer, alpha and what was measured of it. Host and
    /// other seeds are not involved, because it has not touched them.
    pub(crate) fn roll_back_seed(&mut self, id: &SeedId) -> Result<(), Refusal> {
        if let Stage::Fossilized(_) = self.seed(id)?.stage {
            return Err(self.wrong_stage(id, "a fossil is part of the model: go back to an epoch"));
        }
        self.graft(id)?;
        let missing = || Refusal::NotMeasured { seed: id.clone(), what: "no checkpoint has been looked up" };
        let found = self.facts.checkpoint.clone().ok_or_else(missing)?.map_err(Refusal::Checkpoint)?;
        let SeedCheckpoint { epoch, seed, same_graft } = found;
        let grafted = seed.filter(|seed| same_graft && seed.stage.graft().is_some());
        let Some(mut seed) = grafted else {
            return Err(self.wrong_stage(id, "it had another kernel or none in that checkpoint; use CULL to remove it"));
        };
        let violations = self.seed(id)?.violations;
        seed.stage.withdraw_join();
        self.put(Seed { violations, ..seed });
        self.network_changed();
        self.effect(Effect::RestoreSeed { seed: id.clone(), epoch });
        self.emit(Event::SeedRolledBack { seed: id.clone(), epoch });
        Ok(())
    }

    /// Everything is as in the checkpoint but the breakers and how memory stands. A seed that was registered since is DORMANT. One of several
    /// workers closes its breakers and forgets such a seed: another worker, which was lost, may know nothing of either.
    pub(crate) fn rolled_back(&mut self, epoch: u64, state: State) -> Result<(), Refusal> {
        if self.run().rollback != Some(epoch) {
            return Err(Refusal::Unsupported("a rollback that was not ordered"));
        }
        for id in self.ids() {
            let life = |seed: &Seed| (seed.registered, seed.lives, seed.stage.blueprint().cloned());
            if state.seeds.get(id).map(life) != Some(life(self.seed(id)?)) {
                self.life_is_rolled_back(id);
            }
        }
        let newer = self.seeds_before().filter(|seed| !state.seeds.contains_key(&seed.id));
        let newer: Vec<_> = newer
            .map(|seed| Seed { registered: seed.registered, ..Seed::dormant(seed.id.clone(), seed.slot.clone()) })
            .collect();
        if self.settings().replicated {
            newer.iter().for_each(|seed| self.forget_record(&seed.id));
            state.seeds.into_values().for_each(|seed| self.put(seed));
            let (breakers, conserving) = (Breakers::new(self.settings().breakers()), self.run().conserving);
            *self.run_mut() = RunState { breakers, conserving, rollback: None, ..state.run };
            return Ok(());
        }
        newer.into_iter().chain(state.seeds.into_values()).for_each(|seed| self.put(seed));
        let (breakers, conserving) = (self.run().breakers.clone(), self.run().conserving);
        *self.run_mut() = RunState { breakers, conserving, rollback: None, ..state.run };
        Ok(())
    }
}
