//! A guarded move with its gate: evidence in, stage and verdict out.

use std::{hint::black_box, time::Duration};

use kasmina::{
    gates::{GatePolicy, GradientHealthEvidence, KernelOrigin, SanityEvidence, SlotState},
    leyline::{
        Monotonic, SeedId, SlotId, TrainingRunId,
        v1::{BlueprintDescriptor, BlueprintTier, SeedLifecycleStage},
    },
    lifecycle::{Germinate, Lifecycle, StartTraining},
};
use kasmina_measure::{Limit, Row, Side};

use crate::case::Case;

const NOW: Monotonic = Monotonic::ORIGIN;

pub(crate) fn cases() -> Vec<Case> {
    let row = Row::new("gates/guarded_move", "a move with its gate");
    vec![Case::new(row.budget(Limit::AtMost(300_000.0)).aim(Limit::AtMost(2_000.0)), |meter| {
        let policy = GatePolicy::default();
        let seed = germinated(&policy);
        let health = GradientHealthEvidence {
            expected_stage: SeedLifecycleStage::SeedStageGerminated,
            origin: KernelOrigin::Verified,
            violations: 0,
            loss: 2.3,
            gradient_norm: 0.1,
        };
        meter.alone(Side::prepared(
            |count| vec![seed.clone(); count as usize],
            |seeds, _| {
                for seed in seeds {
                    let approach = seed.approach::<StartTraining>().expect("GERMINATED leads to G1");
                    black_box(approach.judge(&policy, black_box(&health), NOW)).expect("the evidence is sound");
                }
            },
        ))
    })]
}

fn germinated(policy: &GatePolicy) -> Lifecycle {
    let mut seed = Lifecycle::new(SeedId::new("seed-1").expect("an id"), Duration::from_secs(30));
    seed.advance(SeedLifecycleStage::SeedStageDormant, NOW).expect("UNKNOWN goes to DORMANT");
    let sanity = SanityEvidence {
        expected_stage: SeedLifecycleStage::SeedStageDormant,
        training_run_id: TrainingRunId::new("run-7").expect("an id"),
        blueprint: Some(BlueprintDescriptor { tier: BlueprintTier::Safe.into(), ..BlueprintDescriptor::default() }),
        parameters: std::collections::BTreeMap::default(),
        slot: SlotId::new("mid").expect("an id"),
        slot_state: SlotState::Free,
    };
    seed.approach::<Germinate>().expect("DORMANT leads to G0").judge(policy, &sanity, NOW).expect("it is sound");
    seed
}
