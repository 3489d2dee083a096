//! What the gates are shown, gathered from what really happened.

use std::collections::BTreeMap;

use burn::{
    module::AutodiffModule,
    tensor::{Tensor, TensorData, backend::Backend},
};
use kasmina_blending::{BlendBackend, BlendConfig};
use kasmina_gates::{
    GradientHealthEvidence, ImpactMetric, Interface, InterfaceEvidence, KernelOrigin, ResetEvidence, SanityEvidence,
    SlotState, StabilityEvidence, SystemImpactEvidence, SystemStatus,
};
use kasmina_isolation::{GradientLedger, View, gradient_norm};
use kasmina_kernel_load::KernelModule;
use kasmina_leyline::{
    BlueprintId, SeedId,
    v1::{CircuitBreakerState::CircuitStateOpen, SeedLifecycleStage::SeedStageFossilized},
};
use kasmina_telemetry::{Metric, names};

use crate::{Activation, GraftBackend, Grafts, Refusal, SeedManager, Validation, grafts::dtype_name, views};

/// The most examples of the batch that a kernel is warmed up with; our choice: enough for any norm, too few to notice.
const PREWARM_BATCH: usize = 8;

impl<B: GraftBackend> SeedManager<B> {
    /// For G0.
    pub(crate) fn sanity(
        &self,
        id: &SeedId,
        blueprint: &BlueprintId,
        parameters: BTreeMap<String, f32>,
    ) -> Result<SanityEvidence, Refusal> {
        let seed = self.seed(id)?;
        let descriptor = match self.kernels.descriptor(blueprint) {
            Ok(descriptor) => Some(descriptor),
            Err(error) if error.reason() == "unknown_blueprint" => None,
            Err(cause) => return Err(Refusal::Kernel { blueprint: blueprint.clone(), cause: Box::new(cause) }),
        };
        let occupant = self
            .seeds
            .values()
            .find(|other| other.slot == seed.slot && other.attached.is_some() && other.stage() != SeedStageFossilized);
        let slot_state = match occupant {
            _ if !self.shapes.contains_key(&seed.slot) => SlotState::Unknown,
            Some(occupant) => SlotState::Taken(occupant.id.clone()),
            None => SlotState::Free,
        };
        Ok(SanityEvidence {
            expected_stage: seed.stage(),
            training_run_id: self.run.clone(),
            blueprint: descriptor,
            parameters,
            slot: seed.slot.clone(),
            slot_state,
        })
    }

    /// For G1: a forward and a backward pass of the kernel alone, on a ramp in the shape that the slot has shown, towards
    /// another ramp. No random number is drawn, and the kernel is as it was.
    pub(crate) fn gradient_health(&mut self, id: &SeedId) -> Result<GradientHealthEvidence, Refusal> {
        let seed = self.seed(id)?;
        let (expected_stage, violations) = (seed.stage(), self.violations.count(id));
        let shape = self.shapes.get(&seed.slot).map(|shape| shape.input.clone());
        let Some((attached, input)) = seed.attached.as_ref().zip(shape) else {
            let kernel = KernelOrigin::Missing;
            return Ok(GradientHealthEvidence { expected_stage, kernel, violations, loss: 0.0, gradient_norm: 0.0 });
        };
        let started = self.clock.monotonic();
        let measured = match input.rank() {
            2 => rehearse::<B, 2>(&attached.kernel, &input, &self.device),
            3 => rehearse::<B, 3>(&attached.kernel, &input, &self.device),
            _ => rehearse::<B, 4>(&attached.kernel, &input, &self.device),
        };
        let elapsed = self.clock.monotonic().since(started);
        self.reporter.metric(Some(id), Metric::new(names::PREWARM_MS, elapsed.as_secs_f64() * 1e3));
        // A kernel that does not run has no loss and no gradient that are numbers.
        let (loss, gradient_norm) = measured.unwrap_or((f32::NAN, f32::NAN));
        let kernel = KernelOrigin::Verified;
        Ok(GradientHealthEvidence { expected_stage, kernel, violations, loss, gradient_norm })
    }

    /// For G2.
    pub(crate) fn stability(&self, id: &SeedId) -> Result<StabilityEvidence, Refusal> {
        let attached = self.grafted(id)?;
        let vitals = &attached.vitals;
        Ok(StabilityEvidence {
            expected_stage: self.seed(id)?.stage(),
            losses: vitals.losses.iter().copied().collect(),
            alpha: (vitals.last_alpha.map(|alpha| alpha.get()), attached.alpha.get()),
            blend_latency: vitals.blend_latency.median(),
            isolation_latency: vitals.verify_latency.median(),
            fallback_used: false,
            violations: self.violations.count(id),
        })
    }

    /// For G3.
    pub(crate) fn interface(&mut self, id: &SeedId) -> Result<InterfaceEvidence, Refusal> {
        let pause_proven = self.prove_pause(id)?;
        let seed = self.seed(id)?;
        let attached = self.grafted(id)?;
        let contract = attached.contract();
        let channels = (contract.channels_in, contract.channels_out);
        let kernel = Interface { rank: contract.rank, channels, dtype: format!("{:?}", contract.dtype).to_lowercase() };
        let slot = self.shapes.get(&seed.slot).map_or_else(
            || Interface { rank: 0, channels: (0, 0), dtype: "none".to_owned() },
            |shape| Interface {
                rank: shape.output.rank(),
                channels: (shape.input.channels(), shape.output.channels()),
                dtype: dtype_name(shape.output.dtype),
            },
        );
        let registered: Vec<_> = self.registry.parameters_of(id).collect();
        let own = kasmina_registry::parameter_ids(&attached.kernel);
        Ok(InterfaceEvidence {
            expected_stage: seed.stage(),
            kernel,
            slot,
            parameters: (own.len() as u64, registered.len() as u64),
            foreign_parameters: registered.iter().filter(|parameter| !own.contains(parameter)).count() as u64,
            packets: self.reporter.packets(id),
            pause_proven,
        })
    }

    /// For G4: the losses of the probes.
    ///
    /// # Errors
    /// [`Refusal::NotMeasured`] where there has been no probe yet, [`Refusal::BreakerOpen`] while the system is not nominal:
    /// neither is a failure of the seed.
    pub(crate) fn system_impact(&self, id: &SeedId) -> Result<SystemImpactEvidence, Refusal> {
        let probe = self.grafted(id)?.vitals.probe.means();
        let (baseline, current) =
            probe.ok_or_else(|| Refusal::NotMeasured { seed: id.clone(), what: "its probes in this stage" })?;
        for (breaker, state) in
            [("isolation", self.breakers.isolation.state()), ("kernels", self.breakers.kernels.state())]
        {
            // Not the seed's fault, so not its gate's business: it is asked again when the breaker has closed.
            if state == CircuitStateOpen {
                return Err(Refusal::BreakerOpen { breaker });
            }
        }
        Ok(SystemImpactEvidence {
            expected_stage: self.seed(id)?.stage(),
            metrics: vec![ImpactMetric { name: "loss".to_owned(), baseline, current, higher_is_better: false }],
            status: SystemStatus::Nominal,
            violations: self.violations.count(id),
        })
    }

    /// For G5.
    pub(crate) fn reset_evidence(&self, id: &SeedId) -> ResetEvidence {
        let seed = self.seeds.get(id);
        ResetEvidence {
            expected_stage: seed.map(|seed| seed.stage()).unwrap_or_default(),
            slot_occupied: seed.is_some_and(|seed| seed.attached.is_some()) || self.fossils.contains(id),
            counters_left: self.violations.count(id),
            // Kernels are cached by blueprint: no entry is a seed's own.
            cached_entries: 0,
            registered_parameters: self.registry.parameters_of(id).count() as u64,
        }
    }

    /// Whether CHANNEL's alphas are as many as the slot's channels.
    pub(crate) fn fits_channels(&self, id: &SeedId, blend: &BlendConfig) -> Result<(), Refusal> {
        let seed = self.seed(id)?;
        let channels = self.shapes.get(&seed.slot).map(|shape| shape.output.channels());
        match (blend.alpha_vec(), channels) {
            (Some(alphas), Some(channels)) if alphas.len() != channels => Err(Refusal::Malformed {
                field: "annotations[\"alpha_vec\"]",
                cause: format!("has {} entries, the slot has {channels} channels", alphas.len()),
            }),
            _ => Ok(()),
        }
    }

    /// Whether the slot passes a ramp on bit for bit while the seed is paused. The seed is as it was after that.
    fn prove_pause(&mut self, id: &SeedId) -> Result<bool, Refusal> {
        let was = std::mem::replace(&mut self.grafted_mut(id)?.paused, true);
        let seed = self.seed(id)?;
        let shape = self.shapes.get(&seed.slot).cloned();
        let graft = self.part(seed, &View::Live);
        let graft = graft.map(|(attached, part)| views::graft(seed, attached, part, attached.kernel.valid()));
        let slots = graft.map(|graft| (seed.slot.clone(), vec![graft])).into_iter().collect();
        let mut grafts = Grafts::new(slots, self.clock.clone());
        let slot = seed.slot.as_str().to_owned();
        let proven = shape.is_some_and(|shape| match shape.output.rank() {
            2 => passes_on::<B::InnerBackend, 2>(&mut grafts, &slot, &shape.input, &shape.output, &self.device),
            3 => passes_on::<B::InnerBackend, 3>(&mut grafts, &slot, &shape.input, &shape.output, &self.device),
            _ => passes_on::<B::InnerBackend, 4>(&mut grafts, &slot, &shape.input, &shape.output, &self.device),
        });
        self.grafted_mut(id)?.paused = was;
        Ok(proven)
    }
}

impl From<&Validation> for ImpactMetric {
    fn from(validation: &Validation) -> Self {
        Self {
            name: validation.name.clone(),
            baseline: validation.host,
            current: validation.live,
            higher_is_better: validation.higher_is_better,
        }
    }
}

/// Numbers from -1 to 1 in the shape of `activation`, at most [`PREWARM_BATCH`] examples, each row other than the last.
fn ramp<B: Backend, const D: usize>(activation: &Activation, steps: usize, device: &B::Device) -> Option<Tensor<B, D>> {
    let mut dims: [usize; D] = activation.dims.as_slice().try_into().ok()?;
    dims[0] = dims[0].min(PREWARM_BATCH);
    let values: Vec<f32> =
        (0..dims.iter().product()).map(|index: usize| (index * steps % 997) as f32 / 498.0 - 1.0).collect();
    Some(Tensor::from_data(TensorData::new(values, dims), device))
}

/// The loss and the gradient norm of a kernel that is to give one ramp for another.
fn rehearse<B: GraftBackend, const D: usize>(
    kernel: &KernelModule<B>,
    input: &Activation,
    device: &B::Device,
) -> Option<(f32, f32)> {
    let output = kernel.forward(ramp::<B, D>(input, 31, device)?).ok()?;
    let shape = Activation::of(&output);
    let loss = (output - ramp::<B, D>(&shape, 17, device)?).square().mean();
    let value = loss.clone().into_data().iter::<f32>().next()?;
    let gradients = GradientLedger::<B>::new(loss.backward()).take(kernel).ok()?;
    Some((value, gradient_norm::<B, _>(kernel, &gradients)))
}

fn passes_on<B: BlendBackend, const D: usize>(
    grafts: &mut Grafts<B>,
    slot: &str,
    input: &Activation,
    output: &Activation,
    device: &B::Device,
) -> bool {
    let Some((tap, h)) = ramp::<B, D>(input, 31, device).zip(ramp::<B, D>(output, 17, device)) else {
        return false;
    };
    let expected = h.to_data();
    grafts.at_with_tap(slot, tap, h).into_data().as_bytes() == expected.as_bytes()
}
