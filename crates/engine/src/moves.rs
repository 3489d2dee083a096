//! The moves between stages: past a gate, out of the slot, and on by time alone.

use std::time::Duration;

use kasmina_gates::ResetEvidence;
use kasmina_leyline::{
    SeedId, SlotId,
    v1::SeedLifecycleStage::{
        SeedStageCulled, SeedStageDormant, SeedStageEmbargoed, SeedStageResetting, SeedStageTerminated,
    },
};
use kasmina_lifecycle::{Gatekeeper, GuardedMove, Lifecycle, Reset, Transition};

use crate::{
    decision::{Effect, Event},
    draft::Draft,
    overlay::Keepers,
    refusal::Refusal,
    seed::{Embargo, Graft, Seed, Stage},
};

impl Draft<'_> {
    pub(crate) fn register(&mut self, id: SeedId, slot: SlotId) -> Result<(), Refusal> {
        if self.seed(&id).is_ok() {
            return Err(Refusal::SeedExists(id));
        }
        let registered = Lifecycle::new(id.clone(), Duration::ZERO).advance(SeedStageDormant, self.now)?;
        self.put(Seed::dormant(id, slot));
        self.moved(registered);
        Ok(())
    }

    /// Lets the gate of `M` judge, and moves the seed to `next` if it passes. A seed that fails is culled, if its stage can be.
    pub(crate) fn pass<M: GuardedMove>(
        &mut self,
        id: &SeedId,
        evidence: &<Keepers as Gatekeeper<M>>::Evidence,
        next: Stage,
    ) -> Result<(), Refusal>
    where
        Keepers: Gatekeeper<M>,
    {
        let mut lifecycle = self.lifecycle(id)?;
        match lifecycle.approach::<M>()?.judge(&self.keepers(), evidence, self.now) {
            Ok((transition, verdict)) => {
                debug_assert_eq!(next.leyline(), transition.to, "the payload belongs to the stage");
                self.seed_mut(id)?.stage = next;
                self.emit(Event::Judged(verdict));
                self.moved(transition);
                self.effect(Effect::CountPackets { seed: id.clone() });
                Ok(())
            }
            Err(verdict) => {
                self.emit(Event::Judged(verdict.clone()));
                // DORMANT and RESETTING cannot be culled: nothing is grafted there.
                let _ = self.cull(id, verdict.reason);
                Err(Refusal::GateFailed(Box::new(verdict)))
            }
        }
    }

    /// Takes a seed out of its slot, without a trace in the host, and lets it rest.
    pub(crate) fn cull(&mut self, id: &SeedId, why: &'static str) -> Result<(), Refusal> {
        let mut lifecycle = self.lifecycle(id)?;
        let culled = lifecycle.advance(SeedStageCulled, self.now)?;
        let embargoed = lifecycle.advance(SeedStageEmbargoed, self.now)?;
        let until = self.now.after(self.settings().embargo);
        self.seed_mut(id)?.stage = Stage::Embargoed(Embargo { until });
        self.effect(Effect::Detach { seed: id.clone() });
        self.emit(Event::Culled { seed: id.clone(), why });
        self.moved(culled);
        self.moved(embargoed);
        Ok(())
    }

    /// Administrative teardown of a seed that is not part of the host.
    pub(crate) fn terminate(&mut self, id: &SeedId) -> Result<(), Refusal> {
        if let Stage::Fossilized(..) = self.seed(id)?.stage {
            return Err(Refusal::Unsupported("TERMINATE of a fossil, which is part of the host,"));
        }
        let terminated = self.lifecycle(id)?.advance(SeedStageTerminated, self.now)?;
        self.seed_mut(id)?.stage = Stage::Terminated;
        self.effect(Effect::Detach { seed: id.clone() });
        self.moved(terminated);
        Ok(())
    }

    /// Ends the embargoes that are over, and lets breakers whose time-out is over admit trials.
    pub(crate) fn tick(&mut self) -> Result<(), Refusal> {
        for id in self.due() {
            self.end_embargo(&id)?;
        }
        for (name, _) in self.settings().breakers() {
            let _ = self.breaker_allows(name);
        }
        Ok(())
    }

    fn end_embargo(&mut self, id: &SeedId) -> Result<(), Refusal> {
        let resetting = self.lifecycle(id)?.advance(SeedStageResetting, self.now)?;
        let seed = self.seed_mut(id)?;
        (seed.violations, seed.stage) = (0, Stage::Resetting);
        let evidence = ResetEvidence {
            expected_stage: SeedStageResetting,
            slot_occupied: self.run().fossils.contains(id),
            counters_left: 0,
            // Kernels are cached by blueprint: no entry is a seed's own.
            cached_entries: 0,
            registered_parameters: self.facts.ownership.get(id).copied().unwrap_or_default().registered,
        };
        self.emit(Event::EmbargoEnded(id.clone()));
        self.moved(resetting);
        // After a refusal the seed stays in RESETTING, where nothing happens to it.
        let _ = self.pass::<Reset>(id, &evidence, Stage::Dormant);
        Ok(())
    }

    /// What every move brings with it.
    pub(crate) fn moved(&mut self, transition: Transition) {
        self.emit(Event::Moved(transition));
        // What was measured of the network before it moved says nothing of the network after.
        if !self.run().validation.is_empty() {
            self.run_mut().validation.clear();
        }
    }

    /// The machine that guards the seed's moves, in the seed's stage.
    pub(crate) fn lifecycle(&self, id: &SeedId) -> Result<Lifecycle, Refusal> {
        let (seed, embargo) = (self.seed(id)?, self.settings().embargo);
        let left = seed.embargo_until().map(|until| until.since(self.now));
        Ok(Lifecycle::resumed(seed.id.clone(), seed.stage.leyline(), embargo, left, self.now))
    }

    /// A paused seed can be resumed, culled or left alone.
    pub(crate) fn not_paused(&self, id: &SeedId, graft: &Graft) -> Result<(), Refusal> {
        if graft.paused { Err(self.wrong_stage(id, "it is paused")) } else { Ok(()) }
    }
}

impl Graft {
    /// The graft in a stage that it has just entered: what is counted by stage begins at 0. Losses go on, because at alpha 0 a
    /// blended seed has the loss of its host.
    pub(crate) fn entering(mut self) -> Self {
        self.vitals.steps = 0;
        self
    }
}
