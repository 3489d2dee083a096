//! Critical packets outlive the process that could not deliver them.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use super::{settings, world};
use crate::common::{B, Mlp, World, model_of, optimizer, refused, seed};
use kasmina::{
    leyline::{
        SlotId,
        v1::{TelemetryLevel, TelemetryPacket},
    },
    rollback::{Journal, doubles::MemoryStore},
    telemetry::{Sink, SinkError, doubles::MemorySink},
};

/// Takes packets when it is told to.
#[derive(Clone, Default)]
struct Switch(Arc<AtomicBool>, MemorySink);

impl Sink for Switch {
    fn deliver(&mut self, packet: &Arc<TelemetryPacket>) -> Result<(), SinkError> {
        if self.0.load(Relaxed) {
            return self.1.deliver(packet);
        }
        Err(SinkError { sink: "switch", source: "off".into() })
    }
}

#[test]
fn a_critical_event_that_nobody_took_is_told_by_the_next_process() {
    let (store, switch) = (MemoryStore::new(), Switch::default());
    let build = |pending| {
        let mut settings = settings();
        settings.telemetry.pending_packets = pending;
        World::build(settings, |builder| {
            let builder = builder.sink(switch.clone()).journal(store.clone(), store.clone());
            builder.recover(&Default::default()).unwrap().0
        })
    };
    let critical = |packets: Vec<TelemetryPacket>| -> Vec<String> {
        let ids = packets.into_iter().filter(|packet| packet.level == TelemetryLevel::Critical as i32);
        ids.map(|packet| packet.packet_id).collect()
    };
    let mut first = build(2);
    first.attach(&model_of(Mlp::<B>::init()));
    let mut told = Vec::new();
    for _ in 0..7 {
        assert_eq!(refused(first.manager.submit(b"forged")), "malformed");
        first.manager.flush_telemetry();
        told.extend(critical(first.sink.take()));
    }
    assert_eq!(told.len(), 7);
    drop(first);

    let mut second = build(1000);
    second.manager.flush_telemetry();
    assert!(critical(switch.1.take()).is_empty());
    drop(second);

    let mut third = build(1000);
    switch.0.store(true, Relaxed);
    third.manager.flush_telemetry();
    let arrived = switch.1.take();
    assert_eq!(critical(arrived.clone()), told);
    let ids: BTreeSet<_> = arrived.iter().map(|packet| &packet.packet_id).collect();
    assert_eq!(ids.len(), arrived.len(), "packets of two processes share an id");
    // Delivered, they are not told again.
    third.manager.register_seed(seed("seed-9"), SlotId::new("mid").unwrap()).unwrap();
    drop(third);
    build(1000).manager.flush_telemetry();
    assert!(critical(switch.1.take()).is_empty());
}

#[test]
fn a_sink_that_comes_back_gets_what_went_to_the_journal() {
    let (store, switch) = (MemoryStore::new(), Switch::default());
    let mut settings = settings();
    settings.telemetry.pending_packets = 3;
    let mut world = World::build(settings, |builder| {
        let builder = builder.sink(switch.clone()).journal(store.clone(), store.clone());
        builder.recover(&Default::default()).unwrap().0
    });
    for _ in 0..20 {
        assert_eq!(refused(world.manager.submit(b"forged")), "malformed");
        world.manager.flush_telemetry();
    }
    switch.0.store(true, Relaxed);
    world.manager.flush_telemetry();
    let rejected = |packets: Vec<TelemetryPacket>| {
        packets.iter().flat_map(|packet| &packet.events).filter(|event| event.description == "command_rejected").count()
    };
    assert_eq!(rejected(switch.1.take()), 20);
}

#[test]
fn what_is_critical_about_an_answer_outlives_a_process_that_told_nobody() {
    let store = MemoryStore::new();
    let mut first = world(&store, settings());
    first.attach(&model_of(Mlp::<B>::init()));
    first.germinate("seed-1", "mlp").unwrap();
    assert_eq!(refused(first.germinate("seed-3", "mlp")), "slot_taken");
    let sink = first.sink.clone();
    // Killed: nothing is flushed that a drop would flush.
    std::mem::forget(first);
    assert!(sink.take().is_empty());

    let mut second = world(&store, settings());
    let told: Vec<_> = second.events().into_iter().map(|event| event.description).collect();
    assert!(told.contains(&"gate_failure".to_owned()), "{told:?}");
    second.manager.register_seed(seed("seed-9"), SlotId::new("mid").unwrap()).unwrap();
    drop(second);
    // It is not told again once a checkpoint knows that it was.
    let mut third = world(&store, settings());
    assert!(!third.events().into_iter().any(|event| event.description == "gate_failure"));
}

#[test]
fn packets_of_two_processes_that_could_not_write_are_told_apart() {
    let store = MemoryStore::new();
    let mut first = world(&store, settings());
    first.attach(&model_of(Mlp::<B>::init()));
    drop(first);
    let mut ids = BTreeSet::new();
    for _ in 0..3 {
        store.fail_next_append();
        let mut world = world(&store, settings());
        world.manager.flush_telemetry();
        for packet in world.sink.take() {
            assert!(ids.insert(packet.packet_id.clone()), "{} twice", packet.packet_id);
        }
    }
    assert!(ids.len() >= 3);
}

#[test]
fn packets_that_no_sink_takes_survive_compaction() {
    let (store, switch) = (MemoryStore::new(), Switch::default());
    let mut settings = settings();
    settings.training.probe_every = 1000;
    let build = || {
        World::build(settings.clone(), |builder| {
            let builder = builder.sink(switch.clone()).journal(store.clone(), store.clone());
            builder.recover(&Default::default()).unwrap().0
        })
    };
    let (mut host, mut optimizer) = (model_of(Mlp::<B>::init()), optimizer());
    let mut first = build();
    first.attach(&host);
    first.germinate("seed-1", "mlp").unwrap();
    assert_eq!(refused(first.germinate("seed-3", "mlp")), "slot_taken");
    for at in 1..=4_200 {
        first.step(&mut host, &mut optimizer, at);
    }
    assert_eq!(store.status().unwrap().start, 1, "held for the sink");
    drop(first);
    let mut second = build();
    second.go_on(&host);
    switch.0.store(true, Relaxed);
    second.manager.flush_telemetry();
    let failures = |packets: Vec<TelemetryPacket>| {
        packets.iter().flat_map(|packet| &packet.events).filter(|event| event.description == "gate_failure").count()
    };
    assert_eq!(failures(switch.1.take()), 1);
    second.wait(301);
    for at in 1..=2 {
        second.step(&mut host, &mut optimizer, at);
    }
    let held = store.status().unwrap();
    assert!(held.end - held.start < 300, "{held:?}");
    drop(second);
    build().manager.flush_telemetry();
    assert_eq!(failures(switch.1.take()), 0, "delivered once");
}
