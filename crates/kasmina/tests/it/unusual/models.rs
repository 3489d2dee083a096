//! Models that are frozen, copied, deep or swapped.

use burn::{module::Module, tensor::activation::relu};
use kasmina::{
    Grafts, Grown,
    blending::BlendConfig,
    doubles::{Act::*, Trainee},
    engine::commands::Order,
    grown::{Fossil, FossilSpec, Provenance},
    kernel_load::{ArtifactLimits, KernelModule, LayerSpec},
    leyline::v1::SeedLifecycleStage::*,
    model_from_parts, model_to_parts,
    rollback::doubles::MemoryStore,
};

use super::{Model, on, proven};
use crate::common::{
    B, Mlp, RATE, World, batch, bytes, contribution, determined, lenient, loss, model_of, optimizer, seed,
};

#[test]
fn kernel_within_wider_limits_becomes_a_fossil() {
    let limits = ArtifactLimits { max_nesting: 8, ..ArtifactLimits::default() };
    let (device, stock) = (Default::default(), kasmina::doubles::stock());
    let mut manifest = stock.into_iter().find(|manifest| manifest.blueprint_id.as_str() == "late").unwrap();
    let nested = |inner, _| LayerSpec::Residual { layers: vec![inner] };
    manifest.layers = vec![(0..6).fold(LayerSpec::linear(6, 6), nested)];
    let kernel = KernelModule::<B>::blank(&manifest, &limits, &device).unwrap();
    let (seed, slot, blend) = (seed("seed-2"), kasmina::doubles::slot("late"), BlendConfig::residual());
    let spec = FossilSpec { seed, slot, blend, manifest, provenance: Provenance::default() };
    let mut model = model_of(Mlp::<B>::init());
    model.push(Fossil::new(spec, kernel).unwrap()).unwrap();
    let parts = model_to_parts(&model).unwrap();
    let back = model_from_parts(&model_of(Mlp::init()), &parts, &device).unwrap();
    assert!(bytes(&back) == bytes(&model));
}

#[test]
fn copy_from_before_a_rollback_can_be_saved() {
    let store = MemoryStore::new();
    let mut world = on(&store);
    let mut trainee = proven(&mut world, 39);
    world.act("seed-1", Fossilize).unwrap();
    let mut other: Model = Grown::new(trainee.model.host.clone());
    assert_eq!(trainee.model.to_bytes().unwrap_err().reason(), "join_pending");
    world.step(&mut other, &mut trainee.optimizer, 40);
    assert_eq!(other.fossils().len(), 1);
    assert!(trainee.model.to_bytes().is_ok(), "nothing will ever join it");
}

#[test]
fn model_whose_manager_is_gone_is_saved_as_it_is() {
    let mut world = World::new(lenient());
    let trainee = proven(&mut world, 39);
    world.act("seed-1", Fossilize).unwrap();
    assert!(trainee.model.to_bytes().is_err());
    drop(world);
    assert!(trainee.model.to_bytes().is_ok());
}

#[test]
fn frozen_fossil_is_frozen_after_a_rollback_from_the_store() {
    let store = MemoryStore::new();
    let mut settings = lenient();
    settings.rollback.keep_in_memory = 0;
    let (mut world, _) = World::recover(settings, store.clone(), store);
    let mut trainee = proven(&mut world, 39);
    world.act("seed-1", Fossilize).unwrap();
    world.manager.settle(&mut trainee.model).unwrap();
    trainee.model = trainee.model.no_grad();
    world.manager.end_epoch();
    world.manager.checkpoint(&trainee.model, &trainee.optimizer).unwrap();
    let frozen = |model: &Model| bytes(model.fossils()[0].kernel());
    let before = frozen(&trainee.model);
    world.manager.roll_back_to(None, &mut trainee.model, &mut trainee.optimizer).unwrap();
    world.step(&mut trainee.model, &mut trainee.optimizer, 40);
    assert!(frozen(&trainee.model) == before);
}

#[test]
fn frozen_model_with_a_fossil_grows_a_seed() {
    let mut world = World::new(lenient());
    let mut trainee = proven(&mut world, 39);
    world.act("seed-1", Fossilize).unwrap();
    world.manager.settle(&mut trainee.model).unwrap();
    trainee.model = trainee.model.no_grad();
    let before = bytes(&trainee.model);
    let script =
        [(40, Germinate), (60, Graft(5)), (70, Stabilize), (75, Evaluate)].map(|(at, act)| (at, "seed-3", act));
    world.live(&mut trainee, 90, &script);
    assert!(bytes(&trainee.model) == before);
    assert_eq!(world.stage("seed-3"), SeedStageProbationary);
}

#[test]
fn loss_that_comes_to_no_slot_of_a_frozen_model_is_no_panic() {
    let mut world = World::new(lenient());
    let mut model: Model = model_of(determined(Mlp::init()));
    world.attach(&model);
    model = model.no_grad();
    let past = |host: &Mlp<B>, _: &mut Grafts<B>| {
        let x = batch::<B>(1);
        (host.head.forward(relu(host.stem.forward(x.clone()))) - x.sum_dim(1)).square().mean()
    };
    world.manager.train_batch(&mut model, &mut optimizer(), RATE, past).unwrap();
}

#[test]
fn probe_of_a_seed_that_does_nothing_says_nothing() {
    let mut world = World::new(lenient());
    let mut trainee = Trainee::new(determined(Mlp::init()));
    world.attach(&trainee.model);
    world.act("seed-1", Germinate).unwrap();
    world.step(&mut trainee.model, &mut trainee.optimizer, 1);
    assert_eq!(world.stage("seed-1"), SeedStageTraining);
    let probed = world.manager.run_probe(&trainee.model, &seed("seed-1"), |host, grafts| loss(host, 500, grafts));
    assert_eq!(probed, Ok(None));
}

#[test]
fn probe_of_a_paused_seed_is_no_evidence() {
    let mut world = World::new(lenient());
    let trainee = proven(&mut world, 30);
    world.act("seed-1", Pause).unwrap();
    let before = contribution(&world, "seed-1").probes();
    let probed = world.manager.run_probe(&trainee.model, &seed("seed-1"), |host, grafts| loss(host, 500, grafts));
    assert_eq!(contribution(&world, "seed-1").probes(), before);
    assert_eq!(probed, Ok(None));
}

#[test]
fn evidence_from_before_a_fossil_left_is_measured_anew() {
    let mut world = World::new(lenient());
    let mut trainee = proven(&mut world, 39);
    world.act("seed-1", Fossilize).unwrap();
    let script = [(41, Germinate), (60, Graft(5)), (70, Stabilize)].map(|(at, act)| (at, "seed-2", act));
    world.live(&mut trainee, 90, &script);
    assert!(contribution(&world, "seed-2").probes() > 0);
    world.manager.order(Order::Terminate { seed: seed("seed-1") }).unwrap();
    world.manager.settle(&mut trainee.model).unwrap();
    assert_eq!(contribution(&world, "seed-2").probes(), 0);
}
