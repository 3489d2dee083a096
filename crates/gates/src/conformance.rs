//! What every gatekeeper must do, whatever its policy is.

#![allow(clippy::expect_used, reason = "a suite that cannot go on has failed")]

use std::{collections::BTreeMap, time::Duration};

use kasmina_leyline::{
    SeedId, SlotId, TrainingRunId,
    v1::{BlueprintDescriptor, BlueprintTier, SeedLifecycleStage},
};
use kasmina_lifecycle::{
    Evaluate, Finding, Fossilize, Gatekeeper, Germinate, Reset, Stabilize, StartGrafting, StartTraining, Subject,
    Verdict,
};

use crate::{
    Contribution, Evidence, Gated, Gatekeepers, GradientHealthEvidence, Interface, InterfaceEvidence, KernelOrigin,
    Progress, ResetEvidence, SanityEvidence, SlotState, StabilityEvidence, SystemImpactEvidence,
};

/// Runs the suite on the gatekeepers that `build` makes:
///
/// - evidence of another stage is refused with `stage_mismatch`, at every gate and in every stage;
/// - the same question gets the same answer, for any seed;
/// - the reason of a refusal or a postponement is neither empty nor [`Verdict::PASSED`];
/// - a box with the gatekeeper answers like the gatekeeper.
///
/// # Panics
/// If the gatekeeper does not conform.
pub fn run<G: Gatekeepers + 'static>(build: impl Fn() -> G) {
    let (keeper, boxed): (G, Box<dyn Gatekeepers>) = (build(), Box::new(build()));
    each_stage::<Germinate, _>(&keeper, &boxed, sound::sanity);
    each_stage::<StartTraining, _>(&keeper, &boxed, sound::gradient_health);
    each_stage::<StartGrafting, _>(&keeper, &boxed, sound::stability);
    each_stage::<Stabilize, _>(&keeper, &boxed, sound::interface);
    each_stage::<Evaluate, _>(&keeper, &boxed, sound::system_impact);
    each_stage::<Fossilize, _>(&keeper, &boxed, sound::system_impact);
    each_stage::<Reset, _>(&keeper, &boxed, sound::reset);
}

fn each_stage<M: Gated, G: Gatekeeper<M, Evidence = M::Evidence>>(
    keeper: &G,
    boxed: &dyn Gatekeeper<M, Evidence = M::Evidence>,
    sound: impl Fn(SeedLifecycleStage) -> M::Evidence,
) {
    let seeds = ["seed-1", "seed-2"].map(|id| SeedId::new(id).expect("an id"));
    let stages = || (0..).map_while(|number| SeedLifecycleStage::try_from(number).ok());
    for (stage, expected) in stages().flat_map(|stage| stages().map(move |expected| (stage, expected))) {
        let evidence = sound(expected);
        assert_eq!(evidence.expected_stage(), expected);
        let [finding, other] =
            [0, 1].map(|seed: usize| keeper.judge(&Subject { seed_id: &seeds[seed], stage }, &evidence));
        let gate = M::GATE.as_str_name();
        assert_eq!(finding, other, "{gate}: two answers to one question");
        if stage != expected {
            assert_eq!(finding.reason(), "stage_mismatch", "{gate}: evidence of {expected:?} in {stage:?}");
        }
        check_reason(gate, &finding);
        let forwarded = boxed.judge(&Subject { seed_id: &seeds[0], stage }, &evidence);
        assert_eq!(forwarded, finding, "{gate}: the boxed gatekeeper answers otherwise");
    }
}

fn check_reason(gate: &str, finding: &Finding) {
    assert!(!finding.reason().is_empty(), "{gate}: a refusal without a reason");
    assert_eq!(finding.passed(), finding.reason() == Verdict::PASSED, "{gate}: a refusal that reads as a pass");
}

/// Evidence that the default policy passes, of any stage.
pub mod sound {
    #![allow(missing_docs, reason = "the names say it")]

    use super::*;

    #[must_use]
    pub fn sanity(expected_stage: SeedLifecycleStage) -> SanityEvidence {
        let blueprint = BlueprintDescriptor {
            blueprint_id: "blueprint-1".to_owned(),
            tier: BlueprintTier::Safe.into(),
            risk: 0.1,
            ..BlueprintDescriptor::default()
        };
        SanityEvidence {
            expected_stage,
            training_run_id: TrainingRunId::new("run-7").expect("an id"),
            blueprint: Some(blueprint),
            parameters: BTreeMap::new(),
            slot: SlotId::new("mid").expect("an id"),
            slot_state: SlotState::Free,
        }
    }

    #[must_use]
    pub fn gradient_health(expected_stage: SeedLifecycleStage) -> GradientHealthEvidence {
        let origin = KernelOrigin::Verified;
        GradientHealthEvidence { expected_stage, origin, violations: 0, loss: 2.3, gradient_norm: 0.1 }
    }

    #[must_use]
    pub fn stability(expected_stage: SeedLifecycleStage) -> StabilityEvidence {
        StabilityEvidence {
            expected_stage,
            origin: KernelOrigin::Verified,
            violations: 0,
            blend_latency: Duration::from_millis(1),
            isolation_latency: Duration::from_millis(1),
            progress: Progress::Training {
                steps: 100,
                gradient_norm: Some(0.1),
                host_gradient_norm: Some(0.2),
                idle: None,
            },
        }
    }

    /// The same of a seed in the blend.
    #[must_use]
    pub fn blending(expected_stage: SeedLifecycleStage) -> StabilityEvidence {
        let losses = (0..20_u8).map(|step| 1.0 - 0.01 * f32::from(step)).collect();
        StabilityEvidence {
            progress: Progress::Blending { losses, alpha: (Some(0.2), 0.3) },
            ..stability(expected_stage)
        }
    }

    #[must_use]
    pub fn interface(expected_stage: SeedLifecycleStage) -> InterfaceEvidence {
        let side = Interface { rank: 2, channels: (64, 6), dtype: "f32".into() };
        InterfaceEvidence {
            expected_stage,
            origin: KernelOrigin::Verified,
            kernel: side.clone(),
            slot: side,
            parameters: (4, 4),
            foreign_parameters: 0,
            packets: (10, 10),
            pause_proven: true,
        }
    }

    #[must_use]
    pub fn system_impact(expected_stage: SeedLifecycleStage) -> SystemImpactEvidence {
        let mut contribution = Contribution::default();
        for without in [0.5_f32, 0.47, 0.53, 0.49, 0.51].into_iter().cycle().take(60) {
            contribution.record(without, 0.9 * without);
        }
        SystemImpactEvidence {
            expected_stage,
            origin: KernelOrigin::Verified,
            violations: 0,
            contribution,
            metrics: Vec::new(),
            other_seeds: 0,
        }
    }

    #[must_use]
    pub fn reset(expected_stage: SeedLifecycleStage) -> ResetEvidence {
        ResetEvidence {
            expected_stage,
            slot_occupied: false,
            counters_left: 0,
            cached_entries: 0,
            registered_parameters: 0,
        }
    }
}
