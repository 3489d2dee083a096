//! A flood: far more packets than the normal lane holds, and a sink that is away most of the time.

use std::{collections::BTreeMap, sync::Arc};

use kasmina_leyline::{
    TrainingRunId, UnixTime,
    v1::{TelemetryLevel, TelemetryPacket},
};
use kasmina_telemetry::{Assembler, Event, Lanes, Packet, Sink, SinkError, names};

const INFO: usize = 1_000_000;
const CRITICAL: usize = 1_000;
const CAPACITY: usize = 16;

#[test]
fn flood_loses_no_critical_packet_and_counts_the_others() {
    let mut lanes = Lanes::new(CAPACITY);
    let mut sink = Away::default();
    let mut model = Model::default();
    let mut arrived = Arrived::default();
    let mut longest_emergency = 0;
    for id in 0..INFO + CRITICAL {
        let critical = id % (INFO / CRITICAL + 1) == 500;
        lanes.push(packet(id, if critical { TelemetryLevel::Critical } else { TelemetryLevel::Info }));
        model.push(critical);
        if id.is_multiple_of(7) {
            sink.drains += 1;
            let drained = lanes.drain(&mut sink);
            assert_eq!(drained.error.is_none(), lanes.waiting() == (0, 0));
            model.delivered(arrived.take(drained.delivered));
        }
        assert_eq!((lanes.waiting(), lanes.dropped()), (model.waiting, model.dropped), "after packet {id}");
        longest_emergency = longest_emergency.max(lanes.waiting().0);
    }
    assert!(
        longest_emergency > 2 * CAPACITY,
        "the outages were too short to show that the emergency lane has no bound"
    );
    assert!(sink.refused > 4 * sink.taken, "the sink took {} and refused {}", sink.taken, sink.refused);

    sink.back = true;
    model.delivered(arrived.take(lanes.drain(&mut sink).delivered));
    assert_eq!((lanes.waiting(), model.waiting), ((0, 0), (0, 0)));
    assert_eq!(arrived.critical.len(), CRITICAL);
    assert_eq!(arrived.info.len() as u64 + lanes.dropped(), INFO as u64);
    assert!(lanes.dropped() > 850_000, "{} dropped", lanes.dropped());
    assert!(arrived.critical.is_sorted_by(|a, b| a < b) && arrived.info.is_sorted_by(|a, b| a < b), "out of order");
}

/// Away in seven of eight spells.
#[derive(Default)]
struct Away {
    drains: usize,
    taken: usize,
    refused: usize,
    back: bool,
}

impl Sink for Away {
    fn deliver(&mut self, _: &Arc<TelemetryPacket>) -> Result<(), SinkError> {
        if self.back || (self.drains / 2_000) % 8 == 7 {
            self.taken += 1;
            return Ok(());
        }
        self.refused += 1;
        Err(SinkError { sink: "away", source: "the sink is away".into() })
    }
}

/// The lanes without packets: how many wait on either, and how many were dropped.
#[derive(Default)]
struct Model {
    waiting: (usize, usize),
    dropped: u64,
}

impl Model {
    fn push(&mut self, critical: bool) {
        match (critical, self.waiting.1) {
            (true, _) => self.waiting.0 += 1,
            (false, CAPACITY) => self.dropped += 1,
            (false, _) => self.waiting.1 += 1,
        }
    }

    fn delivered(&mut self, (critical, info): (usize, usize)) {
        assert!(info == 0 || critical == self.waiting.0, "a packet overtook a critical one");
        self.waiting.0 -= critical;
        self.waiting.1 -= info;
    }
}

/// Ids of packets, in the order in which they came.
#[derive(Default)]
struct Arrived {
    critical: Vec<usize>,
    info: Vec<usize>,
}

impl Arrived {
    /// Records the packets. Returns how many were critical, and how many were not.
    fn take(&mut self, packets: Vec<Packet>) -> (usize, usize) {
        let before = (self.critical.len(), self.info.len());
        for packet in packets {
            let id = packet.packet_id.parse().unwrap();
            if packet.level() == TelemetryLevel::Critical {
                assert_eq!(self.info.len(), before.1, "critical packet {id} came after another");
                self.critical.push(id);
            } else {
                self.info.push(id);
            }
        }
        (self.critical.len() - before.0, self.info.len() - before.1)
    }
}

fn packet(id: usize, level: TelemetryLevel) -> Packet {
    TelemetryPacket { packet_id: id.to_string(), level: level.into(), ..TelemetryPacket::default() }.into()
}

#[test]
fn spilled_packets_leave_memory_and_arrive_in_order() {
    let mut lanes = Lanes::new(2);
    for id in 0..6 {
        lanes.push(packet(id, TelemetryLevel::Critical));
    }
    let mut sink = Away::default();
    assert!(lanes.drain(&mut sink).error.is_some());
    let journal: BTreeMap<u64, TelemetryPacket> =
        (100..).zip(lanes.unspilled().map(|packet| TelemetryPacket::clone(packet))).collect();
    assert_eq!(journal.len(), 6);
    lanes.spilled(&journal.iter().map(|(place, packet)| (packet.packet_id.clone(), *place)).collect());
    assert_eq!((lanes.unspilled().count(), lanes.places().collect::<Vec<_>>()), (0, (100..106).collect()));
    lanes.push(packet(6, TelemetryLevel::Critical));
    assert_eq!(lanes.unspilled().count(), 1);

    sink.back = true;
    // Two were in memory, the seventh is nowhere else; of the others the fourth cannot be read at first.
    let mut recalled = Vec::new();
    let drained = lanes.drain_with(&mut sink, &mut |place| {
        recalled.push(place);
        journal.get(&place).filter(|_| place != 103).cloned()
    });
    assert_eq!((drained.delivered.len(), recalled, drained.down), (6, vec![102, 103, 104, 105], false));
    assert_eq!(
        drained.error.unwrap().to_string(),
        "the emergency sink did not take the packet: record 103 cannot be read"
    );
    let drained = lanes.drain_with(&mut sink, &mut |place| journal.get(&place).cloned());
    let ids: Vec<_> = drained.delivered.into_iter().map(|packet| packet.packet_id.clone()).collect();
    assert_eq!(ids, ["3"]);
    assert_eq!(lanes.waiting(), (0, 0));
}

#[test]
fn packets_of_an_earlier_process_arrive_first() {
    let mut lanes = Lanes::new(8);
    lanes.push_spilled(7);
    lanes.push(packet(1, TelemetryLevel::Critical));
    let mut sink = Away { back: true, ..Away::default() };
    let drained = lanes.drain_with(&mut sink, &mut |place| {
        Some(TelemetryPacket::clone(&packet(place as usize, TelemetryLevel::Critical)))
    });
    let ids: Vec<_> = drained.delivered.into_iter().map(|packet| packet.packet_id.clone()).collect();
    assert_eq!(ids, ["7", "1"]);
}

#[test]
fn critical_flood_of_one_seed_is_counted_without_a_scan() {
    let mut assembler = Assembler::new("kasmina", TrainingRunId::new("run-7").unwrap(), 64);
    // 200,000 events: a scan of the queue for each would take 20,000,000,000 looks.
    for _ in 0..200_000 {
        assembler.event(None, Event::new(names::GATE_FAILURE));
    }
    assembler.event(None, Event::new(names::PAUSE));
    let packets = assembler.assemble(1, UnixTime::default());
    let counts: Vec<_> = packets[0].events.iter().rev().take(3).map(|event| event.attributes.get("count")).collect();
    assert_eq!(packets[0].events.len(), 1_002);
    assert_eq!(counts, [Some(&"1".to_owned()), Some(&"199000".to_owned()), None]);
}
