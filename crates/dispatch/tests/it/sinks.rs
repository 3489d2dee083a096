//! Telemetry and field reports, from the reporter to the bus.

use std::sync::Arc;

use kasmina_dispatch::{BusSink, FieldReportSink};
use kasmina_leyline::{
    UnixTime,
    v1::{BusMessageType, FieldReport, MessagePriority, TelemetryPacket},
};
use kasmina_oona::{Bus, BusSettings, Delivery, LocalBus, NoBus, Stream, Subscription};
use kasmina_telemetry::{Assembler, Event, Reporter, Sink, conformance, names};
use prost::Message;

use crate::world::{Local, Slow, critical, ordinary, packet, report, reported, run, seed};

fn local() -> Local {
    Local::new(BusSettings::default())
}

fn reader(local: &Local) -> LocalBus {
    let streams = [Stream::Emergency, Stream::Normal, Stream::Telemetry];
    local.broker.join(Subscription::new("reader", "one", streams)).unwrap()
}

fn take(bus: &LocalBus) -> Vec<Delivery> {
    let deliveries = bus.poll(1_000).unwrap();
    deliveries.iter().for_each(|delivery| bus.acknowledge(delivery.id).unwrap());
    deliveries
}

#[test]
fn packet_goes_with_the_priority_that_it_names() {
    let local = local();
    let (bus, mut sink) = (reader(&local), BusSink::new(local.broker.publisher()));
    let warning = Event::new(names::SEED_CULLED);
    let packets = [packet(1, &[ordinary()]), packet(2, &[warning]), packet(3, &[critical()])];
    packets.iter().for_each(|packet| sink.deliver(packet).unwrap());
    let came: Vec<_> = take(&bus).into_iter().map(|it| (it.id.stream, it.priority, it.envelope.payload)).collect();
    let expected = [
        (Stream::Emergency, MessagePriority::Critical, packets[2].encode_to_vec()),
        (Stream::Telemetry, MessagePriority::Normal, packets[0].encode_to_vec()),
        (Stream::Telemetry, MessagePriority::High, packets[1].encode_to_vec()),
    ];
    assert_eq!(came, expected);
}

#[test]
fn bus_sinks_conform() {
    let local = local();
    conformance::run(|| BusSink::new(local.broker.publisher()), |_| None);
    conformance::run(|| FieldReportSink::new(local.broker.publisher()), |_| None);
}

#[test]
fn packet_that_the_bus_refuses_is_an_error() {
    for mut sink in [Box::new(BusSink::new(NoBus)) as Box<dyn Sink>, Box::new(FieldReportSink::new(NoBus))] {
        let error = sink.deliver(&packet(1, &[reported()])).unwrap_err();
        assert!(error.to_string().contains("no bus is wired"), "{error}");
        assert!(sink.is_stored("run-7-1-1"), "it was not taken");
    }
    // What has nothing to publish needs no bus.
    FieldReportSink::new(NoBus).deliver(&packet(1, &[critical()])).unwrap();
}

#[test]
fn refused_critical_packet_is_published_when_there_is_room() {
    let local = Local::new(BusSettings { stream_capacity: 2, ..BusSettings::default() });
    let bus = reader(&local);
    let sink = Box::new(BusSink::new(local.broker.publisher()));
    let mut reporter = Reporter::new(Assembler::new("kasmina", run(), 8), vec![sink], 64);
    let now = UnixTime::from_millis(5);
    // The emergency stream takes two, and the home of telemetry two more.
    for step in 1..=8 {
        reporter.emit(Some(&seed("seed-1")), critical());
        reporter.flush(step, now, &mut |_| None);
    }
    let mut ids = Vec::new();
    for step in 9..=16 {
        let came = take(&bus).into_iter().map(|it| TelemetryPacket::decode(it.envelope.payload.as_slice()).unwrap());
        ids.extend(
            came.filter(|it| it.events.iter().any(|event| event.description == "gate_failure")).map(|it| it.packet_id),
        );
        reporter.flush(step, now, &mut |_| None);
    }
    ids.sort();
    let before = ids.len();
    ids.dedup();
    assert_eq!((ids.len(), before), (8, 8), "all, and none twice");
}

#[test]
fn packet_that_must_arrive_is_stored_when_the_bus_says_so() {
    let local = local();
    let slow = Slow::new(local.broker.publisher());
    for mut sink in
        [Box::new(BusSink::new(slow.clone())) as Box<dyn Sink>, Box::new(FieldReportSink::new(slow.clone()))]
    {
        let (reported, plain) = (packet(1, &[reported()]), packet(2, &[ordinary()]));
        [&reported, &plain].into_iter().for_each(|packet| sink.deliver(packet).unwrap());
        assert!(!sink.is_stored(&reported.packet_id));
        assert!(sink.is_stored(&plain.packet_id), "nobody waits for it");
        slow.store();
        assert!(sink.is_stored(&reported.packet_id) && sink.is_stored(&reported.packet_id));
    }
}

#[test]
fn report_in_the_journal_is_released_once_it_is_stored() {
    let local = local();
    let (slow, bus) = (Slow::new(local.broker.publisher()), reader(&local));
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(FieldReportSink::new(slow.clone()))];
    let mut reporter = Reporter::new(Assembler::new("kasmina", run(), 8), sinks, 64);
    let now = UnixTime::from_millis(5);
    let draft = reporter.draft(1, now, |to| to.event(Some(&seed("seed-1")), reported()));
    reporter.adopt(draft, vec![11]);
    reporter.flush(1, now, &mut |_| None);
    assert_eq!((take(&bus).len(), reporter.undelivered()), (1, [11].into()));
    reporter.flush(2, now, &mut |_| None);
    assert_eq!((take(&bus).len(), reporter.undelivered()), (0, [11].into()), "it waits, and is not sent again");
    slow.store();
    reporter.flush(3, now, &mut |_| None);
    assert!(reporter.undelivered().is_empty());
}

#[test]
fn field_report_is_published_as_a_message_of_its_own() {
    let local = local();
    let (bus, mut sink) = (reader(&local), FieldReportSink::new(local.broker.publisher()));
    let broken = Event::new(names::FIELD_REPORT).with("report_id", "half a report");
    let packet = packet(1, &[critical(), broken, reported()]);
    sink.deliver(&packet).unwrap();
    sink.deliver(&Arc::clone(&packet)).unwrap();
    let came = take(&bus);
    assert_eq!(came.len(), 2);
    for delivery in came {
        assert_eq!((delivery.message_type, delivery.id.stream), (BusMessageType::FieldReport, Stream::Normal));
        assert_eq!(FieldReport::decode(delivery.envelope.payload.as_slice()).unwrap(), report());
    }
}
