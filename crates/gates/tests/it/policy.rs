//! Every gate's every refusal: sound evidence passes, and each thing that can be wrong is refused with its own reason.

use std::{collections::BTreeMap, time::Duration};

use kasmina_gates::{
    GatePolicy, GradientHealthEvidence, ImpactMetric, Interface, InterfaceEvidence, KernelOrigin, ResetEvidence,
    SanityEvidence, SlotState, StabilityEvidence, SystemImpactEvidence, SystemStatus,
};
use kasmina_leyline::{
    SeedId, SlotId, TrainingRunId,
    v1::{
        BlueprintDescriptor, BlueprintParameterBounds, BlueprintTier,
        SeedLifecycleStage::{self, *},
    },
};
use kasmina_lifecycle::*;
use proptest::prelude::*;

fn judge<M: GuardedMove>(evidence: &EvidenceOf<M>) -> Finding
where
    GatePolicy: Gatekeeper<M>,
{
    judge_in::<M>(M::FROM, evidence)
}

fn judge_in<M: GuardedMove>(stage: SeedLifecycleStage, evidence: &EvidenceOf<M>) -> Finding
where
    GatePolicy: Gatekeeper<M>,
{
    let seed_id = SeedId::new("seed-1").unwrap();
    Gatekeeper::<M>::judge(&GatePolicy::default(), &Subject { seed_id: &seed_id, stage }, evidence)
}

/// The evidence of a move's gate.
type EvidenceOf<M> = <GatePolicy as Gatekeeper<M>>::Evidence;

/// A way to spoil evidence, and the reason that must follow.
type Spoilt<'a, E> = (&'static str, &'a dyn Fn(&mut E));

/// Sound evidence passes in its stage and mismatches in another; each spoilt copy is refused with its reason.
fn every_refusal<M: GuardedMove>(sound: &EvidenceOf<M>, spoilt: &[Spoilt<'_, EvidenceOf<M>>])
where
    GatePolicy: Gatekeeper<M>,
    EvidenceOf<M>: Clone,
{
    assert_eq!(judge::<M>(sound).reason(), Verdict::PASSED);
    assert_eq!(judge_in::<M>(SeedStageCulled, sound).reason(), "stage_mismatch");
    for (reason, spoil) in spoilt {
        let mut evidence = sound.clone();
        spoil(&mut evidence);
        assert_eq!(judge::<M>(&evidence).reason(), *reason);
    }
}

#[test]
fn g0_refuses_each_fault_by_its_reason() {
    let bounds = BlueprintParameterBounds { min_value: 0.0, max_value: 1.0 };
    let blueprint = BlueprintDescriptor {
        blueprint_id: "bp".into(),
        tier: BlueprintTier::Experimental.into(),
        allowed_parameters: BTreeMap::from([("dropout".into(), bounds)]),
        risk: 0.3,
        ..BlueprintDescriptor::default()
    };
    let sound = SanityEvidence {
        expected_stage: SeedStageDormant,
        training_run_id: TrainingRunId::new("run-7").unwrap(),
        blueprint: Some(blueprint),
        parameters: BTreeMap::from([("dropout".into(), 0.5)]),
        slot: SlotId::new("mid").unwrap(),
        slot_state: SlotState::Free,
    };
    fn blueprint_of(evidence: &mut SanityEvidence) -> &mut BlueprintDescriptor {
        evidence.blueprint.as_mut().unwrap()
    }
    every_refusal::<Germinate>(
        &sound,
        &[
            ("placeholder_run", &|e| e.training_run_id = TrainingRunId::new("Unknown").unwrap()),
            ("unknown_blueprint", &|e| e.blueprint = None),
            ("tier_not_allowed", &|e| blueprint_of(e).tier = BlueprintTier::HighRisk.into()),
            ("tier_not_allowed", &|e| blueprint_of(e).tier = 0),
            ("tier_not_allowed", &|e| blueprint_of(e).tier = -3),
            ("tier_not_allowed", &|e| blueprint_of(e).tier = 99),
            ("quarantined", &|e| blueprint_of(e).quarantine_only = true),
            ("approval_required", &|e| blueprint_of(e).approval_required = true),
            ("risk_too_high", &|e| blueprint_of(e).risk = 0.81),
            ("risk_too_high", &|e| blueprint_of(e).risk = f32::NAN),
            ("unknown_parameter", &|e| {
                e.parameters.insert("width".into(), 0.5);
            }),
            ("parameter_not_finite", &|e| {
                e.parameters.insert("dropout".into(), f32::NAN);
            }),
            ("parameter_out_of_bounds", &|e| {
                e.parameters.insert("dropout".into(), 1.5);
            }),
            ("unknown_slot", &|e| e.slot_state = SlotState::Unknown),
            ("slot_taken", &|e| e.slot_state = SlotState::Taken(SeedId::new("seed-2").unwrap())),
        ],
    );
}

#[test]
fn g1_refuses_each_fault_by_its_reason() {
    let sound = GradientHealthEvidence {
        expected_stage: SeedStageGerminated,
        kernel: KernelOrigin::Verified,
        violations: 0,
        loss: 2.3,
        gradient_norm: 0.1,
    };
    every_refusal::<StartTraining>(
        &sound,
        &[
            ("kernel_missing", &|e| e.kernel = KernelOrigin::Missing),
            ("fallback_used", &|e| e.kernel = KernelOrigin::Fallback),
            ("isolation_violations", &|e| e.violations = 1),
            ("loss_not_finite", &|e| e.loss = f32::NAN),
            ("gradient_not_finite", &|e| e.gradient_norm = f32::INFINITY),
            ("gradient_vanished", &|e| e.gradient_norm = 0.0),
            ("gradient_exploded", &|e| e.gradient_norm = 1.1e3),
        ],
    );
}

#[test]
fn g2_refuses_each_fault_by_its_reason() {
    let sound = StabilityEvidence {
        expected_stage: SeedStageTraining,
        losses: (0..20).map(|step| 1.0 - 0.01 * step as f32).collect(),
        alpha: (Some(0.2), 0.3),
        blend_latency: Duration::from_millis(100),
        isolation_latency: Duration::from_millis(8),
        fallback_used: false,
        violations: 0,
    };
    every_refusal::<StartGrafting>(
        &sound,
        &[
            ("fallback_used", &|e| e.fallback_used = true),
            ("isolation_violations", &|e| e.violations = 3),
            ("insufficient_history", &|e| e.losses.truncate(7)),
            ("insufficient_history", &|e| e.losses.clear()),
            ("loss_not_finite", &|e| e.losses[3] = f32::NAN),
            ("loss_not_finite", &|e| e.losses[19] = f32::INFINITY),
            ("loss_rising", &|e| e.losses = (0..20).map(|step| 1.0 + 0.2 * step as f32).collect()),
            ("loss_oscillating", &|e| e.losses = (0..20).map(|step| [0.05, 1.0][step % 2]).collect()),
            ("alpha_not_monotone", &|e| e.alpha = (Some(0.3), 0.2)),
            ("alpha_not_monotone", &|e| e.alpha = (None, f32::NAN)),
            ("alpha_not_monotone", &|e| e.alpha = (None, 1.5)),
            ("blend_latency", &|e| e.blend_latency = Duration::from_millis(101)),
            ("isolation_latency", &|e| e.isolation_latency = Duration::from_millis(9)),
        ],
    );
    let mut quiet = sound;
    quiet.losses = (0..20).map(|step| [0.0001, 0.01][step % 2]).collect();
    assert!(judge::<StartGrafting>(&quiet).passed(), "below the floor, noise is not oscillation");
}

#[test]
fn g3_refuses_each_fault_by_its_reason() {
    let side = Interface { rank: 2, channels: (64, 6), dtype: "f32".into() };
    let sound = InterfaceEvidence {
        expected_stage: SeedStageBlending,
        kernel: side.clone(),
        slot: side,
        parameters: (4, 4),
        foreign_parameters: 0,
        packets: (10, 10),
        pause_proven: true,
    };
    every_refusal::<Stabilize>(
        &sound,
        &[
            ("rank", &|e| e.slot.rank = 4),
            ("channels", &|e| e.kernel.channels.0 = 63),
            ("dtype", &|e| e.slot.dtype = "f16".into()),
            ("registry_coverage", &|e| e.parameters.1 = 3),
            ("registry_coverage", &|e| e.foreign_parameters = 1),
            ("telemetry_incomplete", &|e| e.packets.1 = 9),
            ("pause_unproven", &|e| e.pause_proven = false),
        ],
    );
}

#[test]
fn g4_refuses_each_fault_by_its_reason() {
    let metric = |name: &str, baseline, current, higher_is_better| ImpactMetric {
        name: name.into(),
        baseline,
        current,
        higher_is_better,
    };
    let sound = |stage| SystemImpactEvidence {
        expected_stage: stage,
        metrics: vec![metric("loss", 0.5, 0.509, false), metric("accuracy", 0.95, 0.932, true)],
        status: SystemStatus::Nominal,
        violations: 0,
    };
    let spoilt: [Spoilt<'_, SystemImpactEvidence>; 8] = [
        ("isolation_violations", &|e| e.violations = 1),
        ("status_not_nominal", &|e| e.status = SystemStatus::Degraded),
        ("status_not_nominal", &|e| e.status = SystemStatus::Fallback),
        ("no_metrics", &|e| e.metrics.clear()),
        ("metric_not_finite", &|e| e.metrics[1].current = f64::NAN),
        ("metric_not_finite", &|e| e.metrics[0].baseline = f64::INFINITY),
        ("metric_regressed", &|e| e.metrics[0].current = 0.52),
        ("metric_regressed", &|e| e.metrics[1].current = 0.92),
    ];
    every_refusal::<Evaluate>(&sound(SeedStageShadowing), &spoilt);
    every_refusal::<Fossilize>(&sound(SeedStageProbationary), &spoilt);
}

#[test]
fn g5_refuses_each_fault_by_its_reason() {
    let sound = ResetEvidence {
        expected_stage: SeedStageResetting,
        slot_occupied: false,
        counters_left: 0,
        cached_entries: 0,
        registered_parameters: 0,
    };
    every_refusal::<Reset>(
        &sound,
        &[
            ("slot_occupied", &|e| e.slot_occupied = true),
            ("counters_left", &|e| e.counters_left = 1),
            ("cache_not_empty", &|e| e.cached_entries = 1),
            ("parameters_left", &|e| e.registered_parameters = 1),
        ],
    );
}

#[test]
fn policy_survives_text_and_refuses_unknown_keys() {
    let text = serde_json::to_string(&GatePolicy::default()).unwrap();
    assert_eq!(serde_json::from_str::<GatePolicy>(&text).unwrap(), GatePolicy::default());
    assert!(serde_json::from_str::<GatePolicy>(r#"{"stability": {"max_rice": 1}}"#).is_err());
}

proptest! {
    /// No losses whatever, NaN and infinities included, get past G2 while one of them in the window is not finite.
    #[test]
    fn g2_never_passes_losses_that_are_not_finite(
        losses in prop::collection::vec(prop::num::f32::ANY, 0..200),
        alpha in prop::num::f32::ANY,
    ) {
        let evidence = StabilityEvidence {
            expected_stage: SeedStageTraining,
            losses: losses.clone(),
            alpha: (None, alpha),
            blend_latency: Duration::ZERO,
            isolation_latency: Duration::ZERO,
            fallback_used: false,
            violations: 0,
        };
        let window = &losses[losses.len().saturating_sub(128)..];
        if judge::<StartGrafting>(&evidence).passed() {
            prop_assert!(window.iter().all(|loss| loss.is_finite()));
            prop_assert!((0.0..=1.0).contains(&alpha));
        }
    }

    /// Making a metric better never turns a pass of G4 into a refusal.
    #[test]
    fn g4_passes_what_is_better_than_a_pass(baseline in -10.0..10.0_f64, current in -10.0..10.0_f64, better in 0.0..10.0_f64, up: bool) {
        let evidence = |current| SystemImpactEvidence {
            expected_stage: SeedStageShadowing,
            metrics: vec![ImpactMetric { name: "m".into(), baseline, current, higher_is_better: up }],
            status: SystemStatus::Nominal,
            violations: 0,
        };
        let improved = if up { current + better } else { current - better };
        if judge::<Evaluate>(&evidence(current)).passed() {
            prop_assert!(judge::<Evaluate>(&evidence(improved)).passed());
        }
    }
}
