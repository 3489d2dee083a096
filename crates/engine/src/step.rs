//! What a training step shows, and what follows from it for every seed.

use kasmina_commands::BreakerName;
use kasmina_leyline::{SeedId, v1::CircuitBreakerState::CircuitStateOpen};

use crate::{
    decision::Event,
    draft::Draft,
    input::{Fault, HostPassFacts, ProbeFacts, SeedPassFacts, SeedStep, StepFacts, Violation},
    refusal::Refusal,
    seed::{FineTune, Stage, Turn},
    settings::EngineSettings,
};

impl Draft<'_> {
    /// After the host's pass: what failed in it is taken out, and alpha advances for the seeds whose passes come next.
    pub(crate) fn host_pass(&mut self, facts: HostPassFacts) -> Result<(), Refusal> {
        facts.faults.iter().for_each(|fault| self.faulted(fault));
        facts.violations.into_iter().for_each(|violation| self.violated(violation));
        for id in self.ids() {
            if self.seed(&id)?.stage.turn() == Turn::Learns
                && let Stage::Blending(_, blend) = &mut self.seed_mut(&id)?.stage
            {
                blend.advanced += 1;
            }
        }
        Ok(())
    }

    /// A kernel that does not run is taken out. A fossil cannot be: then the step is refused, again and again.
    pub(crate) fn host_pass_failed(&mut self, faults: &[Fault]) -> Result<(), Refusal> {
        faults.iter().for_each(|fault| self.faulted(fault));
        Ok(())
    }

    /// After a seed's own pass.
    pub(crate) fn seed_pass(&mut self, id: &SeedId, facts: SeedPassFacts) -> Result<(), Refusal> {
        if let Ok(graft) = self.graft_mut(id) {
            graft.vitals.blend_latency.record(facts.blend_latency);
        }
        facts.faults.iter().for_each(|fault| self.faulted(fault));
        if let Some(loss) = facts.loss
            && let Ok(graft) = self.graft_mut(id)
        {
            graft.vitals.record_loss(loss);
            graft.vitals.verify_latency.record(facts.verify_latency);
            let probationary = match &mut self.seed_mut(id)?.stage {
                Stage::Probationary(_, _, FineTune(left)) => {
                    *left = left.saturating_sub(1);
                    true
                }
                Stage::Dormant
                | Stage::Germinated(_)
                | Stage::Training(_)
                | Stage::Blending(..)
                | Stage::Shadowing(..)
                | Stage::Fossilized(..)
                | Stage::Culled
                | Stage::Embargoed(_)
                | Stage::Resetting
                | Stage::Terminated => false,
            };
            self.stepped(id, loss);
            if !loss.is_finite() && probationary {
                // In BLENDING, G2 sees to it.
                let _ = self.cull(id, "loss_not_finite");
            }
        }
        facts.violation.into_iter().for_each(|violation| self.violated(violation));
        Ok(())
    }

    /// After a probe.
    pub(crate) fn probe(&mut self, id: &SeedId, facts: ProbeFacts) -> Result<(), Refusal> {
        if let Ok(graft) = self.graft_mut(id) {
            graft.vitals.blend_latency.record(facts.blend_latency);
        }
        facts.faults.iter().for_each(|fault| self.faulted(fault));
        let Some(loss) = facts.loss else { return Ok(()) };
        match &mut self.seed_mut(id)?.stage {
            Stage::Shadowing(_, trial) | Stage::Probationary(_, trial, _) => trial.probe.record(facts.host_loss, loss),
            Stage::Dormant
            | Stage::Germinated(_)
            | Stage::Training(_)
            | Stage::Blending(..)
            | Stage::Fossilized(..)
            | Stage::Culled
            | Stage::Embargoed(_)
            | Stage::Resetting
            | Stage::Terminated => return Ok(()),
        }
        self.stepped(id, loss);
        if !loss.is_finite() {
            let _ = self.cull(id, "loss_not_finite");
        }
        Ok(())
    }

    /// After the optimizers: the losses of riders and fossils, and G2 for those in BLENDING.
    pub(crate) fn step_taken(&mut self, facts: StepFacts) -> Result<(), Refusal> {
        self.run_mut().step += 1;
        for (id, learned) in facts.learned {
            if let Ok(graft) = self.graft_mut(&id) {
                graft.vitals.learning_rate = learned.learning_rate;
                graft.vitals.gradient_norm = learned.gradient_norm.or(graft.vitals.gradient_norm);
            }
        }
        let mut taken_part = false;
        for id in self.ids() {
            let Ok(graft) = self.graft(&id) else { continue };
            if graft.paused {
                continue;
            }
            taken_part = true;
            self.graft_mut(&id)?.vitals.steps += 1;
            match self.seed(&id)?.stage {
                Stage::Training(_) | Stage::Fossilized(..) => {
                    let vitals = &mut self.graft_mut(&id)?.vitals;
                    vitals.record_loss(facts.host_loss);
                    vitals.verify_latency.record(facts.verify_latency);
                    self.stepped(&id, facts.host_loss);
                }
                Stage::Blending(..) => self.recheck_stability(&id)?,
                Stage::Dormant
                | Stage::Germinated(_)
                | Stage::Shadowing(..)
                | Stage::Probationary(..)
                | Stage::Culled
                | Stage::Embargoed(_)
                | Stage::Resetting
                | Stage::Terminated => {}
            }
        }
        if taken_part && facts.clean {
            self.breaker_succeeded(BreakerName::Isolation);
        }
        Ok(())
    }

    /// So many violations by one seed cull it and open the breaker, however many clean steps lay between them.
    fn violated(&mut self, violation: Violation) {
        let id = violation.seed.clone();
        // Without a kernel there is no gradient to leak.
        if self.graft(&id).is_err() {
            return;
        }
        let Ok(seed) = self.seed_mut(&id) else { return };
        seed.violations += 1;
        let count = seed.violations;
        self.emit(Event::Violated { violation, count });
        self.breaker_failed(BreakerName::Isolation);
        if count >= EngineSettings::VIOLATIONS {
            let _ = self.cull(&id, "isolation_violations");
            if self.run().breakers.get(BreakerName::Isolation).state() != CircuitStateOpen {
                let _ = self.force_breaker(BreakerName::Isolation, CircuitStateOpen);
            }
        }
    }

    fn faulted(&mut self, fault: &Fault) {
        self.emit(Event::Faulted(fault.clone()));
        let _ = self.cull(&fault.seed, fault.reason);
    }

    fn stepped(&mut self, id: &SeedId, loss: f32) {
        let Ok(seed) = self.seed(id) else { return };
        let Some((graft, alpha)) = seed.stage.graft().zip(seed.stage.alpha()) else { return };
        let (stage, gradient_norm) = (seed.stage.leyline(), graft.vitals.gradient_norm);
        self.emit(Event::SeedStepped(SeedStep { seed: id.clone(), stage, loss, alpha: alpha.get(), gradient_norm }));
    }
}
