//! A guarded move with its gate: evidence in, stage and verdict out. Budget 300 us, aim 2 us.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]
#![allow(clippy::expect_used, reason = "a bench that cannot set up has nothing to measure")]

use std::{hint::black_box, time::Duration};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use kasmina_gates::{GatePolicy, GradientHealthEvidence, KernelOrigin, SanityEvidence, SlotState};
use kasmina_leyline::{
    Monotonic, SeedId, SlotId, TrainingRunId,
    v1::{BlueprintDescriptor, BlueprintTier, SeedLifecycleStage},
};
use kasmina_lifecycle::{Germinate, Lifecycle, StartTraining};

fn guarded(criterion: &mut Criterion) {
    let now = Monotonic::ORIGIN;
    let policy = GatePolicy::default();
    let mut seed = Lifecycle::new(SeedId::new("seed-1").expect("an id"), Duration::from_secs(30));
    seed.advance(SeedLifecycleStage::SeedStageDormant, now).expect("UNKNOWN goes to DORMANT");
    let sanity = SanityEvidence {
        expected_stage: SeedLifecycleStage::SeedStageDormant,
        training_run_id: TrainingRunId::new("run-7").expect("an id"),
        blueprint: Some(BlueprintDescriptor { tier: BlueprintTier::Safe.into(), ..BlueprintDescriptor::default() }),
        parameters: Default::default(),
        slot: SlotId::new("mid").expect("an id"),
        slot_state: SlotState::Free,
    };
    let approach = seed.approach::<Germinate>().expect("DORMANT leads to G0");
    approach.judge(&policy, &sanity, now).expect("the evidence is sound");
    let health = GradientHealthEvidence {
        expected_stage: SeedLifecycleStage::SeedStageGerminated,
        origin: KernelOrigin::Verified,
        violations: 0,
        loss: 2.3,
        gradient_norm: 0.1,
    };
    criterion.bench_function("transition/guarded", |bencher| {
        bencher.iter_batched(
            || seed.clone(),
            |mut seed| {
                let passed =
                    seed.approach::<StartTraining>().expect("GERMINATED").judge(&policy, black_box(&health), now);
                (seed, passed)
            },
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, guarded);
criterion_main!(benches);
