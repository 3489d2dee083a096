//! A fossil belongs to the model: a kernel joins it, leaves it, and what is known of seeds must be known of this model.
//!
//! FOSSILIZE and TERMINATE of a fossil are answered when they are durable. They take effect when the shell next holds the model.

use kasmina_gates::Contribution;
use kasmina_leyline::{SeedId, v1::SeedLifecycleStage::SeedStageTerminated};
use kasmina_lifecycle::{Fossilize, Grant};

use crate::{
    decision::{Effect, Event},
    draft::Draft,
    refusal::Refusal,
    seed::{Blend, Fossil, Probation, Seed, Stage, Trial},
    state::State,
};

impl State {
    /// The seeds whose FOSSILIZE was answered and which are still to become part of the model, by id.
    pub fn joining(&self) -> impl Iterator<Item = &Seed> {
        self.seeds.values().filter(|seed| seed.stage.joining().is_some())
    }

    /// The fossils whose TERMINATE was answered and which are still to be taken out of the model, by id.
    pub fn terminated_fossils(&self) -> impl Iterator<Item = &Seed> {
        self.seeds.values().filter(|seed| matches!(&seed.stage, Stage::Fossilized(fossil) if fossil.terminated))
    }
}

impl Stage {
    /// A verdict that let the seed become part of the model says nothing any more.
    pub(crate) fn withdraw_join(&mut self) {
        if self.joining().is_some()
            && let Self::Probationary(_, _, probation) = self
        {
            *probation = Probation::OnTrial;
        }
    }
}

impl Draft<'_> {
    /// A seed that is about to join can be culled, terminated or taken back to a checkpoint; nothing else changes it.
    pub(crate) fn not_joining(&self, id: &SeedId) -> Result<(), Refusal> {
        match self.seed(id)?.stage.joining() {
            Some(_) => Err(self.wrong_stage(id, "it is about to become part of the model")),
            None => Ok(()),
        }
    }

    /// Remembers that the kernel is to be taken out of the model.
    pub(crate) fn terminate_fossil(&mut self, id: &SeedId) -> Result<(), Refusal> {
        if let Stage::Fossilized(fossil) = &mut self.seed_mut(id)?.stage {
            fossil.terminated = true;
        }
        Ok(())
    }

    /// The second step from PROBATIONARY to FOSSILIZED, and from FOSSILIZED to TERMINATED.
    pub(crate) fn model_settled(&mut self, joined: &[SeedId], removed: &[SeedId]) -> Result<(), Refusal> {
        joined.iter().try_for_each(|id| self.join(id))?;
        removed.iter().try_for_each(|id| self.remove(id))
    }

    fn join(&mut self, id: &SeedId) -> Result<(), Refusal> {
        let Stage::Probationary(graft, trial, Probation::Joining(_)) = &self.seed(id)?.stage else {
            return Err(self.wrong_stage(id, "it is not about to become part of the model"));
        };
        let fossil = Fossil { blueprint: graft.blueprint.clone(), blend: trial.blend.clone(), terminated: false };
        let fossilized = self.lifecycle(id)?.complete(Grant::<Fossilize>::resumed(id.clone()), self.now)?;
        self.life_succeeds(id);
        self.seed_mut(id)?.stage = Stage::Fossilized(fossil);
        self.run_mut().fossils.push(id.clone());
        self.effect(Effect::HandOver { seed: id.clone() });
        self.effect(Effect::CountPackets { seed: id.clone() });
        self.moved(fossilized);
        Ok(())
    }

    fn remove(&mut self, id: &SeedId) -> Result<(), Refusal> {
        if !matches!(&self.seed(id)?.stage, Stage::Fossilized(fossil) if fossil.terminated) {
            return Err(self.wrong_stage(id, "its kernel is not to be taken out of the model"));
        }
        let terminated = self.lifecycle(id)?.advance(SeedStageTerminated, self.now)?;
        self.seed_mut(id)?.stage = Stage::Terminated;
        self.run_mut().fossils.retain(|fossil| fossil != id);
        self.moved(terminated);
        // What the others change was measured in a model with this kernel.
        for other in self.ids() {
            if self.graft(other).is_ok() {
                self.measure_again(other)?;
            }
        }
        Ok(())
    }

    /// What was measured of a grafted seed says nothing any more. A verdict on it stands.
    fn measure_again(&mut self, id: &SeedId) -> Result<(), Refusal> {
        self.graft_mut(id)?.vitals.losses.clear();
        match &mut self.seed_mut(id)?.stage {
            Stage::Blending(_, Blend { contribution, pause_proven, .. }) => {
                (*contribution, *pause_proven) = (Contribution::default(), None);
            }
            Stage::Shadowing(_, Trial { contribution, .. })
            | Stage::Probationary(_, Trial { contribution, .. }, Probation::OnTrial | Probation::FineTuning(_)) => {
                *contribution = Contribution::default();
            }
            Stage::Probationary(_, _, Probation::Joining(_))
            | Stage::Dormant
            | Stage::Germinated(_)
            | Stage::Training(_)
            | Stage::Fossilized(_)
            | Stage::Culled
            | Stage::Embargoed(_)
            | Stage::Resetting
            | Stage::Terminated => {}
        }
        Ok(())
    }

    /// What was measured on a model that is newer than the one that was restored is measured again.
    pub(crate) fn model_restored(&mut self, model: u64) -> Result<(), Refusal> {
        let seed_step = self.run().step;
        if model > seed_step {
            self.run_mut().step = model;
        }
        if model >= seed_step {
            return Ok(());
        }
        self.network_changed();
        self.run_mut().hunt = None;
        for id in self.ids() {
            if self.graft(id).is_err() {
                continue;
            }
            let stage = &mut self.seed_mut(id)?.stage;
            let join_withdrawn = stage.joining().is_some_and(|joining| joining.step > model);
            if join_withdrawn {
                stage.withdraw_join();
            }
            self.measure_again(id)?;
            self.emit(Event::EvidenceReset { seed: id.clone(), seed_step, model, join_withdrawn });
        }
        Ok(())
    }
}
