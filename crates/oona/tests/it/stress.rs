//! Sixteen real threads on the bus in the process.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use kasmina_leyline::v1::{BusMessageType, MessagePriority};
use kasmina_oona::{Bus, BusSettings, LocalBroker, LocalBus, Message, Stream, Subscription};
use kasmina_safety::SystemClock;

const GROUPS: [&str; 2] = ["tamiyo", "urza"];
/// For each group.
const SUBSCRIBERS: usize = 4;
const PUBLISHERS: usize = 8;
const MESSAGES: usize = 500;

#[test]
fn sixteen_threads_lose_nothing_and_repeat_nothing() {
    // So small that publishers are often refused.
    let settings = BusSettings { stream_capacity: 64, most_unacknowledged: 16, ..BusSettings::default() };
    let broker = LocalBroker::new(settings, SystemClock::new()).unwrap();
    let subscription = |group, consumer| {
        Subscription::new(group, format!("{consumer}"), [Stream::Emergency, Stream::Normal, Stream::Telemetry])
    };
    let seats = GROUPS.iter().flat_map(|group| (0..SUBSCRIBERS).map(move |consumer| (*group, consumer)));
    let subscribers: Vec<_> =
        seats.map(|(group, consumer)| (group, broker.join(subscription(group, consumer)).unwrap())).collect();
    let handled: BTreeMap<&str, AtomicUsize> = GROUPS.map(|group| (group, AtomicUsize::new(0))).into();
    let came: Mutex<BTreeMap<(&str, String), u32>> = Mutex::default();
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let bus = broker.publisher();
            scope.spawn(move || (0..MESSAGES).for_each(|number| publish(&bus, publisher, number)));
        }
        for (group, bus) in &subscribers {
            let (handled, came) = (&handled[group], &came);
            scope.spawn(move || {
                while handled.load(Ordering::SeqCst) < PUBLISHERS * MESSAGES {
                    bus.wait(Duration::from_millis(1));
                    for delivery in bus.poll(8).unwrap() {
                        bus.acknowledge(delivery.id).unwrap();
                        // The summaries of the emergency stream are the bus's own.
                        let Ok(text) = String::from_utf8(delivery.envelope.payload) else { continue };
                        if delivery.message_type == BusMessageType::FieldReport {
                            *came.lock().unwrap().entry((*group, text)).or_default() += 1;
                            handled.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
            });
        }
    });
    let came = came.into_inner().unwrap();
    assert_eq!(came.len(), GROUPS.len() * PUBLISHERS * MESSAGES);
    assert!(came.values().all(|times| *times == 1));
    assert_eq!(broker.dead_letters(), []);
    assert!(subscribers.iter().all(|(_, bus)| bus.status().counts.dropped.is_empty()));
}

/// Publishes, and tries again if there is no room. One in ten is CRITICAL.
fn publish(bus: &LocalBus, publisher: usize, number: usize) {
    let text = format!("{publisher}-{number}");
    let priority = if number.is_multiple_of(10) { MessagePriority::Critical } else { MessagePriority::Normal };
    let mut message = Message::new(BusMessageType::FieldReport, text.into_bytes()).with_priority(priority);
    while let Err(refused) = bus.publish(message) {
        message = *refused.message;
        thread::yield_now();
    }
}
