//! What has grown belongs to the model, which leaves the manager.

use burn::{backend::Flex, module::AutodiffModule};
use kasmina::{
    PlantError, SeedManager, Settings,
    doubles::{Act::*, Trainee},
    grown::Grown,
    kernel_load::blueprints::Blueprint,
    leyline::v1::SeedLifecycleStage::SeedStageFossilized,
};

use crate::common::{B, Host, Mlp, RATE, World, batch, determined, lenient, loss, model_of, optimizer};

/// A model into which seed-1 has grown, while seed-2 is blended in.
fn with_a_fossil() -> (World, Trainee<Mlp<B>>) {
    let mut world = World::new(lenient());
    let mut trainee = Trainee::new(determined(Mlp::init()));
    world.attach(&trainee.model);
    let script = [(1, Germinate), (11, Graft(10)), (22, Stabilize), (40, Evaluate), (60, Fossilize)];
    world.live(&mut trainee, 60, &script);
    assert_eq!(world.stage("seed-1"), SeedStageFossilized);
    world.germinate("seed-2", "late").unwrap();
    for step in 61..=80 {
        if step == 71 {
            world.graft("seed-2", "RESIDUAL", 5.0).unwrap();
        }
        world.step(&mut trainee.model, &mut trainee.optimizer, step);
    }
    (world, trainee)
}

#[test]
fn saved_network_is_loaded_without_autodiff_and_answers_alike() {
    let (_, trainee) = with_a_fossil();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("network.safetensors");
    trainee.model.save(&path).unwrap();
    let served = Grown::<Flex, _>::load(&path, Mlp::<Flex>::init(), &Default::default()).unwrap();
    let answer = |model: &Grown<Flex, Mlp<Flex>>| {
        model.forward(|host, grafts| host.forward(batch::<Flex>(3), grafts)).unwrap().into_data()
    };
    assert_eq!(answer(&served), answer(&trainee.model.valid()));
    let alone = trainee.model.valid().host.forward(batch::<Flex>(3), &mut kasmina::Grafts::none());
    assert_ne!(answer(&served), alone.into_data(), "the fossil does something");
    let provenance = &served.fossils()[0].spec().provenance;
    assert_eq!((provenance.training_run.as_ref().unwrap().as_str(), provenance.step), ("run-7", Some(59)));
    assert!(provenance.artifact.is_some() && provenance.verdict.contains_key("contribution"));
}

#[test]
fn planted_blueprint_grows_in_a_local_manager() {
    let mut settings = Settings::automatic();
    settings.training.rng_seed = Some(3);
    let mut manager = SeedManager::<B>::local(settings, &Default::default()).unwrap();
    let (mut model, mut optimizer) = (model_of(Mlp::init()), optimizer());
    let loss = |step: u64| move |host: &Mlp<B>, grafts: &mut kasmina::Grafts<B>| loss(host, step, grafts);
    manager.attach_host(&model, loss(0)).unwrap();
    let seed = manager.plant("late", Blueprint::Mlp).unwrap();
    let mut joined = Vec::new();
    for step in 0..1000 {
        joined.extend(manager.train_batch(&mut model, &mut optimizer, RATE, loss(step % 4)).unwrap().joined);
    }
    assert_eq!(manager.stage(&seed), Some(SeedStageFossilized), "{:?}", manager.state().seeds[&seed]);
    assert_eq!((joined, model.fossils().len()), (vec![seed], 1));
}

#[test]
fn blueprint_that_cannot_be_planted_says_why() {
    let mut manager = SeedManager::<B>::local(Settings::automatic(), &Default::default()).unwrap();
    let model = model_of(Mlp::<B>::init());
    assert!(matches!(manager.plant("late", Blueprint::Norm), Err(PlantError::UnknownSlot { .. })), "not shown yet");
    manager.attach_host(&model, |host, grafts| loss(host, 0, grafts)).unwrap();
    assert!(matches!(manager.plant("nowhere", Blueprint::Norm), Err(PlantError::UnknownSlot { .. })));
    assert!(matches!(manager.plant("late", Blueprint::ConvResidual), Err(PlantError::Unfit(_))));
    assert_eq!(manager.plant("late", Blueprint::Norm).unwrap().as_str(), "seed-1");
    assert!(matches!(manager.plant("late", Blueprint::Norm), Err(PlantError::Refused(_))), "the slot is taken");
}
