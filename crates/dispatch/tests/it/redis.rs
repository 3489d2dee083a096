//! The same over a real Redis, which is killed, stopped and started again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kasmina_commands::Order;
use kasmina_dispatch::{BusSink, FieldReportSink, Inbox, News, NewsReader, command};
use kasmina_oona::{Bus, BusSettings, EntryKeys, Health, RedisBus, RedisSettings, Subscription, doubles::RedisServer};
use kasmina_safety::{Clock, SystemClock};
use kasmina_telemetry::Sink;

use crate::world::{Answer, Manager, critical, packet, reasons, reported, run, seed, sender, wait_until};

const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

fn bus(server: &RedisServer, subscription: Option<Subscription>) -> RedisBus {
    bus_that_waits(server, subscription, Duration::from_secs(20))
}

fn bus_that_waits(server: &RedisServer, subscription: Option<Subscription>, response: Duration) -> RedisBus {
    let mut settings = RedisSettings::new(server.address());
    settings.bus = Inbox::settings(BusSettings::default());
    // What a connection took with it when it broke comes again this soon, not after five seconds.
    (settings.bus.claim_after, settings.bus.most_deliveries) = (Duration::from_millis(600), 1_000);
    settings.claim_every = Duration::from_millis(100);
    settings.block = Duration::from_millis(5);
    settings.first_retry = Duration::from_millis(1);
    settings.longest_retry = Duration::from_millis(20);
    settings.response_timeout = response;
    RedisBus::start(settings, EntryKeys::of("2026", "secret").unwrap(), subscription, SystemClock::new()).unwrap()
}

fn inbox(server: &RedisServer, consumer: &str) -> Inbox {
    Inbox::new(bus(server, Some(Inbox::subscription(&run(), consumer))))
}

fn manager() -> Manager {
    Manager::new(SystemClock::new().unix())
}

/// Publishes this many commands.
fn send(bus: &RedisBus, commands: usize) {
    let (mut sender, now) = (sender(), SystemClock::new().unix());
    for number in 0..commands {
        let order = Order::Pause { seed: seed(&format!("seed-{number}")) };
        bus.publish(command(sender.order(&order, now).unwrap())).unwrap();
    }
}

/// Notes what was carried out, and that nothing was twice.
fn note(answers: Vec<Answer>, done: &mut BTreeSet<String>) {
    for answer in answers {
        match answer {
            Ok(id) => assert!(done.insert(id.to_string()), "{id} was carried out twice"),
            Err(rejection) => assert_eq!(rejection.reason(), "nonce_replayed"),
        }
    }
}

#[test]
fn commands_survive_kill_9_of_the_server() {
    let Some(mut server) = RedisServer::start(&DURABLE) else { return };
    let (policy, mut inbox, mut manager) = (bus(&server, None), inbox(&server, "trainer-1"), manager());
    send(&policy, 300);
    let mut done = BTreeSet::new();
    for kills in 0.. {
        if kills == 1 || kills == 3 {
            server.restart();
        }
        wait_until("some more", || {
            let before = done.len();
            note(inbox.serve(|wires| manager.submit_all(wires), |_| true).unwrap().answers, &mut done);
            done.len() > before || done.len() == 300
        });
        if done.len() == 300 {
            break;
        }
    }
    let acknowledged = || inbox.bus().flush(Duration::ZERO).is_ok();
    wait_until("all are acknowledged", acknowledged);
}

#[test]
fn trainer_that_died_unacknowledged_repeats_nothing() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let (policy, mut manager) = (bus(&server, None), manager());
    send(&policy, 40);
    let mut done = BTreeSet::new();
    let mut first = inbox(&server, "trainer-1");
    wait_until("the first has answered some", || {
        note(first.serve(|wires| manager.submit_all(wires), |_| false).unwrap().answers, &mut done);
        done.len() > 10
    });
    // Its manager has a journal, and the next process knows what was answered.
    drop(first);
    let mut second = inbox(&server, "trainer-1");
    let mut replays = 0;
    wait_until("the second has answered all", || {
        let served = second.serve(|wires| manager.submit_all(wires), |_| true).unwrap();
        replays += reasons(&served).iter().filter(|reason| **reason == "nonce_replayed").count();
        note(served.answers, &mut done);
        done.len() == 40 && replays > 10
    });
}

#[test]
fn critical_packets_and_reports_survive_a_killed_server() {
    let Some(mut server) = RedisServer::start(&DURABLE) else { return };
    let publisher = Arc::new(bus(&server, None));
    let (mut telemetry, mut reports) =
        (BusSink::new(Arc::clone(&publisher)), FieldReportSink::new(Arc::clone(&publisher)));
    let subscription = NewsReader::subscription("tamiyo", "tamiyo-1");
    let mut reader = NewsReader::new(bus(&server, Some(subscription)));
    let (mut packets, mut told) = (BTreeMap::new(), BTreeSet::new());
    let mut read = |packets: &mut BTreeMap<String, usize>| {
        let news = |news| match news {
            News::Telemetry(packet) => *packets.entry(packet.packet_id).or_insert(0) += 1,
            News::Report(report) => drop(told.insert(report.report_id)),
        };
        reader.read(64, news).unwrap();
        told.len()
    };
    let mut ids = Vec::new();
    for step in 0..60 {
        let packet = packet(step, &[critical(), reported()]);
        telemetry.deliver(&packet).unwrap();
        reports.deliver(&packet).unwrap();
        ids.push(packet.packet_id.clone());
        if step == 20 || step == 40 {
            server.restart();
        }
        read(&mut packets);
    }
    wait_until("all are stored", || ids.iter().all(|id| telemetry.is_stored(id) && reports.is_stored(id)));
    wait_until("all are read", || read(&mut packets) == 1 && ids.iter().all(|id| packets.contains_key(id)));
    assert!(packets.values().all(|times| *times == 1), "{packets:?}");
}

#[test]
fn stalled_server_blocks_no_sink_and_stores_nothing() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let publisher = Arc::new(bus_that_waits(&server, None, Duration::from_millis(100)));
    let (mut sink, mut reports) = (BusSink::new(Arc::clone(&publisher)), FieldReportSink::new(Arc::clone(&publisher)));
    let before = packet(0, &[critical()]);
    sink.deliver(&before).unwrap();
    wait_until("the first is stored", || sink.is_stored(&before.packet_id));
    server.pause();
    let packets: Vec<_> = (1..100).map(|step| packet(step, &[critical(), reported()])).collect();
    for packet in &packets {
        sink.deliver(packet).unwrap();
        reports.deliver(packet).unwrap();
    }
    wait_until("the stall is noticed", || publisher.status().health != Health::Connected);
    assert!(packets.iter().all(|packet| !sink.is_stored(&packet.packet_id) && !reports.is_stored(&packet.packet_id)));
    server.resume();
    wait_until("all are stored", || {
        packets.iter().all(|packet| sink.is_stored(&packet.packet_id) && reports.is_stored(&packet.packet_id))
    });
}
