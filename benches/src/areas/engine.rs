//! What a decision costs, its gate included, with 1, 8 and 64 seeds.

use std::{collections::BTreeMap, hint::black_box, time::Duration};

use kasmina::{
    blending::{AlphaSchedule, BlendConfig},
    engine::{
        Engine, EngineSettings, Facts, Input, Seed, Stage, State,
        commands::Order,
        input::{KernelOrigin, StepFacts},
        seed::{Contract, Graft},
        state::RunState,
        vitals::Vitals,
    },
    gates::GatePolicy,
    leyline::{BlueprintId, Monotonic, SeedId, SlotId, TrainingRunId},
};
use kasmina_measure::{Limit, Row, Samples, Side, Unit};

use crate::case::Case;

const MICROSECOND: f64 = 1e3;

/// What an engine is given.
#[derive(Clone, Copy)]
enum Work {
    /// Pause a seed.
    Order,
    /// Blend a seed in, which asks a gate.
    OrderWithGate,
    /// A step was taken.
    Step,
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (work, name, title) in [
        (Work::Order, "order", "engine: an order"),
        (Work::OrderWithGate, "order_with_gate", "engine: an order with its gate"),
        (Work::Step, "step", "engine: a step"),
    ] {
        let one = Row::new(format!("engine/{name}/1"), format!("{title}, 1 seed"));
        let one = match work {
            Work::Order | Work::OrderWithGate => {
                one.budget(Limit::AtMost(5.0 * MICROSECOND)).aim(Limit::AtMost(MICROSECOND))
            }
            Work::Step => one,
        };
        cases.push(Case::new(one, move |meter| meter.alone(deciding(work, 1))));
        for seeds in [8, 64] {
            let row = Row::new(format!("engine/{name}/{seeds}"), format!("{title}, {seeds} seeds")).beside("1 seed");
            let row = match work {
                Work::Order | Work::OrderWithGate => row.budget(Limit::RatioAtMost(2.0)).aim(Limit::RatioAtMost(1.2)),
                // Every seed takes part in a step.
                Work::Step => row.budget(Limit::RatioAtMost(1.2 * seeds as f64)),
            };
            cases.push(Case::new(row, move |meter| meter.pair(deciding(work, seeds), deciding(work, 1))));
        }
        let row = Row::new(format!("engine/{name}/allocations"), format!("{title}, 8 seeds, allocations"));
        let row = row.in_unit(Unit::Count).aim(Limit::AtMost(0.0));
        cases.push(Case::new(row, move |_| {
            let mut decide = decide(work, 8);
            (0..1_000).for_each(|_| decide());
            let count = |_| allocation_counter::measure(&mut decide).count_total as f64;
            Samples { ours: (0..1_000).map(count).collect(), yardstick: Vec::new() }
        }));
    }
    cases
}

fn deciding(work: Work, seeds: u64) -> Side<'static> {
    Side::repeat(decide(work, seeds))
}

pub(crate) fn order_of(seeds: u64) -> Side<'static> {
    deciding(Work::Order, seeds)
}

pub(crate) fn step_of(seeds: u64) -> Side<'static> {
    deciding(Work::Step, seeds)
}

fn decide(work: Work, seeds: u64) -> Box<dyn FnMut()> {
    let now = Monotonic::from_millis(1);
    let mut engine = engine(seeds);
    match work {
        Work::Order => {
            let pause = Input::Order(Order::Pause { seed: name(0) });
            Box::new(move || {
                black_box(engine.wants(&pause, now));
                let decision = engine.decide(pause.clone(), black_box(&Facts::default()), now);
                engine.commit(decision.delta);
            })
        }
        Work::OrderWithGate => {
            let schedule = AlphaSchedule::Linear { total_steps: 100 };
            let graft = Input::Order(Order::StartGrafting { seed: name(0), blend: BlendConfig::convex(), schedule });
            let origins = [(name(0), KernelOrigin::Verified)].into();
            let facts = Facts { slot: Some(contract()), origins, ..Facts::default() };
            assert_eq!(engine.decide(graft.clone(), &facts, now).answer, Ok(()));
            Box::new(move || {
                black_box(engine.wants(&graft, now));
                black_box(engine.decide(graft.clone(), black_box(&facts), now));
            })
        }
        Work::Step => {
            let facts = StepFacts {
                host_loss: 0.5,
                host_gradient_norm: None,
                verify_latency: Duration::ZERO,
                clean: true,
                learned: BTreeMap::new(),
            };
            Box::new(move || {
                let decision = engine.decide(Input::StepTaken(facts.clone()), &Facts::default(), now);
                engine.commit(decision.delta);
            })
        }
    }
}

/// An engine with so many seeds in TRAINING, each with a full window of losses.
fn engine(seeds: u64) -> Engine {
    let settings = EngineSettings::new(TrainingRunId::new("bench").expect("an id"));
    let mut engine = Engine::new(settings, GatePolicy::default());
    let vitals =
        Vitals { steps: 100, gradient_norm: Some(0.5), losses: [0.5; Vitals::WINDOW].into(), ..Vitals::default() };
    let seeds = (0..seeds).map(|index| (name(index), seed(index, vitals.clone())));
    let run = RunState { host_gradient_norm: Some(0.5), ..RunState::default() };
    engine.restore(State { seeds: seeds.collect(), run }, Monotonic::ORIGIN, Monotonic::ORIGIN);
    engine
}

fn seed(index: u64, vitals: Vitals) -> Seed {
    let graft = Graft {
        blueprint: BlueprintId::new("bottleneck").expect("an id"),
        contract: contract(),
        parameters: 4,
        lr_scale: 1.0,
        epoch: 0,
        paused: false,
        vitals,
        idle: None,
        leaving: None,
        ending: None,
    };
    Seed {
        id: name(index),
        slot: SlotId::new(format!("slot-{index}")).expect("an id"),
        violations: 0,
        stage: Stage::Training(graft),
        postponed: None,
        lives: 1,
        registered: 0,
    }
}

fn contract() -> Contract {
    Contract { rank: 2, channels: (64, 64), dtype: "f32".into() }
}

fn name(index: u64) -> SeedId {
    SeedId::new(format!("seed-{index}")).expect("an id")
}
