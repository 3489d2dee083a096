//! From DORMANT to TRAINING: G0, the kernel's arrival, G1; and the pause that goes past G1 again.

use std::collections::BTreeMap;

use kasmina_commands::BreakerName;
use kasmina_gates::{GradientHealthEvidence, SanityEvidence, SlotState};
use kasmina_leyline::{
    BlueprintId, SeedId,
    v1::{
        BlueprintDescriptor, BlueprintTier,
        SeedLifecycleStage::{self, SeedStageDormant, SeedStageGerminated},
    },
};
use kasmina_lifecycle::{Gatekeeper, Germinate, GuardedMove, Outcome, StartTraining, Subject};

use crate::{
    decision::{Effect, Event},
    draft::{Draft, check_scale},
    ending::Cause,
    input::{KernelFacts, KernelFailure},
    moves::CullReason,
    refusal::Refusal,
    seed::{Germinated, Graft, KernelRequest, Seed, Stage},
    vitals::Vitals,
};

impl Draft<'_> {
    /// DORMANT to GERMINATED, and asks for the kernel. A blueprint of another tier than is wanted changes nothing.
    pub(crate) fn germinate(
        &mut self,
        id: &SeedId,
        blueprint: BlueprintId,
        tier: Option<BlueprintTier>,
        parameters: BTreeMap<String, f32>,
        lr_scale: f64,
    ) -> Result<(), Refusal> {
        let seed = self.seed(id)?;
        let Stage::Dormant = seed.stage else { return Err(self.illegal(seed, Germinate::TO)) };
        let slot = seed.slot.clone();
        check_scale(lr_scale)?;
        for name in [BreakerName::Isolation, BreakerName::Kernels] {
            self.breaker_allows(name)?;
        }
        let missing = || Refusal::NotMeasured { seed: id.clone(), what: "the catalogue has not been asked" };
        let descriptor = self.facts.descriptor.clone().ok_or_else(missing)?.map_err(Refusal::Kernel)?;
        let got = descriptor.as_ref().map(BlueprintDescriptor::tier);
        if let (Some(expected), Some(got)) = (tier, got)
            && expected != got
        {
            return Err(Refusal::TierMismatch { blueprint, expected, got });
        }
        let occupies = |other: &Seed| other.slot == slot && other.stage.occupies_slot();
        let occupant = self.seeds_before().find(|before| occupies(self.latest(before))).map(|other| other.id.clone());
        let slot_state = match (&self.facts.slot, occupant) {
            (None, _) => SlotState::Unknown,
            (Some(_), Some(occupant)) => SlotState::Taken(occupant),
            (Some(_), None) => SlotState::Free,
        };
        let evidence = SanityEvidence {
            expected_stage: SeedStageDormant,
            training_run_id: self.settings().run.clone(),
            blueprint: descriptor,
            parameters,
            slot,
            slot_state,
        };
        if let SlotState::Taken(by) = &evidence.slot_state {
            return Err(self.slot_taken(id, &evidence, by.clone()));
        }
        self.memory_suffices(id)?;
        let request = KernelRequest { blueprint: blueprint.clone(), lr_scale };
        self.pass::<Germinate>(id, &evidence, Stage::Germinated(Germinated::Awaiting(request)))?;
        let seed = self.seed_mut(id)?;
        seed.lives = seed.lives.saturating_add(1);
        self.effect(Effect::Fetch { seed: id.clone(), blueprint });
        Ok(())
    }

    /// Whatever G0 says, a slot holds one live seed.
    fn slot_taken(&mut self, id: &SeedId, evidence: &SanityEvidence, by: SeedId) -> Refusal {
        let subject = Subject { seed_id: id, stage: SeedStageDormant };
        let verdict =
            Gatekeeper::<Germinate>::judge(&self.keepers(), &subject, evidence).into_verdict(id, Germinate::GATE);
        if verdict.passed() {
            return Refusal::SlotTaken { slot: evidence.slot.clone(), by };
        }
        self.emit(Event::Judged(verdict.clone()));
        Refusal::GateFailed(Box::new(verdict))
    }

    /// The kernel goes into the slot, where it does nothing yet; on the fast path it goes on through G1.
    pub(crate) fn kernel_ready(&mut self, id: &SeedId, kernel: KernelFacts) -> Result<(), Refusal> {
        let request = self.awaited(id, &kernel.blueprint)?;
        self.breaker_succeeded(BreakerName::Kernels);
        let graft = Graft {
            blueprint: request.blueprint,
            contract: kernel.contract,
            parameters: kernel.parameters,
            lr_scale: request.lr_scale,
            epoch: self.run().epoch,
            paused: false,
            vitals: Vitals::default(),
            idle: None,
            leaving: None,
            ending: None,
        };
        self.seed_mut(id)?.stage = Stage::Germinated(Germinated::Ready(graft));
        self.effect(Effect::Attach { seed: id.clone() });
        if self.settings().fast_path { self.start_training(id) } else { Ok(()) }
    }

    /// The graft has failed, so the seed rests as after any other cull.
    pub(crate) fn kernel_failed(&mut self, id: &SeedId, failure: KernelFailure) -> Result<(), Refusal> {
        self.awaited(id, &failure.blueprint)?;
        if failure.source_failed {
            self.breaker_failed(BreakerName::Kernels);
        } else {
            self.breaker_succeeded(BreakerName::Kernels);
        }
        self.cull(id, failure.reason, Cause::Kernel)?;
        Err(Refusal::Kernel(failure))
    }

    /// GERMINATED to TRAINING.
    pub(crate) fn start_training(&mut self, id: &SeedId) -> Result<(), Refusal> {
        let seed = self.seed(id)?;
        let graft = match &seed.stage {
            Stage::Germinated(Germinated::Ready(graft)) => graft.clone(),
            Stage::Germinated(Germinated::Awaiting(_)) => {
                return Err(self.wrong_stage(id, "its kernel has not arrived"));
            }
            Stage::Dormant
            | Stage::Training(_)
            | Stage::Blending(..)
            | Stage::Shadowing(..)
            | Stage::Probationary(..)
            | Stage::Fossilized(_)
            | Stage::Culled
            | Stage::Embargoed(_)
            | Stage::Resetting
            | Stage::Terminated => return Err(self.illegal(seed, StartTraining::TO)),
        };
        self.not_paused(id, &graft)?;
        let evidence = self.gradient_health(id, SeedStageGerminated)?;
        self.pass::<StartTraining>(id, &evidence, Stage::Training(graft.entering()))
    }

    /// The identity stands in for the seed.
    pub(crate) fn pause(&mut self, id: &SeedId) -> Result<(), Refusal> {
        self.graft(id)?;
        self.not_joining(id)?;
        self.graft_mut(id)?.paused = true;
        self.network_changed();
        self.emit(Event::Paused(id.clone()));
        Ok(())
    }

    /// Reverses a pause, past G1 again. A seed that fails is culled.
    pub(crate) fn resume(&mut self, id: &SeedId) -> Result<(), Refusal> {
        if !self.graft(id)?.paused {
            return Err(self.wrong_stage(id, "it is not paused"));
        }
        let stage = self.seed(id)?.stage.leyline();
        let evidence = self.gradient_health(id, stage)?;
        let finding = Gatekeeper::<StartTraining>::judge(&self.keepers(), &self.lifecycle(id)?.subject(), &evidence);
        let verdict = finding.into_verdict(id, StartTraining::GATE);
        if verdict.outcome == Outcome::Postponed {
            return Err(self.postpone(verdict));
        }
        self.emit(Event::Judged(verdict.clone()));
        if !verdict.passed() {
            self.cull(id, verdict.reason, Cause::Verdict)?;
            return Err(Refusal::GateFailed(Box::new(verdict)));
        }
        self.graft_mut(id)?.paused = false;
        self.network_changed();
        self.emit(Event::Resumed(id.clone()));
        Ok(())
    }

    /// CANCEL: a cull before BLENDING.
    pub(crate) fn cancel(&mut self, id: &SeedId) -> Result<(), Refusal> {
        match self.seed(id)?.stage {
            Stage::Germinated(_) | Stage::Training(_) => self.cull_for(id, CullReason::Cancelled),
            Stage::Dormant
            | Stage::Blending(..)
            | Stage::Shadowing(..)
            | Stage::Probationary(..)
            | Stage::Fossilized(_)
            | Stage::Culled
            | Stage::Embargoed(_)
            | Stage::Resetting
            | Stage::Terminated => {
                Err(self.wrong_stage(id, "CANCEL works before BLENDING; CULL works until FOSSILIZED"))
            }
        }
    }

    /// The request that a kernel answers. One that nobody waits for is too late.
    fn awaited(&self, id: &SeedId, blueprint: &BlueprintId) -> Result<KernelRequest, Refusal> {
        match &self.seed(id)?.stage {
            Stage::Germinated(Germinated::Awaiting(request)) if request.blueprint == *blueprint => Ok(request.clone()),
            Stage::Germinated(_)
            | Stage::Dormant
            | Stage::Training(_)
            | Stage::Blending(..)
            | Stage::Shadowing(..)
            | Stage::Probationary(..)
            | Stage::Fossilized(_)
            | Stage::Culled
            | Stage::Embargoed(_)
            | Stage::Resetting
            | Stage::Terminated => Err(self.wrong_stage(id, "it does not wait for this kernel")),
        }
    }

    fn gradient_health(
        &mut self,
        id: &SeedId,
        expected_stage: SeedLifecycleStage,
    ) -> Result<GradientHealthEvidence, Refusal> {
        let violations = self.seed(id)?.violations;
        // Before the host has shown the slot, nothing can be said of the kernel.
        let missing = || Refusal::NotMeasured { seed: id.clone(), what: "its kernel has not been run at its slot" };
        let rehearsal = self.facts.rehearsal.ok_or_else(missing)?;
        Ok(GradientHealthEvidence {
            expected_stage,
            origin: self.origin::<StartTraining>(id)?,
            violations,
            loss: rehearsal.loss,
            gradient_norm: rehearsal.gradient_norm,
        })
    }
}
