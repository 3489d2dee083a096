//! The pass that trains the host, and the proof that its gradients are its own.

use std::collections::BTreeSet;

use burn::{
    module::{AutodiffModule, ParamId},
    optim::GradientsParams,
    tensor::Tensor,
};
use kasmina_isolation::{GradientLedger, Pass, View, Violation, cosine_similarity};
use kasmina_leyline::{SeedId, v1::SeedLifecycleStage::SeedStageFossilized};
use kasmina_registry::{Owner, UpdateRefusal, parameter_ids};

use crate::{GraftBackend, Grafts, SeedManager, StepError, StepReport, draws::Draws, reuse::Activations};

/// What the trainer gives: the host's loss on the batch, with grafts.
pub(crate) trait Forward<B: GraftBackend, H>: Fn(&H, &mut Grafts<B>) -> Tensor<B, 1> {}

impl<B: GraftBackend, H, F: Fn(&H, &mut Grafts<B>) -> Tensor<B, 1>> Forward<B, H> for F {}

/// What the host's pass left behind.
pub(crate) struct HostPass<B: GraftBackend> {
    pub(crate) loss: f32,
    pub(crate) gradients: GradientsParams,
    /// Of riders and fossils.
    pub(crate) kernels: Vec<(SeedId, GradientsParams)>,
    pub(crate) logits: Option<Tensor<B, 2>>,
    pub(crate) activations: Activations<B>,
}

/// Gradients by module, or the seeds that must not have been in the pass.
type Divided = Result<(GradientsParams, Vec<(SeedId, GradientsParams)>), Vec<Offence>>;

/// A seed and the parameters that it shares with somebody.
type Offence = (SeedId, BTreeSet<ParamId>);

impl<B: GraftBackend> SeedManager<B> {
    /// The host's pass. A pass that a seed has spoilt is done again without it, on a copy of the host, so that running
    /// statistics move once.
    pub(crate) fn host_pass<H: AutodiffModule<B>>(
        &mut self,
        host: &H,
        forward: &impl Forward<B, H>,
        report: &mut StepReport,
    ) -> Result<HostPass<B>, StepError> {
        let started = self.clock.monotonic();
        self.reseed(Draws::Host);
        let mut grafts = self.host_view();
        grafts.keep_activations();
        let loss = forward(host, &mut grafts);
        let value = number(&loss);
        if loss.dims() != [1] {
            return Err(StepError::LossShape { got: loss.dims().to_vec() });
        }
        if !value.is_finite() {
            return Err(StepError::NonFiniteLoss { loss: value, step: report.step });
        }
        let mut ledger = GradientLedger::new(loss.backward());
        let passed = self.clock.monotonic();
        report.timing.host = passed.since(started);

        for fault in grafts.take_faults() {
            self.faulted(&fault);
            if self.stage(&fault.seed) == Some(SeedStageFossilized) {
                return Err(StepError::Fossil(Box::new(fault)));
            }
        }
        let (logits, activations) = (grafts.logits().cloned(), grafts.take_activations());
        self.remember_shapes(grafts);
        self.check_host(host, &ledger)?;
        let divided = self.divide(host, &mut ledger, &[]);
        report.timing.verify += self.clock.monotonic().since(passed);
        let (gradients, kernels) = match divided {
            Ok(divided) => divided,
            Err(offences) => self.host_pass_again(host, forward, offences, report),
        };
        Ok(HostPass { loss: value, gradients, kernels, logits, activations })
    }

    fn host_pass_again<H: AutodiffModule<B>>(
        &mut self,
        host: &H,
        forward: &impl Forward<B, H>,
        mut offences: Vec<Offence>,
        report: &mut StepReport,
    ) -> (GradientsParams, Vec<(SeedId, GradientsParams)>) {
        let twin = || H::from_inner(host.valid());
        self.reseed(Draws::Host);
        let spoilt_host = twin();
        let loss = forward(&spoilt_host, &mut self.host_view());
        let spoilt = GradientLedger::new(loss.backward()).take(&spoilt_host).unwrap_or_default();
        loop {
            let without: Vec<SeedId> = offences.iter().map(|(seed, _)| seed.clone()).collect();
            let clean_host = twin();
            self.reseed(Draws::Host);
            let loss = forward(&clean_host, &mut self.host_view_without(&without));
            let mut ledger = GradientLedger::new(loss.backward());
            match self.divide(&clean_host, &mut ledger, &without) {
                // Every round leaves at least one seed out, so there is a last one.
                Err(more) => offences.extend(more),
                Ok((gradients, kernels)) => {
                    for (seed, shared) in offences {
                        let cosine = cosine_similarity::<B, _>(host, &gradients, &spoilt, &shared);
                        self.violated(Violation { seed, pass: Pass::Host, shared, cosine }, report);
                    }
                    return (gradients, kernels);
                }
            }
        }
    }

    /// Hands the gradients of the host's pass out to whom they belong, if they can be told apart.
    fn divide<H: AutodiffModule<B>>(&self, host: &H, ledger: &mut GradientLedger<B>, without: &[SeedId]) -> Divided {
        let in_pass = |id: &&SeedId| {
            !without.contains(id) && self.seeds.get(*id).is_some_and(|seed| self.part(seed, &View::Host).is_some())
        };
        let in_pass: Vec<&SeedId> = self.seeds.keys().filter(in_pass).collect();
        let kernels = in_pass.iter().filter_map(|id| Some((*id, &self.attached(id)?.kernel)));
        let kernels: Vec<_> = kernels.map(|(id, kernel)| (id, kernel, ledger.present(kernel))).collect();
        let (mut divided, mut offences) = (Vec::new(), Vec::new());
        for (id, kernel, present) in kernels {
            let missing: BTreeSet<_> = present.difference(&ledger.present(kernel)).copied().collect();
            let allowed = self.registry.validate_update(&Owner::Seed(id.clone()), present.iter().copied());
            match ledger.take_apart_from(kernel, host) {
                Err(shared) => offences.push((id.clone(), shared)),
                Ok(_) if !missing.is_empty() => offences.push((id.clone(), missing)),
                Ok(gradients) => match allowed {
                    Err(refusal) => offences.push((id.clone(), BTreeSet::from([refusal.parameter()]))),
                    Ok(()) => divided.push((id.clone(), gradients)),
                },
            }
        }
        match ledger.take(host) {
            Ok(gradients) if offences.is_empty() => Ok((gradients, divided)),
            Ok(_) => Err(offences),
            // A kernel has taken by id what is the host's, and there is no telling which.
            Err(shared) => Err(in_pass.into_iter().map(|id| (id.clone(), shared.clone())).collect()),
        }
    }

    /// Whether the host's gradients are the host's to apply. A host that has grown new parameters is registered anew.
    fn check_host<H: AutodiffModule<B>>(&mut self, host: &H, ledger: &GradientLedger<B>) -> Result<(), StepError> {
        let present = ledger.present(host);
        let allowed = self.registry.validate_update(&Owner::Host, present.iter().copied());
        if let Err(UpdateRefusal::Unregistered { .. }) = allowed {
            self.registry.register_host(parameter_ids(host))?;
            return Ok(self.registry.validate_update(&Owner::Host, present)?);
        }
        Ok(allowed?)
    }
}

/// The loss as a number; NaN for a tensor without any.
pub(crate) fn number<B: GraftBackend>(loss: &Tensor<B, 1>) -> f32 {
    loss.clone().into_data().iter::<f32>().next().unwrap_or(f32::NAN)
}
