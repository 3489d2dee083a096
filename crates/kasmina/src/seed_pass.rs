//! Which seeds have a pass of their own in a step, and what follows from it.

use burn::{module::AutodiffModule, optim::GradientsParams, tensor::Tensor};
use kasmina_isolation::{Grafts, HostPass, probe, seed_pass};
use kasmina_leyline::{
    SeedId,
    v1::SeedLifecycleStage::{SeedStageBlending, SeedStageProbationary, SeedStageShadowing},
};

use crate::{GraftBackend, SeedManager, StepReport, seed::Seed};

impl<B: GraftBackend> SeedManager<B> {
    /// The passes of seeds that learn on their own, and the probes that are due.
    pub(crate) fn seed_passes<H: AutodiffModule<B>>(
        &mut self,
        host: &H,
        forward: &impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
        pass: &HostPass<B>,
        report: &mut StepReport,
    ) -> Vec<(SeedId, GradientsParams)> {
        let mut learned = Vec::new();
        for id in self.advance_alphas() {
            learned.extend(self.seed_pass(&id, host, forward, pass, report).map(|gradients| (id, gradients)));
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
        forward: &impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
        pass: &HostPass<B>,
        report: &mut StepReport,
    ) -> Option<GradientsParams> {
        let own = seed_pass(id, host, forward, &self.cast(), pass, &self.registry, &self.rng())?;
        self.attached_mut(id)?.vitals.blend_latency.record(own.blend_time);
        own.faults.iter().for_each(|fault| self.faulted(fault));
        let loss = own.loss?;
        report.timing.seeds += own.pass_time;
        report.timing.verify += own.verify_time;
        let attached = self.attached_mut(id)?;
        attached.vitals.record_loss(loss);
        attached.vitals.verify_latency.record(own.verify_time);
        attached.fine_tune = attached.fine_tune.saturating_sub(1);
        self.report_seed(id, loss, report);
        if !loss.is_finite() && self.stage(id) == Some(SeedStageProbationary) {
            // In BLENDING, G2 sees to it.
            let _ = self.cull(id, "loss_not_finite");
        }
        if let Some(violation) = own.violation {
            self.violated(violation, report);
        }
        own.gradients
    }

    fn probe<H: AutodiffModule<B>>(
        &mut self,
        id: &SeedId,
        host: &H,
        forward: &impl Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>,
        pass: &HostPass<B>,
        report: &mut StepReport,
    ) {
        let Some(found) = probe(id, host, forward, &self.cast(), pass, &self.rng()) else { return };
        if let Some(attached) = self.attached_mut(id) {
            attached.vitals.blend_latency.record(found.blend_time);
        }
        found.faults.iter().for_each(|fault| self.faulted(fault));
        let Some(loss) = found.loss else { return };
        report.timing.seeds += found.pass_time;
        if let Some(attached) = self.attached_mut(id) {
            attached.vitals.probe.record(pass.loss, loss);
        }
        self.report_seed(id, loss, report);
        if !loss.is_finite() {
            let _ = self.cull(id, "loss_not_finite");
        }
    }
}
