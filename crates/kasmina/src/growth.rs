//! The moves of a seed's life: evidence is gathered, the gate judges, and what follows from its verdict is done.

use std::collections::BTreeMap;

use kasmina_blending::{Alpha, AlphaSchedule, BlendConfig, BlendMode};
use kasmina_gates::GatePolicy;
use kasmina_leyline::{
    Monotonic, SeedId,
    v1::{
        BlueprintDescriptor,
        SeedLifecycleStage::{
            SeedStageCulled, SeedStageEmbargoed, SeedStageFossilized, SeedStageProbationary, SeedStageResetting,
        },
    },
};
use kasmina_lifecycle::{
    Evaluate, Fossilize, Gatekeeper, Germinate, GuardedMove, Reset, Stabilize, StartGrafting, StartTraining, Transition,
};
use kasmina_safety::BreakerOpen;

use crate::{
    GraftBackend, Refusal, SeedManager,
    context::Wanted,
    durability::Unjournaled,
    seed::{Attached, Probe, Seed},
};

impl<B: GraftBackend> SeedManager<B> {
    /// Does what is due by time alone: ends embargoes that have run out and puts the seeds before G5. Every batch and
    /// every command does this first.
    pub fn tick(&mut self) -> Vec<Transition> {
        self.do_what_is_due();
        self.commit_or_tell(false);
        self.take_moved()
    }

    pub(crate) fn do_what_is_due(&mut self) {
        let now = self.clock.monotonic();
        let due = |seed: &&Seed<B>| seed.lifecycle.embargo_until().is_some_and(|until| until <= now);
        let due: Vec<SeedId> = self.seeds.values().filter(due).map(|seed| seed.id.clone()).collect();
        for seed in &due {
            self.end_embargo(seed, now);
        }
        // A breaker whose timeout has run out lets trials through from now on, whether or not anybody asks.
        for (name, breaker) in self.breakers.named_mut() {
            if let Ok(Some(event)) = breaker.allow(now) {
                self.reporter.breaker(name, event);
            }
        }
    }

    /// The moves that have been made since they were last taken.
    pub(crate) fn take_moved(&mut self) -> Vec<Transition> {
        std::mem::take(&mut self.moved)
    }

    /// What every move brings with it.
    fn note(&mut self, transition: Transition) {
        self.reporter.transition(&transition);
        self.unjournaled.push(Unjournaled::Moved(transition, self.clock.unix()));
        // What was measured of the network before it moved says nothing of the network after.
        self.validation.clear();
    }

    /// DORMANT to GERMINATED and, on the fast path, on to TRAINING. A blueprint of another tier than is wanted changes nothing.
    pub(crate) fn germinate(
        &mut self,
        id: &SeedId,
        Wanted { blueprint, tier }: &Wanted,
        parameters: BTreeMap<String, f32>,
        learning_rate_scale: f64,
    ) -> Result<(), Refusal> {
        self.expect_before::<Germinate>(id)?;
        self.breakers_allow()?;
        let evidence = self.sanity(id, blueprint, parameters)?;
        if let (Some(expected), Some(got)) = (*tier, evidence.blueprint.as_ref().map(BlueprintDescriptor::tier))
            && expected != got
        {
            return Err(Refusal::TierMismatch { blueprint: blueprint.clone(), expected, got });
        }
        self.pass_gate::<Germinate>(id, &evidence)?;
        if let Err(refusal) = self.attach(id, blueprint, learning_rate_scale) {
            // The graft has failed, so the seed rests like after any other cull.
            self.cull(id, refusal.reason())?;
            return Err(refusal);
        }
        if self.settings.lifecycle.fast_path { self.start_training(id) } else { Ok(()) }
    }

    /// GERMINATED to TRAINING.
    pub(crate) fn start_training(&mut self, id: &SeedId) -> Result<(), Refusal> {
        self.expect_before::<StartTraining>(id)?;
        let evidence = self.gradient_health(id)?;
        self.pass_gate::<StartTraining>(id, &evidence)
    }

    /// TRAINING to BLENDING.
    pub(crate) fn start_grafting(
        &mut self,
        id: &SeedId,
        blend: BlendConfig,
        schedule: AlphaSchedule,
    ) -> Result<(), Refusal> {
        self.expect_before::<StartGrafting>(id)?;
        self.fits_channels(id, &blend)?;
        let needed = self.settings.gates.stability.min_losses;
        if self.grafted(id)?.vitals.losses.len() < needed {
            return Err(Refusal::NotMeasured { seed: id.clone(), what: "its losses in TRAINING" });
        }
        let evidence = self.stability(id)?;
        self.pass_gate::<StartGrafting>(id, &evidence)?;
        self.reporter.blend_config(id, &blend, &schedule);
        let attached = self.grafted_mut(id)?;
        (attached.blend, attached.schedule) = (blend, schedule);
        (attached.blended, attached.alpha) = (0, Alpha::ZERO);
        Ok(())
    }

    /// BLENDING to SHADOWING.
    pub(crate) fn stabilize(&mut self, id: &SeedId) -> Result<(), Refusal> {
        self.expect_before::<Stabilize>(id)?;
        let attached = self.grafted(id)?;
        if !attached.blending_complete() {
            return Err(Refusal::BlendingIncomplete { seed: id.clone(), alpha: attached.alpha.get() });
        }
        let evidence = self.interface(id)?;
        self.pass_gate::<Stabilize>(id, &evidence)
    }

    /// SHADOWING to PROBATIONARY.
    pub(crate) fn evaluate(&mut self, id: &SeedId) -> Result<(), Refusal> {
        self.expect_before::<Evaluate>(id)?;
        let evidence = self.system_impact(id)?;
        self.pass_gate::<Evaluate>(id, &evidence)
    }

    /// PROBATIONARY to FOSSILIZED: from here on the kernel is part of the host.
    pub(crate) fn fossilize(&mut self, id: &SeedId) -> Result<(), Refusal> {
        self.expect_before::<Fossilize>(id)?;
        let attached = self.grafted(id)?;
        if attached.blend.mode() == BlendMode::Confidence {
            // Whoever runs the committed network has no logits before it has run.
            return Err(Refusal::Unsupported("FOSSILIZE of a CONFIDENCE blend"));
        }
        if attached.fine_tune > 0 {
            return Err(Refusal::NotMeasured {
                seed: id.clone(),
                what: "the weights that FINE_TUNE is still changing",
            });
        }
        if self.settings.lifecycle.require_validation && self.validation.is_empty() {
            return Err(Refusal::NotMeasured {
                seed: id.clone(),
                what: "metrics of the live network since it last moved",
            });
        }
        let mut evidence = self.system_impact(id)?;
        evidence.metrics.extend(self.validation.iter().map(Into::into));
        self.pass_gate::<Fossilize>(id, &evidence)?;
        self.fossils.push(id.clone());
        Ok(())
    }

    /// Takes a seed out of its slot, without a trace in the host, and embargoes it.
    pub(crate) fn cull(&mut self, id: &SeedId, why: &str) -> Result<(), Refusal> {
        let now = self.clock.monotonic();
        let seed = self.seeds.get_mut(id).ok_or_else(|| Refusal::UnknownSeed(id.clone()))?;
        let culled = seed.lifecycle.advance(SeedStageCulled, now)?;
        seed.attached = None;
        let embargoed = seed.lifecycle.advance(SeedStageEmbargoed, now)?;
        self.registry.release_seed(id);
        self.reporter.culled(id, why);
        self.note(culled);
        self.note(embargoed);
        Ok(())
    }

    pub(crate) fn pause(&mut self, id: &SeedId) -> Result<(), Refusal> {
        if self.seed(id)?.stage() == SeedStageFossilized {
            return Err(self.wrong_stage(id, "a fossil is part of the host"));
        }
        self.grafted_mut(id)?.paused = true;
        self.reporter.paused(id);
        Ok(())
    }

    /// Reverses a pause, past G1 again. A seed that fails is culled.
    pub(crate) fn resume(&mut self, id: &SeedId) -> Result<(), Refusal> {
        if !self.grafted(id)?.paused {
            return Err(self.wrong_stage(id, "it is not paused"));
        }
        let evidence = self.gradient_health(id)?;
        let subject = self.seed(id)?.lifecycle.subject();
        let finding = Gatekeeper::<StartTraining>::judge(&self.settings.gates, &subject, &evidence);
        let verdict = finding.into_verdict(id, StartTraining::GATE);
        self.reporter.verdict(&verdict);
        if !verdict.passed {
            self.cull(id, verdict.reason)?;
            return Err(Refusal::GateFailed(Box::new(verdict)));
        }
        self.grafted_mut(id)?.paused = false;
        self.reporter.resumed(id);
        Ok(())
    }

    /// G2 again, as after every step of BLENDING. A seed that fails is culled.
    pub(crate) fn recheck_stability(&mut self, id: &SeedId) -> Result<(), Refusal> {
        let mut evidence = self.stability(id)?;
        let seed = self.seed(id)?;
        evidence.expected_stage = seed.stage();
        let finding = Gatekeeper::<StartGrafting>::judge(&self.settings.gates, &seed.lifecycle.subject(), &evidence);
        if finding.passed() {
            return Ok(());
        }
        let verdict = finding.into_verdict(id, StartGrafting::GATE);
        self.reporter.verdict(&verdict);
        self.cull(id, verdict.reason)
    }

    /// Allows the seed's own optimizer `steps` more steps in PROBATIONARY.
    pub(crate) fn fine_tune(&mut self, id: &SeedId, steps: u64) -> Result<(), Refusal> {
        if self.seed(id)?.stage() != SeedStageProbationary {
            return Err(self.wrong_stage(id, "FINE_TUNE works in PROBATIONARY"));
        }
        self.not_paused(id)?;
        let attached = self.grafted_mut(id)?;
        attached.fine_tune = steps;
        // The probes were of weights that are about to change.
        attached.vitals.probe = Probe::default();
        Ok(())
    }

    fn end_embargo(&mut self, id: &SeedId, now: Monotonic) {
        let Some(Ok(resetting)) = self.seeds.get_mut(id).map(|seed| seed.lifecycle.advance(SeedStageResetting, now))
        else {
            return;
        };
        self.violations.clear(id);
        self.reporter.embargo_ended(id);
        self.note(resetting);
        let evidence = self.reset_evidence(id);
        // A refusal has been reported; the seed stays in RESETTING, where nothing happens to it.
        let _ = self.pass_gate::<Reset>(id, &evidence);
    }

    /// Lets the gate of `M` judge. A seed that fails is culled, where its stage can be.
    fn pass_gate<M: GuardedMove>(
        &mut self,
        id: &SeedId,
        evidence: &<GatePolicy as Gatekeeper<M>>::Evidence,
    ) -> Result<(), Refusal>
    where
        GatePolicy: Gatekeeper<M>,
    {
        let now = self.clock.monotonic();
        let seed = self.seeds.get_mut(id).ok_or_else(|| Refusal::UnknownSeed(id.clone()))?;
        match seed.lifecycle.approach::<M>()?.judge(&self.settings.gates, evidence, now) {
            Ok((transition, verdict)) => {
                if let Some(attached) = &mut seed.attached {
                    attached.vitals.enter_stage();
                }
                self.reporter.verdict(&verdict);
                self.note(transition);
                self.reporter.count_packets_anew(id);
                Ok(())
            }
            Err(verdict) => {
                self.reporter.verdict(&verdict);
                // DORMANT and RESETTING cannot be culled: nothing is grafted there.
                let _ = self.cull(id, verdict.reason);
                Err(Refusal::GateFailed(Box::new(verdict)))
            }
        }
    }

    fn expect_before<M: GuardedMove>(&mut self, id: &SeedId) -> Result<(), Refusal> {
        let seed = self.seeds.get_mut(id).ok_or_else(|| Refusal::UnknownSeed(id.clone()))?;
        let _ = seed.lifecycle.approach::<M>()?;
        self.not_paused(id)
    }

    /// A paused seed is resumed, culled or left alone.
    fn not_paused(&self, id: &SeedId) -> Result<(), Refusal> {
        if self.attached(id).is_some_and(|attached| attached.paused) {
            return Err(self.wrong_stage(id, "it is paused"));
        }
        Ok(())
    }

    fn breakers_allow(&mut self) -> Result<(), Refusal> {
        let now = self.clock.monotonic();
        for (name, breaker) in self.breakers.named_mut() {
            match breaker.allow(now) {
                Ok(None) => {}
                Ok(Some(event)) => self.reporter.breaker(name, event),
                Err(BreakerOpen { .. }) => return Err(Refusal::BreakerOpen { breaker: name }),
            }
        }
        Ok(())
    }

    pub(crate) fn seed(&self, id: &SeedId) -> Result<&Seed<B>, Refusal> {
        self.seeds.get(id).ok_or_else(|| Refusal::UnknownSeed(id.clone()))
    }

    /// The kernel of a seed that has one.
    pub(crate) fn grafted(&self, id: &SeedId) -> Result<&Attached<B>, Refusal> {
        self.seed(id)?.attached.as_ref().ok_or_else(|| self.wrong_stage(id, "it has no kernel"))
    }

    pub(crate) fn grafted_mut(&mut self, id: &SeedId) -> Result<&mut Attached<B>, Refusal> {
        self.grafted(id)?;
        self.attached_mut(id).ok_or_else(|| Refusal::UnknownSeed(id.clone()))
    }

    pub(crate) fn wrong_stage(&self, id: &SeedId, cause: &'static str) -> Refusal {
        match self.seeds.get(id) {
            Some(seed) => Refusal::WrongStage { seed: id.clone(), stage: seed.stage(), cause },
            None => Refusal::UnknownSeed(id.clone()),
        }
    }
}
