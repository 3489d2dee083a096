//! Random histories: whatever happens in whatever order, the invariants hold after every decision.

use std::time::Duration;

use kasmina_engine::{
    Input,
    commands::{BreakerName, Order},
    state::Validation,
};
use kasmina_leyline::{SeedId, v1::CircuitBreakerState};
use proptest::prelude::*;

use crate::world::{Luck, World, germinate, graft, seed};

#[derive(Clone, Debug)]
pub enum Happening {
    Order(Order),
    KernelArrives(SeedId),
    KernelFails(SeedId, bool),
    Step { faulty: Vec<SeedId>, violating: Vec<SeedId> },
    Time(u64),
    Luck(Luck),
    Validation(f64),
    Checkpoint,
    EpochEnds,
    GoBack,
    GiveUpRollback,
    Restart,
}

fn seeds() -> impl Strategy<Value = SeedId> {
    prop_oneof![Just(seed("a")), Just(seed("b")), Just(seed("c")), Just(seed("nobody"))]
}

pub fn orders() -> impl Strategy<Value = Order> {
    let named = seeds().prop_flat_map(|seed| {
        prop_oneof![
            8 => Just(germinate(&seed)),
            2 => Just(Order::StartTraining { seed: seed.clone() }),
            6 => Just(graft(&seed)),
            6 => Just(Order::Stabilize { seed: seed.clone() }),
            6 => Just(Order::Evaluate { seed: seed.clone() }),
            6 => Just(Order::Fossilize { seed: seed.clone() }),
            1 => Just(Order::Cull { seed: seed.clone() }),
            1 => Just(Order::Cancel { seed: seed.clone() }),
            2 => Just(Order::Pause { seed: seed.clone() }),
            2 => Just(Order::Resume { seed: seed.clone() }),
            2 => (1..3_u64).prop_map({ let seed = seed.clone(); move |steps| Order::FineTune { seed: seed.clone(), steps } }),
            1 => Just(Order::Optimizer { seed: seed.clone(), lr_scale: 0.5 }),
            1 => prop::option::of(0..3_u64).prop_map({ let seed = seed.clone(); move |epoch| Order::RollBackSeed { seed: seed.clone(), epoch } }),
            1 => Just(Order::Terminate { seed: seed.clone() }),
        ]
    });
    prop_oneof![
        16 => named,
        1 => (0..3_u64).prop_map(|epoch| Order::Rollback { epoch }),
        1 => any::<bool>().prop_map(|include_teacher| Order::Emergency { include_teacher }),
        1 => (prop::sample::select(BreakerName::ALL.to_vec()), 0..4_i32).prop_map(|(breaker, state)| {
            Order::CircuitBreaker { breaker, state: CircuitBreakerState::try_from(state).unwrap_or_default() }
        }),
    ]
}

fn luck() -> impl Strategy<Value = Luck> {
    let number = prop_oneof![4 => Just(1.0_f32), 1 => Just(f32::NAN), 1 => Just(1e9), 1 => 0.5..1.5_f32];
    (number.clone(), 0..4_u64, 0..2_u64, any::<bool>(), 0.5..2.0_f32, number).prop_map(
        |(rehearsal, registered, delivered, pause_proven, loss, seed_loss)| Luck {
            rehearsal,
            registered,
            packets: (1, delivered),
            pause_proven,
            loss,
            seed_loss,
        },
    )
}

fn happenings() -> impl Strategy<Value = Happening> {
    let some = || prop::collection::vec(seeds(), 0..2);
    prop_oneof![
        12 => orders().prop_map(Happening::Order),
        6 => seeds().prop_map(Happening::KernelArrives),
        1 => (seeds(), any::<bool>()).prop_map(|(seed, source)| Happening::KernelFails(seed, source)),
        8 => Just(Happening::Step { faulty: Vec::new(), violating: Vec::new() }),
        1 => (some(), some()).prop_map(|(faulty, violating)| Happening::Step { faulty, violating }),
        2 => (0..40_u64).prop_map(Happening::Time),
        1 => luck().prop_map(Happening::Luck),
        1 => Just(Happening::Luck(Luck::default())),
        1 => (0.0..1.0).prop_map(Happening::Validation),
        1 => Just(Happening::Checkpoint),
        1 => Just(Happening::EpochEnds),
        1 => Just(Happening::GoBack),
        1 => Just(Happening::GiveUpRollback),
        1 => Just(Happening::Restart),
    ]
}

impl World {
    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Order(order) => drop(self.order(order)),
            Happening::KernelArrives(seed) => drop(self.kernel_arrives(&seed)),
            Happening::KernelFails(seed, source) => drop(self.kernel_fails(&seed, source)),
            Happening::Step { faulty, violating } => {
                if self.engine.state().run.rollback.is_none() {
                    self.step(&faulty, &violating);
                }
            }
            Happening::Time(seconds) => drop(self.pass_time(Duration::from_secs(seconds))),
            Happening::Luck(luck) => self.luck = luck,
            Happening::Validation(live) => {
                let (name, host) = ("accuracy".to_owned(), 0.5);
                let validation = Validation { name, host, live, higher_is_better: true };
                drop(self.act(Input::Validation(vec![validation])));
            }
            Happening::Checkpoint => {
                if self.engine.state().run.rollback.is_none() {
                    self.checkpoint();
                }
            }
            Happening::EpochEnds => drop(self.act(Input::EpochEnded)),
            Happening::GoBack => {
                let Some(epoch) = self.engine.state().run.rollback else { return };
                let state = self.checkpoints[&epoch].clone();
                self.checkpoints.retain(|held, _| *held <= epoch);
                let grafted = state.seeds.values().filter(|seed| seed.stage.graft().is_some());
                self.attached = grafted.map(|seed| seed.id.clone()).collect();
                let awaited = state.seeds.values().filter_map(|seed| match &seed.stage {
                    kasmina_engine::Stage::Germinated(kasmina_engine::seed::Germinated::Awaiting(request)) => {
                        Some((seed.id.clone(), request.blueprint.clone()))
                    }
                    _ => None,
                });
                self.fetching = awaited.collect();
                drop(self.act(Input::RolledBack(epoch, Box::new(state))));
            }
            Happening::GiveUpRollback => drop(self.act(Input::RollbackAbandoned)),
            Happening::Restart => self.restart(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 4096, failure_persistence: Some(Box::new(
        proptest::test_runner::FileFailurePersistence::WithSource("regressions"))), ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_after_every_decision(history in prop::collection::vec(happenings(), 1..80)) {
        let mut world = World::new();
        history.into_iter().for_each(|happening| world.happen(happening));
    }
}

/// `KASMINA_MODEL_CASES` asks for more than every build runs.
fn cases() -> u32 {
    std::env::var("KASMINA_MODEL_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2_000)
}
