//! What a decision costs, gate included: budget 5 us, aim 1 us.
#![allow(clippy::unwrap_used, reason = "a benchmark may stop at what it does not expect")]

use std::{collections::BTreeMap, hint::black_box, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use kasmina_blending::{AlphaSchedule, BlendConfig};
use kasmina_engine::{
    Engine, EngineSettings, Facts, Input, Seed, Stage, State,
    commands::Order,
    input::{KernelOrigin, StepFacts},
    seed::{Contract, Graft},
    state::RunState,
    vitals::Vitals,
};
use kasmina_gates::GatePolicy;
use kasmina_leyline::{BlueprintId, Monotonic, SeedId, SlotId, TrainingRunId};

fn name(index: u64) -> SeedId {
    SeedId::new(format!("seed-{index}")).unwrap()
}

/// An engine with so many seeds in TRAINING, each with a full window of losses.
fn engine(seeds: u64) -> Engine {
    let settings = EngineSettings::new(TrainingRunId::new("bench").unwrap());
    let mut engine = Engine::new(settings, GatePolicy::default());
    let vitals =
        Vitals { steps: 100, gradient_norm: Some(0.5), losses: [0.5; Vitals::WINDOW].into(), ..Vitals::default() };
    let seeds = (0..seeds).map(|index| {
        let graft = Graft {
            blueprint: BlueprintId::new("bottleneck").unwrap(),
            contract: contract(),
            parameters: 4,
            lr_scale: 1.0,
            epoch: 0,
            paused: false,
            vitals: vitals.clone(),
            idle: None,
            leaving: None,
            ending: None,
        };
        let slot = SlotId::new(format!("slot-{index}")).unwrap();
        (
            name(index),
            Seed {
                id: name(index),
                slot,
                violations: 0,
                stage: Stage::Training(graft),
                postponed: None,
                lives: 1,
                registered: 0,
            },
        )
    });
    let state =
        State { seeds: seeds.collect(), run: RunState { host_gradient_norm: Some(0.5), ..RunState::default() } };
    engine.restore(state, Monotonic::ORIGIN, Monotonic::ORIGIN);
    engine
}

fn contract() -> Contract {
    Contract { rank: 2, channels: (64, 64), dtype: "f32".to_owned() }
}

fn orders(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("engine");
    let now = Monotonic::from_millis(1);
    for seeds in [1, 8, 64] {
        let mut engine = engine(seeds);
        let pause = Input::Order(Order::Pause { seed: name(0) });
        group.bench_function(format!("order/{seeds}_seeds"), |bencher| {
            bencher.iter(|| {
                let wants = engine.wants(&pause, now);
                let decision = engine.decide(pause.clone(), black_box(&Facts::default()), now);
                engine.commit(decision.delta);
                wants
            });
        });
        let engine = self::engine(seeds);
        let schedule = AlphaSchedule::Linear { total_steps: 100 };
        let graft = Input::Order(Order::StartGrafting { seed: name(0), blend: BlendConfig::convex(), schedule });
        let origins = [(name(0), KernelOrigin::Verified)].into();
        let facts = Facts { slot: Some(contract()), origins, ..Facts::default() };
        assert_eq!(engine.decide(graft.clone(), &facts, now).answer, Ok(()));
        group.bench_function(format!("order_with_gate/{seeds}_seeds"), |bencher| {
            bencher.iter(|| {
                let wants = engine.wants(&graft, now);
                (wants, engine.decide(graft.clone(), black_box(&facts), now))
            });
        });
        let mut engine = self::engine(seeds);
        let facts = StepFacts {
            host_loss: 0.5,
            host_gradient_norm: None,
            verify_latency: Duration::ZERO,
            clean: true,
            learned: BTreeMap::new(),
        };
        group.bench_function(format!("step/{seeds}_seeds"), |bencher| {
            bencher.iter(|| {
                let decision = engine.decide(Input::StepTaken(facts.clone()), &Facts::default(), now);
                engine.commit(decision.delta);
            });
        });
    }
}

criterion_group!(benches, orders);
criterion_main!(benches);
