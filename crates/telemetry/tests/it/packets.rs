//! Packets, lanes and sinks.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    sync::Arc,
};

use kasmina_leyline::{
    SeedId, TrainingRunId, UnixTime,
    v1::{HealthStatus, TelemetryLevel, TelemetryPacket},
};
use kasmina_telemetry::{names::*, *};
use proptest::prelude::*;
use prost::Message;

fn seed(name: &str) -> SeedId {
    SeedId::new(name).unwrap()
}

fn assembler(max_pending: usize) -> Assembler {
    Assembler::new("kasmina", TrainingRunId::new("run-7").unwrap(), max_pending)
}

fn assemble(assembler: &mut Assembler) -> Vec<Packet> {
    assembler.assemble(12, UnixTime::from_millis(1_700_000_000_000))
}

fn indicator<'a>(packet: &'a TelemetryPacket, name: &str) -> Option<&'a str> {
    packet.system_health.as_ref()?.indicators.get(name).map(String::as_str)
}

#[test]
fn one_packet_per_seed_with_the_priority_of_its_gravest_event() {
    let mut assembler = assembler(64);
    assembler.event(Some(&seed("a")), Event::new(SEED_STATE).with("to", "TRAINING"));
    assembler.event(Some(&seed("b")), Event::new(SEED_CULLED));
    assembler.event(Some(&seed("b")), Event::new(SEED_STATE));
    assembler.event(Some(&seed("c")), Event::new(GATE_FAILURE));
    assembler.event(Some(&seed("c")), Event::new(SEED_STATE));
    assembler.metric(None, Metric::new(HOST_LOSS, 0.5_f32));
    let packets = assemble(&mut assembler);
    let summary: Vec<_> = packets
        .iter()
        .map(|packet| {
            let status = packet.system_health.as_ref().unwrap().status();
            (indicator(packet, "seed_id"), indicator(packet, "priority").unwrap(), status, packet.events.len())
        })
        .collect();
    assert_eq!(
        summary,
        [
            (None, "MESSAGE_PRIORITY_NORMAL", HealthStatus::Healthy, 0),
            (Some("a"), "MESSAGE_PRIORITY_NORMAL", HealthStatus::Healthy, 1),
            (Some("b"), "MESSAGE_PRIORITY_HIGH", HealthStatus::Degraded, 2),
            (Some("c"), "MESSAGE_PRIORITY_CRITICAL", HealthStatus::Unhealthy, 2),
        ]
    );
    assert!(packets.iter().all(|packet| indicator(packet, "step_index") == Some("12")));
    let ids: BTreeSet<_> = packets.iter().map(|packet| &packet.packet_id).collect();
    assert_eq!(ids.len(), packets.len());
    assert_eq!(assemble(&mut assembler), []);
}

#[test]
fn second_measurement_of_a_step_replaces_the_first() {
    let mut assembler = assembler(64);
    assembler.metric(None, Metric::new(HOST_LOSS, 2.0));
    assembler.metric(None, Metric::new(HOST_LOSS, 1.0));
    let packets = assemble(&mut assembler);
    assert_eq!(packets[0].metrics.len(), 1);
    assert_eq!((packets[0].metrics[0].value, packets[0].metrics[0].unit.as_str()), (1.0, "1"));
}

#[test]
fn measurements_with_other_attributes_are_kept_apart() {
    let mut assembler = assembler(64);
    for (breaker, state) in [("isolation", 1.0), ("kernels", 2.0), ("isolation", 3.0)] {
        assembler.metric(None, Metric::new(BREAKER_STATE, state).with("breaker", breaker));
    }
    assembler.metric(None, Metric::new(BREAKER_STATE, 4.0));
    let packets = assemble(&mut assembler);
    let told =
        packets[0].metrics.iter().map(|point| (point.attributes.get("breaker").map(String::as_str), point.value));
    assert_eq!(told.collect::<Vec<_>>(), [(Some("isolation"), 3.0), (Some("kernels"), 2.0), (None, 4.0)]);
    assert!(packets[0].metrics.iter().all(|point| point.name == "kasmina.breaker.state"));
}

#[test]
fn reference_packet_is_at_most_280_bytes() {
    let mut assembler = assembler(64);
    let seed = seed("seed-1");
    for (name, value) in [(SEED_LOSS, 0.5), (SEED_ALPHA, 0.25), (SEED_GRADIENT_NORM, 0.01)] {
        assembler.metric(Some(&seed), Metric::new(name, value));
    }
    let bytes = assemble(&mut assembler)[0].encoded_len();
    assert!(bytes <= 280, "{bytes} bytes");
}

/// Takes `quota` packets, then refuses.
struct Full {
    quota: usize,
    taken: Vec<Arc<TelemetryPacket>>,
}

impl Sink for Full {
    fn deliver(&mut self, packet: &Arc<TelemetryPacket>) -> Result<(), SinkError> {
        if self.taken.len() == self.quota {
            return Err(SinkError { sink: "full", source: "no space left".into() });
        }
        self.taken.push(Arc::clone(packet));
        Ok(())
    }
}

fn packet(id: usize, level: TelemetryLevel) -> Packet {
    TelemetryPacket { packet_id: id.to_string(), level: level.into(), ..TelemetryPacket::default() }.into()
}

#[test]
fn emergency_lane_drains_first_and_waits_for_a_failing_sink() {
    let mut lanes = Lanes::new(10);
    lanes.push(packet(0, TelemetryLevel::Info));
    lanes.push(packet(1, TelemetryLevel::Critical));
    let mut sink = Full { quota: 1, taken: Vec::new() };
    let drained = lanes.drain(&mut sink);
    assert_eq!(drained.delivered.len(), 1);
    assert_eq!(drained.error.unwrap().to_string(), "the full sink did not take the packet: no space left");
    assert_eq!((sink.taken[0].packet_id.as_str(), lanes.waiting()), ("1", (0, 1)));
    sink.quota = 9;
    assert!(lanes.drain(&mut sink).error.is_none());
    assert_eq!(lanes.waiting(), (0, 0));
}

#[test]
fn json_lines_use_the_names_of_the_contract() {
    let mut assembler = assembler(64);
    assembler.event(Some(&seed("seed-1")), Event::new(GATE_FAILURE).with("reason", "a \"quoted\"\nreason"));
    assembler.metric(Some(&seed("seed-1")), Metric::new(SEED_LOSS, f64::NAN));
    assembler.metric(Some(&seed("seed-1")), Metric::new(BREAKER_STATE, 1.0).with("breaker", "a \"quoted\" one"));
    let mut bytes = Vec::new();
    let mut sink = JsonLinesSink::new(&mut bytes);
    for packet in assemble(&mut assembler) {
        sink.deliver(&packet.packet).unwrap();
        sink.deliver(&packet.packet).unwrap();
    }
    let text = String::from_utf8(bytes).unwrap();
    assert_eq!(text.lines().count(), 2);
    let value: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(value["timestamp"], "2023-11-14T22:13:20Z");
    assert_eq!(value["level"], "TELEMETRY_LEVEL_CRITICAL");
    assert_eq!(value["events"][0]["attributes"]["reason"], "a \"quoted\"\nreason");
    assert_eq!(value["metrics"][0]["value"], "NaN");
    assert_eq!(value["metrics"][0]["attributes"], serde_json::json!({}));
    assert_eq!(value["metrics"][1]["attributes"], serde_json::json!({ "breaker": "a \"quoted\" one" }));
    assert_eq!(value["system_health"]["status"], "HEALTH_STATUS_UNHEALTHY");
}

/// Fails once, half way through a write.
struct Flaky(Vec<u8>, bool);

impl Write for Flaky {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.1 {
            self.1 = false;
            self.0.extend(&bytes[..bytes.len() / 2]);
            return Err(io::Error::other("disk full"));
        }
        self.0.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn line_after_a_torn_one_can_be_read() {
    let mut file = Flaky(Vec::new(), true);
    let mut sink = JsonLinesSink::new(&mut file);
    let packet = packet(1, TelemetryLevel::Info);
    assert!(sink.deliver(&packet.packet).is_err());
    sink.deliver(&packet.packet).unwrap();
    let text = String::from_utf8(file.0).unwrap();
    let last = text.lines().last().unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(last).is_ok(), "{last}");
}

proptest! {
    /// However many events there are, no critical one is lost, and the others are delivered or counted.
    #[test]
    fn critical_events_are_kept_and_dropped_ones_counted(
        critical in prop::collection::vec(any::<bool>(), 0..300),
        max_pending in 0..20_usize,
    ) {
        let mut assembler = assembler(max_pending);
        for critical in &critical {
            assembler.event(None, Event::new(if *critical { GATE_FAILURE } else { SEED_STATE }));
        }
        let packets = assemble(&mut assembler);
        let count = |name: &str| packets.iter().flat_map(|p| &p.events).filter(|e| e.description == name).count();
        let dropped: usize = packets
            .iter()
            .flat_map(|packet| &packet.events)
            .filter(|event| event.description == "seed_queue_dropped")
            .map(|event| event.attributes["count"].parse::<usize>().unwrap())
            .sum();
        let grave = critical.iter().filter(|critical| **critical).count();
        prop_assert_eq!(count("gate_failure"), grave);
        prop_assert_eq!(count("seed_state") + dropped, critical.len() - grave);
    }

    /// The lanes deliver every critical packet, in order, and say how many others they dropped.
    #[test]
    fn lanes_deliver_every_critical_packet(
        critical in prop::collection::vec(any::<bool>(), 0..200),
        capacity in 0..20_usize,
    ) {
        let mut lanes = Lanes::new(capacity);
        for (id, critical) in critical.iter().enumerate() {
            let level = if *critical { TelemetryLevel::Critical } else { TelemetryLevel::Info };
            lanes.push(packet(id, level));
        }
        let delivered = lanes.drain(&mut NullSink).delivered;
        let is_critical = |p: &&Packet| p.level() == TelemetryLevel::Critical;
        let ids: Vec<usize> = delivered.iter().filter(is_critical).map(|p| p.packet_id.parse().unwrap()).collect();
        let expected: Vec<usize> = (0..critical.len()).filter(|id| critical[*id]).collect();
        prop_assert_eq!(ids, expected);
        prop_assert_eq!(delivered.len() as u64 + lanes.dropped(), critical.len() as u64);
    }
}

#[test]
fn packet_read_back_from_bytes_is_about_the_same_seed() {
    let mut assembler = assembler(64);
    assembler.event(Some(&seed("seed-1")), Event::new(GATE_FAILURE));
    assembler.event(None, Event::new(STEP_REFUSED));
    for packet in assemble(&mut assembler) {
        let read = TelemetryPacket::decode(packet.encode_to_vec().as_slice()).unwrap();
        assert_eq!(Packet::from(read), packet);
    }
}

#[test]
fn events_keep_their_order_and_the_oldest_ordinary_one_is_dropped() {
    let mut assembler = assembler(3);
    for name in [SEED_STATE, GATE_FAILURE, PAUSE, RESUME, BREAKER_OPEN] {
        assembler.event(None, Event::new(name));
    }
    let packets = assemble(&mut assembler);
    let names: Vec<_> = packets[0].events.iter().map(|event| event.description.as_str()).collect();
    assert_eq!(names, ["gate_failure", "resume", "breaker_open", "seed_queue_dropped"]);
    assert_eq!(packets[0].events[3].attributes["count"], "2");
}

#[test]
fn event_dropped_without_another_is_counted_too() {
    let mut assembler = Assembler::new("kasmina", TrainingRunId::new("run-7").unwrap(), 0);
    assembler.event(None, Event::new(names::SEED_STATE));
    let packets = assembler.assemble(1, UnixTime::from_millis(1));
    let dropped = packets.iter().flat_map(|packet| &packet.packet.events);
    let counts: Vec<_> = dropped.map(|event| (event.description.as_str(), event.attributes["count"].as_str())).collect();
    assert_eq!(counts, [("seed_queue_dropped", "1")]);
}
