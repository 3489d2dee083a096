//! Every gate's every refusal and postponement: sound evidence passes, and each thing that can be wrong is refused, or postponed, with
//! its own reason.

use std::{collections::BTreeMap, time::Duration};

use kasmina_gates::{
    Contribution, GatePolicy, GradientHealthEvidence, Idle, ImpactMetric, KernelOrigin, Progress, ResetEvidence,
    SanityEvidence, SlotState, StabilityEvidence, SystemImpactEvidence, conformance::sound,
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

/// Sound evidence passes in its stage and mismatches in another; each spoilt copy gets `outcome` with its reason.
fn every<M: GuardedMove>(outcome: Outcome, sound: &EvidenceOf<M>, spoilt: &[Spoilt<'_, EvidenceOf<M>>])
where
    GatePolicy: Gatekeeper<M>,
    EvidenceOf<M>: Clone,
{
    assert_eq!(judge::<M>(sound).reason(), Verdict::PASSED);
    assert_eq!(judge_in::<M>(SeedStageCulled, sound).reason(), "stage_mismatch");
    for (reason, spoil) in spoilt {
        let mut evidence = sound.clone();
        spoil(&mut evidence);
        let finding = judge::<M>(&evidence);
        assert_eq!((finding.reason(), finding.outcome()), (*reason, outcome));
    }
}

fn every_refusal<M: GuardedMove>(sound: &EvidenceOf<M>, spoilt: &[Spoilt<'_, EvidenceOf<M>>])
where
    GatePolicy: Gatekeeper<M>,
    EvidenceOf<M>: Clone,
{
    every::<M>(Outcome::Refused, sound, spoilt);
}

fn every_postponement<M: GuardedMove>(sound: &EvidenceOf<M>, spoilt: &[Spoilt<'_, EvidenceOf<M>>])
where
    GatePolicy: Gatekeeper<M>,
    EvidenceOf<M>: Clone,
{
    every::<M>(Outcome::Postponed, sound, spoilt);
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
        origin: KernelOrigin::Verified,
        violations: 0,
        loss: 2.3,
        gradient_norm: 0.1,
    };
    every_refusal::<StartTraining>(
        &sound,
        &[
            ("kernel_missing", &|e| e.origin = KernelOrigin::Missing),
            ("fallback_used", &|e| e.origin = KernelOrigin::Fallback),
            ("isolation_violations", &|e| e.violations = 1),
            ("loss_not_finite", &|e| e.loss = f32::NAN),
            ("gradient_not_finite", &|e| e.gradient_norm = f32::INFINITY),
            ("gradient_vanished", &|e| e.gradient_norm = 0.0),
            ("gradient_exploded", &|e| e.gradient_norm = 1.1e3),
        ],
    );
}

/// What is the matter with the kernel at any gate.
macro_rules! origins {
    () => {
        [
            ("kernel_missing", &|e| e.origin = KernelOrigin::Missing),
            ("fallback_used", &|e| e.origin = KernelOrigin::Fallback),
        ]
    };
}

fn training(steps: u64, norm: Option<f32>, host: Option<f32>, idle: Option<Idle>) -> Progress {
    Progress::Training { steps, gradient_norm: norm, host_gradient_norm: host, idle }
}

#[test]
fn g2_refuses_a_seed_that_cannot_be_grafted() {
    let sound = sound::stability(SeedStageTraining);
    every_refusal::<StartGrafting>(&sound, &origins!());
    every_refusal::<StartGrafting>(
        &sound,
        &[
            ("isolation_violations", &|e| e.violations = 3),
            ("blend_latency", &|e| e.blend_latency = Duration::from_millis(101)),
            ("gradient_not_finite", &|e| e.progress = training(8, Some(f32::NAN), Some(1.0), None)),
            ("gradient_ratio", &|e| e.progress = training(8, Some(1.1), Some(0.1), None)),
        ],
    );
}

#[test]
fn g2_postpones_a_seed_without_a_gradient() {
    let sound =
        StabilityEvidence { progress: training(8, Some(1.0), Some(0.1), None), ..sound::stability(SeedStageTraining) };
    every_postponement::<StartGrafting>(
        &sound,
        &[
            ("isolation_latency", &|e| e.isolation_latency = Duration::from_millis(9)),
            ("too_few_steps", &|e| e.progress = training(7, Some(1.0), Some(1.0), None)),
            ("slot_not_reached", &|e| e.progress = training(8, None, Some(1.0), Some(Idle::SlotNotReached))),
            ("slot_unused", &|e| e.progress = training(8, Some(1.0), Some(1.0), Some(Idle::SlotUnused))),
            ("gradient_not_measured", &|e| e.progress = training(8, None, Some(1.0), None)),
            ("gradient_too_small", &|e| e.progress = training(8, Some(1e-9), Some(1.0), None)),
            ("gradient_too_small", &|e| e.progress = training(8, Some(0.0), Some(0.0), None)),
            ("host_gradient_not_measured", &|e| e.progress = training(8, Some(1.0), None, None)),
            ("host_gradient_not_measured", &|e| e.progress = training(8, Some(1.0), Some(f32::NAN), None)),
        ],
    );
    let converged = StabilityEvidence { progress: training(8, Some(1.0), Some(1e-9), None), ..sound };
    assert!(judge::<StartGrafting>(&converged).passed(), "a host without a gradient is no measure");
}

/// What each of the next losses is in the blend.
fn blending(losses: impl IntoIterator<Item = f32>) -> Progress {
    Progress::Blending { losses: losses.into_iter().collect(), alpha: (Some(0.2), 0.3) }
}

fn alpha(before: Option<f32>, now: f32) -> Progress {
    Progress::Blending { losses: vec![1.0; 20], alpha: (before, now) }
}

#[test]
fn g2_refuses_a_blend_that_is_not_stable() {
    // G2 guards the move out of TRAINING; in BLENDING it is asked without a move.
    let sound = sound::blending(SeedStageTraining);
    every_refusal::<StartGrafting>(&sound, &origins!());
    every_refusal::<StartGrafting>(
        &sound,
        &[
            ("isolation_violations", &|e| e.violations = 3),
            ("blend_latency", &|e| e.blend_latency = Duration::from_millis(101)),
            ("loss_not_finite", &|e| e.progress = blending([1.0, f32::NAN])),
            ("loss_not_finite", &|e| {
                e.progress = blending((0..20).map(|step| if step == 19 { f32::INFINITY } else { 1.0 }))
            }),
            ("loss_oscillating", &|e| {
                e.progress = blending((0..20).map(|step| [-f32::MAX, f32::MAX, f32::MAX][step % 3]))
            }),
            ("loss_rising", &|e| e.progress = blending((0..20).map(|step| 1.0 + 0.2 * step as f32))),
            ("loss_rising", &|e| e.progress = blending((0..24).map(|step| 2.0_f32.powi(step)))),
            ("loss_oscillating", &|e| e.progress = blending((0..20).map(|step| [0.05, 1.0][step % 2]))),
            ("alpha_not_monotone", &|e| e.progress = alpha(Some(0.3), 0.2)),
            ("alpha_not_monotone", &|e| e.progress = alpha(None, f32::NAN)),
            ("alpha_not_monotone", &|e| e.progress = alpha(None, 1.5)),
        ],
    );
    every_postponement::<StartGrafting>(
        &sound,
        &[
            ("isolation_latency", &|e| e.isolation_latency = Duration::from_millis(9)),
            ("insufficient_history", &|e| e.progress = blending([])),
            ("insufficient_history", &|e| e.progress = blending((0..7).map(|step| 10.0_f32.powi(step)))),
        ],
    );
    let quiet = StabilityEvidence { progress: blending((0..20).map(|step| [0.0001, 0.01][step % 2])), ..sound };
    assert!(judge::<StartGrafting>(&quiet).passed(), "below the floor, noise is not oscillation");
}

#[test]
fn g3_refuses_each_fault_by_its_reason() {
    let sound = sound::interface(SeedStageBlending);
    every_refusal::<Stabilize>(&sound, &origins!());
    every_refusal::<Stabilize>(
        &sound,
        &[
            ("rank", &|e| e.slot.rank = 4),
            ("channels", &|e| e.kernel.channels.0 = 63),
            ("dtype", &|e| e.slot.dtype = "f16".into()),
            ("registry_coverage", &|e| e.parameters.1 = 3),
            ("registry_coverage", &|e| e.foreign_parameters = 1),
            ("pause_unproven", &|e| e.pause_proven = false),
        ],
    );
    every_postponement::<Stabilize>(&sound, &[("telemetry_incomplete", &|e| e.packets.1 = 9)]);
}

/// So many differences of this mean, one standard deviation of which is 0.1; the loss without the seed is 1.
fn contribution(probes: u64, mean: f32) -> Contribution {
    let mut contribution = Contribution::default();
    for probe in 0..probes {
        contribution.record(1.0, 1.0 - mean - [0.1, -0.1][(probe % 2) as usize]);
    }
    contribution
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
        metrics: vec![metric("loss", 0.5, 0.509, false), metric("accuracy", 0.95, 0.932, true)],
        ..sound::system_impact(stage)
    };
    let spoilt: [Spoilt<'_, SystemImpactEvidence>; 5] = [
        ("isolation_violations", &|e| e.violations = 1),
        ("metric_not_finite", &|e| e.metrics[1].current = f64::NAN),
        ("metric_regressed", &|e| e.metrics[0].current = 0.52),
        ("metric_regressed", &|e| e.metrics[1].current = 0.92),
        ("contribution_negative", &|e| e.contribution = contribution(60, -0.1)),
    ];
    every_refusal::<Evaluate>(&sound(SeedStageShadowing), &origins!());
    every_refusal::<Fossilize>(&sound(SeedStageProbationary), &origins!());
    every_refusal::<Evaluate>(&sound(SeedStageShadowing), &spoilt);
    every_refusal::<Fossilize>(&sound(SeedStageProbationary), &spoilt);
    let shared = |stage| SystemImpactEvidence { other_seeds: 1, ..sound(stage) };
    // Others may be to blame, or the host.
    let postponed: [Spoilt<'_, SystemImpactEvidence>; 4] = [
        ("metric_not_finite", &|e| e.metrics[1].current = f64::NAN),
        ("metric_not_finite", &|e| (e.metrics[0].baseline, e.other_seeds) = (f64::INFINITY, 0)),
        ("metric_regressed", &|e| e.metrics[0].current = 0.52),
        ("metric_regressed", &|e| e.metrics[1].current = 0.92),
    ];
    every_postponement::<Evaluate>(&shared(SeedStageShadowing), &postponed);
    every_postponement::<Fossilize>(&shared(SeedStageProbationary), &postponed);
    let harmful: [Spoilt<'_, SystemImpactEvidence>; 1] =
        [("contribution_negative", &|e| (e.contribution, e.metrics[1].current) = (contribution(60, -0.1), 0.1))];
    every_refusal::<Fossilize>(&shared(SeedStageProbationary), &harmful);
}

#[test]
fn g4_postpones_what_probes_do_not_show_yet() {
    every_postponement::<Evaluate>(
        &sound::system_impact(SeedStageShadowing),
        &[
            ("too_few_probes", &|e| e.contribution = contribution(7, 0.5)),
            ("not_significant", &|e| e.contribution = contribution(8, -0.03)),
            // Clear, and on too few probes for what is final.
            ("not_significant", &|e| e.contribution = contribution(28, -0.5)),
        ],
    );
    every_postponement::<Fossilize>(
        &sound::system_impact(SeedStageProbationary),
        &[
            ("too_few_probes", &|e| e.contribution = Contribution::default()),
            ("too_few_probes", &|e| e.contribution = contribution(29, 0.5)),
            ("not_significant", &|e| e.contribution = contribution(30, 0.01)),
            ("not_significant", &|e| e.contribution = contribution(30, -0.01)),
            ("not_significant", &|e| e.contribution = contribution(1_000, 0.0)),
        ],
    );
}

#[test]
fn g4_bears_in_shadowing_what_is_within_the_tolerance() {
    let judge = |contribution| {
        let evidence = SystemImpactEvidence { contribution, ..sound::system_impact(SeedStageShadowing) };
        judge::<Evaluate>(&evidence).reason()
    };
    // 2 % of a loss of 1.
    assert_eq!(judge(contribution(8, -0.019)), "passed");
    assert_eq!(judge(contribution(10_000, -0.019)), "passed", "harmful beyond doubt, and by little");
    assert_eq!(judge(contribution(10_000, -0.021)), "contribution_negative");
}

#[test]
fn every_verdict_of_g4_says_how_much_the_seed_helps() {
    for contribution in [Contribution::default(), contribution(1, 0.1), contribution(100, 0.1), contribution(100, -0.1)]
    {
        let evidence = SystemImpactEvidence { contribution, ..sound::system_impact(SeedStageProbationary) };
        let verdict = judge::<Fossilize>(&evidence).into_verdict(&SeedId::new("seed-1").unwrap(), Fossilize::GATE);
        for name in ["contribution", "contribution_error", "probes", "evidence"] {
            assert!(verdict.attributes.contains_key(name), "{verdict:?}");
        }
    }
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
        let progress = Progress::Blending { losses: losses.clone(), alpha: (None, alpha) };
        let evidence = StabilityEvidence { progress, ..sound::stability(SeedStageTraining) };
        let window = &losses[losses.len().saturating_sub(128)..];
        let finding = judge::<StartGrafting>(&evidence);
        if finding.outcome() != Outcome::Refused {
            prop_assert!(window.iter().all(|loss| loss.is_finite()));
            prop_assert!((0.0..=1.0).contains(&alpha));
        }
    }

    /// No norms whatever let a seed be grafted that has no gradient of its own.
    #[test]
    fn g2_never_grafts_a_seed_without_a_finite_gradient(norm in prop::num::f32::ANY, host in prop::num::f32::ANY) {
        let evidence = StabilityEvidence {
            progress: training(8, Some(norm), Some(host), None),
            ..sound::stability(SeedStageTraining)
        };
        if judge::<StartGrafting>(&evidence).passed() {
            prop_assert!(norm.is_finite() && norm >= 1e-8);
        }
    }

    /// Making a metric better never turns a pass of G4 into a refusal.
    #[test]
    fn g4_passes_what_is_better_than_a_pass(baseline in -10.0..10.0_f64, current in -10.0..10.0_f64, better in 0.0..10.0_f64, up: bool) {
        let evidence = |current| SystemImpactEvidence {
            metrics: vec![ImpactMetric { name: "m".into(), baseline, current, higher_is_better: up }],
            ..sound::system_impact(SeedStageShadowing)
        };
        let improved = if up { current + better } else { current - better };
        if judge::<Evaluate>(&evidence(current)).passed() {
            prop_assert!(judge::<Evaluate>(&evidence(improved)).passed());
        }
    }
}
