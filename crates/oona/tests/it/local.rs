//! What only the bus in the process does.

use kasmina_leyline::v1::{BusMessageType, MessagePriority};
use kasmina_oona::{Bus, BusSettings, DropCause, LocalBroker, Message, PublishError, Subscription};

use std::time::Duration;

use kasmina_safety::Clock;

use crate::worlds::{clock_of_today, reader};

fn broker(settings: BusSettings) -> LocalBroker {
    LocalBroker::new(settings, clock_of_today()).unwrap()
}

fn message(text: &str) -> Message {
    Message::new(BusMessageType::FieldReport, text)
}

fn texts(bus: &impl Bus) -> Vec<String> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    bus.poll(100).unwrap().into_iter().map(|delivery| text(delivery.envelope.payload)).collect()
}

fn subscription(group: &str) -> Subscription {
    reader(group).unwrap()
}

#[test]
fn a_full_stream_refuses_while_a_group_needs_its_entries() {
    let broker = broker(BusSettings { stream_capacity: 3, ..BusSettings::default() });
    let (fast, slow) = (broker.join(subscription("fast")).unwrap(), broker.join(subscription("slow")).unwrap());
    for text in ["a", "b", "c"] {
        fast.publish(message(text)).unwrap();
    }
    for delivery in fast.poll(100).unwrap() {
        fast.acknowledge(delivery.id).unwrap();
    }
    let refused = fast.publish(message("d")).unwrap_err();
    assert_eq!((*refused.message, fast.status().stored_through.number()), (message("d"), 3));
    assert!(matches!(refused.cause, PublishError::Full { waiting: 3, .. }), "{:?}", refused.cause);
    let first = slow.poll(1).unwrap().remove(0);
    assert!(fast.publish(message("d")).is_err(), "delivered is not handled");
    slow.acknowledge(first.id).unwrap();
    fast.publish(message("d")).unwrap();
    assert_eq!((texts(&fast), texts(&slow)), (vec!["d".into()], vec!["b".into(), "c".into(), "d".into()]));
    assert_eq!(fast.status().counts.dropped.len(), 0);
}

#[test]
fn without_a_group_the_oldest_entry_makes_room() {
    let broker = broker(BusSettings { stream_capacity: 3, ..BusSettings::default() });
    let publisher = broker.publisher();
    for text in ["a", "b", "c", "d", "e"] {
        publisher.publish(message(text)).unwrap();
    }
    assert_eq!(publisher.status().counts.dropped.get(&DropCause::Trimmed), Some(&2));
    assert_eq!(texts(&broker.join(subscription("late")).unwrap()), ["c", "d", "e"]);
}

#[test]
fn critical_entries_make_no_room_for_others() {
    let broker = broker(BusSettings { stream_capacity: 2, ..BusSettings::default() });
    let publisher = broker.publisher();
    let critical = |text: &str| message(text).with_priority(MessagePriority::Critical);
    // Two on the emergency stream, two at home.
    for text in ["a", "b", "c", "d"] {
        publisher.publish(critical(text)).unwrap();
    }
    assert_eq!(*publisher.publish(critical("e")).unwrap_err().message, critical("e"));
    assert!(publisher.publish(message("f")).is_err());
    assert_eq!(texts(&broker.join(subscription("late")).unwrap()), ["a", "b", "c", "d"]);
}

#[test]
fn bytes_are_bounded_too() {
    let broker = broker(BusSettings { stream_bytes: 2_000, ..BusSettings::default() });
    let bus = broker.join(subscription("tamiyo")).unwrap();
    let large = || message(&"x".repeat(900));
    assert!(bus.publish(large()).is_ok() && bus.publish(large()).is_ok());
    let refused = bus.publish(large()).unwrap_err();
    assert!(matches!(refused.cause, PublishError::Full { waiting: 2, bytes: 1_800.. }), "{:?}", refused.cause);
}

#[test]
fn a_clock_that_is_set_back_makes_nothing_stale() {
    let clock = clock_of_today();
    let broker = LocalBroker::new(BusSettings::default(), clock.clone()).unwrap();
    let bus = broker.join(subscription("tamiyo")).unwrap();
    bus.publish(message("before")).unwrap();
    clock.set_unix(clock.unix().before(Duration::from_secs(3_600)));
    bus.publish(message("after")).unwrap();
    assert_eq!(texts(&bus), ["before", "after"], "in order");
    assert_eq!(bus.status().counts.dropped.len(), 0);
}
