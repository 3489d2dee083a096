//! Orders of the process that owns the manager, given directly or by a policy: they do what signed commands do.

use std::ops::ControlFlow;

use crate::common::{B, Mlp, World, blueprint, bytes, determined, lenient, refused, seed};
use kasmina::{
    Advance, AutomaticMode, SeedManagerBuilder, StepReport,
    blending::{AlphaSchedule, BlendConfig},
    commands::Order,
    doubles::{Act, Act::*, Trainee},
    engine::{Observation, Policy, Seed, Stage, StepPolicy},
    gates::doubles::AllowAll,
    leyline::v1::{SeedLifecycleStage, SeedLifecycleStage::*},
    lifecycle::Transition,
    rollback::{Entry, Journal, doubles::MemoryStore},
    safety::Clock,
};

fn trainee() -> Trainee<Mlp<B>> {
    Trainee::new(determined(Mlp::init()))
}

/// A world that keeps a journal, its gates open.
fn journaled() -> (World, MemoryStore) {
    journaled_with(|builder| builder.gatekeepers(AllowAll))
}

fn journaled_with(wire: impl FnOnce(SeedManagerBuilder) -> SeedManagerBuilder) -> (World, MemoryStore) {
    let store = MemoryStore::new();
    let world = World::build(lenient(), |builder| {
        wire(builder).journal(store.clone(), store.clone()).build(&Default::default()).unwrap()
    });
    (world, store)
}

fn entries(store: &MemoryStore) -> Vec<Entry> {
    let mut entries = Vec::new();
    let visited = store.clone().visit(0..u64::MAX, &mut |record| {
        entries.push(record.entry);
        ControlFlow::Continue(())
    });
    visited.unwrap();
    entries
}

fn ordered(store: &MemoryStore) -> usize {
    entries(store).iter().filter(|entry| matches!(entry, Entry::Ordered { .. })).count()
}

fn moves(transitions: &[Transition]) -> Vec<(SeedLifecycleStage, SeedLifecycleStage)> {
    transitions.iter().map(|moved| (moved.from, moved.to)).collect()
}

/// A life of every kind of order, with steps between them.
const LIFE: [(u64, Act); 9] = [
    (1, Germinate),
    (4, Scale(0.5)),
    (6, Pause),
    (8, Resume),
    (14, Graft(5)),
    (20, Stabilize),
    (25, Evaluate),
    (30, FineTune(2)),
    (40, Fossilize),
];

/// The seeds, whoever ordered what is to become of them.
fn seeds(world: &World) -> Vec<Seed> {
    let mut seeds: Vec<_> = world.manager.state().seeds.values().cloned().collect();
    for seed in &mut seeds {
        if let Stage::Probationary(graft, ..) = &mut seed.stage {
            graft.ending = None;
        }
    }
    seeds
}

#[test]
fn order_makes_the_moves_of_the_same_command() {
    let (mut commanded, mut ordered) = (trainee(), trainee());
    let ((mut by_wire, _), (mut by_order, _)) = (journaled(), journaled());
    by_wire.attach(&commanded.model);
    by_order.attach(&ordered.model);
    for (before, act) in LIFE {
        by_wire.live::<_, (u64, Act)>(&mut commanded, before - 1, &[]);
        by_order.live::<_, (u64, Act)>(&mut ordered, before - 1, &[]);
        let receipt = by_wire.act("seed-1", act.clone()).unwrap();
        let transitions = by_order.order("seed-1", act.clone()).unwrap();
        assert_eq!(transitions, receipt.transitions, "{act:?}");
        assert_eq!(seeds(&by_order), seeds(&by_wire), "{act:?}");
    }
    by_wire.manager.settle(&mut commanded.model).unwrap();
    by_order.manager.settle(&mut ordered.model).unwrap();
    assert_eq!(by_order.stage("seed-1"), SeedStageFossilized);
    assert!(bytes(&commanded.model) == bytes(&ordered.model));
}

#[test]
fn order_is_in_the_journal_before_its_moves() {
    let (mut world, store) = journaled();
    world.attach(&trainee().model);
    let before = entries(&store).len();
    world.order("seed-1", Germinate).unwrap();
    let new = entries(&store).split_off(before);
    let kinds: Vec<_> = new
        .iter()
        .filter_map(|entry| match entry {
            Entry::Ordered { description } => Some(format!("ordered {}", !description.is_empty())),
            Entry::Moved { to, .. } => Some(to.as_str_name().to_owned()),
            Entry::NonceSeen { .. } | Entry::Accepted { .. } | Entry::Refused { .. } => panic!("no command was sent"),
            Entry::Delta { .. }
            | Entry::Snapshot { .. }
            | Entry::Epoch { .. }
            | Entry::EpochDropped { .. }
            | Entry::RolledBack { .. }
            | Entry::Telemetry { .. }
            | Entry::WatermarkReset { .. } => None,
        })
        .collect();
    assert_eq!(kinds, ["ordered true", "SEED_STAGE_GERMINATED", "SEED_STAGE_TRAINING"]);
}

#[test]
fn order_outlives_the_process() {
    let (mut world, store) = journaled();
    let trainee = trainee();
    world.attach(&trainee.model);
    world.order("seed-1", Germinate).unwrap();
    world.order("seed-1", Pause).unwrap();
    world.restart(lenient(), &store);
    assert_eq!(world.stage("seed-1"), SeedStageTraining);
    assert!(world.manager.state().seeds[&seed("seed-1")].stage.graft().unwrap().paused);
}

#[test]
fn order_out_of_turn_is_refused_and_leaves_no_record() {
    let (mut world, store) = journaled();
    world.attach(&trainee().model);
    let (before, state) = (entries(&store).len(), world.manager.state().clone());
    assert_eq!(world.order("seed-1", Fossilize).unwrap_err().reason(), "illegal_transition");
    assert_eq!(world.order("nobody", Cull).unwrap_err().reason(), "unknown_seed");
    assert_eq!((entries(&store).len(), world.manager.state()), (before, &state));
}

#[test]
fn order_that_culls_is_refused_and_journaled() {
    let (mut world, store) = journaled();
    world.attach(&trainee().model);
    assert_eq!(world.order("seed-2", GerminateAs("mlp")).unwrap_err().reason(), "slot_contract");
    assert_eq!((world.stage("seed-2"), ordered(&store)), (SeedStageEmbargoed, 1));
}

#[test]
fn order_that_the_disk_refuses_has_not_happened() {
    let (mut world, store) = journaled();
    world.attach(&trainee().model);
    store.fail_next_append();
    assert_eq!(world.order("seed-1", Germinate).unwrap_err().reason(), "not_durable");
    assert_eq!((world.stage("seed-1"), ordered(&store)), (SeedStageDormant, 0));
    world.wait(60);
    world.order("seed-1", Germinate).unwrap();
}

#[test]
fn terminated_seed_stays_terminated() {
    let (mut world, _) = journaled();
    world.attach(&trainee().model);
    let moved = world.manager.order(Order::Terminate { seed: seed("seed-1") });
    let moved = moves(&moved.unwrap());
    assert_eq!(moved.last().map(|(_, to)| *to), Some(SeedStageTerminated), "{moved:?}");
    assert!(world.order("seed-1", Germinate).is_err());
    assert_eq!(world.stage("seed-1"), SeedStageTerminated);
}

/// Germinates every seed that rests, and takes it through its life as soon as it can.
struct Hasty {
    kernel: &'static str,
}

impl Policy for Hasty {
    fn orders(&mut self, seen: &Observation<'_>) -> Vec<Order> {
        assert!(seen.host_loss.is_finite());
        let subject = seed("seed-1");
        let schedule = AlphaSchedule::Linear { total_steps: 5 };
        let next = match &seen.state.seeds[&subject].stage {
            Stage::Dormant => Germinate.order(subject, blueprint(self.kernel)),
            Stage::Training(graft) if graft.vitals.steps >= 10 => {
                Order::StartGrafting { seed: subject, blend: BlendConfig::residual(), schedule }
            }
            Stage::Blending(..) => Order::Stabilize { seed: subject },
            Stage::Shadowing(..) => Order::Evaluate { seed: subject },
            Stage::Probationary(..) => Order::Fossilize { seed: subject },
            Stage::Germinated(_)
            | Stage::Training(_)
            | Stage::Fossilized(..)
            | Stage::Culled
            | Stage::Embargoed(_)
            | Stage::Resetting
            | Stage::Terminated => return Vec::new(),
        };
        vec![next]
    }
}

#[test]
fn own_policy_takes_a_seed_to_fossilized() {
    let (mut world, store) = journaled_with(|builder| builder.policy(Hasty { kernel: "mlp" }).gatekeepers(AllowAll));
    let mut trainee = trainee();
    world.attach(&trainee.model);
    let mut reports = Vec::new();
    // An order of a policy does not wait for its kernel, which comes when the thread that loads it has had its turn.
    while world.stage("seed-1") != SeedStageFossilized && reports.len() < 100_000 {
        let next = trainee.step + 1;
        reports.extend(world.live::<_, (u64, Act)>(&mut trainee, next, &[]));
    }
    let reported: Vec<_> = reports.iter().flat_map(|report| moves(&report.transitions)).map(|(_, to)| to).collect();
    // Registration moved each of the three seeds; the first step returns that.
    assert_eq!(
        reported.iter().filter(|to| **to != SeedStageDormant).copied().collect::<Vec<_>>(),
        [
            SeedStageGerminated,
            SeedStageTraining,
            SeedStageBlending,
            SeedStageShadowing,
            SeedStageProbationary,
            SeedStageFossilized,
        ]
    );
    // Refused orders (a blend that is not complete, nothing measured yet) are in no journal.
    assert_eq!(ordered(&store), 5);
}

#[test]
fn refused_orders_of_a_policy_disturb_nothing() {
    let mut with = World::build(lenient(), |builder| {
        let builder = builder.policy(Hasty { kernel: "no-such-kernel" });
        builder.volatile().build(&Default::default()).unwrap()
    });
    let mut without = World::new(lenient());
    let (mut disturbed, mut alone) = (trainee(), trainee());
    with.attach(&disturbed.model);
    without.attach(&alone.model);
    with.live::<_, (u64, Act)>(&mut disturbed, 5, &[]);
    without.live::<_, (u64, Act)>(&mut alone, 5, &[]);
    assert!(bytes(&disturbed.model) == bytes(&alone.model));
    assert_eq!(with.stage("seed-1"), SeedStageDormant);
}

#[test]
fn automatic_advance_equals_a_step_policy() {
    let mut automatic = lenient();
    automatic.lifecycle.advance =
        Advance::Automatic { training_steps: 10, blending_steps: 15, shadowing_steps: 8, probationary_steps: 8 };
    automatic.blending.total_steps = 8;
    automatic.blending.mode = AutomaticMode::Residual;
    let policy = StepPolicy {
        training_steps: 10,
        blending_steps: 15,
        shadowing_steps: 8,
        probationary_steps: 8,
        blend: BlendConfig::residual(),
        schedule: AlphaSchedule::Sigmoid { total_steps: 8, temperature: AlphaSchedule::DEFAULT_TEMPERATURE },
    };
    let by_settings = World::new(automatic);
    let by_hand =
        World::build(lenient(), |builder| builder.policy(policy).volatile().build(&Default::default()).unwrap());
    let life = |mut world: World| {
        let mut trainee = trainee();
        world.attach(&trainee.model);
        let reports = world.live(&mut trainee, 60, &[(1, Germinate)]);
        assert_eq!(world.stage("seed-1"), SeedStageFossilized);
        let said = |report: &StepReport| (report.loss.to_bits(), report.seeds.clone(), report.transitions.clone());
        (reports.iter().map(said).collect::<Vec<_>>(), bytes(&trainee.model))
    };
    assert!(life(by_settings) == life(by_hand));
}

#[test]
fn second_germinate_of_a_batch_finds_the_slot_taken() {
    let (mut world, store) = journaled_with(|builder| builder);
    world.attach(&trainee().model);
    let wires = [world.wire("seed-1", Germinate), world.wire("seed-3", Germinate)];
    let appends = store.appends();
    let mut answers = world.manager.submit_all(wires.iter().map(Vec::as_slice)).into_iter();
    let first = answers.next().unwrap().unwrap();
    let to: Vec<_> = first.transitions.iter().map(|moved| (moved.seed_id.as_str(), moved.to)).collect();
    assert_eq!(to[to.len() - 2..], [("seed-1", SeedStageGerminated), ("seed-1", SeedStageTraining)]);
    assert_eq!(store.appends(), appends + 1, "one sync for both");
    assert_eq!((world.stage("seed-1"), world.stage("seed-3")), (SeedStageTraining, SeedStageDormant));
    assert_eq!(refused(answers.next().unwrap()), "slot_taken");
}

#[test]
fn batch_that_the_disk_refuses_has_not_happened() {
    let (mut world, store) = journaled();
    world.attach(&trainee().model);
    let wires = [world.wire("seed-1", Germinate), world.wire("seed-3", Germinate)];
    store.fail_next_append();
    for answer in world.manager.submit_all(wires.iter().map(Vec::as_slice)) {
        assert_eq!(refused(answer), "not_durable");
    }
    assert_eq!((world.stage("seed-1"), world.stage("seed-3")), (SeedStageDormant, SeedStageDormant));
    assert_eq!(world.manager.registry().parameters_of(&seed("seed-1")).count(), 0);
}

#[test]
fn refused_rollback_of_a_seed_leaves_the_kernel_that_the_same_batch_grafts() {
    let (mut world, store) = journaled();
    let trainee = trainee();
    world.attach(&trainee.model);
    world.manager.checkpoint(&trainee.model, &trainee.optimizer).unwrap();
    let wires = [
        world.wire("seed-1", Germinate),
        world.sender.roll_back_seed(&seed("seed-1"), None, world.clock.unix()).unwrap(),
    ];
    let mut answers = world.manager.submit_all(wires.iter().map(Vec::as_slice)).into_iter();
    answers.next().unwrap().unwrap();
    assert_eq!(refused(answers.next().unwrap()), "wrong_stage");
    assert_eq!(world.stage("seed-1"), SeedStageTraining);
    assert_eq!(world.manager.registry().parameters_of(&seed("seed-1")).count(), 4, "its kernel is in the slot");
    world.restart(lenient(), &store);
    assert_eq!(world.stage("seed-1"), SeedStageTraining);
}
