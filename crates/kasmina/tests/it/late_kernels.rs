//! A kernel that is not there yet: its seed waits, GERMINATED, and training goes on.

use crate::common::{B, Mlp, World, blueprint, bytes, control_step, determined, optimizer, refused, seed, twin};
use kasmina::{
    Grown, SeedManagerBuilder, Settings,
    doubles::{Act, Act::*, Trainee, stock},
    gates::doubles::AllowAll,
    kernel_load::{
        Artifact, Initialisation, LibraryError,
        doubles::{LateHandle, LateLibrary, late_library},
    },
    leyline::v1::{SeedLifecycleStage, SeedLifecycleStage::*},
    lifecycle::Transition,
    rollback::doubles::MemoryStore,
    safety::Clock,
};

fn stocked() -> (LateLibrary, LateHandle) {
    let (library, handle) = late_library();
    for manifest in stock() {
        handle.library().add(&manifest, &Initialisation { seed: 3, zero_last: true }).unwrap();
    }
    (library, handle)
}

fn world(settings: Settings) -> (World, LateHandle) {
    world_with(settings, |builder| builder)
}

fn world_with(settings: Settings, wire: impl FnOnce(SeedManagerBuilder) -> SeedManagerBuilder) -> (World, LateHandle) {
    let (library, handle) = stocked();
    let world =
        World::build(settings, |builder| wire(builder).kernels(library).volatile().build(&Default::default()).unwrap());
    (world, handle)
}

fn trainee() -> Trainee<Mlp<B>> {
    Trainee::new(determined(Mlp::init()))
}

fn to(transitions: &[Transition]) -> Vec<(&str, SeedLifecycleStage)> {
    transitions.iter().map(|moved| (moved.seed_id.as_str(), moved.to)).collect()
}

fn arrived(handle: &LateHandle, kernel: &str) -> Result<Artifact, LibraryError> {
    Ok(handle.arrive(&blueprint(kernel)).unwrap())
}

#[test]
fn late_kernel_leaves_its_seed_germinated() {
    let (mut world, handle) = world(Settings::default());
    let mut trainee = trainee();
    world.attach(&trainee.model);
    world.manager.tick();
    let receipt = world.act("seed-1", Germinate).unwrap();
    assert_eq!(to(&receipt.transitions), [("seed-1", SeedStageGerminated)]);
    assert_eq!(handle.requested(), [blueprint("mlp")]);
    let mut control = twin(&trainee.model);
    let mut its_optimizer = optimizer();
    world.live_and::<_, (u64, Act)>(&mut trainee, 10, &[], |world, trainee, report| {
        control_step(&mut control, &mut its_optimizer, report.step);
        assert!(bytes(&trainee.model) == bytes(&control), "step {}", report.step);
        assert_eq!(world.stage("seed-1"), SeedStageGerminated);
    });
    assert_eq!(handle.requested().len(), 1, "it is asked for once");
    assert_eq!(refused(world.act("seed-1", Train)), "wrong_stage");
    assert_eq!(refused(world.act("seed-3", Germinate)), "slot_taken");
}

#[test]
fn delivered_kernel_takes_its_seed_through_g1_to_the_end() {
    let (mut world, handle) = world_with(Settings::default(), |builder| builder.gatekeepers(AllowAll));
    let mut trainee = trainee();
    world.attach(&trainee.model);
    world.live(&mut trainee, 5, &[(2, Germinate)]);
    let transitions = world.manager.deliver_kernel(&blueprint("mlp"), arrived(&handle, "mlp")).unwrap();
    assert_eq!(to(&transitions), [("seed-1", SeedStageTraining)]);
    assert_eq!(world.manager.registry().parameters_of(&seed("seed-1")).count(), 4);
    let script = [(25, Graft(20)), (47, Stabilize), (67, Evaluate), (87, Fossilize)];
    world.live(&mut trainee, 90, &script);
    assert_eq!(world.stage("seed-1"), SeedStageFossilized);
}

/// A kernel that was late does what one does that was there at once.
#[test]
fn delivered_kernel_learns_as_one_that_was_there_at_once() {
    let life = |mut world: World, late: Option<LateHandle>| {
        let mut trainee = trainee();
        world.attach(&trainee.model);
        world.live::<_, (u64, Act)>(&mut trainee, 3, &[]);
        world.act("seed-1", Germinate).unwrap();
        if let Some(handle) = late {
            world.manager.deliver_kernel(&blueprint("mlp"), arrived(&handle, "mlp")).unwrap();
        }
        world.live(&mut trainee, 40, &[(14, Graft(10)), (26, Stabilize)]).into_iter().map(|report| report.seeds)
    };
    let (late, handle) = world(Settings::default());
    let (late, at_once) = (life(late, Some(handle)), life(World::new(Settings::default()), None));
    assert!(late.eq(at_once));
}

#[test]
fn late_kernel_off_the_fast_path_waits_for_start_training() {
    let mut settings = Settings::default();
    settings.lifecycle.fast_path = false;
    let (mut world, handle) = world(settings);
    world.attach(&trainee().model);
    world.manager.tick();
    world.act("seed-1", Germinate).unwrap();
    let transitions = world.manager.deliver_kernel(&blueprint("mlp"), arrived(&handle, "mlp")).unwrap();
    assert_eq!((transitions, world.stage("seed-1")), (Vec::new(), SeedStageGerminated));
    world.act("seed-1", Train).unwrap();
    assert_eq!(world.stage("seed-1"), SeedStageTraining);
}

#[test]
fn late_failure_culls_with_its_reason() {
    let (mut world, _) = world(Settings::default());
    world.attach(&trainee().model);
    world.manager.tick();
    world.act("seed-1", Germinate).unwrap();
    world.events();
    let missing: LibraryError = LibraryError::Missing { path: "mlp.safetensors".into() };
    let transitions = world.manager.deliver_kernel(&blueprint("mlp"), Err(missing)).unwrap();
    assert_eq!(to(&transitions), [("seed-1", SeedStageCulled), ("seed-1", SeedStageEmbargoed)]);
    let culled = world.events().into_iter().find(|event| event.description == "seed_culled").unwrap();
    assert_eq!(culled.attributes["reason"], "library_file_missing");
}

#[test]
fn three_late_failures_open_the_kernel_breaker() {
    let (mut world, _) = world(Settings::default());
    world.attach(&trainee().model);
    let fail = |world: &mut World, seed: &str, kernel: &str| {
        world.act(seed, Germinate).unwrap();
        let missing = LibraryError::Missing { path: "gone".into() };
        world.manager.deliver_kernel(&blueprint(kernel), Err(missing)).unwrap();
    };
    let rest = |world: &mut World| {
        world.wait(30);
        world.manager.tick();
    };
    fail(&mut world, "seed-1", "mlp");
    fail(&mut world, "seed-2", "late");
    rest(&mut world);
    fail(&mut world, "seed-1", "mlp");
    assert_eq!(refused(world.act("seed-2", Germinate)), "breaker_open");
    rest(&mut world);
    // After its time-out it lets one trial through, which fails and opens it again.
    fail(&mut world, "seed-1", "mlp");
    assert_eq!(refused(world.act("seed-2", Germinate)), "breaker_open");
}

#[test]
fn damaged_late_kernel_is_never_grafted() {
    let (mut world, handle) = world(Settings::default());
    world.attach(&trainee().model);
    world.act("seed-1", Germinate).unwrap();
    let mut artifact = handle.arrive(&blueprint("mlp")).unwrap();
    let last = artifact.bytes.len() - 1;
    artifact.bytes[last] ^= 1;
    world.manager.deliver_kernel(&blueprint("mlp"), Ok(artifact)).unwrap();
    assert_eq!(world.stage("seed-1"), SeedStageEmbargoed);
    assert_eq!(world.manager.registry().parameters_of(&seed("seed-1")).count(), 0);
}

#[test]
fn kernel_of_another_slot_is_never_grafted() {
    let (mut world, handle) = world(Settings::default());
    world.attach(&trainee().model);
    world.act("seed-1", GerminateAs("late")).unwrap();
    world.manager.deliver_kernel(&blueprint("late"), arrived(&handle, "late")).unwrap();
    assert_eq!(world.stage("seed-1"), SeedStageEmbargoed);
}

#[test]
fn kernel_that_nobody_waits_for_is_ignored() {
    let (mut world, handle) = world(Settings::default());
    let mut trainee = trainee();
    world.attach(&trainee.model);
    world.manager.tick();
    let deliver = |world: &mut World, kernel: &str| {
        let before = world.manager.state().clone();
        let moved = world.manager.deliver_kernel(&blueprint(kernel), arrived(&handle, kernel)).unwrap();
        assert_eq!((moved, world.manager.state()), (Vec::new(), &before), "{kernel}");
    };
    deliver(&mut world, "mlp"); // never asked for
    world.act("seed-2", Germinate).unwrap();
    deliver(&mut world, "cnn"); // of another blueprint
    world.act("seed-2", Cull).unwrap();
    deliver(&mut world, "late"); // no longer wanted
    world.act("seed-1", Germinate).unwrap();
    assert_eq!(world.stage("seed-1"), SeedStageTraining, "the library has it by now");
    deliver(&mut world, "mlp"); // twice
    world.live::<_, (u64, Act)>(&mut trainee, 3, &[]);
}

#[test]
fn seed_that_waits_is_asked_for_again_after_a_restart() {
    let (store, host) = (MemoryStore::new(), trainee().model);
    let wire = |library: LateLibrary| {
        let mut found = None;
        let world = World::build(Settings::default(), |builder| {
            let builder = builder.kernels(library).journal(store.clone(), store.clone());
            let (manager, recovered) = builder.recover(&Default::default()).unwrap();
            found = Some(recovered);
            manager
        });
        (world, found.unwrap())
    };
    let (library, _) = stocked();
    let (mut first, _) = wire(library);
    first.attach(&host);
    first.act("seed-1", Germinate).unwrap();
    drop(first);

    let (library, handle) = stocked();
    let (mut second, found) = wire(library);
    assert_eq!((found.seeds, found.grafted, second.stage("seed-1")), (3, 0, SeedStageGerminated));
    second.go_on(&host);
    assert_eq!(handle.requested(), [blueprint("mlp")]);
    second.manager.deliver_kernel(&blueprint("mlp"), arrived(&handle, "mlp")).unwrap();
    assert_eq!(second.stage("seed-1"), SeedStageTraining);
    drop(second);

    let (library, handle) = stocked();
    let (third, found) = wire(library);
    assert_eq!((found.grafted, third.stage("seed-1")), (1, SeedStageTraining));
    assert_eq!(handle.requested(), [], "its weights are in the store");
}

/// What the next process finds after one that ended while seed-1 waited and seed-2 rested. Its library is late again.
fn restarted_while_seeds_wait(store: &MemoryStore, host: &Grown<B, Mlp<B>>) -> (World, LateHandle) {
    let (library, _) = stocked();
    let mut first = World::build(Settings::default(), |builder| {
        builder.kernels(library).journal(store.clone(), store.clone()).build(&Default::default()).unwrap()
    });
    first.attach(host);
    first.act("seed-1", Germinate).unwrap();
    first.act("seed-2", Germinate).unwrap();
    first.act("seed-2", Cull).unwrap();
    drop(first);
    let (library, handle) = stocked();
    let second = World::build(Settings::default(), |builder| {
        builder.kernels(library).journal(store.clone(), store.clone()).recover(&Default::default()).unwrap().0
    });
    assert_eq!((second.stage("seed-1"), second.stage("seed-2")), (SeedStageGerminated, SeedStageEmbargoed));
    (second, handle)
}

#[test]
fn kernel_that_comes_before_the_host_waits_for_it() {
    let (store, host) = (MemoryStore::new(), trainee().model);
    let (mut world, handle) = restarted_while_seeds_wait(&store, &host);
    world.manager.deliver_kernel(&blueprint("mlp"), arrived(&handle, "mlp")).unwrap();
    assert_eq!(world.stage("seed-1"), SeedStageGerminated, "nobody knows what its slot shows");
    world.manager.tick();
    world.go_on(&host);
    assert_eq!(world.stage("seed-1"), SeedStageTraining);
}

#[test]
fn kernel_that_a_restarted_disk_refuses_is_not_lost() {
    let (store, host) = (MemoryStore::new(), trainee().model);
    let (mut world, handle) = restarted_while_seeds_wait(&store, &host);
    world.wait(30);
    store.fail_next_append();
    // The end of an embargo has to be written first.
    let outcome = world.manager.deliver_kernel(&blueprint("mlp"), arrived(&handle, "mlp"));
    assert_eq!(outcome.map_err(|error| error.reason()), Err("not_durable"));
    world.wait(60);
    world.go_on(&host);
    world.live::<_, (u64, Act)>(&mut Trainee::new(host), 2, &[]);
    assert_eq!(world.stage("seed-1"), SeedStageTraining, "nobody will deliver it again");
}

#[test]
fn delivery_that_the_disk_refuses_can_be_made_again() {
    let ((library, handle), store) = (stocked(), MemoryStore::new());
    let mut world = World::build(Settings::default(), |builder| {
        let builder = builder.kernels(library).journal(store.clone(), store.clone());
        builder.build(&Default::default()).unwrap()
    });
    world.attach(&trainee().model);
    world.act("seed-1", Germinate).unwrap();
    store.fail_next_append();
    let outcome = world.manager.deliver_kernel(&blueprint("mlp"), arrived(&handle, "mlp"));
    assert_eq!(outcome.unwrap_err().reason(), "not_durable");
    assert_eq!(world.stage("seed-1"), SeedStageGerminated);
    assert_eq!(world.manager.registry().parameters_of(&seed("seed-1")).count(), 0);
    world.wait(60);
    world.manager.deliver_kernel(&blueprint("mlp"), arrived(&handle, "mlp")).unwrap();
    assert_eq!(world.stage("seed-1"), SeedStageTraining);
}

#[test]
fn seed_that_waits_again_after_a_rollback_gets_its_kernel() {
    let (mut world, handle) = world(Settings::default());
    let mut trainee = trainee();
    world.attach(&trainee.model);
    world.act("seed-1", Germinate).unwrap();
    world.manager.end_epoch();
    world.manager.checkpoint(&trainee.model, &trainee.optimizer).unwrap();
    world.manager.deliver_kernel(&blueprint("mlp"), arrived(&handle, "mlp")).unwrap();
    assert_eq!(world.stage("seed-1"), SeedStageTraining);
    let wire = world.sender.roll_back(1, world.clock.unix()).unwrap();
    world.manager.submit(&wire).unwrap();
    world.manager.roll_back(&mut trainee.model, &mut trainee.optimizer).unwrap();
    world.live::<_, (u64, Act)>(&mut trainee, 2, &[]);
    assert_eq!(world.stage("seed-1"), SeedStageTraining, "the kernel is there, and nobody will deliver it again");
}

#[test]
fn first_batch_after_a_restart_asks_for_kernels_that_are_waited_for() {
    let (library, _) = stocked();
    let store = MemoryStore::new();
    let mut world = World::build(Settings::default(), |builder| {
        builder.kernels(library).journal(store.clone(), store.clone()).build(&Default::default()).unwrap()
    });
    let mut trainee = trainee();
    world.attach(&trainee.model);
    world.act("seed-1", Germinate).unwrap();
    assert_eq!(world.stage("seed-1"), SeedStageGerminated);
    // The library of the next process has it at once.
    world.restart(Settings::default(), &store);
    let step = world.manager.step();
    world.manager.model_restored(&trainee.model, step).unwrap();
    // A thread loads it meanwhile.
    while world.stage("seed-1") == SeedStageGerminated {
        let step = world.manager.step() + 1;
        world.step(&mut trainee.model, &mut trainee.optimizer, step);
        assert!(world.manager.kernel_loads().total.requests > 0, "the first batch asks");
    }
    assert_eq!(world.stage("seed-1"), SeedStageTraining);
}
