//! A kernel becomes part of the model in two steps, and leaves it in two.

use burn::{module::AutodiffModule, tensor::Tensor};
use kasmina::{
    CheckpointError, Grafts, Grown, ModelError, StepError,
    doubles::{Act::*, Trainee},
    engine::{State, commands::Order},
    gates::doubles::AllowAll,
    leyline::v1::SeedLifecycleStage::*,
    rollback::doubles::MemoryStore,
};

use crate::common::{B, Mlp, RATE, World, bytes, determined, lenient, loss, model_of, named, optimizer, seed};

type Model = Grown<B, Mlp<B>>;

/// The step before which seed-1 is ordered to be fossilised.
const FOSSILIZE: u64 = 40;

/// A run whose seed-1 has been answered that it is fossilised.
fn answered(store: &MemoryStore) -> (World, Trainee<Mlp<B>>) {
    let mut world = World::recover(lenient(), store.clone(), store.clone()).0;
    let mut trainee = Trainee::new(determined(Mlp::init()));
    world.attach(&trainee.model);
    let script = [(1, Germinate), (14, Graft(5)), (20, Stabilize), (25, Evaluate)];
    world.live(&mut trainee, FOSSILIZE - 1, &script);
    world.act("seed-1", Fossilize).unwrap();
    (world, trainee)
}

/// The loss of the committed network on a batch that it is not trained on.
fn committed(model: &Model) -> f32 {
    model.valid().forward(|host, grafts| loss(host, 777, grafts)).unwrap().into_scalar()
}

fn joins(state: &State) -> bool {
    state.seeds[&seed("seed-1")].stage.joining().is_some()
}

#[test]
fn model_that_is_about_to_grow_is_not_saved() {
    let (mut world, mut trainee) = answered(&MemoryStore::new());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("network.safetensors");
    for model in [&trainee.model, &trainee.model.clone()] {
        assert_eq!(model.save(&path).unwrap_err().reason(), "join_pending");
    }
    assert_eq!(trainee.model.valid().save(&path).unwrap_err().reason(), "join_pending");
    assert!(!path.exists());
    assert_eq!(world.manager.settle(&mut trainee.model).unwrap(), [seed("seed-1")]);
    trainee.model.save(&path).unwrap();
    assert_eq!(world.stage("seed-1"), SeedStageFossilized);
}

#[test]
fn join_is_given_up_with_a_cull_and_the_model_is_saved() {
    let (mut world, trainee) = answered(&MemoryStore::new());
    world.act("seed-1", Cull).unwrap();
    assert!(trainee.model.to_bytes().is_ok() && trainee.model.fossils().is_empty());
}

#[test]
fn seed_is_probationary_and_live_until_it_joins() {
    let (mut world, mut trainee) = answered(&MemoryStore::new());
    assert_eq!((world.stage("seed-1"), trainee.model.fossils().len()), (SeedStageProbationary, 0));
    let live =
        |world: &World, model: &Model| loss(&model.valid(), 777, &mut world.manager.live_view(model)).into_scalar();
    let (before, alone) = (live(&world, &trainee.model), committed(&trainee.model));
    assert_ne!(before, alone);
    world.manager.settle(&mut trainee.model).unwrap();
    assert_eq!(world.stage("seed-1"), SeedStageFossilized);
    // Not one bit of what inference sees changes by the join.
    assert_eq!(live(&world, &trainee.model).to_bits(), before.to_bits());
    assert_eq!(committed(&trainee.model).to_bits(), before.to_bits());
}

#[test]
fn report_names_the_seeds_that_have_joined() {
    let (mut world, mut trainee) = answered(&MemoryStore::new());
    let report = world.step(&mut trainee.model, &mut trainee.optimizer, FOSSILIZE);
    assert_eq!(report.joined, [seed("seed-1")]);
    assert!(report.transitions.iter().any(|moved| moved.to == SeedStageFossilized));
    let report = world.step(&mut trainee.model, &mut trainee.optimizer, FOSSILIZE + 1);
    assert!(report.joined.is_empty());
}

#[test]
fn process_killed_between_answer_and_join_joins_later() {
    let store = MemoryStore::new();
    let (mut world, mut trainee) = answered(&store);
    world.restart(lenient(), &store);
    assert_eq!(world.stage("seed-1"), SeedStageProbationary);
    // The trainer has kept its model.
    world.go_on(&trainee.model);
    assert!(joins(world.manager.state()));
    assert_eq!(trainee.model.to_bytes().unwrap_err().reason(), "join_pending");
    let report = world.step(&mut trainee.model, &mut trainee.optimizer, FOSSILIZE);
    assert_eq!((report.joined, world.stage("seed-1")), (vec![seed("seed-1")], SeedStageFossilized));
}

#[test]
fn model_from_before_the_verdict_takes_the_answer_back() {
    let store = MemoryStore::new();
    let (mut world, trainee) = answered(&store);
    world.restart(lenient(), &store);
    world.events();
    let (mut model, mut optimizer) = (model_of(Mlp::<B>::init()), optimizer());
    // The only whole checkpoint is that of the beginning.
    let restored = world.manager.restore_model(&mut model, &mut optimizer).unwrap();
    assert_eq!((restored.step, restored.optimizer), (0, false));
    assert!(bytes(&model) != bytes(&trainee.model));
    assert_eq!((world.stage("seed-1"), joins(world.manager.state())), (SeedStageProbationary, false));
    let events = world.events();
    let reset = &named(&events, "evidence_reset")[0].attributes;
    let said = ["seed_step", "model_step", "join_withdrawn"].map(|name| reset[name].as_str());
    assert_eq!(said, [(FOSSILIZE - 1).to_string().as_str(), "0", "true"]);
    world.manager.attach_host(&model, |host, grafts| loss(host, 0, grafts)).unwrap();
    assert_eq!(crate::common::refused(world.act("seed-1", Fossilize)), "too_few_probes");
}

#[test]
fn join_that_cannot_be_made_durable_has_not_happened() {
    let store = MemoryStore::new();
    let (mut world, mut trainee) = answered(&store);
    let before = bytes(&trainee.model);
    for part in 0..2 {
        if part == 0 {
            store.fail_next_append()
        } else {
            store.fail_next_put()
        }
        let settled = world.manager.settle(&mut trainee.model);
        assert!(matches!(settled, Err(CheckpointError::Store(_))), "{settled:?}");
        assert_eq!((world.stage("seed-1"), trainee.model.fossils().len()), (SeedStageProbationary, 0));
        assert!(bytes(&trainee.model) == before && world.manager.kernel(&seed("seed-1")).is_some());
        // A step goes on without it.
        world.wait(60);
    }
    store.fail_next_append();
    let report = world.step(&mut trainee.model, &mut trainee.optimizer, FOSSILIZE);
    assert_eq!((report.joined.len(), world.stage("seed-1")), (0, SeedStageProbationary));
    world.wait(60);
    world.step(&mut trainee.model, &mut trainee.optimizer, FOSSILIZE + 1);
    assert_eq!((world.stage("seed-1"), trainee.model.fossils().len()), (SeedStageFossilized, 1));
}

#[test]
fn process_killed_after_the_join_gets_the_fossil_back() {
    let store = MemoryStore::new();
    let (mut world, mut trainee) = answered(&store);
    let joined = world.step(&mut trainee.model, &mut trainee.optimizer, FOSSILIZE).joined.len();
    assert_eq!(joined, 1);
    // The checkpoint was written with the join, before the batch was trained on.
    let mut twin = answered(&MemoryStore::new());
    twin.0.manager.settle(&mut twin.1.model).unwrap();
    let expected = committed(&twin.1.model);
    world.restart(lenient(), &store);
    let (mut model, mut optimizer) = (model_of(Mlp::<B>::init()), optimizer());
    let restored = world.manager.restore_model(&mut model, &mut optimizer).unwrap();
    assert_eq!((restored.step, restored.optimizer), (FOSSILIZE - 1, true));
    assert_eq!(model.fossils().len(), 1);
    assert_eq!(committed(&model).to_bits(), expected.to_bits());
    let mut trainee = Trainee { model, optimizer, step: FOSSILIZE - 1 };
    world.live::<_, (u64, kasmina::doubles::Act)>(&mut trainee, FOSSILIZE + 5, &[]);
}

#[test]
fn model_with_other_fossils_is_refused() {
    let store = MemoryStore::new();
    let (mut world, mut trainee) = answered(&store);
    world.manager.settle(&mut trainee.model).unwrap();
    let differ = ModelError::Fossils { missing: vec![seed("seed-1")], unknown: Vec::new() };
    let mut bare: Model = Grown::new(trainee.model.host.clone());
    let step = |world: &mut World, model: &mut Model| {
        let forward = |host: &Mlp<B>, grafts: &mut Grafts<B>| loss(host, FOSSILIZE, grafts);
        world.manager.train_batch(model, &mut optimizer(), RATE, forward).map(drop)
    };
    assert_eq!(step(&mut world, &mut bare), Err(StepError::Model(differ.clone())));
    let attached = world.manager.attach_host(&bare, |host, grafts| loss(host, 0, grafts));
    assert_eq!(attached.unwrap_err().reason(), "fossils_differ");
    assert_eq!(world.manager.settle(&mut bare), Err(CheckpointError::Model(differ.clone())));
    // An old model under new fossils, after a restart.
    world.restart(lenient(), &store);
    assert_eq!(step(&mut world, &mut trainee.model), Err(StepError::Model(ModelError::NotRestored)));
    assert_eq!(world.manager.model_restored(&bare, 12), Err(CheckpointError::Model(differ)));
    assert_eq!(step(&mut world, &mut bare), Err(StepError::Model(ModelError::NotRestored)));
    world.go_on(&trainee.model);
    assert_eq!(step(&mut world, &mut trainee.model), Ok(()));
}

#[test]
fn fossil_that_cannot_run_refuses_until_it_is_terminated() {
    let store = MemoryStore::new();
    let (mut world, mut trainee) = answered(&store);
    world.manager.settle(&mut trainee.model).unwrap();
    // Its slot has another width in these batches than the one that it has grown for.
    let wide = |host: &Mlp<B>, grafts: &mut Grafts<B>| {
        let x = crate::common::batch::<B>(3);
        let h = host.stem.forward(x.clone());
        let h = grafts.at_with_tap("mid", x.clone().repeat(&[1, 2]), Tensor::cat(vec![h.clone(), h], 1));
        h.square().mean()
    };
    let before = bytes(&trainee.model);
    for _ in 0..2 {
        let refused = world.manager.train_batch(&mut trainee.model, &mut trainee.optimizer, RATE, wide).unwrap_err();
        assert!(matches!(&refused, StepError::Fossil(fault) if fault.seed == seed("seed-1")), "{refused}");
        assert!(bytes(&trainee.model) == before);
    }
    // A batch that it can run on is trained all the same.
    world.step(&mut trainee.model, &mut trainee.optimizer, FOSSILIZE);
    world.manager.order(Order::Terminate { seed: seed("seed-1") }).unwrap();
    assert_eq!((world.stage("seed-1"), trainee.model.fossils().len()), (SeedStageFossilized, 1));
    // Killed in between, it is still to be taken out.
    world.restart(lenient(), &store);
    world.go_on(&trainee.model);
    world.manager.train_batch(&mut trainee.model, &mut trainee.optimizer, RATE, wide).unwrap();
    assert_eq!((world.stage("seed-1"), trainee.model.fossils().len()), (SeedStageTerminated, 0));
    world.restart(lenient(), &store);
    let (mut model, mut optimizer) = (model_of(Mlp::<B>::init()), optimizer());
    world.manager.restore_model(&mut model, &mut optimizer).unwrap();
    assert!(model.fossils().is_empty(), "the checkpoint is one without it");
}

#[test]
fn two_seeds_that_were_answered_together_join_together() {
    let mut world =
        World::build(lenient(), |builder| builder.gatekeepers(AllowAll).volatile().build(&Default::default()).unwrap());
    let mut trainee = Trainee::new(determined(Mlp::init()));
    world.attach(&trainee.model);
    let both = |step, act: kasmina::doubles::Act| [(step, "seed-1", act.clone()), (step, "seed-2", act)];
    let script = [both(1, Germinate), both(14, Graft(5)), both(20, Stabilize), both(40, Evaluate)].concat();
    world.live(&mut trainee, 75, &script);
    for name in ["seed-2", "seed-1"] {
        world.act(name, Fossilize).unwrap();
    }
    let report = world.step(&mut trainee.model, &mut trainee.optimizer, 76);
    assert_eq!(report.joined, [seed("seed-1"), seed("seed-2")]);
    assert_eq!(world.manager.state().run.fossils, report.joined);
}

#[test]
fn trainer_goes_back_to_the_last_epoch_without_a_command() {
    let (mut world, mut trainee) = answered(&MemoryStore::new());
    let none = world.manager.roll_back_to(None, &mut trainee.model, &mut trainee.optimizer);
    assert_eq!(none.unwrap_err().reason(), "unknown_checkpoint");
    world.manager.end_epoch();
    world.manager.checkpoint(&trainee.model, &trainee.optimizer).unwrap();
    let before = bytes(&trainee.model);
    world.live::<_, (u64, kasmina::doubles::Act)>(&mut trainee, FOSSILIZE + 3, &[]);
    assert_eq!(trainee.model.fossils().len(), 1);
    let back = world.manager.roll_back_to(None, &mut trainee.model, &mut trainee.optimizer).unwrap();
    assert_eq!((back.epoch, back.step), (1, FOSSILIZE - 1));
    // The fossil is a seed again, which is about to join.
    assert!(bytes(&trainee.model) == before && trainee.model.fossils().is_empty() && joins(world.manager.state()));
    assert_eq!(trainee.model.to_bytes().unwrap_err().reason(), "join_pending");
    trainee.step = FOSSILIZE - 1;
    world.live::<_, (u64, kasmina::doubles::Act)>(&mut trainee, FOSSILIZE + 3, &[]);
    assert_eq!((world.stage("seed-1"), trainee.model.fossils().len()), (SeedStageFossilized, 1));
}

#[test]
fn join_right_after_a_checkpoint_is_in_what_is_restored() {
    let store = MemoryStore::new();
    let (mut world, mut trainee) = answered(&store);
    world.manager.end_epoch();
    world.manager.checkpoint(&trainee.model, &trainee.optimizer).unwrap();
    // No step in between: epoch and join are of the same step.
    world.manager.settle(&mut trainee.model).unwrap();
    for terminated in [false, true] {
        world.restart(lenient(), &store);
        let (mut model, mut optimizer) = (model_of(Mlp::<B>::init()), optimizer());
        world.manager.restore_model(&mut model, &mut optimizer).unwrap();
        assert_eq!(committed(&model).to_bits(), committed(&trainee.model).to_bits());
        world.manager.attach_host(&model, |host, grafts| loss(host, 0, grafts)).unwrap();
        if !terminated {
            world.manager.end_epoch();
            world.manager.checkpoint(&model, &optimizer).unwrap();
            world.manager.order(Order::Terminate { seed: seed("seed-1") }).unwrap();
            world.manager.settle(&mut model).unwrap();
            trainee.model = model;
        }
    }
}
