//! CRITICAL messages, their limit, and the overflow of the normal stream.

use std::time::Duration;

use kasmina_leyline::v1::{BusMessageType, MessagePriority, TelemetryPacket};
use prost::Message as _;

use super::{AT_ONCE, World, acknowledge, arrivals, assert_nothing_comes, command, publish, reader, texts};
use crate::{Bus, Delivery, Stream};

pub(super) fn critical_comes_first(world: &mut impl World) {
    let publisher = world.bus(None);
    publish(&publisher, ["a", "b", "c"]);
    publisher.publish(command("now").with_priority(MessagePriority::Critical)).expect("room");
    publisher.flush(AT_ONCE).expect("flushed");
    let arrived = arrivals(&world.bus(reader("tamiyo", "one")), 4);
    assert_eq!(texts(&arrived), ["now", "a", "b", "c"]);
    assert_eq!((arrived[0].id.stream, arrived[0].priority), (Stream::Emergency, MessagePriority::Critical));
}

pub(super) fn critical_overflows_and_arrives(world: &mut impl World) {
    let bus = world.bus(reader("tamiyo", "one"));
    critical(&bus, 0..200);
    // 119 and a summary on the emergency stream, 81 on the normal one.
    let (messages, summaries) = sorted(&bus, 201);
    let count = |stream| messages.iter().filter(|delivery| delivery.id.stream == stream).count();
    assert_eq!((count(Stream::Emergency), count(Stream::Normal)), (119, 81));
    assert!(messages.iter().all(|delivery| delivery.priority == MessagePriority::Critical));
    let mut arrived = texts(&messages);
    arrived.sort();
    assert_eq!(arrived, (0..200).map(|number| format!("{number:03}")).collect::<Vec<_>>(), "all arrive");
    assert_eq!(summaries, [("emergency_overflow_began".to_owned(), None)]);
    assert_eq!(bus.status().counts.critical_overflow, 81);

    world.pass(Duration::from_secs(60));
    critical(&bus, 200..201);
    let (messages, summaries) = sorted(&bus, 2);
    assert_eq!((texts(&messages), messages[0].id.stream), (vec!["200".to_owned()], Stream::Emergency));
    assert_eq!(summaries, [("emergency_overflow_ended".to_owned(), Some("81".to_owned()))]);
    assert_nothing_comes(&bus);
}

fn critical(bus: &dyn Bus, numbers: std::ops::Range<u32>) {
    for number in numbers {
        bus.publish(command(&format!("{number:03}")).with_priority(MessagePriority::Critical)).expect("room");
    }
    bus.flush(AT_ONCE).expect("flushed");
}

/// Messages, and the name and the count of each summary.
fn sorted(bus: &dyn Bus, count: usize) -> (Vec<Delivery>, Vec<(String, Option<String>)>) {
    let arrived = arrivals(bus, count);
    acknowledge(bus, &arrived);
    let (summaries, messages): (Vec<_>, Vec<_>) =
        arrived.into_iter().partition(|delivery| delivery.message_type == BusMessageType::Telemetry);
    let told = |delivery: &Delivery| {
        assert_eq!(delivery.id.stream, Stream::Emergency, "summaries are told there");
        let packet = TelemetryPacket::decode(delivery.envelope.payload.as_slice()).expect("a packet");
        (packet.events[0].description.clone(), packet.events[0].attributes.get("messages").cloned())
    };
    (messages, summaries.iter().map(told).collect())
}

pub(super) fn a_backlog_overflows(world: &mut impl World) {
    let bus = world.bus(reader("tamiyo", "one"));
    // The group is there once something has come.
    publish(&bus, ["first"]);
    acknowledge(&bus, &arrivals(&bus, 1));
    // One that has not measured the backlog before that was acknowledged: it measures now and then, and counts in between.
    let publisher = world.bus(None);
    publish(&publisher, (0..11).map(|number| number.to_string()));
    publish(&publisher, ["eleven wait"]);
    // A publisher that has not filled it sees the backlog, too.
    publish(&world.bus(None), ["from another"]);
    let low = command("low").with_priority(MessagePriority::Low);
    publisher.publish(low).expect("room");
    publisher.flush(AT_ONCE).expect("flushed");
    let arrived = arrivals(&bus, 14);
    let stream_of = |text: &str| {
        let at = texts(&arrived).iter().position(|other| other == text).expect("it arrives");
        (arrived[at].id.stream, arrived[at].priority)
    };
    assert_eq!(stream_of("10"), (Stream::Normal, MessagePriority::Normal));
    assert_eq!(stream_of("eleven wait"), (Stream::Emergency, MessagePriority::Normal));
    assert_eq!(stream_of("from another"), (Stream::Emergency, MessagePriority::Normal));
    assert_eq!(stream_of("low"), (Stream::Normal, MessagePriority::Low));
    assert_eq!(publisher.status().counts.normal_overflow, 1);
}
