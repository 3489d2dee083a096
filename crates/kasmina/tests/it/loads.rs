//! Kernels that are loaded while the network trains.

use std::sync::{Arc, Condvar, Mutex};

use crate::common::{Mlp, World, blueprint, bytes, control_step, determined, named, optimizer, refused, twin};
use kasmina::{
    Settings,
    doubles::{Act::*, B, Trainee, stock},
    kernel_load::{Fetched, Initialisation, KernelLibrary, LibraryError, doubles::MemoryLibrary},
    leyline::{
        BlueprintId,
        v1::{BlueprintDescriptor, SeedLifecycleStage::*, TelemetryLevel},
    },
    rollback::doubles::MemoryStore,
};

/// A library whose calls end when the test says so.
#[derive(Clone)]
struct Slow {
    library: MemoryLibrary,
    gate: Arc<(Mutex<Gate>, Condvar)>,
}

#[derive(Default)]
struct Gate {
    open: bool,
    calls: usize,
}

impl Slow {
    fn new() -> Self {
        let library = MemoryLibrary::new();
        for manifest in stock() {
            library.add(&manifest, &Initialisation { seed: 3, zero_last: true }).unwrap();
        }
        Self { library, gate: Arc::default() }
    }

    fn open(&self) {
        self.gate.0.lock().unwrap().open = true;
        self.gate.1.notify_all();
    }

    fn calls(&self) -> usize {
        self.gate.0.lock().unwrap().calls
    }
}

impl KernelLibrary for Slow {
    fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LibraryError> {
        self.library.descriptor(blueprint)
    }

    fn fetch(&self, blueprint: &BlueprintId) -> Result<Fetched, LibraryError> {
        let mut gate = self.gate.0.lock().unwrap();
        gate.calls += 1;
        drop(self.gate.1.wait_while(gate, |gate| !gate.open).unwrap());
        self.library.fetch(blueprint)
    }
}

/// Orders do not wait.
fn impatient() -> Settings {
    let mut settings = Settings::default();
    settings.kernels.wait_ms = 0;
    settings
}

fn world(settings: Settings) -> (World, Slow, Trainee<Mlp<B>>) {
    let slow = Slow::new();
    let library = slow.clone();
    let mut world =
        World::build(settings, |builder| builder.kernels(library).volatile().build(&Default::default()).unwrap());
    let trainee = Trainee::new(determined(Mlp::init()));
    world.attach(&trainee.model);
    (world, slow, trainee)
}

/// Steps until the seed has left GERMINATED. A thread loads its kernel meanwhile.
fn step_until_it_came(world: &mut World, trainee: &mut Trainee<Mlp<B>>) {
    while world.stage("seed-1") == SeedStageGerminated {
        let step = world.manager.step() + 1;
        world.step(&mut trainee.model, &mut trainee.optimizer, step);
    }
}

#[test]
fn steps_go_on_while_the_library_does_not_answer() {
    let (mut world, slow, mut trainee) = world(impatient());
    let (mut control, mut its_optimizer) = (twin(&trainee.model), optimizer());
    world.act("seed-1", Germinate).unwrap();
    for step in 1..=5 {
        world.step(&mut trainee.model, &mut trainee.optimizer, step);
        control_step(&mut control, &mut its_optimizer, step);
        assert_eq!(world.stage("seed-1"), SeedStageGerminated);
    }
    assert!(bytes(&trainee.model) == bytes(&control));
    assert_eq!(world.manager.kernel_loads().outstanding, 1);
    slow.open();
    step_until_it_came(&mut world, &mut trainee);
    assert_eq!(world.stage("seed-1"), SeedStageTraining);
    assert_eq!((slow.calls(), world.manager.kernel_loads().outstanding), (1, 0));
}

#[test]
fn kernel_that_is_too_late_culls_its_seed_and_is_reported() {
    let (mut world, slow, _) = world(impatient());
    world.act("seed-1", Germinate).unwrap();
    world.wait(29);
    assert_eq!(world.manager.tick(), []);
    assert_eq!(world.manager.next_deadline().map(|(at, _)| at.as_nanos() / 1_000_000), Some(30_000));
    world.events();
    world.wait(1);
    let moved: Vec<_> = world.manager.tick().into_iter().map(|moved| moved.to).collect();
    assert_eq!(moved, [SeedStageCulled, SeedStageEmbargoed]);
    let events = world.events();
    let late = named(&events, "prefetch_timeout");
    assert_eq!((late.len(), late[0].level()), (1, TelemetryLevel::Critical));
    assert_eq!(late[0].attributes["blueprint"], "mlp");
    assert_eq!(named(&events, "seed_culled")[0].attributes["reason"], "prefetch_timeout");
    // What comes after that is for nobody.
    slow.open();
    world.wait(30);
    world.manager.tick();
    assert_eq!(world.stage("seed-1"), SeedStageDormant);
}

#[test]
fn culled_seed_takes_its_request_back() {
    let (mut world, slow, mut trainee) = world(impatient());
    world.act("seed-1", Germinate).unwrap();
    world.act("seed-1", Cull).unwrap();
    assert_eq!((world.manager.kernel_loads().outstanding, world.manager.kernel_loads().total.cancelled), (0, 1));
    slow.open();
    world.step(&mut trainee.model, &mut trainee.optimizer, 1);
    assert_eq!(world.stage("seed-1"), SeedStageEmbargoed);
}

#[test]
fn prefetched_kernel_is_there_when_its_order_comes() {
    let (mut world, slow, _) = world(impatient());
    slow.open();
    while !world.manager.prefetch(&blueprint("mlp")).unwrap() {
        world.manager.tick();
    }
    world.act("seed-1", Germinate).unwrap();
    assert_eq!((world.stage("seed-1"), slow.calls()), (SeedStageTraining, 1));
}

#[test]
fn arrival_that_the_disk_refuses_is_not_lost() {
    let (slow, store) = (Slow::new(), MemoryStore::new());
    let library = slow.clone();
    let mut world = World::build(impatient(), |builder| {
        builder.kernels(library).journal(store.clone(), store.clone()).build(&Default::default()).unwrap()
    });
    let mut trainee = Trainee::new(determined(Mlp::init()));
    world.attach(&trainee.model);
    world.act("seed-1", Germinate).unwrap();
    store.fail_next_append();
    slow.open();
    while world.manager.kernel_loads().outstanding > 0 {
        let step = world.manager.step() + 1;
        world.step(&mut trainee.model, &mut trainee.optimizer, step);
    }
    assert_eq!(world.stage("seed-1"), SeedStageGerminated);
    world.wait(60);
    world.manager.tick();
    assert_eq!((world.stage("seed-1"), slow.calls()), (SeedStageTraining, 1));
}

#[test]
fn germination_that_was_not_durable_leaves_no_kernel() {
    let (slow, store) = (Slow::new(), MemoryStore::new());
    let library = slow.clone();
    let mut world = World::build(impatient(), |builder| {
        builder.kernels(library).journal(store.clone(), store.clone()).build(&Default::default()).unwrap()
    });
    let mut trainee = Trainee::new(determined(Mlp::init()));
    world.attach(&trainee.model);
    store.fail_next_append();
    assert_eq!(refused(world.act("seed-1", Germinate)), "not_durable");
    slow.open();
    while world.manager.kernel_loads().outstanding > 0 {
        let step = world.manager.step() + 1;
        world.step(&mut trainee.model, &mut trainee.optimizer, step);
    }
    assert_eq!(world.stage("seed-1"), SeedStageDormant);
    assert_eq!(world.manager.kernel_loads().breaker.as_str_name(), "CIRCUIT_STATE_CLOSED");
}

#[test]
fn order_waits_no_longer_than_it_is_told() {
    let (mut world, slow, mut trainee) = {
        let mut settings = Settings::default();
        settings.kernels.wait_ms = 1;
        world(settings)
    };
    world.act("seed-1", Germinate).unwrap();
    assert_eq!(world.stage("seed-1"), SeedStageGerminated);
    slow.open();
    step_until_it_came(&mut world, &mut trainee);
    assert_eq!(world.stage("seed-1"), SeedStageTraining);
}
