//! Random histories: whatever happens in whatever order, the invariants hold after every decision.

use std::{collections::BTreeSet, time::Duration};

use kasmina_engine::{
    Input,
    commands::{BreakerName, Order},
    input::{Idle, KernelOrigin, MemoryFacts, Remains},
    state::Validation,
};
use kasmina_leyline::{SeedId, SlotId, v1::CircuitBreakerState};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use crate::world::{Luck, Trouble, World, germinate, graft, seed};

#[derive(Clone, Debug)]
pub enum Happening {
    Order(Order),
    KernelArrives(SeedId),
    KernelFails(SeedId, bool),
    Step(Trouble),
    Onward(SeedId),
    Flush {
        failed: bool,
    },
    Time(u64),
    Luck(Luck),
    Validation(f64),
    Checkpoint,
    EpochEnds,
    GoBack,
    GiveUpRollback,
    Restart,
    Memory(MemoryFacts),
    /// The record goes, and the name is given to a new seed.
    Renewed(SeedId),
    /// The trainer has its model as it was so many steps ago.
    Restored(u64),
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
            8 => Just(Order::Fossilize { seed: seed.clone() }),
            1 => prop_oneof![Just(0_u32), 1..4_u32].prop_map({ let seed = seed.clone(); move |blend_out_steps| Order::Cull { seed: seed.clone(), blend_out_steps } }),
            1 => Just(Order::Cancel { seed: seed.clone() }),
            2 => Just(Order::Pause { seed: seed.clone() }),
            2 => Just(Order::Resume { seed: seed.clone() }),
            2 => (1..3_u64).prop_map({ let seed = seed.clone(); move |steps| Order::FineTune { seed: seed.clone(), steps } }),
            1 => Just(Order::Optimizer { seed: seed.clone(), lr_scale: 0.5 }),
            1 => prop::option::of(0..3_u64).prop_map({ let seed = seed.clone(); move |epoch| Order::RollBackSeed { seed: seed.clone(), epoch } }),
            2 => Just(Order::Terminate { seed: seed.clone() }),
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
    let number = || prop_oneof![4 => Just(1.0_f32), 1 => Just(f32::NAN), 1 => Just(1e9), 1 => 0.5..1.5_f32];
    let norm =
        || prop_oneof![3 => Just(Some(1.0_f32)), 1 => Just(None), 1 => Just(Some(0.0)), 1 => number().prop_map(Some)];
    let origin = prop_oneof![
        6 => Just(Some(KernelOrigin::Verified)),
        1 => Just(None),
        1 => Just(Some(KernelOrigin::Missing)),
        1 => Just(Some(KernelOrigin::Fallback)),
    ];
    let remains = prop_oneof![
        4 => Just(Some(Remains::default())),
        1 => Just(None),
        1 => Just(Some(Remains { kernels: 0, cached: 1, packets: 0 })),
    ];
    let measured = (number(), 0..4_u64, 0..2_u64, any::<bool>(), origin, remains);
    (measured, 0.5..2.0_f32, number(), norm(), norm(), 0..120_u64).prop_map(
        |(
            (rehearsal, registered, delivered, pause_proven, origin, remains),
            loss,
            seed_loss,
            norm,
            host_norm,
            latency,
        )| Luck {
            rehearsal,
            registered,
            packets: (1, delivered),
            pause_proven,
            origin,
            remains,
            loss,
            seed_loss,
            gradient_norm: norm,
            host_gradient_norm: host_norm,
            blend_latency: Duration::from_millis(latency),
        },
    )
}

fn trouble() -> impl Strategy<Value = Trouble> {
    // Few, or nobody would live to see the rest.
    let some = || prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec(seeds(), 1..2)];
    let reason = prop_oneof![Just(Idle::SlotNotReached), Just(Idle::SlotUnused)];
    let idle = prop::collection::vec((seeds(), reason), 0..2);
    let difference = prop_oneof![4 => -1.0..1.0_f32, 1 => Just(f32::NAN), 1 => Just(f32::NEG_INFINITY)];
    let differences = prop::collection::btree_map(seeds(), difference, 0..3);
    (some(), some(), idle, some(), differences, any::<bool>()).prop_map(
        |(faulty, violating, idle, culprits, differences, blind)| Trouble {
            faulty,
            violating,
            idle,
            culprits,
            differences,
            blind,
        },
    )
}

fn memory(conserving: bool) -> impl Strategy<Value = MemoryFacts> {
    let facts = (any::<bool>(), 0..100_u64);
    facts.prop_map(move |(purge, held)| MemoryFacts { conserving, purge, held, limit: 100 })
}

fn happenings() -> impl Strategy<Value = Happening> {
    prop_oneof![
        12 => orders().prop_map(Happening::Order),
        6 => seeds().prop_map(Happening::KernelArrives),
        1 => (seeds(), any::<bool>()).prop_map(|(seed, source)| Happening::KernelFails(seed, source)),
        8 => Just(Happening::Step(Trouble::default())),
        32 => seeds().prop_map(Happening::Onward),
        6 => trouble().prop_map(Happening::Step),
        1 => (0.1..20.0_f32).prop_map(|seed_loss| Happening::Luck(Luck { seed_loss, ..Luck::default() })),
        1 => any::<bool>().prop_map(|failed| Happening::Flush { failed }),
        2 => (0..40_u64).prop_map(Happening::Time),
        1 => luck().prop_map(Happening::Luck),
        1 => Just(Happening::Luck(Luck::default())),
        1 => (0.0..1.0).prop_map(Happening::Validation),
        1 => Just(Happening::Checkpoint),
        1 => Just(Happening::EpochEnds),
        1 => Just(Happening::GoBack),
        1 => Just(Happening::GiveUpRollback),
        1 => Just(Happening::Restart),
        2 => (0..4_u64).prop_map(Happening::Restored),
        1 => seeds().prop_map(Happening::Renewed),
        1 => prop::bool::weighted(0.25).prop_flat_map(memory).prop_map(Happening::Memory),
    ]
}

impl World {
    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Order(order) => drop(self.order(order)),
            Happening::KernelArrives(seed) => drop(self.kernel_arrives(&seed)),
            Happening::KernelFails(seed, source) => drop(self.kernel_fails(&seed, source)),
            Happening::Step(trouble) => {
                if self.engine.state().run.rollback.is_none() {
                    self.step(&trouble);
                }
            }
            Happening::Onward(seed) => {
                if self.engine.state().run.rollback.is_none() {
                    self.onward(&seed);
                }
            }
            Happening::Flush { failed } => drop(self.act(Input::Flushed { failed })),
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
            Happening::Renewed(seed) => {
                if self.act(Input::Forget(seed.clone())).answer.is_ok() {
                    let registered = self.act(Input::Register(seed, SlotId::new("mid").unwrap()));
                    assert_eq!(registered.answer, Ok(()));
                    self.seen.insert("renewed".to_owned());
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
            Happening::Memory(facts) => drop(self.act(Input::Memory(facts))),
            Happening::Restart => self.restart(),
            Happening::Restored(ago) => {
                let step = self.engine.state().run.step.saturating_sub(ago);
                drop(self.act(Input::ModelRestored(step)));
            }
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

/// The histories come to everything that is rare: a model that never hunts says nothing of hunts.
#[test]
fn random_histories_reach_every_kind_of_event() {
    let mut runner = TestRunner::deterministic();
    let strategy = prop::collection::vec(happenings(), 1..80);
    let mut seen = BTreeSet::new();
    let mut missing = RARE.to_vec();
    for _ in 0..20_000 {
        let mut world = World::new();
        let history = strategy.new_tree(&mut runner).unwrap().current();
        history.into_iter().for_each(|happening| world.happen(happening));
        seen.append(&mut world.seen);
        missing.retain(|rare| !seen.contains(*rare));
        if missing.is_empty() {
            return;
        }
    }
    assert!(missing.is_empty(), "{missing:?} of {seen:#?}");
}

const RARE: [&str; 37] = [
    "renewed",
    "ConservationBegan",
    "ConservationEnded",
    "postponed memory_pressure",
    "EvidenceReset",
    "join withdrawn",
    "fossil terminated",
    "Leaving",
    "culled blended_out",
    "Idle",
    "Probed",
    "Interacted",
    "HuntBegan",
    "hunt ended with a cull",
    "hunt ended without",
    "culled loss_rising",
    "culled loss_not_finite",
    "culled isolation_violations",
    "culled contribution_negative",
    "culled gradient_ratio",
    "culled fallback_used",
    "culled pause_unproven",
    "postponed origin_not_measured",
    "postponed remains_not_measured",
    "postponed pause_not_measured",
    "postponed telemetry_incomplete",
    "postponed breaker_open",
    "postponed too_few_steps",
    "postponed too_few_probes",
    "postponed not_significant",
    "postponed gradient_too_small",
    "postponed gradient_not_measured",
    "postponed host_gradient_not_measured",
    "postponed slot_unused",
    "blending CircuitStateOpen",
    "telemetry CircuitStateOpen",
    "refused cache_not_empty",
];

/// `KASMINA_MODEL_CASES` asks for more than every build runs.
fn cases() -> u32 {
    std::env::var("KASMINA_MODEL_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2_000)
}
