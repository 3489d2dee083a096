//! What has grown belongs to the model, which leaves the manager.

use burn::{backend::Flex, module::AutodiffModule};
use kasmina::{
    PlantError, SeedManager, Settings,
    commands::Order,
    doubles::{Act::*, Trainee, seed, slot},
    grown::Grown,
    kernel_load::{
        Initialisation, KernelLibrary, SlotContract,
        blueprints::{Blueprint, BuiltInLibrary, Start},
        doubles::MemoryLibrary,
    },
    leyline::{TrainingRunId, v1::SeedLifecycleStage::SeedStageFossilized},
};

use crate::common::{B, Host, Mlp, RATE, World, batch, bytes, determined, lenient, loss, model_of, optimizer};

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

/// A manager with kernels from this library, which knows an MLP.
fn planter(library: impl KernelLibrary + 'static) -> SeedManager<B> {
    let builder = SeedManager::<B>::builder(TrainingRunId::new("run-7").unwrap()).settings(Settings::automatic());
    let mut manager = builder.kernels(library).volatile().build(&Default::default()).unwrap();
    manager.attach_host(&model_of(Mlp::init()), |host, grafts| loss(host, 0, grafts)).unwrap();
    manager
}

#[test]
fn library_that_draws_no_weights_gives_those_that_it_has() {
    let library = MemoryLibrary::new();
    let manifest = Blueprint::Mlp.for_slot(SlotContract::f32(2, 6, 6), Start::Zero).unwrap();
    library.add(&manifest, &Initialisation { seed: 3, zero_last: true }).unwrap();
    let mut manager = planter(library);
    // So the next one is the second.
    manager.register_seed(seed("by-hand"), slot("mid")).unwrap();
    assert_eq!(manager.plant("late", Blueprint::Mlp).unwrap().as_str(), "seed-2");
}

#[test]
fn second_seed_of_a_blueprint_has_other_weights() {
    let mut manager = planter(BuiltInLibrary::new(1));
    let [first, second] = [1, 2].map(|_| {
        let planted = manager.plant("late", Blueprint::Mlp).unwrap();
        let weights = bytes(&manager.kernel(&planted).unwrap());
        manager.order(Order::Cull { seed: planted, blend_out_steps: 0 }).unwrap();
        weights
    });
    assert_eq!(first.len(), second.len());
    assert_ne!(first, second);
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
