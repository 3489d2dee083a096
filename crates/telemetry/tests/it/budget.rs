//! How much may wait for a sink, in bytes and in time.

use std::{sync::Arc, time::Duration};

use kasmina_leyline::{
    Monotonic, SeedId, TrainingRunId, UnixTime,
    v1::{TelemetryLevel, TelemetryPacket},
};
use kasmina_telemetry::{
    Assembler, Event, Lanes, Packet, PacketBytes, Reporter, Sink, SinkError, doubles::MemorySink, names,
};
use proptest::prelude::*;
use prost::Message;

const TTL: Duration = Duration::from_secs(64);

fn at(seconds: u64) -> Monotonic {
    Monotonic::ORIGIN.after(Duration::from_secs(seconds))
}

/// A packet of so many bytes on the wire, which must be more than 10.
fn packet(bytes: usize, level: TelemetryLevel) -> Packet {
    let mut packet = TelemetryPacket { level: level.into(), ..TelemetryPacket::default() };
    packet.packet_id = "x".repeat(bytes - packet.encoded_len() - 2);
    assert_eq!(packet.encoded_len(), bytes);
    packet.into()
}

fn info(bytes: usize) -> Packet {
    packet(bytes, TelemetryLevel::Info)
}

struct Down;

impl Sink for Down {
    fn deliver(&mut self, _: &Arc<TelemetryPacket>) -> Result<(), SinkError> {
        Err(SinkError { sink: "down", source: "the sink is down".into() })
    }
}

#[test]
fn oldest_packets_go_when_the_bytes_are_used_up() {
    let mut lanes = Lanes::new(100).with_budget(100, TTL);
    for bytes in [40, 30, 30] {
        assert!(lanes.push(info(bytes)).is_empty());
    }
    assert_eq!(lanes.push(info(50)), [info(40), info(30)]);
    assert_eq!((lanes.normal(), lanes.dropped()), (PacketBytes { packets: 2, bytes: 80 }, 2));
    assert_eq!(lanes.push(info(101)), [info(30), info(50), info(101)], "one that is too large drives itself out");
    assert_eq!((lanes.normal(), lanes.dropped()), (PacketBytes::default(), 5));
}

#[test]
fn critical_packets_exceed_the_budget_and_are_counted() {
    let mut lanes = Lanes::new(100).with_budget(50, TTL);
    for _ in 0..3 {
        assert!(lanes.push(packet(40, TelemetryLevel::Critical)).is_empty());
    }
    assert!(lanes.push(info(40)).is_empty(), "they take nothing from the others");
    assert_eq!(lanes.critical(), PacketBytes { packets: 3, bytes: 120 });
    assert!(lanes.purge().len() == 1 && lanes.collect(at(1_000)).is_empty());
    assert_eq!(lanes.waiting(), (3, 0));
}

#[test]
fn critical_packets_that_only_the_journal_has_take_no_memory() {
    let mut lanes = Lanes::new(1);
    lanes.push_journaled(packet(40, TelemetryLevel::Critical), 7);
    lanes.push_journaled(packet(40, TelemetryLevel::Critical), 8);
    assert_eq!((lanes.waiting().0, lanes.critical()), (2, PacketBytes { packets: 1, bytes: 40 }));
    let recall = &mut |place| (place == 8).then(|| TelemetryPacket::clone(&packet(60, TelemetryLevel::Critical)));
    lanes.drain_with(&mut Down, recall);
    assert_eq!((lanes.waiting().0, lanes.critical()), (2, PacketBytes { packets: 1, bytes: 40 }));
    assert_eq!(lanes.drain_with(&mut MemorySink::default(), recall).delivered.len(), 2);
    assert_eq!(lanes.critical(), PacketBytes::default());
}

#[test]
fn packet_goes_when_it_was_seen_waiting_a_time_to_live_ago() {
    let mut lanes = Lanes::new(100).with_budget(1_000, TTL);
    lanes.push(info(40));
    assert!(lanes.collect(at(10)).is_empty());
    lanes.push(info(50));
    assert!(lanes.collect(at(73)).is_empty());
    assert_eq!(lanes.collect(at(74)), [info(40)]);
    assert!(lanes.collect(at(136)).is_empty());
    assert_eq!(lanes.collect(at(137)), [info(50)]);
    assert_eq!((lanes.normal(), lanes.dropped()), (PacketBytes::default(), 2));
}

#[test]
fn packets_that_were_purged_are_counted_and_settled() {
    let sink = MemorySink::default();
    let assembler = Assembler::new("kasmina", TrainingRunId::new("run-7").unwrap(), 64);
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(Down), Box::new(sink.clone())];
    let mut reporter = Reporter::new(assembler, sinks, 100).with_budget(10_000, TTL);
    let seed = SeedId::new("seed-1").unwrap();
    reporter.emit(Some(&seed), Event::new(names::PAUSE));
    reporter.flush(1, UnixTime::default(), &mut |_| None);
    let (held, critical) = reporter.held();
    assert_eq!((held.packets, critical.packets, reporter.packets(&seed)), (1, 0, (1, 0)));

    assert_eq!(reporter.collect(at(0)), PacketBytes::default());
    assert_eq!(reporter.purge(), held);
    assert_eq!((reporter.held(), reporter.packets(&seed)), (<_>::default(), (1, 1)));
    reporter.emit(None, Event::new(names::GATE_FAILURE));
    reporter.flush(2, UnixTime::default(), &mut |_| None);
    assert_eq!(reporter.purge(), PacketBytes::default(), "what is critical stays");
    assert_eq!(reporter.held().1.packets, 1);
    let _ = sink.take();
    reporter.flush(3, UnixTime::default(), &mut |_| None);
    let dropped =
        sink.take().into_iter().flat_map(|packet| packet.events).find(|it| it.description == "packets_dropped");
    assert_eq!(dropped.unwrap().attributes["count"], "1");
}

#[derive(Clone, Debug)]
enum Act {
    Push(usize, bool),
    Journaled(usize),
    Spill,
    Drain { down: bool },
    Collect(u64),
    Purge,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (20..60_usize, prop::bool::weighted(0.2)).prop_map(|(bytes, critical)| Act::Push(bytes, critical)),
        1 => (20..60_usize).prop_map(Act::Journaled),
        1 => Just(Act::Spill),
        2 => prop::bool::weighted(0.8).prop_map(|down| Act::Drain { down }),
        2 => (0..30_u64).prop_map(Act::Collect),
        1 => Just(Act::Purge),
    ]
}

proptest! {
    /// What the lanes say they hold is what went in less what came out, whatever happens, and never more than the budget.
    #[test]
    fn lanes_hold_what_went_in_and_did_not_come_out(acts in prop::collection::vec(act(), 1..80)) {
        let mut lanes = Lanes::new(4).with_budget(150, TTL);
        let (mut now, mut place, mut in_flight, mut dropped) = (0, 0, 0_usize, 0);
        let bytes = |packets: &[Packet]| packets.iter().map(|packet| packet.packet.encoded_len()).sum::<usize>();
        for act in acts {
            let critical_in_memory = |lanes: &Lanes| lanes.critical().bytes as usize;
            match act {
                Act::Push(size, critical) => {
                    let level = if critical { TelemetryLevel::Critical } else { TelemetryLevel::Info };
                    let (before, lost) = (critical_in_memory(&lanes), lanes.push(packet(size, level)));
                    if critical {
                        prop_assert_eq!(critical_in_memory(&lanes), before + size);
                    } else {
                        in_flight = in_flight + size - bytes(&lost);
                        dropped += lost.len();
                    }
                }
                Act::Journaled(size) => {
                    place += 1;
                    lanes.push_journaled(packet(size, TelemetryLevel::Critical), place);
                }
                Act::Spill => {
                    let ids: Vec<_> = lanes.unspilled().map(|packet| packet.packet_id.clone()).collect();
                    lanes.spilled(&ids.into_iter().map(|id| { place += 1; (id, place) }).collect());
                }
                Act::Drain { down } => {
                    let drained = if down { lanes.drain(&mut Down) } else { lanes.drain(&mut MemorySink::default()) };
                    let normal: Vec<_> =
                        drained.delivered.into_iter().filter(|it| it.level() == TelemetryLevel::Info).collect();
                    in_flight -= bytes(&normal);
                }
                Act::Collect(seconds) => {
                    now += seconds;
                    let gone = lanes.collect(at(now));
                    in_flight -= bytes(&gone);
                    dropped += gone.len();
                }
                Act::Purge => {
                    let gone = lanes.purge();
                    in_flight -= bytes(&gone);
                    dropped += gone.len();
                    prop_assert_eq!(lanes.normal(), PacketBytes::default());
                }
            }
            prop_assert_eq!(lanes.normal(), PacketBytes { packets: lanes.waiting().1 as u64, bytes: in_flight as u64 });
            prop_assert!(in_flight <= 150 && lanes.waiting().1 <= 4);
            prop_assert_eq!(lanes.dropped(), dropped as u64);
            prop_assert!(lanes.critical().packets as usize <= lanes.waiting().0);
        }
    }
}
