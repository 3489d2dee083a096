//! Publishers and subscribers at the same time, in many orders.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kasmina_leyline::v1::BusMessageType;
use kasmina_safety::doubles::ManualClock;
use shuttle::{sync::Mutex, thread};

use super::{LocalBroker, LocalBus};
use crate::{Bus, BusSettings, Message, Stream, Subscription};

/// Orders of the threads that are tried.
const SCHEDULES: usize = 1_000;
/// Choices of pct that are not the first runnable thread.
const DEPTH: usize = 4;
/// In shuttle a wait does not end by itself: if nobody ends it, that is a deadlock, and the test fails.
const FOR_EVER: Duration = Duration::MAX;

type Handled = Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>;

fn broker(settings: BusSettings) -> LocalBroker {
    LocalBroker::new(settings, ManualClock::default()).unwrap()
}

fn join(broker: &LocalBroker, group: &str, consumer: &str) -> LocalBus {
    broker.join(Subscription::new(group, consumer, [Stream::Normal])).unwrap()
}

/// Publishes, and tries again if there is no room.
fn publish(bus: &LocalBus, text: &str) {
    let mut message = Message::new(BusMessageType::FieldReport, text.as_bytes());
    while let Err(refused) = bus.publish(message) {
        message = *refused.message;
        thread::yield_now();
    }
}

/// Handles what has come. Nothing comes to a group twice.
fn handle(bus: &LocalBus, group: &str, handled: &Handled) -> usize {
    let arrived = bus.poll(2).unwrap();
    for delivery in &arrived {
        let text = String::from_utf8(delivery.envelope.payload.clone()).unwrap();
        assert!(handled.lock().unwrap().entry(group.to_owned()).or_default().insert(text.clone()), "{text} came twice");
        bus.acknowledge(delivery.id).unwrap();
    }
    arrived.len()
}

fn check(run: impl Fn() + Send + Sync + Copy + 'static) {
    shuttle::check_random(run, SCHEDULES);
    shuttle::check_pct(run, SCHEDULES, DEPTH);
}

#[test]
fn every_group_gets_each_message_once_from_many_threads() {
    check(|| {
        let (broker, handled) =
            (broker(BusSettings { stream_capacity: 3, ..BusSettings::default() }), Handled::default());
        // The groups are there before the first message, or it may make room.
        let buses: Vec<_> = [("tamiyo", "a"), ("tamiyo", "b"), ("urza", "a")]
            .into_iter()
            .map(|(group, consumer)| (group, join(&broker, group, consumer)))
            .collect();
        let publishers: Vec<_> = ["x", "y"]
            .into_iter()
            .map(|name| {
                let bus = broker.publisher();
                thread::spawn(move || (0..3).for_each(|number| publish(&bus, &format!("{name}{number}"))))
            })
            .collect();
        let subscribers: Vec<_> = buses
            .into_iter()
            .map(|(group, bus)| {
                let handled = Arc::clone(&handled);
                thread::spawn(move || {
                    while handled.lock().unwrap().get(group).map_or(0, BTreeSet::len) < 6 {
                        handle(&bus, group, &handled);
                        thread::yield_now();
                    }
                    bus.status().counts.acknowledged
                })
            })
            .collect();
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
        let acknowledged: u64 = subscribers.into_iter().map(|subscriber| subscriber.join().unwrap()).sum();
        assert_eq!((acknowledged, broker.dead_letters().len()), (12, 0));
        let all: BTreeSet<_> = ["x0", "x1", "x2", "y0", "y1", "y2"].map(str::to_owned).into();
        assert!(handled.lock().unwrap().values().all(|group| *group == all));
    });
}

#[test]
fn wait_misses_no_message_and_no_acknowledgement() {
    check(|| {
        let (broker, handled) =
            (broker(BusSettings { most_unacknowledged: 1, ..BusSettings::default() }), Handled::default());
        let (bus, publisher) = (Arc::new(join(&broker, "tamiyo", "a")), broker.publisher());
        let publishing = thread::spawn(move || ["x", "y"].iter().for_each(|text| publish(&publisher, text)));
        assert!(bus.wait(FOR_EVER));
        let first = bus.poll(2).unwrap();
        assert_eq!(first.len(), 1, "one may be unacknowledged");
        let acknowledging = {
            let (bus, id) = (Arc::clone(&bus), first[0].id);
            thread::spawn(move || bus.acknowledge(id).unwrap())
        };
        assert!(bus.wait(FOR_EVER));
        assert_eq!(handle(&bus, "tamiyo", &handled), 1);
        publishing.join().unwrap();
        acknowledging.join().unwrap();
    });
}
