//! A packet that a sink will not take, and a sink that is down.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use kasmina_leyline::{
    SeedId, TrainingRunId, UnixTime,
    v1::{TelemetryLevel, TelemetryPacket},
};
use kasmina_telemetry::{Assembler, Event, Lanes, Packet, Reporter, Sink, SinkError, doubles::MemorySink, names};
use proptest::prelude::*;

/// Takes nothing whose id it has on its list, and nothing at all while it is down.
#[derive(Default)]
struct Picky {
    refused: Vec<String>,
    down: bool,
    offers: BTreeMap<String, u32>,
}

impl Sink for Picky {
    fn deliver(&mut self, packet: &Arc<TelemetryPacket>) -> Result<(), SinkError> {
        *self.offers.entry(packet.packet_id.clone()).or_default() += 1;
        if self.down || self.refused.contains(&packet.packet_id) {
            return Err(SinkError { sink: "picky", source: "no".into() });
        }
        Ok(())
    }
}

fn packet(id: &str, level: TelemetryLevel) -> Packet {
    TelemetryPacket { packet_id: id.to_owned(), level: level.into(), ..TelemetryPacket::default() }.into()
}

fn ids(packets: &[Packet]) -> Vec<&str> {
    packets.iter().map(|packet| packet.packet_id.as_str()).collect()
}

#[test]
fn refused_packet_is_set_aside_after_eight_drains() {
    let mut sink = Picky { refused: vec!["bad".to_owned()], ..Picky::default() };
    let mut lanes = Lanes::new(10);
    lanes.push(packet("bad", TelemetryLevel::Critical));
    for drain in 1..=Lanes::REFUSALS {
        let (critical, other) = (format!("critical-{drain}"), format!("other-{drain}"));
        lanes.push(packet(&critical, TelemetryLevel::Critical));
        lanes.push(packet(&other, TelemetryLevel::Info));
        let drained = lanes.drain(&mut sink);
        assert_eq!(ids(&drained.delivered), [critical, other], "the others go on");
        assert!(!drained.down);
        let aside: Vec<_> = drained.set_aside.iter().map(|aside| aside.id.as_str()).collect();
        assert_eq!(aside, if drain == Lanes::REFUSALS { vec!["bad"] } else { vec![] }, "drain {drain}");
    }
    assert_eq!((lanes.waiting(), sink.offers["bad"]), ((0, 0), Lanes::REFUSALS));
}

#[test]
fn sink_that_is_down_loses_nothing_however_long() {
    let mut sink = Picky { down: true, ..Picky::default() };
    let mut lanes = Lanes::new(10);
    for id in 0..6 {
        lanes.push(packet(&id.to_string(), TelemetryLevel::Critical));
    }
    let drains = 10 * Lanes::REFUSALS;
    for _ in 0..drains {
        let drained = lanes.drain(&mut sink);
        assert!(drained.down && drained.set_aside.is_empty());
    }
    let offers: u32 = sink.offers.values().sum();
    assert_eq!(offers, drains * Lanes::REFUSALS_IN_A_ROW as u32);
    sink.down = false;
    assert_eq!(ids(&lanes.drain(&mut sink).delivered), ["0", "1", "2", "3", "4", "5"], "in order");
}

#[test]
fn row_of_refused_packets_hides_none_behind_it() {
    let bad: Vec<String> = (0..20).map(|id| format!("bad-{id}")).collect();
    let mut sink = Picky { refused: bad.clone(), ..Picky::default() };
    let mut lanes = Lanes::new(100);
    bad.iter().for_each(|id| drop(lanes.push(packet(id, TelemetryLevel::Critical))));
    lanes.push(packet("good", TelemetryLevel::Critical));
    let mut drains = 0;
    while ids(&lanes.drain(&mut sink).delivered) != ["good"] {
        drains += 1;
        assert!(drains < 20, "never found");
    }
    let mut aside = 0;
    for _ in 0..2_000 {
        lanes.push(packet("more", TelemetryLevel::Info));
        aside += lanes.drain(&mut sink).set_aside.len();
    }
    assert_eq!((aside, lanes.waiting().0), (20, 0));
}

#[test]
fn record_that_cannot_be_read_is_set_aside() {
    let (mut sink, mut lanes) = (Picky::default(), Lanes::new(10));
    lanes.push_spilled(7);
    for place in 100..100 + u64::from(Lanes::REFUSALS) {
        lanes.push_spilled(place);
        let read = |place: u64| (place != 7).then(|| packet("here", TelemetryLevel::Critical));
        let drained = lanes.drain_with(&mut sink, &mut |place| read(place).map(|it| TelemetryPacket::clone(&it)));
        assert_eq!((drained.delivered.len(), drained.down), (1, false));
    }
    assert_eq!(lanes.waiting(), (0, 0));
}

#[test]
fn journal_that_cannot_be_read_loses_nothing() {
    let (mut sink, mut lanes) = (Picky::default(), Lanes::new(10));
    (0..5).for_each(|place| lanes.push_spilled(place));
    for _ in 0..10 * Lanes::REFUSALS {
        lanes.push(packet("more", TelemetryLevel::Critical));
        let mut asked = 0;
        lanes.drain_with(&mut sink, &mut |_| {
            asked += 1;
            None
        });
        assert_eq!(asked, Lanes::REFUSALS_IN_A_ROW);
    }
    assert_eq!(lanes.waiting(), (5, 0));
}

/// Refuses everything about one seed.
struct Against(&'static str, Arc<AtomicBool>, MemorySink);

impl Sink for Against {
    fn deliver(&mut self, packet: &Arc<TelemetryPacket>) -> Result<(), SinkError> {
        let seed = packet.system_health.as_ref().and_then(|health| health.indicators.get("seed_id"));
        if self.1.load(Relaxed) && seed.is_some_and(|seed| seed == self.0) {
            return Err(SinkError { sink: "against", source: "not this one".into() });
        }
        self.2.deliver(packet)
    }
}

#[test]
fn packet_set_aside_is_an_event_and_no_longer_due() {
    let (against, all) = (MemorySink::default(), MemorySink::default());
    let switch = Arc::new(AtomicBool::new(true));
    let sink = Against("seed-1", Arc::clone(&switch), against.clone());
    let assembler = Assembler::new("kasmina", TrainingRunId::new("run-7").unwrap(), 64);
    let mut reporter = Reporter::new(assembler, vec![Box::new(sink), Box::new(all.clone())], 100);
    let seed = SeedId::new("seed-1").unwrap();
    reporter.emit(Some(&seed), Event::new(names::GATE_FAILURE));
    for _ in 0..Lanes::REFUSALS {
        assert_eq!(reporter.packets(&seed).1, 0);
        reporter.emit(None, Event::new(names::PAUSE));
        assert!(!reporter.flush(1, UnixTime::default(), &mut |_| None).failed);
    }
    assert_eq!(reporter.packets(&seed), (1, 1));
    reporter.flush(1, UnixTime::default(), &mut |_| None);
    for (sink, about_seed) in [(against, 0), (all, 1)] {
        let packets = sink.take();
        let events: Vec<_> = packets.iter().flat_map(|packet| &packet.events).collect();
        let named = |name: &str| events.iter().filter(|event| event.description == name).count();
        assert_eq!((named("pause"), named("gate_failure")), (Lanes::REFUSALS as usize, about_seed));
        assert_eq!((named("packet_set_aside"), named("sink_failed")), (1, 1));
        let aside = events.iter().find(|event| event.description == "packet_set_aside").unwrap();
        let said = |name: &str| aside.attributes[name].as_str();
        assert_eq!((said("sink"), said("count"), said("packet_id")), ("against", "1", "run-7-2"));
    }
}

#[test]
fn critical_packets_without_a_journal_are_shed_and_counted() {
    let mut lanes = Lanes::new(10);
    let mut shed = Vec::new();
    for id in 0..Lanes::MOST_UNSPILLED + 3 {
        shed.extend(lanes.push(packet(&id.to_string(), TelemetryLevel::Critical)));
    }
    assert_eq!((ids(&shed), lanes.shed()), (vec!["0", "1", "2"], 3));
    assert_eq!(lanes.waiting(), (Lanes::MOST_UNSPILLED, 0));
    let places = lanes.unspilled().enumerate().map(|(at, packet)| (packet.packet_id.clone(), at as u64)).collect();
    lanes.spilled(&places);
    assert!(lanes.push(packet("one more", TelemetryLevel::Critical)).is_empty(), "a journal has the others");
}

proptest! {
    /// Whatever a sink refuses and whenever it is down, each packet is taken once, set aside, dropped with a count, or still waits; and
    /// those that it would take arrive in order, unless one before them was refused.
    #[test]
    fn every_packet_is_taken_once_or_counted(
        steps in prop::collection::vec((any::<bool>(), prop::bool::weighted(0.1), prop::bool::weighted(0.3)), 1..120),
    ) {
        let (mut sink, mut lanes) = (Picky::default(), Lanes::new(8));
        let (mut taken, mut aside) = (Vec::new(), 0);
        for (id, (critical, bad, down)) in steps.iter().enumerate() {
            let level = if *critical { TelemetryLevel::Critical } else { TelemetryLevel::Info };
            sink.refused.extend(bad.then(|| id.to_string()));
            sink.down = *down;
            lanes.push(packet(&id.to_string(), level));
            let drained = lanes.drain(&mut sink);
            prop_assert!(!*down || drained.delivered.is_empty());
            prop_assert!(drained.set_aside.iter().all(|it| sink.refused.contains(&it.id)), "an honest packet was set aside");
            taken.extend(drained.delivered.iter().map(|packet| packet.packet_id.clone()));
            aside += drained.set_aside.len();
        }
        let waiting = lanes.waiting();
        prop_assert_eq!(taken.len() + aside + waiting.0 + waiting.1 + lanes.dropped() as usize, steps.len());
        let unique: std::collections::BTreeSet<_> = taken.iter().collect();
        prop_assert_eq!(unique.len(), taken.len());
        sink.down = false;
        for _ in 0..200 {
            lanes.push(packet("more", TelemetryLevel::Info));
            lanes.drain(&mut sink);
        }
        prop_assert_eq!(lanes.waiting(), (0, 0));
    }
}
