//! What every bus has to do.
#![expect(clippy::expect_used, reason = "a suite for tests: it fails by panicking")]

mod priorities;
mod sharing;

use std::{thread, time::Duration};

use kasmina_leyline::v1::BusMessageType;

use crate::{Bus, BusError, BusSettings, Delivery, DeliveryId, EntryId, Message, PublishError, Stream, Subscription};

const A_MOMENT: Duration = Duration::from_millis(1);
/// Some twenty seconds: what has not come by then does not come.
const PATIENCE: usize = 20_000;
/// For one flush.
const AT_ONCE: Duration = Duration::from_secs(20);
/// Longer than the default `claim_after`.
const LONG: Duration = Duration::from_secs(61);

/// Makes buses that share their streams, and lets time pass.
pub trait World {
    /// A bus on these streams.
    fn bus(&mut self, subscription: Option<Subscription>) -> Box<dyn Bus>;

    /// Stores a command in the normal stream as if that had happened so long ago.
    fn store_before(&mut self, text: &str, ago: Duration);

    /// Moves all clocks, and makes what is pending idle for so long.
    fn pass(&mut self, by: Duration);

    /// The causes of the dead letters, oldest first.
    fn dead_letters(&mut self) -> Vec<String>;
}

/// Runs the suite in the worlds that `build` makes, each fresh, with these settings.
///
/// # Panics
/// If the bus does not do what the trait promises.
pub fn run<W: World>(build: impl Fn(BusSettings) -> W) {
    let default = BusSettings::default;
    arrives_once(&mut build(default()));
    a_wait_ends_when_something_comes(&mut build(default()));
    every_type_arrives_on_its_stream(&mut build(default()));
    refuses_what_nobody_could_read(&mut build(default()));
    drops_what_is_too_old(&mut build(default()));
    hands_out_no_more_than_may_be_unacknowledged(&mut build(BusSettings { most_unacknowledged: 10, ..default() }));
    sharing::every_group_gets_all(&mut build(default()));
    sharing::consumers_share(&mut build(default()));
    sharing::a_dead_consumer_is_replaced(&mut build(default()));
    sharing::nothing_is_tried_for_ever(&mut build(default()));
    sharing::a_late_group_begins_at_the_beginning(&mut build(default()));
    sharing::a_late_group_buries_nothing(&mut build(default()));
    priorities::critical_comes_first(&mut build(default()));
    priorities::critical_overflows_and_arrives(&mut build(default()));
    priorities::a_backlog_overflows(&mut build(BusSettings { overflow_backlog: 10, ..default() }));
}

/// Polls until so many deliveries have come. They are not acknowledged.
///
/// # Panics
/// If they do not come.
pub fn arrivals(bus: &dyn Bus, count: usize) -> Vec<Delivery> {
    let mut arrived = Vec::new();
    for _ in 0..PATIENCE {
        arrived.extend(bus.poll(count - arrived.len()).expect("a subscribed bus"));
        if arrived.len() == count {
            return arrived;
        }
        thread::sleep(A_MOMENT);
    }
    assert_eq!(arrived.len(), count, "only these came: {arrived:#?}, {:#?}", bus.status());
    arrived
}

/// The payloads of deliveries, which in this suite are text.
fn texts(deliveries: &[Delivery]) -> Vec<String> {
    let text = |delivery: &Delivery| String::from_utf8_lossy(&delivery.envelope.payload).into_owned();
    deliveries.iter().map(text).collect()
}

fn command(text: &str) -> Message {
    Message::new(BusMessageType::AdaptationCommand, text.as_bytes())
}

fn publish(bus: &dyn Bus, texts: impl IntoIterator<Item = impl AsRef<str>>) {
    for text in texts {
        bus.publish(command(text.as_ref())).expect("room");
    }
    bus.flush(AT_ONCE).expect("flushed");
}

fn reader(group: &str, consumer: &str) -> Option<Subscription> {
    Some(Subscription::new(group, consumer, [Stream::Emergency, Stream::Normal, Stream::Telemetry]))
}

fn acknowledge(bus: &dyn Bus, deliveries: &[Delivery]) {
    for delivery in deliveries {
        bus.acknowledge(delivery.id).expect("acknowledged");
    }
    bus.flush(AT_ONCE).expect("flushed");
}

/// Nothing else comes before a message that is published now.
fn assert_nothing_comes(bus: &dyn Bus) {
    publish(bus, ["the end"]);
    let arrived = arrivals(bus, 1);
    assert_eq!(texts(&arrived), ["the end"], "nothing else comes");
    acknowledge(bus, &arrived);
}

fn arrives_once(world: &mut impl World) {
    let bus = world.bus(reader("tamiyo", "one"));
    let tickets: Vec<u64> =
        (0..3).map(|number| bus.publish(command(&format!("{number}"))).expect("room").number()).collect();
    assert_eq!(tickets, [1, 2, 3], "publishes are numbered");
    bus.flush(AT_ONCE).expect("flushed");
    assert_eq!(bus.status().stored_through.number(), 3, "all are stored");
    let arrived = arrivals(&bus, 3);
    assert_eq!(texts(&arrived), ["0", "1", "2"], "in order");
    for delivery in &arrived {
        assert_eq!((delivery.attempt, delivery.id.stream), (1, Stream::Normal));
        assert_eq!(delivery.message_type, BusMessageType::AdaptationCommand);
        let stamped = ["issued_at_ms", "message_id", "priority", "sent_at_ms"];
        assert!(delivery.envelope.attributes.keys().eq(stamped), "{:?}", delivery.envelope.attributes);
    }
    acknowledge(&bus, &arrived);
    acknowledge(&bus, &arrived);
    let unknown = DeliveryId { stream: Stream::Normal, entry: EntryId { millis: 1, sequence: 1 } };
    assert_eq!(bus.acknowledge(unknown), Ok(()), "an unknown entry is no error");
    let other = DeliveryId { stream: Stream::Policy, ..unknown };
    assert_eq!(bus.acknowledge(other), Err(BusError::OtherStream { stream: Stream::Policy }));
    world.pass(LONG);
    assert_nothing_comes(&bus);
    let counts = bus.status().counts;
    assert_eq!((counts.published, counts.delivered, counts.redelivered, counts.acknowledged), (4, 4, 0, 4));
    assert_eq!(counts.dropped.len(), 0, "{:?}", counts.dropped);
}

fn a_wait_ends_when_something_comes(world: &mut impl World) {
    let bus = world.bus(reader("tamiyo", "one"));
    assert!(!bus.wait(A_MOMENT), "nothing is there");
    let came = thread::scope(|scope| {
        let waiting = scope.spawn(|| bus.wait(AT_ONCE));
        publish(&bus, ["a", "b"]);
        waiting.join().expect("it has not panicked")
    });
    assert!(came && bus.wait(AT_ONCE), "it is still there");
    let arrived = arrivals(&bus, 2);
    assert!(!bus.wait(A_MOMENT), "what was handed out is not there any more");
    acknowledge(&bus, &arrived);
    assert!(!world.bus(None).wait(AT_ONCE), "without a subscription nothing comes");
}

fn every_type_arrives_on_its_stream(world: &mut impl World) {
    let bus = world.bus(Some(Subscription::new("tamiyo", "one", Stream::ALL)));
    let types = (1..).map_while(|number| BusMessageType::try_from(number).ok()).collect::<Vec<_>>();
    for message_type in &types {
        bus.publish(Message::new(*message_type, *b"x")).expect("room");
    }
    bus.flush(AT_ONCE).expect("flushed");
    let arrived = arrivals(&bus, types.len());
    for message_type in types {
        let found = arrived.iter().find(|delivery| delivery.message_type == message_type);
        let stream = found.map(|delivery| delivery.id.stream);
        assert_eq!(stream, Stream::home(message_type), "{message_type:?}");
    }
    acknowledge(&bus, &arrived);
}

fn refuses_what_nobody_could_read(world: &mut impl World) {
    let bus = world.bus(None);
    let unspecified = Message::new(BusMessageType::Unspecified, *b"x");
    let refused = bus.publish(unspecified.clone()).expect_err("no type");
    assert_eq!(*refused.message, unspecified, "the caller has it back");
    assert_eq!(refused.cause, PublishError::NoStream { message_type: 0 });
    let huge = Message::new(BusMessageType::Telemetry, vec![0; 1 << 20]);
    let refused = bus.publish(huge.clone()).expect_err("too large");
    assert!(*refused.message == huge, "the caller has it back");
    assert!(matches!(refused.cause, PublishError::TooLarge { limit: 0x10_0000, .. }), "{:?}", refused.cause);
    assert_eq!(bus.poll(1), Err(BusError::NotSubscribed));
    let nothing = DeliveryId { stream: Stream::Normal, entry: EntryId { millis: 1, sequence: 1 } };
    assert_eq!(bus.acknowledge(nothing), Err(BusError::NotSubscribed));
}

fn drops_what_is_too_old(world: &mut impl World) {
    let bus = world.bus(reader("tamiyo", "one"));
    // The group is there once something has come.
    assert_nothing_comes(&bus);
    publish(&bus, ["old"]);
    world.pass(Duration::from_secs(14 * 60));
    publish(&bus, ["young"]);
    world.pass(Duration::from_secs(2 * 60));
    assert_eq!(texts(&arrivals(&bus, 1)), ["young"]);
    bus.flush(AT_ONCE).expect("flushed");
    assert_eq!(world.dead_letters(), ["expired"]);
    assert_eq!(bus.status().counts.dropped.into_values().sum::<u64>(), 1);
}

fn hands_out_no_more_than_may_be_unacknowledged(world: &mut impl World) {
    let bus = world.bus(reader("tamiyo", "one"));
    publish(&bus, (0..15).map(|number| number.to_string()));
    for number in 15..30 {
        bus.publish(Message::new(BusMessageType::Telemetry, number.to_string())).expect("room");
    }
    bus.flush(AT_ONCE).expect("flushed");
    let mut all = Vec::new();
    let mut held = arrivals(&bus, 10);
    for _ in 0..4 {
        assert_eq!(bus.poll(100), Ok(Vec::new()), "ten are unacknowledged");
        let rest = held.split_off(5);
        acknowledge(&bus, &held);
        all.append(&mut held);
        held = [rest, arrivals(&bus, 5)].concat();
    }
    acknowledge(&bus, &held);
    all.append(&mut held);
    let mut all = texts(&all);
    all.sort_by_key(|number| number.parse::<u32>().unwrap_or(u32::MAX));
    assert_eq!(all, (0..30).map(|number| number.to_string()).collect::<Vec<_>>(), "all come");
}
