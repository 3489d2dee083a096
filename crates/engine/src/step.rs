//! What a training step shows, and what follows from it for every seed.

use std::time::Duration;

use kasmina_commands::BreakerName;
use kasmina_gates::{Contribution, Idle};
use kasmina_leyline::{
    SeedId,
    v1::CircuitBreakerState::{CircuitStateHalfOpen, CircuitStateOpen},
};

use crate::{
    decision::Event,
    draft::Draft,
    ending::Cause,
    input::{Fault, HostPassFacts, LearningFacts, ProbeFacts, SeedStep, StepFacts, Violation},
    moves::CullReason,
    refusal::Refusal,
    seed::{Probation, Seed, Stage, Turn},
    settings::EngineSettings,
};

impl Draft<'_> {
    /// After the host's pass: what failed in it is taken out.
    pub(crate) fn host_pass(&mut self, facts: HostPassFacts) -> Result<(), Refusal> {
        facts.faults.iter().for_each(|fault| self.faulted(fault));
        facts.violations.into_iter().for_each(|violation| self.violated(violation));
        for before in self.seeds_before() {
            if self.latest(before).stage.turn() == Turn::Rides {
                let idle = facts.idle.iter().find(|(seed, _)| *seed == before.id).map(|(_, idle)| *idle);
                self.saw_idle(&before.id, idle)?;
            }
        }
        Ok(())
    }

    /// One more batch: alpha rises for the seeds in BLENDING, unless the blending breaker is open, and falls for those that leave.
    pub(crate) fn advance_alpha(&mut self) -> Result<(), Refusal> {
        self.advance_leaving()?;
        if self.breaker_is_open(BreakerName::Blending) {
            return Ok(());
        }
        for before in self.seeds_before() {
            let learns = self.latest(before).stage.turn() == Turn::Learns;
            if learns && let Stage::Blending(_, blend) = &mut self.latest_mut(before).stage {
                blend.advanced += 1;
            }
        }
        Ok(())
    }

    /// A kernel that does not run is taken out. A fossil is part of the model: TERMINATE takes it out of that.
    pub(crate) fn host_pass_failed(&mut self, faults: &[Fault]) -> Result<(), Refusal> {
        faults.iter().for_each(|fault| self.faulted(fault));
        Ok(())
    }

    /// After the pass of all seeds that learn behind the barrier.
    pub(crate) fn learning_pass(&mut self, facts: LearningFacts) -> Result<(), Refusal> {
        self.begin_windows_of_another_blend()?;
        for (id, latency) in &facts.blend_latencies {
            self.took(id, *latency);
        }
        facts.faults.iter().for_each(|fault| self.faulted(fault));
        for id in &facts.culprits {
            let _ = self.cull_for(id, CullReason::LossNotFinite);
        }
        for (id, idle) in &facts.idle {
            if self.graft(id).is_ok() {
                self.saw_idle(id, Some(*idle))?;
            }
        }
        for id in &facts.learners {
            // Whoever was taken out in this pass has learned for nothing.
            let Ok(graft) = self.graft_mut(id) else { continue };
            graft.vitals.verify_latency.record(facts.verify_latency);
            if facts.idle.iter().all(|(seed, _)| seed != id) {
                self.saw_idle(id, None)?;
            }
            if let Some(loss) = facts.loss {
                self.graft_mut(id)?.vitals.record_loss(loss);
                self.stepped(id, loss);
            }
        }
        facts.violations.into_iter().for_each(|violation| self.violated(violation));
        Ok(())
    }

    /// If a seed has come into the blend or gone out of it, or is going, the losses from before say nothing of the blend as it is: the
    /// windows of all begin anew.
    fn begin_windows_of_another_blend(&mut self) -> Result<(), Refusal> {
        let live: Vec<_> = self.ids().filter(|id| self.seed(id).is_ok_and(|it| it.stage.is_live())).collect();
        let stays = |id: &&SeedId| self.seed(id).is_ok_and(|it| it.stage.leaving().is_none());
        let staying: Vec<_> = live.iter().copied().filter(stays).collect();
        let same = live.is_empty() || self.run().blended.iter().eq(staying.iter().copied());
        if same && staying.len() == live.len() {
            return Ok(());
        }
        for id in live {
            if !self.graft(id)?.vitals.losses.is_empty() {
                self.graft_mut(id)?.vitals.losses.clear();
            }
        }
        if !same {
            self.run_mut().blended = staying.into_iter().cloned().collect();
        }
        Ok(())
    }

    /// After a probe. A loss that is not finite on a batch that is broken without the seed too says nothing of it.
    pub(crate) fn probe(&mut self, id: &SeedId, facts: ProbeFacts) -> Result<(), Refusal> {
        let ProbeFacts { without, with, blend_latency, faults } = facts;
        faults.iter().for_each(|fault| self.faulted(fault));
        let Some(with) = with else { return Ok(()) };
        if let Some(latency) = blend_latency {
            self.took(id, latency);
        }
        if self.seed(id)?.stage.contribution().is_none() || !without.is_finite() {
            return Ok(());
        }
        if !with.is_finite() {
            return self.cull_for(id, CullReason::LossNotFinite);
        }
        let difference = without - with;
        let Some(contribution) = self.seed_mut(id)?.stage.contribution_mut() else { return Ok(()) };
        contribution.record(without, with);
        let contribution = *contribution;
        self.record_in_hunt(id, without, difference);
        self.emit(Event::Probed { seed: id.clone(), difference, contribution });
        if self.seed(id)?.stage.turn() == Turn::IsProbed {
            self.stepped(id, with);
        }
        Ok(())
    }

    /// After the optimizers: the end of a hunt, and G2 for those in BLENDING.
    pub(crate) fn step_taken(&mut self, facts: StepFacts) -> Result<(), Refusal> {
        self.run_mut().step = self.run().step.saturating_add(1);
        if facts.host_gradient_norm.is_some() {
            self.run_mut().host_gradient_norm = facts.host_gradient_norm;
        }
        for (id, learned) in facts.learned {
            if let Ok(graft) = self.graft_mut(&id) {
                graft.vitals.learning_rate = learned.learning_rate;
                graft.vitals.gradient_norm = learned.gradient_norm.or(graft.vitals.gradient_norm);
                self.fine_tuned(&id)?;
            }
        }
        self.end_hunt()?;
        let (mut taken_part, mut blended) = (false, false);
        for before in self.seeds_before() {
            if self.latest(before).stage.graft().is_none_or(|graft| graft.paused) {
                continue;
            }
            let seed = self.latest_mut(before);
            taken_part = true;
            blended |= seed.stage.is_live();
            if let Some(graft) = seed.stage.graft_mut() {
                graft.vitals.steps += 1;
            }
            match &mut seed.stage {
                Stage::Training(graft) => {
                    graft.vitals.verify_latency.record(facts.verify_latency);
                    if let Some(event) = stepped(seed, facts.host_loss) {
                        self.emit(event);
                    }
                }
                // What was not measured leaves the seed where it is.
                Stage::Blending(..) => drop(self.recheck_stability(&before.id)),
                Stage::Dormant
                | Stage::Germinated(_)
                | Stage::Shadowing(..)
                | Stage::Probationary(..)
                | Stage::Fossilized(_)
                | Stage::Culled
                | Stage::Embargoed(_)
                | Stage::Resetting
                | Stage::Terminated => {}
            }
        }
        if taken_part && facts.clean {
            self.breaker_succeeded(BreakerName::Isolation);
        }
        // What failed in a half-open breaker's step has opened it again.
        if blended && self.run().breakers.get(BreakerName::Blending).state() == CircuitStateHalfOpen {
            self.breaker_succeeded(BreakerName::Blending);
        }
        Ok(())
    }

    /// One step less of FINE_TUNE.
    fn fine_tuned(&mut self, id: &SeedId) -> Result<(), Refusal> {
        let Stage::Probationary(_, _, Probation::FineTuning(left)) = self.seed(id)?.stage else { return Ok(()) };
        if let Stage::Probationary(_, trial, probation) = &mut self.seed_mut(id)?.stage {
            *probation = Probation::FineTuning(left.saturating_sub(1));
            if left <= 1 {
                // The probes were of weights that have changed.
                (trial.contribution, *probation) = (Contribution::default(), Probation::OnTrial);
                self.network_changed();
            }
        }
        Ok(())
    }

    /// How long kernel and blend took in one pass.
    fn took(&mut self, id: &SeedId, latency: Duration) {
        let Ok(graft) = self.graft_mut(id) else { return };
        graft.vitals.blend_latency.record(latency);
        if latency > self.settings().blend_budget {
            self.breaker_failed(BreakerName::Blending);
        }
    }

    /// Whether a gradient reached the seed. That none does is emitted once.
    fn saw_idle(&mut self, id: &SeedId, idle: Option<Idle>) -> Result<(), Refusal> {
        if self.graft(id)?.idle == idle {
            return Ok(());
        }
        self.graft_mut(id)?.idle = idle;
        if let Some(reason) = idle {
            let slot = self.seed(id)?.slot.clone();
            self.emit(Event::Idle { seed: id.clone(), slot, reason });
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
            let _ = self.cull_for(&id, CullReason::IsolationViolations);
            if self.run().breakers.get(BreakerName::Isolation).state() != CircuitStateOpen {
                let _ = self.force_breaker(BreakerName::Isolation, CircuitStateOpen);
            }
        }
    }

    fn faulted(&mut self, fault: &Fault) {
        self.emit(Event::Faulted(fault.clone()));
        self.breaker_failed(BreakerName::Blending);
        let _ = self.cull(&fault.seed, fault.reason, Cause::Kernel);
    }

    fn stepped(&mut self, id: &SeedId, loss: f32) {
        if let Some(event) = self.seed(id).ok().and_then(|seed| stepped(seed, loss)) {
            self.emit(event);
        }
    }
}

/// What the step was for a seed that has a kernel.
fn stepped(seed: &Seed, loss: f32) -> Option<Event> {
    let (graft, alpha) = seed.stage.graft().zip(seed.stage.alpha())?;
    let (stage, gradient_norm) = (seed.stage.leyline(), graft.vitals.gradient_norm);
    Some(Event::SeedStepped(SeedStep { seed: seed.id.clone(), stage, loss, alpha: alpha.get(), gradient_norm }))
}
