//! What is drafted, emitted and delivered.

use kasmina_leyline::{CommandId, SeedId, TrainingRunId, UnixTime, v1::TelemetryPacket};
use kasmina_telemetry::{Assembler, Event, Reporter, doubles::MemorySink, names};

const NOW: UnixTime = UnixTime::from_millis(1);

fn reporter() -> (Reporter, MemorySink) {
    let sink = MemorySink::default();
    let assembler = Assembler::new("kasmina", TrainingRunId::new("run-7").unwrap(), 64);
    (Reporter::new(assembler, vec![Box::new(sink.clone())], 100), sink)
}

fn flush(reporter: &mut Reporter, sink: &MemorySink) -> Vec<TelemetryPacket> {
    reporter.flush(1, NOW, &mut |_| None);
    sink.take()
}

#[test]
fn draft_that_is_dropped_emits_nothing() {
    let (mut reporter, sink) = reporter();
    let draft = reporter.draft(1, NOW, |to| to.event(None, Event::new(names::GATE_FAILURE)));
    assert_eq!(draft.packets().len(), 1);
    drop(draft);
    assert_eq!(flush(&mut reporter, &sink), []);
}

#[test]
fn draft_that_is_adopted_is_emitted_under_its_id() {
    let (mut reporter, sink) = reporter();
    let draft = reporter.draft(1, NOW, |to| to.event(None, Event::new(names::GATE_FAILURE)));
    let id = draft.packets()[0].packet_id.clone();
    reporter.adopt(draft, vec![7]);
    assert_eq!(reporter.undelivered().into_iter().collect::<Vec<_>>(), [7]);
    let packets = flush(&mut reporter, &sink);
    assert_eq!(packets.iter().map(|packet| packet.packet_id.as_str()).collect::<Vec<_>>(), [id]);
    assert!(reporter.undelivered().is_empty());
}

#[test]
fn rejections_without_an_id_are_one_event_with_their_number() {
    let (mut reporter, sink) = reporter();
    (0..1000).for_each(|_| reporter.rejected("malformed", None));
    reporter.rejected("stale_command", Some(&CommandId::new("c-1").unwrap()));
    let packets = flush(&mut reporter, &sink);
    let events: Vec<_> = packets.iter().flat_map(|packet| &packet.events).collect();
    assert_eq!(events.len(), 2);
    assert!(events.iter().any(|event| event.attributes.get("count").is_some_and(|count| count == "1000")));
}

/// Whoever has overheard one command can send it as often as the line allows.
#[test]
fn rejections_of_one_command_fill_no_memory() {
    let (mut reporter, sink) = reporter();
    let replayed = CommandId::new("c-1").unwrap();
    (0..1000).for_each(|_| reporter.rejected("nonce_replayed", Some(&replayed)));
    reporter.rejected("stale_command", Some(&replayed));
    let packets = flush(&mut reporter, &sink);
    let events: Vec<_> = packets.iter().flat_map(|packet| &packet.events).collect();
    assert!(events.len() <= 3, "{} events", events.len());
    assert!(events.iter().all(|event| event.attributes["command_id"] == "c-1"));
    assert!(events.iter().any(|event| event.attributes.get("count").is_some_and(|count| count == "999")));
}

#[test]
fn packet_that_a_sink_refuses_is_due_and_not_delivered() {
    let (mut reporter, sink) = reporter();
    let seed = SeedId::new("a").unwrap();
    sink.set_down(true);
    reporter.emit(Some(&seed), Event::new(names::PAUSE));
    flush(&mut reporter, &sink);
    assert_eq!(reporter.packets(&seed), (1, 0));
    sink.set_down(false);
    flush(&mut reporter, &sink);
    assert_eq!(reporter.packets(&seed), (1, 1));
    reporter.count_packets_from_here(&seed);
    assert_eq!(reporter.packets(&seed), (0, 0));
}
