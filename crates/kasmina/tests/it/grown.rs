//! What has grown leaves the manager.

use burn::{backend::Flex, module::AutodiffModule};
use kasmina::{
    PlantError, SeedManager, Settings,
    doubles::{Act::*, Trainee},
    grown::Grown,
    kernel_load::blueprints::Blueprint,
    leyline::v1::SeedLifecycleStage::SeedStageFossilized,
};

use crate::common::{B, Host, Mlp, RATE, World, batch, bytes, determined, lenient, loss, optimizer};

/// A host into which seed-1 has grown, while seed-2 is blended in.
fn with_a_fossil() -> (World, Trainee<Mlp<B>>) {
    let mut world = World::new(lenient());
    let mut trainee = Trainee::new(determined(Mlp::init()));
    world.attach(&trainee.host);
    let script = [(1, Germinate), (11, Graft(10)), (22, Stabilize), (40, Evaluate), (60, Fossilize)];
    world.live(&mut trainee, 60, &script);
    assert_eq!(world.stage("seed-1"), SeedStageFossilized);
    world.germinate("seed-2", "late").unwrap();
    for step in 61..=80 {
        if step == 71 {
            world.graft("seed-2", "RESIDUAL", 5.0).unwrap();
        }
        world.step(&mut trainee.host, &mut trainee.optimizer, step);
    }
    (world, trainee)
}

#[test]
fn grown_network_answers_as_the_committed_view() {
    let (world, trainee) = with_a_fossil();
    let grown = world.manager.grown(&trainee.host).unwrap();
    let served = grown.valid().forward(|host, grafts| host.forward(batch(3), grafts)).unwrap();
    let committed = trainee.host.valid().forward(batch(3), &mut world.manager.committed_view());
    assert_eq!(served.into_data(), committed.into_data());
    let live = trainee.host.valid().forward(batch::<Flex>(3), &mut world.manager.live_view());
    let alone = trainee.host.valid().forward(batch::<Flex>(3), &mut kasmina::Grafts::none());
    assert_ne!(live.into_data(), alone.into_data(), "the fossil does something");
}

#[test]
fn saved_network_is_loaded_without_autodiff_and_answers_alike() {
    let (world, trainee) = with_a_fossil();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("network.safetensors");
    world.manager.grown(&trainee.host).unwrap().save(&path).unwrap();
    let device = Default::default();
    let served = Grown::<Flex, _>::load(&path, Mlp::<Flex>::init(), &device).unwrap();
    let answer = served.forward(|host, grafts| host.forward(batch(3), grafts)).unwrap();
    let committed = trainee.host.valid().forward(batch(3), &mut world.manager.committed_view());
    assert_eq!(answer.into_data(), committed.into_data());
    let provenance = &served.fossils()[0].spec().provenance;
    assert_eq!((provenance.training_run.as_ref().unwrap().as_str(), provenance.step), ("run-7", Some(80)));
}

#[test]
fn training_on_does_not_change_a_network_that_was_taken_out() {
    let (mut world, mut trainee) = with_a_fossil();
    let grown = world.manager.grown(&trainee.host).unwrap();
    let before = bytes(&grown);
    (81..=85).for_each(|step| drop(world.step(&mut trainee.host, &mut trainee.optimizer, step)));
    assert_eq!(bytes(&grown), before);
    assert_ne!(bytes(&world.manager.grown(&trainee.host).unwrap()), before);
}

#[test]
fn planted_blueprint_grows_in_a_local_manager() {
    let mut settings = Settings::automatic();
    settings.training.rng_seed = Some(3);
    let mut manager = SeedManager::<B>::local(settings, &Default::default()).unwrap();
    let (mut host, mut optimizer) = (determined(Mlp::init()), optimizer());
    let loss = |step: u64| move |host: &Mlp<B>, grafts: &mut kasmina::Grafts<B>| loss(host, step, grafts);
    manager.attach_host(&host, loss(0)).unwrap();
    let seed = manager.plant("late", Blueprint::Mlp).unwrap();
    for step in 0..1000 {
        let report = manager.train_batch(&mut host, &mut optimizer, RATE, loss(step % 4)).unwrap();
        for moved in report.transitions {
            println!(
                "{step}: {} {:?}",
                moved.to.as_str_name(),
                manager.state().seeds[&seed].stage.graft().map(|graft| &graft.vitals.losses)
            );
        }
    }
    assert_eq!(manager.stage(&seed), Some(SeedStageFossilized), "{:?}", manager.state().seeds[&seed]);
    assert_eq!(manager.grown(&host).unwrap().fossils().len(), 1);
}

#[test]
fn blueprint_that_cannot_be_planted_says_why() {
    let mut manager = SeedManager::<B>::local(Settings::automatic(), &Default::default()).unwrap();
    let host = determined(Mlp::<B>::init());
    assert!(matches!(manager.plant("late", Blueprint::Norm), Err(PlantError::UnknownSlot { .. })), "not shown yet");
    manager.attach_host(&host, |host, grafts| loss(host, 0, grafts)).unwrap();
    assert!(matches!(manager.plant("nowhere", Blueprint::Norm), Err(PlantError::UnknownSlot { .. })));
    assert!(matches!(manager.plant("late", Blueprint::ConvResidual), Err(PlantError::Unfit(_))));
    assert_eq!(manager.plant("late", Blueprint::Norm).unwrap().as_str(), "seed-1");
    assert!(matches!(manager.plant("late", Blueprint::Norm), Err(PlantError::Refused(_))), "the slot is taken");
}
