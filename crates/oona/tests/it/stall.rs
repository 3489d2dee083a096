//! A server that is there and does not answer.

use std::{collections::BTreeSet, time::Duration};

use kasmina_leyline::v1::{BusMessageType, MessagePriority};
use kasmina_oona::{Bus, BusSettings, Health, Message, RedisBus, conformance::arrivals};
use kasmina_safety::{Clock, SystemClock};

use crate::worlds::{AT_ONCE, RedisWorld, reader, wait_until};

fn world(options: &[&str]) -> Option<RedisWorld> {
    let mut world = RedisWorld::new(BusSettings::default(), options)?;
    world.settings.response_timeout = Duration::from_millis(200);
    Some(world)
}

fn message(number: usize) -> Message {
    Message::new(BusMessageType::FieldReport, number.to_string())
}

/// Back-offs are by the injected clock.
fn connect(world: &RedisWorld, bus: &RedisBus) {
    wait_until("it is connected", || {
        world.clock.advance(Duration::from_secs(1));
        bus.status().health == Health::Connected
    });
}

fn is_stalled(bus: &RedisBus) -> bool {
    matches!(bus.status().health, Health::Stalled { .. })
}

#[test]
fn a_stalled_server_stops_no_publisher_and_loses_nothing() {
    let Some(mut world) = world(&[]) else { return };
    (world.settings.queue, world.settings.critical_reserve) = (300, 50);
    let receiver = world.start(reader("tamiyo"));
    let bus = world.start(None);
    connect(&world, &receiver);
    connect(&world, &bus);
    bus.publish(message(0)).unwrap();
    arrivals(&receiver, 1);
    wait_until("nothing waits", || bus.status().waiting == 0);

    world.server.pause();
    for number in 1..=300 {
        bus.publish(message(number)).unwrap();
    }
    assert!(bus.publish(message(301)).is_err(), "all that may wait waits");
    for number in 301..=350 {
        bus.publish(message(number).with_priority(MessagePriority::Critical)).unwrap();
    }
    wait_until("the bus is stalled", || is_stalled(&bus) && is_stalled(&receiver));
    let status = bus.status();
    assert_eq!((status.waiting, status.stored_through.number()), (350, 1));

    world.server.resume();
    world.clock.advance(Duration::from_secs(60));
    wait_until("all is stored", || {
        // Back-offs are by the injected clock.
        world.clock.advance(Duration::from_secs(1));
        bus.status().waiting == 0
    });
    assert_eq!((bus.status().stored_through.number(), bus.status().health), (351, Health::Connected));
    let arrived = arrivals(&receiver, 350);
    let numbers: BTreeSet<usize> =
        arrived.iter().map(|it| String::from_utf8_lossy(&it.envelope.payload).parse().unwrap()).collect();
    assert!(numbers.into_iter().eq(1..=350), "each arrives once, even if it was sent twice");
}

#[test]
fn a_bus_over_a_stalled_server_can_be_dropped() {
    let Some(world) = world(&[]) else { return };
    let bus = world.start(reader("tamiyo"));
    connect(&world, &bus);
    world.server.pause();
    bus.publish(message(0)).unwrap();
    wait_until("it is stalled", || is_stalled(&bus));
    let unflushed = bus.flush(Duration::from_millis(1)).unwrap_err();
    assert_eq!(unflushed.messages, 1);
    drop(bus);
}

#[test]
fn a_stalled_server_that_dies_is_down() {
    // The password is a question of its own, which is not answered either.
    let Some(mut world) = world(&["--requirepass", "phrase"]) else { return };
    world.settings.address = format!("redis://:phrase@127.0.0.1:{}/3", world.server.port());
    let bus = world.start(None);
    connect(&world, &bus);
    world.server.pause();
    let stalled_at = world.clock.monotonic();
    wait_until("it is stalled", || {
        world.clock.advance(Duration::from_secs(1));
        is_stalled(&bus)
    });
    let Health::Stalled { since } = bus.status().health else { panic!("stalled") };
    assert!(since > stalled_at);
    for _ in 0..5 {
        let lost = bus.status().counts.disconnected;
        wait_until("it tries again", || {
            world.clock.advance(Duration::from_secs(1));
            bus.status().counts.disconnected > lost
        });
        assert_eq!(bus.status().health, Health::Stalled { since }, "as long as it accepts connections");
    }
    world.server.kill();
    wait_until("it is down", || {
        world.clock.advance(Duration::from_secs(1));
        matches!(bus.status().health, Health::Down { since: down, .. } if down > since)
    });
}

#[test]
fn the_machine_s_clock_works_too() {
    let Some(world) = world(&[]) else { return };
    let bus =
        RedisBus::start(world.settings.clone(), world.keys.clone(), reader("tamiyo"), SystemClock::new()).unwrap();
    bus.publish(message(0)).unwrap();
    bus.flush(AT_ONCE).unwrap();
    let arrived = arrivals(&bus, 1);
    bus.acknowledge(arrived[0].id).unwrap();
    bus.flush(AT_ONCE).unwrap();
    assert_eq!(bus.status().health, Health::Connected);
}
