//! SIGKILL for the server, again and again, while messages flow.

use std::{collections::BTreeSet, time::Duration};

use kasmina_leyline::v1::{BusEnvelope, BusMessageType, MessagePriority};
use kasmina_oona::{Bus, BusSettings, Health, Message};
use prost::Message as _;

use crate::worlds::{AT_ONCE, RedisWorld, column, reader, wait_until};

const ROUNDS: usize = 15;
const MESSAGES: usize = 200;
/// The injected clock moves by this with every message, and a back-off is no longer.
const A_TICK: Duration = Duration::from_millis(20);

fn text(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload).into_owned()
}

/// The texts of all entries on the server, CRITICAL and not.
fn on_the_server(world: &RedisWorld) -> BTreeSet<String> {
    let mut raw = world.raw();
    let names = &world.settings.bus.streams;
    let payloads = [column(&mut raw, &names.emergency, "payload"), column(&mut raw, &names.normal, "payload")].concat();
    payloads.iter().map(|bytes| text(&BusEnvelope::decode(bytes.as_slice()).unwrap().payload)).collect()
}

#[test]
fn kill_9_loses_nothing_stored_and_repeats_nothing_acked() {
    let settings = BusSettings { emergency_per_minute: 100_000, ..BusSettings::default() };
    let Some(mut world) = RedisWorld::new(settings, &["--appendonly", "yes", "--appendfsync", "always"]) else {
        return;
    };
    world.settings.longest_retry = A_TICK;
    let publisher = world.start(None);
    let receiver = world.start(reader("tamiyo"));
    let mut random = fastrand::Rng::new();
    println!("seed {}", random.get_seed());
    let (mut published, mut acknowledged) = (Vec::new(), BTreeSet::new());
    let mut killed_with_some_waiting = 0;
    for round in 0..ROUNDS {
        wait_until("both are connected", || {
            world.clock.advance(A_TICK);
            [&publisher, &receiver].iter().all(|bus| bus.status().health == Health::Connected)
        });
        let kill_at = random.usize(..MESSAGES);
        for number in 0..MESSAGES {
            let name = format!("{round}-{number}");
            let message = Message::new(BusMessageType::FieldReport, name.as_bytes());
            let ticket = publisher.publish(message.with_priority(MessagePriority::Critical)).unwrap();
            published.push(name);
            assert_eq!(ticket.number() as usize, published.len(), "a publish needs no server");
            world.clock.advance(A_TICK);
            handle(&receiver, &mut acknowledged);
            if number == kill_at {
                let stored = publisher.status().stored_through.number() as usize;
                killed_with_some_waiting += usize::from(stored < published.len());
                world.server.restart();
                let held = on_the_server(&world);
                let lost: Vec<_> = published[..stored].iter().filter(|name| !held.contains(*name)).collect();
                assert!(
                    lost.is_empty(),
                    "round {round}: {stored} were acknowledged to the publisher, without {lost:?}"
                );
            }
        }
    }
    let mut rounds = 0;
    wait_until("all are handled", || {
        world.clock.advance(A_TICK);
        handle(&receiver, &mut acknowledged);
        // What a dead connection took with it is pending, and is claimed once it is idle for the server.
        rounds += 1;
        if rounds % 100 == 0 {
            make_idle(&world);
            world.clock.advance(world.settings.claim_every);
        }
        acknowledged.len() == published.len()
    });
    publisher.flush(AT_ONCE).unwrap();
    receiver.flush(AT_ONCE).unwrap();
    let (sent, received) = (publisher.status().counts, receiver.status().counts);
    println!("{ROUNDS} kills, {killed_with_some_waiting} with some waiting, {} messages", published.len());
    println!("{sent:?}\n{received:?}");
    assert!(killed_with_some_waiting > 0, "the server always died idle");
    let felt = sent.disconnected.min(received.disconnected) as usize;
    assert!(felt > ROUNDS / 2, "{felt} of {ROUNDS} kills were felt");
    assert_eq!(received.acknowledged, published.len() as u64);
}

/// Handles and acknowledges what has come; nothing comes that was acknowledged before.
fn handle(receiver: &impl Bus, acknowledged: &mut BTreeSet<String>) {
    for delivery in receiver.poll(64).unwrap() {
        let name = text(&delivery.envelope.payload);
        receiver.acknowledge(delivery.id).unwrap();
        assert!(acknowledged.insert(name.clone()), "{name} was acknowledged, and came again as new");
    }
}

/// What is pending counts as idle for the server; the clock stays.
fn make_idle(world: &RedisWorld) {
    let mut raw = world.raw();
    for stream in kasmina_oona::Stream::ALL {
        crate::worlds::make_idle(&mut raw, world.settings.bus.streams.of(stream), Duration::from_secs(61));
    }
}
