//! Packets that a sink has taken and not stored, and field reports, which travel like them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use kasmina_leyline::{
    SeedId, TrainingRunId, UnixTime,
    v1::{FieldReport, FieldReportOutcome, TelemetryEvent, TelemetryPacket},
};
use kasmina_telemetry::{
    Assembler, Event, Lanes, Packet, Reporter, Sink, SinkError, UnreadableReport, doubles::MemorySink, field_report,
    field_report_event, names,
};
use proptest::prelude::*;

/// Takes everything, and has stored what it is told that it has.
#[derive(Clone, Default)]
struct Late(Arc<Mutex<BTreeSet<String>>>, MemorySink);

impl Late {
    fn store(&self, id: &str) {
        self.0.lock().unwrap().insert(id.to_owned());
    }
}

impl Sink for Late {
    fn deliver(&mut self, packet: &Arc<TelemetryPacket>) -> Result<(), SinkError> {
        self.1.deliver(packet)
    }

    fn is_stored(&mut self, packet_id: &str) -> bool {
        self.0.lock().unwrap().contains(packet_id)
    }
}

fn assembler() -> Assembler {
    Assembler::new("kasmina", TrainingRunId::new("run-7").unwrap(), 4)
}

fn seed() -> SeedId {
    SeedId::new("seed-1").unwrap()
}

/// Packets about seeds, with one event each.
fn packets(events: &[Event]) -> Vec<Packet> {
    let mut assembler = assembler();
    for (number, event) in events.iter().enumerate() {
        assembler.event(Some(&SeedId::new(format!("seed-{number}")).unwrap()), event.clone());
    }
    assembler.assemble(1, UnixTime::from_millis(5))
}

fn report() -> FieldReport {
    FieldReport {
        version: 1,
        report_id: "run-7/seed-1/5".into(),
        command_id: "tamiyo-1".into(),
        training_run_id: "run-7".into(),
        seed_id: "seed-1".into(),
        blueprint_id: "mlp".into(),
        outcome: FieldReportOutcome::Success.into(),
        metrics: BTreeMap::from([("contribution_mean".to_owned(), 0.25), ("loss".to_owned(), f32::INFINITY)]),
        observation_window_epochs: 3,
        issued_at: Some(UnixTime::from_nanos(1_700_000_000_123_456_789).into()),
        notes: "fossilized".into(),
        ..FieldReport::default()
    }
}

fn on_the_wire(event: Event) -> TelemetryEvent {
    packets(&[event])[0].events[0].clone()
}

#[test]
fn sink_that_stores_nothing_is_offered_a_lane_at_most() {
    let (mut sink, mut lanes) = (Late::default(), Lanes::new(3));
    let critical = packets(&vec![Event::new(names::GATE_FAILURE); 8]);
    let ids: Vec<_> = critical.iter().map(|packet| packet.packet_id.clone()).collect();
    for (place, packet) in critical.iter().enumerate() {
        lanes.push_journaled(packet.clone(), place as u64);
    }
    let kept: BTreeMap<u64, TelemetryPacket> =
        critical.iter().enumerate().map(|(place, packet)| (place as u64, (*packet.packet).clone())).collect();
    let drain = |lanes: &mut Lanes, sink: &mut Late| {
        let drained = lanes.drain_with(sink, &mut |place| kept.get(&place).cloned());
        assert!(!drained.down && drained.error.is_none(), "{drained:?}");
        drained.delivered.iter().map(|packet| packet.packet_id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(drain(&mut lanes, &mut sink), ids[..3]);
    assert_eq!(drain(&mut lanes, &mut sink), [""; 0]);
    assert_eq!((lanes.unstored(), lanes.critical().packets, lanes.waiting().0), (3, 3, 5));
    assert_eq!(lanes.places().collect::<BTreeSet<_>>(), (0..8).collect(), "nothing is lost");
    sink.store(&ids[0]);
    assert_eq!(drain(&mut lanes, &mut sink), ids[3..4]);
    ids.iter().for_each(|id| sink.store(id));
    assert_eq!(drain(&mut lanes, &mut sink), ids[4..]);
    assert_eq!((lanes.unstored(), lanes.waiting().0, lanes.places().count()), (0, 0, 0));
}

#[test]
fn packet_that_is_taken_keeps_its_place_until_it_is_stored() {
    let (mut sink, mut lanes) = (Late::default(), Lanes::new(10));
    let critical = packets(&[Event::new(names::GATE_FAILURE), Event::new(names::BREAKER_OPEN)]);
    let ids: Vec<_> = critical.iter().map(|packet| packet.packet_id.clone()).collect();
    for (place, packet) in (7..).zip(critical) {
        lanes.push_journaled(packet, place);
    }
    assert_eq!(lanes.drain(&mut sink).delivered.len(), 2);
    for _ in 0..20 {
        assert!(lanes.drain(&mut sink).delivered.is_empty(), "it is not offered again");
    }
    assert_eq!((lanes.places().collect::<Vec<_>>(), lanes.waiting(), lanes.unstored()), (vec![7, 8], (0, 0), 2));
    sink.store(&ids[0]);
    lanes.drain(&mut sink);
    assert_eq!(lanes.places().collect::<Vec<_>>(), [8]);
    sink.store(&ids[1]);
    lanes.drain(&mut sink);
    assert_eq!((lanes.places().count(), lanes.unstored()), (0, 0));
}

#[test]
fn packet_that_is_not_stored_by_the_next_drain_is_spilled() {
    let (mut sink, mut lanes) = (Late::default(), Lanes::new(10));
    let packet = packets(&[Event::new(names::GATE_FAILURE)]).remove(0);
    lanes.push(packet.clone());
    lanes.drain(&mut sink);
    assert_eq!(lanes.unspilled().count(), 0, "it is on its way");
    lanes.drain(&mut sink);
    assert_eq!(lanes.unspilled().count(), 1);
    lanes.spilled(&BTreeMap::from([(packet.packet_id.clone(), 3)]));
    assert_eq!((lanes.unspilled().count(), lanes.places().collect::<Vec<_>>()), (0, vec![3]));
    sink.store(&packet.packet_id);
    lanes.drain(&mut sink);
    assert_eq!(lanes.places().count(), 0);
}

#[test]
fn packet_that_may_be_dropped_is_not_asked_about() {
    let (mut sink, mut lanes) = (Late::default(), Lanes::new(10));
    lanes.push(packets(&[Event::new(names::SEED_CULLED)]).remove(0));
    assert_eq!((lanes.drain(&mut sink).delivered.len(), lanes.unstored()), (1, 0));
}

#[test]
fn packet_of_an_earlier_process_is_kept_too() {
    let (mut sink, mut lanes) = (Late::default(), Lanes::new(10));
    let packet = packets(&[Event::new(names::GATE_FAILURE)]).remove(0);
    lanes.push_spilled(5);
    let drained = lanes.drain_with(&mut sink, &mut |_| Some(TelemetryPacket::clone(&packet.packet)));
    assert_eq!((drained.delivered.len(), lanes.places().collect::<Vec<_>>()), (1, vec![5]));
    sink.store(&packet.packet_id);
    lanes.drain(&mut sink);
    assert_eq!(lanes.places().count(), 0);
}

#[test]
fn boxed_and_borrowed_sinks_forward_what_is_stored() {
    fn stored(mut sink: impl Sink) -> [bool; 2] {
        [sink.is_stored("here"), sink.is_stored("elsewhere")]
    }
    let mut sink = Late::default();
    sink.store("here");
    assert_eq!(stored(&mut sink), [true, false]);
    let boxed: Box<dyn Sink> = Box::new(sink);
    assert_eq!(stored(boxed), [true, false]);
}

#[test]
fn field_report_is_never_dropped_and_calls_for_no_alarm() {
    let mut assembler = assembler();
    assembler.event(Some(&seed()), field_report_event(&report()));
    for _ in 0..100 {
        assembler.event(Some(&seed()), Event::new(names::SEED_CULLED));
    }
    let packet = assembler.assemble(1, UnixTime::from_millis(5)).remove(0);
    assert!(packet.events.iter().any(|event| field_report(event).is_some()));
    assert_eq!(packets(&[field_report_event(&report())])[0].system_health.as_ref().unwrap().status, 1, "healthy");
    // It waits on the lane that drops nothing.
    let mut lanes = Lanes::new(0);
    assert!(lanes.push(packet).is_empty());
    assert_eq!(lanes.waiting(), (1, 0));
}

#[test]
fn field_report_goes_into_the_journal_with_its_batch() {
    let mut reporter = Reporter::new(assembler(), vec![Box::new(Late::default())], 10);
    let now = UnixTime::from_millis(5);
    let draft = reporter.draft(1, now, |to| to.event(Some(&seed()), field_report_event(&report())));
    assert_eq!(draft.packets().len(), 1);
    reporter.adopt(draft, vec![4]);
    assert_eq!(reporter.undelivered(), [4].into());
    reporter.flush(1, now, &mut |_| None);
    assert_eq!((reporter.undelivered(), reporter.unspilled().len()), ([4].into(), 0), "the draft stands for it");
    // Taken and still not stored, the whole packet goes there.
    reporter.flush(2, now, &mut |_| None);
    let id = reporter.unspilled()[0].packet_id.clone();
    reporter.spilled_to(&BTreeMap::from([(id, 9)]));
    assert_eq!((reporter.undelivered(), reporter.unspilled().len()), ([9].into(), 0));
}

#[test]
fn report_without_what_it_needs_is_unreadable() {
    let whole = on_the_wire(field_report_event(&report()));
    for attribute in ["report_id", "training_run_id", "seed_id", "blueprint_id", "outcome", "observation_window_epochs"]
    {
        let mut event = whole.clone();
        event.attributes.remove(attribute);
        assert_eq!(field_report(&event), Some(Err(UnreadableReport { attribute })));
    }
    for (attribute, text) in [("outcome", "GOOD"), ("observation_window_epochs", "-1"), ("issued_at_ns", "now")] {
        let mut event = whole.clone();
        event.attributes.insert(attribute.to_owned(), text.to_owned());
        assert_eq!(field_report(&event), Some(Err(UnreadableReport { attribute })));
    }
    assert_eq!(field_report(&on_the_wire(Event::new(names::SEED_CULLED))), None);
}

proptest! {
    #[test]
    fn any_report_is_read_back(
        texts in prop::array::uniform6("[^\\x00]{0,12}"),
        metrics in prop::collection::btree_map("[a-z_.]{0,8}", any::<f32>().prop_filter("a NaN equals nothing", |it| !it.is_nan()), 0..4),
        epochs: u32,
        outcome in 0..=4i32,
        issued_at in prop::option::of(0..i64::MAX),
    ) {
        let [report_id, command_id, training_run_id, seed_id, blueprint_id, notes] = texts;
        let report = FieldReport {
            version: 1, report_id, command_id, training_run_id, seed_id, blueprint_id, outcome, metrics, notes,
            observation_window_epochs: epochs,
            issued_at: issued_at.map(|at| UnixTime::from_nanos(at).into()),
            ..FieldReport::default()
        };
        prop_assert_eq!(field_report(&on_the_wire(field_report_event(&report))), Some(Ok(report)));
    }
}
