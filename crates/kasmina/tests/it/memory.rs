//! Memory: budgets, conservative mode, what is freed, and what is promised.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use crate::common::{B, Mlp, World, blueprint, lenient, model_of, optimizer, refused, seed};
use kasmina::{
    Grown, MemoryReport, Settings,
    commands::Order,
    kernel_load::{Fetched, KernelLibrary},
    leyline::v1::{BlueprintDescriptor, SeedLifecycleStage::*, TelemetryEvent},
    memory::{Budget, Holding, Pool},
};

/// A world with a model, and the limit that `set` asks for.
fn world(set: impl FnOnce(&mut Settings)) -> (World, Grown<B, Mlp<B>>) {
    let mut settings = lenient();
    set(&mut settings);
    let (mut world, model) = (World::new(settings), model_of(Mlp::<B>::init()));
    world.attach(&model);
    (world, model)
}

fn step(world: &mut World, model: &mut Grown<B, Mlp<B>>) -> Vec<TelemetryEvent> {
    world.step(model, &mut optimizer(), 1);
    world.events()
}

fn named<'a>(events: &'a [TelemetryEvent], name: &str) -> Vec<&'a TelemetryEvent> {
    events.iter().filter(|event| event.description == name).collect()
}

fn bytes(report: &MemoryReport, pool: Pool) -> u64 {
    report.pools[pool].held.bytes
}

#[test]
fn germination_waits_until_the_teacher_has_gone() {
    let (mut world, mut model) = world(|settings| settings.memory.total_bytes = 1_000_000);
    let over = world.manager.reserve_teacher(1_000_001).unwrap_err();
    assert_eq!((over.budget, over.limit), (Budget::Total, 1_000_000));
    let teacher = world.manager.reserve_teacher(950_000).unwrap();
    let events = step(&mut world, &mut model);
    let started = named(&events, "conservation_start");
    assert_eq!(started[0].attributes["held_bytes"], "950000");
    assert!(world.manager.memory().conserving && world.manager.memory().pressure == 0.95);

    assert_eq!(refused(world.germinate("seed-1", "mlp")), "memory_pressure");
    assert_eq!((world.stage("seed-1"), world.library.fetches()), (SeedStageDormant, 0));
    let again = step(&mut world, &mut model);
    assert!(named(&again, "conservation_start").is_empty(), "it is told once");
    assert_eq!(named(&again, "gate_postponed")[0].attributes["reason"], "memory_pressure");

    drop(teacher);
    let events = step(&mut world, &mut model);
    assert_eq!(named(&events, "conservation_end").len(), 1);
    world.germinate("seed-1", "mlp").unwrap();
    assert_eq!(world.stage("seed-1"), SeedStageTraining);
}

#[test]
fn process_past_its_limit_purges_caches_and_culls_nobody() {
    let resident = Arc::new(AtomicU64::new(500));
    let mut settings = lenient();
    settings.memory.resident_bytes = Some(1_000);
    let probe = Arc::clone(&resident);
    let mut world = World::build(settings, |builder| {
        let builder = builder.resident_probe(move || Some(probe.load(SeqCst)));
        builder.volatile().build(&Default::default()).unwrap()
    });
    let mut model = model_of(Mlp::<B>::init());
    world.attach(&model);
    world.germinate("seed-1", "mlp").unwrap();
    step(&mut world, &mut model);
    let before = world.manager.memory();
    assert_eq!((before.resident, before.pools[Pool::Kernels].held.entries), (Some(500), 1));

    resident.store(1_001, SeqCst);
    let events = step(&mut world, &mut model);
    let after = world.manager.memory();
    for pool in [Pool::Kernels, Pool::Blueprints] {
        assert_eq!(
            (after.pools[pool].held, after.pools[pool].purged.bytes),
            (Holding::default(), bytes(&before, pool))
        );
        assert!(bytes(&before, pool) > 0);
    }
    let freed: Vec<_> = named(&events, "memory_gc").iter().map(|event| event.attributes["cause"].as_str()).collect();
    assert_eq!(freed, ["expired", "purged"]);
    assert!(after.conserving && world.stage("seed-1") == SeedStageTraining);

    resident.store(760, SeqCst);
    assert!(named(&step(&mut world, &mut model), "conservation_end").is_empty());
    resident.store(740, SeqCst);
    assert_eq!(named(&step(&mut world, &mut model), "conservation_end").len(), 1);
}

#[test]
fn end_of_an_epoch_frees_what_has_expired_and_says_how_much() {
    let (mut world, _) = world(|settings| {
        (settings.kernels.cache_ttl_seconds, settings.kernels.collect_every_epochs) = (10, 1);
        settings.memory.blueprint_ttl_seconds = 20;
    });
    world.germinate("seed-1", "mlp").unwrap();
    let held = world.manager.memory();
    world.wait(10);
    world.events();
    world.manager.end_epoch();
    let after = world.manager.memory();
    assert_eq!(after.pools[Pool::Kernels].expired.bytes, bytes(&held, Pool::Kernels));
    assert_eq!((bytes(&after, Pool::Kernels), bytes(&after, Pool::Blueprints)), (0, bytes(&held, Pool::Blueprints)));
    let events = world.events();
    let freed = named(&events, "memory_gc")[0].attributes.clone();
    assert_eq!((freed["cause"].as_str(), freed["entries"].as_str()), ("expired", "1"));
    assert_eq!(freed["kernels"], bytes(&held, Pool::Kernels).to_string());

    world.wait(10);
    world.manager.end_epoch();
    assert_eq!(world.manager.memory().pools[Pool::Blueprints].expired.bytes, bytes(&held, Pool::Blueprints));
}

#[test]
fn emergency_purges_every_pool_through_the_same_door() {
    let (mut world, _) = world(|_| {});
    world.germinate("seed-1", "mlp").unwrap();
    world.sink.set_down(true);
    world.manager.flush_telemetry();
    let held = world.manager.memory();
    assert!(Pool::ALL[..3].iter().all(|pool| bytes(&held, *pool) > 0), "{held:?}");
    world.manager.order(Order::Emergency { include_teacher: false }).unwrap();
    let after = world.manager.memory();
    for pool in &Pool::ALL[..3] {
        let (held, after) = (held.pools[*pool].held, after.pools[*pool]);
        assert_eq!((after.held.bytes, after.purged.bytes), (held.pinned, held.bytes - held.pinned), "{pool:?}");
    }
    world.sink.set_down(false);
    let dropped = world.events();
    assert_eq!(named(&dropped, "memory_gc").len(), 1);
}

#[test]
fn exported_risk_is_that_of_the_last_look_until_it_expires() {
    let (mut world, _) = world(|settings| settings.memory.blueprint_ttl_seconds = 10);
    world.germinate("seed-1", "mlp").unwrap();
    let risk = |world: &World| {
        let states = world.manager.export_seed_states();
        states.iter().find(|state| state.seed_id == seed("seed-1").as_str()).unwrap().risk_score
    };
    let known = risk(&world);
    let id = blueprint("mlp");
    let descriptor = BlueprintDescriptor { risk: known + 0.5, ..world.library.descriptor(&id).unwrap() };
    let Fetched::Here(artifact) = world.library.fetch(&id).unwrap() else { panic!("it is in memory") };
    world.library.put(descriptor, &id, artifact);
    assert_eq!(risk(&world), known);
    world.wait(10);
    assert_eq!(risk(&world), known + 0.5);
}

#[test]
fn gauges_say_what_each_pool_holds() {
    let (mut world, _) = world(|settings| settings.memory.total_bytes = 1_000_000);
    let _teacher = world.manager.reserve_teacher(500_000).unwrap();
    world.manager.flush_telemetry();
    let points: Vec<_> = world.sink.take().into_iter().flat_map(|packet| packet.metrics).collect();
    let value = |name: &str, pool: &str| {
        let found = points.iter().find(|it| it.name == name && it.attributes.get("pool").is_none_or(|it| it == pool));
        found.map(|it| it.value)
    };
    assert_eq!(value("kasmina.memory.held_bytes", "teacher"), Some(500_000.0));
    assert_eq!(value("kasmina.memory.budget_bytes", "total"), Some(1_000_000.0));
    assert_eq!(value("kasmina.memory.conserving", ""), Some(0.0));
}

#[test]
fn reservation_of_all_there_is_overflows_no_report() {
    let (mut world, mut model) =
        world(|settings| (settings.memory.total_bytes, settings.memory.teacher_bytes) = (u64::MAX, u64::MAX));
    let _teacher = world.manager.reserve_teacher(u64::MAX - bytes(&world.manager.memory(), Pool::Blueprints)).unwrap();
    let report = world.manager.memory();
    assert_eq!((report.pools[Pool::Teacher].held.bytes, report.total), (u64::MAX, u64::MAX));
    step(&mut world, &mut model);
}
