//! Servers that refuse.

use std::{collections::BTreeMap, time::Duration};

use kasmina_leyline::v1::BusMessageType;
use kasmina_oona::{
    BrokerError, Bus, BusSettings, Health, Message, PublishError, RedisBus, Stream, conformance::arrivals,
    doubles::RedisServer,
};
use redis::{Value, cmd};

use crate::worlds::{AT_ONCE, RedisWorld, dead_letters, make_idle, pending, reader, wait_until};

const LONG_RETRY: Duration = Duration::from_secs(60);

fn of(message_type: BusMessageType) -> Message {
    Message::new(message_type, *b"x")
}

fn world(options: &[&str]) -> Option<RedisWorld> {
    RedisWorld::new(BusSettings::default(), options)
}

fn run(world: &RedisWorld, words: &[&str]) {
    let mut command = cmd(words[0]);
    command.arg(&words[1..]).query::<Value>(&mut world.raw()).unwrap();
}

/// Publishes a command, which the server refuses, makes it accept, and sees that it was not lost.
fn assert_kept_until(world: &RedisWorld, bus: &RedisBus, expected: &dyn Fn(&BrokerError) -> bool, cure: &[&str]) {
    let ticket = bus.publish(of(BusMessageType::AdaptationCommand)).unwrap();
    wait_until("the server refuses", || bus.status().refusing.get(&Stream::Normal).is_some_and(expected));
    assert!(bus.status().stored_through < ticket);
    run(world, cure);
    world.clock.advance(LONG_RETRY);
    bus.flush(AT_ONCE).unwrap();
    let status = bus.status();
    assert_eq!((status.stored_through, status.refusing), (ticket, BTreeMap::new()));
}

#[test]
fn a_broken_stream_does_not_hold_up_the_others() {
    let Some(world) = world(&[]) else { return };
    run(&world, &["SET", "oona.policy", "no stream"]);
    let bus = world.start(Some(kasmina_oona::Subscription::new("tamiyo", "one", Stream::ALL)));
    bus.publish(of(BusMessageType::PolicyUpdate)).unwrap();
    for message_type in [BusMessageType::AdaptationCommand, BusMessageType::Telemetry] {
        bus.publish(of(message_type)).unwrap();
    }
    arrivals(&bus, 2);
    let refusing = BTreeMap::from([(Stream::Policy, BrokerError::NotAStream)]);
    wait_until("it is refused", || bus.status().refusing == refusing);
    let unflushed = bus.flush(Duration::from_millis(1)).unwrap_err();
    assert_eq!((unflushed.messages, unflushed.health), (1, Health::Connected));
    run(&world, &["DEL", "oona.policy"]);
    world.clock.advance(LONG_RETRY);
    assert_eq!(arrivals(&bus, 1)[0].message_type, BusMessageType::PolicyUpdate);
    wait_until("nothing is refused", || bus.status().refusing.is_empty());
}

#[test]
fn without_permission_messages_are_kept() {
    let Some(mut world) = world(&[]) else { return };
    run(&world, &["ACL", "SETUSER", "limited", "on", ">word", "~*", "+@all", "-xadd"]);
    world.settings.address = format!("redis://limited:word@127.0.0.1:{}", world.server.port());
    let bus = world.start(None);
    let expected = |error: &BrokerError| matches!(error, BrokerError::NoPermission { .. });
    assert_kept_until(&world, &bus, &expected, &["ACL", "SETUSER", "limited", "+xadd"]);
}

#[test]
fn a_replica_keeps_messages_until_it_is_promoted() {
    let Some(world) = world(&[]) else { return };
    run(&world, &["REPLICAOF", "127.0.0.1", "1"]);
    let bus = world.start(None);
    assert_kept_until(&world, &bus, &|error| *error == BrokerError::ReadOnly, &["REPLICAOF", "NO", "ONE"]);
}

#[test]
fn a_server_out_of_memory_keeps_messages_waiting() {
    let Some(world) = world(&[]) else { return };
    run(&world, &["CONFIG", "SET", "maxmemory", "1"]);
    let bus = world.start(None);
    let expected =
        |error: &BrokerError| matches!(error, BrokerError::StoresNothing { detail } if detail.starts_with("OOM"));
    assert_kept_until(&world, &bus, &expected, &["CONFIG", "SET", "maxmemory", "0"]);
}

#[test]
fn a_password_is_needed_and_never_told() {
    let Some(mut world) = world(&["--requirepass", "the right phrase"]) else { return };
    let address = |user: &str| format!("redis://{user}127.0.0.1:{}", world.server.port());
    let addresses = [address(""), address(":the%20wrong%20phrase@"), address(":the%20right%20phrase@")];
    let [without, wrong, right] = addresses;
    for wrong in [without, wrong] {
        world.settings.address = wrong;
        let bus = world.start(None);
        let refused =
            || matches!(bus.status().health, Health::Down { error: BrokerError::NotAuthenticated { .. }, .. });
        wait_until("the server wants a password", refused);
        let printed = format!("{bus:?} {:?}", world.settings);
        assert!(!printed.contains("phrase"), "{printed}");
    }
    world.settings.address = right;
    let bus = world.start(None);
    bus.publish(of(BusMessageType::Telemetry)).unwrap();
    bus.flush(AT_ONCE).unwrap();
    assert_eq!(bus.status().health, Health::Connected);
}

#[test]
fn a_group_that_was_destroyed_is_made_again() {
    let Some(world) = world(&[]) else { return };
    let bus = world.start(reader("tamiyo"));
    bus.publish(of(BusMessageType::FieldReport)).unwrap();
    bus.acknowledge(arrivals(&bus, 1)[0].id).unwrap();
    bus.flush(AT_ONCE).unwrap();
    run(&world, &["FLUSHALL"]);
    bus.publish(of(BusMessageType::FieldReport)).unwrap();
    arrivals(&bus, 1);
}

#[test]
fn without_a_place_for_dead_letters_entries_stay() {
    let Some(world) = world(&[]) else { return };
    run(&world, &["SET", "oona.dead_letters", "no stream"]);
    let publisher = world.start(None);
    publisher.publish(of(BusMessageType::FieldReport)).unwrap();
    publisher.flush(AT_ONCE).unwrap();
    world.clock.advance(Duration::from_secs(16 * 60));
    let bus = world.start(reader("tamiyo"));
    wait_until("the letter is refused", || bus.status().dead_letters_refused == Some(BrokerError::NotAStream));
    let names = &world.settings.bus.streams;
    assert_eq!(pending(&mut world.raw(), &names.normal, "tamiyo"), 1, "nothing was acknowledged");
    run(&world, &["DEL", "oona.dead_letters"]);
    let mut world = world;
    kasmina_oona::conformance::World::pass(&mut world, Duration::from_secs(61));
    let names = &world.settings.bus.streams;
    wait_until("the letter is written", || dead_letters(&mut world.raw(), names) == ["expired"]);
    wait_until("once", || bus.status().counts.dead_lettered == 1);
    assert_eq!(bus.status().dead_letters_refused, None);
}

#[test]
fn a_trimmed_entry_is_counted_when_it_is_claimed() {
    let Some(world) = world(&[]) else { return };
    let bus = world.start(reader("tamiyo"));
    bus.publish(of(BusMessageType::FieldReport)).unwrap();
    arrivals(&bus, 1);
    make_idle(&mut world.raw(), "oona.normal", Duration::from_secs(61));
    run(&world, &["XTRIM", "oona.normal", "MAXLEN", "0"]);
    world.clock.advance(Duration::from_secs(61));
    let trimmed = || bus.status().counts.dropped.get(&kasmina_oona::DropCause::Trimmed) == Some(&1);
    wait_until("it is counted", trimmed);
}

#[test]
fn streams_are_trimmed_to_about_their_capacity() {
    let settings = BusSettings { stream_capacity: 100, ..BusSettings::default() };
    let Some(world) = RedisWorld::new(settings, &["--stream-node-max-entries", "10"]) else { return };
    let bus = world.start(None);
    for _ in 0..500 {
        bus.publish(of(BusMessageType::Telemetry)).unwrap();
    }
    bus.flush(AT_ONCE).unwrap();
    let length: usize = cmd("XLEN").arg("oona.telemetry").query(&mut world.raw()).unwrap();
    assert!((100..=110).contains(&length), "{length}");
}

#[test]
fn without_a_server_the_queue_fills_and_then_refuses() {
    let Some(mut world) = world(&[]) else { return };
    world.server.kill();
    (world.settings.queue, world.settings.critical_reserve) = (10, 3);
    let bus = world.start(None);
    let publish = |critical: bool| {
        let message = of(BusMessageType::FieldReport);
        if critical {
            return bus.publish(message.with_priority(kasmina_leyline::v1::MessagePriority::Critical));
        }
        bus.publish(message)
    };
    assert!((0..10).all(|_| publish(false).is_ok()));
    let refused = publish(false).unwrap_err();
    assert_eq!(*refused.message, of(BusMessageType::FieldReport));
    assert!(matches!(refused.cause, PublishError::Full { waiting: 10, .. }), "{:?}", refused.cause);
    assert!((0..3).all(|_| publish(true).is_ok()), "places that only CRITICAL may take");
    assert!(matches!(publish(true).unwrap_err().cause, PublishError::Full { waiting: 13, .. }));
    let down = || matches!(bus.status().health, Health::Down { error: BrokerError::Unreachable { .. }, .. });
    wait_until("the bus notices", down);
    world.server.restart();
    world.clock.advance(LONG_RETRY);
    bus.flush(AT_ONCE).unwrap();
    let status = bus.status();
    assert_eq!((status.stored_through.number(), status.health), (13, Health::Connected));
}

#[test]
fn a_message_that_waited_for_the_server_is_fresh() {
    let Some(mut world) = world(&[]) else { return };
    world.server.kill();
    let bus = world.start(reader("tamiyo"));
    bus.publish(of(BusMessageType::FieldReport)).unwrap();
    world.clock.advance(Duration::from_secs(600));
    world.server.restart();
    wait_until("both are connected", || {
        world.clock.advance(Duration::from_millis(1));
        bus.status().health == Health::Connected
    });
    let arrived = arrivals(&bus, 1);
    let millis = |name: &str| arrived[0].envelope.attributes[name].parse::<i64>().unwrap();
    let waited = millis("sent_at_ms") - millis("issued_at_ms");
    assert!((600_000..660_000).contains(&waited), "{waited}");
}

#[test]
fn what_waits_for_poll_counts_as_no_delivery() {
    let Some(mut world) = world(&[]) else { return };
    let bus = world.start(reader("tamiyo"));
    bus.publish(of(BusMessageType::FieldReport)).unwrap();
    type Facts = Vec<(String, String, u64, u64)>;
    let mut raw = world.raw();
    let mut pending = || -> Facts {
        cmd("XPENDING").arg("oona.normal").arg("tamiyo").arg("-").arg("+").arg(10).query(&mut raw).unwrap_or_default()
    };
    wait_until("it is read", || pending().len() == 1);
    for _ in 0..6 {
        kasmina_oona::conformance::World::pass(&mut world, Duration::from_secs(61));
        wait_until("it is refreshed", || pending()[0].2 < 60_000);
        assert_eq!(pending()[0].3, 1, "one delivery");
    }
    assert_eq!(arrivals(&bus, 1)[0].attempt, 1);
}

#[test]
fn what_waits_for_poll_for_too_long_expires() {
    let Some(world) = world(&[]) else { return };
    let bus = world.start(reader("tamiyo"));
    bus.publish(of(BusMessageType::FieldReport)).unwrap();
    let names = &world.settings.bus.streams;
    let mut raw = world.raw();
    wait_until("its group is there", || cmd("XPENDING").arg("oona.normal").arg("tamiyo").exec(&mut raw).is_ok());
    wait_until("it is read", || pending(&mut raw, &names.normal, "tamiyo") == 1);
    world.clock.advance(Duration::from_secs(16 * 60));
    wait_until("it is dropped", || {
        assert_eq!(bus.poll(1), Ok(Vec::new()));
        dead_letters(&mut raw, names) == ["expired"]
    });
    assert_eq!(bus.status().counts.delivered, 0);
}

#[test]
fn a_handler_that_forgets_its_entry_is_not_stopped() {
    let settings = BusSettings { most_unacknowledged: 1, ..BusSettings::default() };
    let Some(mut world) = RedisWorld::new(settings, &[]) else { return };
    let forgetful = world.start(reader("tamiyo"));
    forgetful.publish(of(BusMessageType::FieldReport)).unwrap();
    arrivals(&forgetful, 1);
    let other = world.start(Some(kasmina_oona::Subscription::new("tamiyo", "other", [Stream::Normal])));
    kasmina_oona::conformance::World::pass(&mut world, Duration::from_secs(61));
    other.acknowledge(arrivals(&other, 1)[0].id).unwrap();
    other.flush(AT_ONCE).unwrap();
    drop(other);
    forgetful.publish(of(BusMessageType::FieldReport)).unwrap();
    world.clock.advance(Duration::from_secs(61));
    assert_eq!(arrivals(&forgetful, 1)[0].attempt, 1, "the entry that it forgot does not count any more");
}

#[test]
fn a_server_double_says_what_it_is() {
    let Some(server) = RedisServer::start(&[]) else { return };
    assert_eq!(server.address(), format!("redis://127.0.0.1:{}", server.port()));
}
