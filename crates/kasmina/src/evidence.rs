//! What the gates are shown, gathered from what really happened.

use std::collections::BTreeMap;

use kasmina_blending::BlendConfig;
use kasmina_gates::{
    GradientHealthEvidence, ImpactMetric, Interface, InterfaceEvidence, KernelOrigin, ResetEvidence, SanityEvidence,
    SlotState, StabilityEvidence, SystemImpactEvidence, SystemStatus,
};
use kasmina_isolation::{Cast, Participant, Rehearsal, passes_unchanged, rehearse};
use kasmina_kernel_load::SlotActivation;
use kasmina_leyline::{
    BlueprintId, SeedId,
    v1::{CircuitBreakerState::CircuitStateOpen, SeedLifecycleStage::SeedStageFossilized},
};
use kasmina_telemetry::{Metric, names};

use crate::{GraftBackend, Refusal, SeedManager, Validation};

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
        let rehearsal = rehearse(&attached.kernel, &input, &self.device);
        let elapsed = self.clock.monotonic().since(started);
        self.reporter.metric(Some(id), Metric::new(names::PREWARM_MS, elapsed.as_secs_f64() * 1e3));
        // A kernel that does not run has no loss and no gradient that are numbers.
        let Rehearsal { loss, gradient_norm } =
            rehearsal.unwrap_or(Rehearsal { loss: f32::NAN, gradient_norm: f32::NAN });
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
    pub(crate) fn interface(&self, id: &SeedId) -> Result<InterfaceEvidence, Refusal> {
        let pause_proven = self.pause_proven(id)?;
        let seed = self.seed(id)?;
        let attached = self.grafted(id)?;
        let kernel = interface(&attached.contract().into());
        let slot = self.shapes.get(&seed.slot).map_or_else(
            || Interface { rank: 0, channels: (0, 0), dtype: "none".to_owned() },
            |shape| interface(&shape.into()),
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

    /// Whether the slot passes a ramp on bit for bit while the seed is paused.
    fn pause_proven(&self, id: &SeedId) -> Result<bool, Refusal> {
        self.grafted(id)?;
        let seed = self.seed(id)?;
        let paused = seed.participant().map(|participant| Participant { paused: true, ..participant });
        let grafts = Cast::new(paused, self.clock.clone()).live();
        let shape = self.shapes.get(&seed.slot);
        Ok(shape.is_some_and(|shape| passes_unchanged(grafts, &seed.slot, shape, &self.device)))
    }
}

fn interface(slot: &SlotActivation) -> Interface {
    Interface { rank: slot.rank, channels: (slot.channels_in, slot.channels_out), dtype: slot.dtype_name() }
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
