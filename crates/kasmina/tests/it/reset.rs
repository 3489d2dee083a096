//! An administrator's reset: nothing is left of seeds under trial and of a teacher, and no older command is obeyed.

use std::{
    ops::ControlFlow,
    sync::{Arc, Mutex},
    time::Duration,
};

use burn::module::ParamId;

use crate::common::{B, Mlp, World, bytes, determined, lenient, model_of, named, seed};
use kasmina::{
    CommandError, Refusal,
    doubles::{Act::*, SECRET, Trainee},
    gates::doubles::AllowAll,
    leyline::v1::SeedLifecycleStage::*,
    rollback::{Entry, Journal, doubles::MemoryStore},
    security::{CommandVerifier, KeyRing, Secret, Verifier},
};

fn reason<T: std::fmt::Debug>(outcome: Result<T, CommandError>) -> &'static str {
    outcome.unwrap_err().reason()
}

/// A world with a store, open gates, a TRAINING and a BLENDING seed, one that was never germinated, and a teacher's parameter.
fn grown(store: &MemoryStore) -> (World, Trainee<Mlp<B>>, Arc<Mutex<CommandVerifier>>) {
    let verifier = Arc::new(Mutex::new(CommandVerifier::new(KeyRing::of("k1", Secret::new(SECRET).unwrap()))));
    let mut world = World::build(lenient(), |builder| {
        let builder = builder.gatekeepers(AllowAll).verifier(Arc::clone(&verifier));
        builder.journal(store.clone(), store.clone()).build(&Default::default()).unwrap()
    });
    let mut trainee = Trainee::new(determined(Mlp::init()));
    world.attach(&trainee.model);
    world.live(&mut trainee, 10, &[(1, "seed-1", Germinate), (2, "seed-2", Germinate), (6, "seed-1", Graft(20))]);
    world.manager.register_teacher([ParamId::from(7)]).unwrap();
    assert_eq!((world.stage("seed-1"), world.stage("seed-2")), (SeedStageBlending, SeedStageTraining));
    (world, trainee, verifier)
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

#[test]
fn reset_leaves_no_parameter_of_a_seed_or_the_teacher_and_the_host_as_it_is() {
    let (mut world, mut trainee, _) = grown(&MemoryStore::new());
    let promised = world.manager.reserve_teacher(1_000).unwrap();
    let host = bytes(&trainee.model);
    world.events();
    let reset = world.manager.reset().unwrap();
    assert_eq!((reset.teacher, &reset.culled), (1, &vec![seed("seed-1"), seed("seed-2")]));
    assert_eq!(reset.transitions.len(), 4, "each is culled and rests: {:?}", reset.transitions);
    for name in ["seed-1", "seed-2", "seed-3"] {
        assert_eq!(world.manager.registry().parameters_of(&seed(name)).count(), 0, "{name}");
    }
    assert_eq!(world.manager.registry().owner(ParamId::from(7)), None);
    assert!(promised.is_withdrawn());
    assert_eq!((world.stage("seed-1"), world.stage("seed-3")), (SeedStageEmbargoed, SeedStageDormant));
    let events = world.events();
    assert_eq!(named(&events, "manager_reset")[0].attributes["culled"], "2");
    assert_eq!(named(&events, "teacher_dropped").len(), 1);
    assert!(bytes(&trainee.model) == host);

    // It goes on: with the host alone, and later with seeds.
    world.live::<_, (u64, kasmina::doubles::Act)>(&mut trainee, 12, &[]);
    world.wait(60);
    world.act("seed-1", Germinate).unwrap();
    world.live::<_, (u64, kasmina::doubles::Act)>(&mut trainee, 14, &[]);
    assert_eq!(world.stage("seed-1"), SeedStageTraining);
}

#[test]
fn command_that_was_issued_before_a_reset_is_not_obeyed_after_it() {
    let store = MemoryStore::new();
    let (mut world, _, verifier) = grown(&store);
    let (obeyed, unsent) = (world.wire("seed-1", Pause), world.wire("seed-2", Pause));
    world.manager.submit(&obeyed).unwrap();
    assert!(verifier.lock().unwrap().gauges().size > 0);
    let reset = world.manager.reset().unwrap();
    assert_eq!(reset.watermark, kasmina::safety::Clock::unix(&world.clock));
    let gauges = verifier.lock().unwrap().gauges();
    assert_eq!((gauges.size, gauges.watermark), (0, Some(reset.watermark)));
    assert_eq!(reason(world.manager.submit(&obeyed)), "stale_command");
    assert_eq!(reason(world.manager.submit(&unsent)), "stale_command");
    world.clock.advance(Duration::from_millis(1));
    world.act("seed-3", Germinate).unwrap();

    // The same in a process that comes back from the journal.
    world.restart(lenient(), &store);
    for wire in [&obeyed, &unsent] {
        assert!(matches!(world.manager.submit(wire), Err(CommandError::Rejected(_))));
    }
    assert_eq!((world.stage("seed-1"), world.stage("seed-2")), (SeedStageEmbargoed, SeedStageEmbargoed));
}

#[test]
fn reset_right_before_a_kill_is_in_the_journal() {
    let store = MemoryStore::new();
    let (mut world, _, _) = grown(&store);
    let unsent = world.wire("seed-2", Pause);
    let before = entries(&store).len();
    let at = world.manager.reset().unwrap().watermark;
    let resets = entries(&store).split_off(before);
    assert!(resets.contains(&Entry::WatermarkReset { at }));
    world.restart(lenient(), &store);
    assert_eq!(world.stage("seed-1"), SeedStageEmbargoed);
    assert_eq!(reason(world.manager.submit(&unsent)), "stale_command");
}

#[test]
fn reset_of_a_manager_without_seeds_and_without_a_store_raises_the_watermark() {
    let mut world = World::new(lenient());
    world.attach(&model_of(Mlp::<B>::init()));
    let unsent = world.wire("seed-1", Germinate);
    let reset = world.manager.reset().unwrap();
    assert_eq!((reset.teacher, reset.culled.len()), (0, 0));
    assert_eq!(reason(world.manager.submit(&unsent)), "stale_command");
}

#[test]
fn seed_whose_fossilize_was_answered_joins_the_model_after_a_reset() {
    let (mut world, mut trainee, _) = grown(&MemoryStore::new());
    world.live(&mut trainee, 45, &[(27, Stabilize), (32, Evaluate)]);
    world.act("seed-1", Fossilize).unwrap();
    assert_eq!(world.stage("seed-1"), SeedStageProbationary);
    let reset = world.manager.reset().unwrap();
    assert_eq!(reset.culled, [seed("seed-2")]);
    assert_eq!(world.manager.registry().parameters_of(&seed("seed-1")).count(), 0);
    world.manager.settle(&mut trainee.model).unwrap();
    assert_eq!((world.stage("seed-1"), trainee.model.fossils().len()), (SeedStageFossilized, 1));
    world.live::<_, (u64, kasmina::doubles::Act)>(&mut trainee, 47, &[]);
}

#[test]
fn reset_that_cannot_be_made_durable_culls_nobody_and_accepts_no_older_command() {
    let store = MemoryStore::new();
    let (mut world, _, verifier) = grown(&store);
    let unsent = world.wire("seed-2", Pause);
    store.fail_next_append();
    let refused = world.manager.reset().unwrap_err();
    assert!(matches!(refused, Refusal::NotDurable(_)), "{refused}");
    assert_eq!((world.stage("seed-1"), world.stage("seed-2")), (SeedStageBlending, SeedStageTraining));
    assert!(world.manager.registry().parameters_of(&seed("seed-1")).count() > 0);
    assert!(world.manager.registry().owner(ParamId::from(7)).is_some());
    assert_eq!(verifier.lock().unwrap().gauges().size, 0);
    assert_eq!(reason(world.manager.submit(&unsent)), "stale_command");
}
