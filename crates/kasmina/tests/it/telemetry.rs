//! What telemetry says of the manager, and what senders without the key can make it do.

use std::time::Duration;

use crate::common::{B, Mlp, World, blueprint, model_of, optimizer, refused, seed};
use kasmina::{
    Settings,
    engine::commands::{BreakerName, Order},
    leyline::v1::{
        CircuitBreakerState::{CircuitStateClosed, CircuitStateHalfOpen, CircuitStateOpen},
        HealthStatus, TelemetryEvent, TelemetryPacket,
    },
    rollback::{Journal, doubles::MemoryStore},
    safety::Clock,
    security::{CommandVerifier, KeyRing, NonceLedger, Secret},
};
use proptest::prelude::*;

fn stored(store: &MemoryStore) -> World {
    let mut world = World::build(Settings::default(), |builder| {
        builder.journal(store.clone(), store.clone()).build(&Default::default()).unwrap()
    });
    world.attach(&model_of(Mlp::<B>::init()));
    world
}

fn packets(world: &mut World) -> Vec<TelemetryPacket> {
    world.manager.flush_telemetry();
    world.sink.take()
}

fn named<'a>(packets: &'a [TelemetryPacket], name: &str) -> Vec<&'a TelemetryEvent> {
    packets.iter().flat_map(|packet| &packet.events).filter(|event| event.description == name).collect()
}

fn values(packets: &[TelemetryPacket], name: &str) -> Vec<f64> {
    packets.iter().flat_map(|packet| &packet.metrics).filter(|point| point.name == name).map(|it| it.value).collect()
}

fn health(packets: &[TelemetryPacket]) -> Vec<HealthStatus> {
    packets.iter().filter_map(|packet| Some(packet.system_health.as_ref()?.status())).collect()
}

#[test]
fn every_packet_says_which_run_it_is_about() {
    let mut world = World::new(Settings::default());
    let mut host = model_of(Mlp::<B>::init());
    world.attach(&host);
    world.germinate("seed-1", "mlp").unwrap();
    world.step(&mut host, &mut optimizer(), 1);
    let packets = packets(&mut world);
    assert!(packets.len() >= 2);
    for packet in &packets {
        assert_eq!(packet.system_health.as_ref().unwrap().indicators["training_run_id"], "run-7");
    }
    // The host's, and the kernel's.
    let registered = named(&packets, "parameter_registration");
    let written = |name: &str| registered.iter().map(|event| event.attributes[name].clone()).collect::<Vec<_>>();
    // 16-6-1, and 16-24-6.
    assert_eq!((written("parameters"), written("values")), (vec!["4".into(); 2], vec!["109".into(), "558".into()]));
    for name in ["size", "bytes", "evictions", "ttl_seconds"] {
        assert!(!values(&packets, &format!("kasmina.cache.{name}")).is_empty(), "{name}");
    }
    assert_eq!(values(&packets, "kasmina.breaker.state").len(), kasmina::engine::commands::BreakerName::ALL.len());
    assert_eq!(values(&packets, "kasmina.commands.accepted_total"), [1.0]);
}

#[test]
fn open_breaker_is_unhealthy_in_packets_without_events() {
    let mut settings = Settings::default();
    settings.lifecycle.embargo_seconds = 5;
    let mut world = World::new(settings);
    let mut host = model_of(Mlp::<B>::init());
    world.attach(&host);
    let mut optimizer = optimizer();
    world.step(&mut host, &mut optimizer, 1);
    assert!(health(&packets(&mut world)).iter().all(|status| *status == HealthStatus::Healthy));
    world.library.fail(&blueprint("mlp"), kasmina::kernel_load::LibraryError::Missing { path: "gone".into() });
    for _ in 0..3 {
        world.wait(6);
        world.manager.tick();
        refused(world.germinate("seed-1", "mlp"));
    }
    packets(&mut world);
    world.step(&mut host, &mut optimizer, 2);
    let packets = packets(&mut world);
    assert!(named(&packets, "breaker_open").is_empty());
    assert!(!packets.is_empty() && health(&packets).iter().all(|status| *status == HealthStatus::Unhealthy));
    let summary = &packets[0].system_health.as_ref().unwrap().summary;
    assert_eq!(summary, "breaker kernels is open");
}

#[test]
fn telemetry_breaker_closes_after_two_good_flushes() {
    let mut world = World::new(Settings::default());
    let mut host = model_of(Mlp::<B>::init());
    world.attach(&host);
    let mut optimizer = optimizer();
    let breaker = |world: &World| world.manager.state().run.breakers.get(BreakerName::Telemetry).state();
    world.sink.set_down(true);
    (1..=3).for_each(|step| drop(world.step(&mut host, &mut optimizer, step)));
    assert_eq!(breaker(&world), CircuitStateOpen);
    world.sink.set_down(false);
    world.wait(31);
    world.step(&mut host, &mut optimizer, 4);
    assert_eq!(breaker(&world), CircuitStateHalfOpen);
    world.step(&mut host, &mut optimizer, 5);
    assert_eq!(breaker(&world), CircuitStateClosed);
}

#[test]
fn telemetry_breaker_that_was_ordered_open_closes_again() {
    let mut world = World::new(Settings::default());
    let mut host = model_of(Mlp::<B>::init());
    world.attach(&host);
    let mut optimizer = optimizer();
    let (breaker, state) = (BreakerName::Telemetry, CircuitStateOpen);
    world.manager.order(Order::CircuitBreaker { breaker, state }).unwrap();
    world.wait(31);
    (1..=2).for_each(|step| drop(world.step(&mut host, &mut optimizer, step)));
    assert_eq!(world.manager.state().run.breakers.get(breaker).state(), CircuitStateClosed);
}

#[test]
fn full_nonce_ledger_is_an_event_with_the_count() {
    let verifier = CommandVerifier::new(KeyRing::of("k1", Secret::new(kasmina::doubles::SECRET).unwrap()))
        .with_ledger(NonceLedger::new(NonceLedger::TTL, 2));
    let mut world = World::build(Settings::default(), |builder| {
        builder.verifier(verifier).volatile().build(&Default::default()).unwrap()
    });
    for millis in 0..5 {
        let now = world.clock.unix().after(Duration::from_millis(millis));
        let wire = world.sender.pause(&seed("seed-1"), false, now).unwrap();
        let _ = world.manager.submit(&wire);
    }
    let told = packets(&mut world);
    let counts: Vec<_> = named(&told, "nonce_ledger_truncated").into_iter().map(|it| &it.attributes["count"]).collect();
    assert_eq!(counts, ["3"]);
    assert!(named(&packets(&mut world), "nonce_ledger_truncated").is_empty(), "once");
}

/// What arrives between two flushes.
#[derive(Clone, Copy, Debug)]
enum Arrival {
    Honest,
    Replayed,
    Stale,
    Forged,
    Truncated(usize),
    Flush,
}

fn arrival() -> impl Strategy<Value = Arrival> {
    prop_oneof![
        3 => Just(Arrival::Honest),
        3 => Just(Arrival::Replayed),
        3 => Just(Arrival::Stale),
        2 => Just(Arrival::Forged),
        2 => (0..100_usize).prop_map(Arrival::Truncated),
        1 => Just(Arrival::Flush),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever comes in whatever order: an honest command journals as much as alone, the others nothing, and each is counted.
    #[test]
    fn mix_of_commands_journals_the_honest_ones_alone(arrivals in prop::collection::vec(arrival(), 1..80)) {
        let store = MemoryStore::new();
        let mut world = stored(&store);
        world.germinate("seed-1", "mlp").unwrap();
        let now = world.clock.unix();
        let replayed = world.sender.pause(&seed("seed-1"), false, now).unwrap();
        world.manager.submit(&replayed).unwrap();
        let stale = world.sender.pause(&seed("seed-1"), true, now.before(Duration::from_secs(61))).unwrap();
        let mut forged = replayed.clone();
        *forged.last_mut().unwrap() ^= 1;
        packets(&mut world);
        let end = |store: &MemoryStore| store.status().unwrap().end;
        let (mut resume, mut honest, mut attacks, mut counted, mut alone) = (true, 0_u64, 0_u64, 0_u64, None);
        let mut told = Vec::new();
        for arrival in arrivals {
            let before = end(&store);
            let wire = match arrival {
                Arrival::Honest => {
                    let wire = world.sender.pause(&seed("seed-1"), resume, now).unwrap();
                    resume = !resume;
                    prop_assert!(world.manager.submit(&wire).is_ok());
                    honest += 1;
                    let records = end(&store) - before;
                    prop_assert_eq!(*alone.get_or_insert(records), records);
                    continue;
                }
                Arrival::Flush => {
                    told.extend(packets(&mut world));
                    continue;
                }
                Arrival::Replayed => &replayed[..],
                Arrival::Stale => &stale[..],
                Arrival::Forged => &forged[..],
                Arrival::Truncated(length) => &replayed[..length.min(replayed.len() - 1)],
            };
            prop_assert!(world.manager.submit(wire).is_err());
            prop_assert_eq!(end(&store), before, "a rejected command was journaled");
            attacks += 1;
        }
        told.extend(packets(&mut world));
        for event in named(&told, "command_rejected") {
            counted += event.attributes["count"].parse::<u64>().unwrap();
        }
        prop_assert_eq!(counted, attacks);
        prop_assert_eq!(named(&told, "command_accepted").len() as u64, honest);
    }
}
