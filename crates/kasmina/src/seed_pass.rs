//! The passes of seeds: those in which one learns, and those in which one is probed.

use std::collections::BTreeSet;

use burn::{module::AutodiffModule, optim::GradientsParams, tensor::Tensor};
use kasmina_isolation::{GradientLedger, Pass, Violation, cosine_similarity, frozen_twin};
use kasmina_leyline::{
    SeedId,
    v1::SeedLifecycleStage::{SeedStageBlending, SeedStageProbationary, SeedStageShadowing},
};
use kasmina_registry::Owner;

use crate::{
    Fault, GraftBackend, Grafts, SeedManager, StepReport,
    draws::Draws,
    host_pass::{Forward, HostPass, number},
    seed::Seed,
};

impl<B: GraftBackend> SeedManager<B> {
    /// The passes of seeds that learn on their own, and the probes that are due.
    pub(crate) fn seed_passes<H: AutodiffModule<B>>(
        &mut self,
        host: &H,
        forward: &impl Forward<B, H>,
        pass: &HostPass<B>,
        report: &mut StepReport,
    ) -> Vec<(SeedId, GradientsParams)> {
        let mut learned = Vec::new();
        for id in self.advance_alphas() {
            learned.extend(self.seed_pass(&id, host, forward, pass, report));
        }
        if report.step.is_multiple_of(self.settings.training.probe_every) {
            for id in self.seeds_under_probe() {
                self.probe(&id, host, forward, pass, report);
            }
        }
        learned
    }

    /// The seeds that learn on their own in this step, alpha advanced.
    fn advance_alphas(&mut self) -> Vec<SeedId> {
        let mut learning = Vec::new();
        for (id, seed) in &mut self.seeds {
            let stage = seed.lifecycle.stage();
            let Some(attached) = seed.attached.as_mut().filter(|attached| !attached.paused) else { continue };
            if stage == SeedStageBlending {
                attached.advance_alpha();
                learning.push(id.clone());
            } else if stage == SeedStageProbationary && attached.fine_tune > 0 {
                learning.push(id.clone());
            }
        }
        learning
    }

    fn seeds_under_probe(&self) -> Vec<SeedId> {
        let probed = |seed: &&Seed<B>| {
            matches!(seed.stage(), SeedStageShadowing | SeedStageProbationary)
                && seed.attached.as_ref().is_some_and(|attached| !attached.paused && attached.fine_tune == 0)
        };
        self.seeds.values().filter(probed).map(|seed| seed.id.clone()).collect()
    }

    fn seed_pass<H: AutodiffModule<B>>(
        &mut self,
        id: &SeedId,
        host: &H,
        forward: &impl Forward<B, H>,
        pass: &HostPass<B>,
        report: &mut StepReport,
    ) -> Option<(SeedId, GradientsParams)> {
        let started = self.clock.monotonic();
        let (loss, value) = self.forward_seed(id, host, forward, pass)?;
        let finite = value.is_finite();
        let mut ledger = finite.then(|| GradientLedger::<B>::new(loss.backward()));
        let passed = self.clock.monotonic();
        report.timing.seeds += passed.since(started);

        let verified = ledger.as_mut().map(|ledger| self.verify_seed_pass(id, host, ledger, &pass.gradients));
        let verify = self.clock.monotonic().since(passed);
        report.timing.verify += verify;
        let attached = self.attached_mut(id)?;
        attached.vitals.record_loss(value);
        attached.vitals.verify_latency.record(verify);
        attached.fine_tune = attached.fine_tune.saturating_sub(1);
        self.report_seed(id, value, report);
        if !finite && self.stage(id) == Some(SeedStageProbationary) {
            // In BLENDING, G2 sees to it.
            let _ = self.cull(id, "loss_not_finite");
        }
        match verified? {
            Ok(gradients) => Some((id.clone(), gradients)),
            Err(violation) => {
                self.violated(violation, report);
                None
            }
        }
    }

    /// The seed's gradients, if nobody else got one.
    fn verify_seed_pass<H: AutodiffModule<B>>(
        &self,
        id: &SeedId,
        host: &H,
        ledger: &mut GradientLedger<B>,
        host_gradients: &GradientsParams,
    ) -> Result<GradientsParams, Violation> {
        let violation = |shared, cosine| Violation { seed: id.clone(), pass: Pass::Seed, shared, cosine };
        let reached = ledger.present(host);
        if !reached.is_empty() {
            let there = ledger.take(host).unwrap_or_default();
            let cosine = cosine_similarity::<B, _>(host, host_gradients, &there, &reached);
            return Err(violation(reached, cosine));
        }
        let others = self.seeds.values().filter(|seed| seed.id != *id).filter_map(|seed| seed.attached.as_ref());
        let reached: BTreeSet<_> = others.flat_map(|other| ledger.present(&other.kernel)).collect();
        if !reached.is_empty() {
            return Err(violation(reached, None));
        }
        let Some(attached) = self.attached(id) else { return Err(violation(BTreeSet::new(), None)) };
        let present = ledger.present(&attached.kernel);
        let allowed = self.registry.validate_update(&Owner::Seed(id.clone()), present);
        allowed.map_err(|refusal| violation(BTreeSet::from([refusal.parameter()]), None))?;
        ledger.take(&attached.kernel).map_err(|shared| violation(shared, None))
    }

    fn probe<H: AutodiffModule<B>>(
        &mut self,
        id: &SeedId,
        host: &H,
        forward: &impl Forward<B, H>,
        pass: &HostPass<B>,
        report: &mut StepReport,
    ) {
        let started = self.clock.monotonic();
        let Some((_, value)) = self.forward_seed(id, host, forward, pass) else { return };
        report.timing.seeds += self.clock.monotonic().since(started);
        if let Some(attached) = self.attached_mut(id) {
            attached.vitals.probe.record(pass.loss, value);
        }
        self.report_seed(id, value, report);
        if !value.is_finite() {
            let _ = self.cull(id, "loss_not_finite");
        }
    }

    /// The loss of the seed's view, as a tensor and as a number; `None` where the kernel could not do its part, for which the
    /// seed is culled. A loss that is no number may be another live seed's doing: then that of the seed alone counts.
    fn forward_seed<H: AutodiffModule<B>>(
        &mut self,
        id: &SeedId,
        host: &H,
        forward: &impl Forward<B, H>,
        pass: &HostPass<B>,
    ) -> Option<(Tensor<B, 1>, f32)> {
        let (loss, value) = self.forward_view(id, host, forward, pass, self.seed_view(id))?;
        if value.is_finite() {
            return Some((loss, value));
        }
        self.forward_view(id, host, forward, pass, self.seed_view_alone(id))
    }

    fn forward_view<H: AutodiffModule<B>>(
        &mut self,
        id: &SeedId,
        host: &H,
        forward: &impl Forward<B, H>,
        pass: &HostPass<B>,
        mut grafts: Grafts<B>,
    ) -> Option<(Tensor<B, 1>, f32)> {
        self.reseed(Draws::Seeds);
        grafts.reuse(pass.activations.clone());
        if let Some(logits) = &pass.logits {
            grafts.offer_logits(logits.clone());
        }
        let loss = forward(&frozen_twin(host), &mut grafts);
        let blend_time = grafts.blend_time();
        let mut faults = grafts.take_faults();
        let slot = self.seeds.get(id)?.slot.clone();
        if !grafts.into_shapes().contains_key(&slot) {
            let detail = "the host's forward does not call its slot".to_owned();
            faults.push(Fault { seed: id.clone(), slot, reason: "slot_not_reached", detail });
        }
        self.attached_mut(id)?.vitals.blend_latency.record(blend_time);
        let failed = faults.iter().any(|fault| fault.seed == *id);
        for fault in faults {
            self.faulted(&fault);
        }
        let value = number(&loss);
        (!failed).then_some((loss, value))
    }
}
