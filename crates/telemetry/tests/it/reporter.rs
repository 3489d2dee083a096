//! What is drafted, emitted and delivered.

use std::sync::Arc;

use kasmina_leyline::{
    CommandId, SeedId, TrainingRunId, UnixTime,
    v1::{HealthStatus, TelemetryPacket},
};
use kasmina_telemetry::{
    Assembler, Event, Flushed, Health, Metric, Reporter, Sink, SinkError, doubles::MemorySink, names,
};
use prost::Message;

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
fn reporter_without_a_sink_writes_nothing() {
    let assembler = Assembler::new("kasmina", TrainingRunId::new("run-7").unwrap(), 64);
    let mut reporter = Reporter::new(assembler, Vec::new(), 100);
    assert!(reporter.is_silent() && !self::reporter().0.is_silent());
    reporter.write(|_| panic!("nobody reads it"));
    let draft = reporter.draft(1, NOW, |_| panic!("nobody reads it"));
    assert!(draft.packets().is_empty());
    reporter.adopt(draft, Vec::new());
    reporter.rejected("signature_invalid", None);
    assert_eq!(reporter.flush(1, NOW, &mut |_| None), Flushed::default());
    assert_eq!(reporter.packets(&SeedId::new("seed-1").unwrap()), (0, 0));
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
fn rejections_are_one_event_for_each_reason() {
    let (mut reporter, sink) = reporter();
    let replayed = CommandId::new("c-0").unwrap();
    (0..1000).for_each(|_| reporter.rejected("malformed", None));
    (0..1000).for_each(|_| reporter.rejected("nonce_replayed", Some(&replayed)));
    (0..1000).for_each(|n| reporter.rejected("stale_command", Some(&CommandId::new(format!("c-{n}")).unwrap())));
    assert_eq!(reporter.draft(1, NOW, |_| {}).packets(), [], "what anybody can cause goes into no journal");
    let packets = flush(&mut reporter, &sink);
    let totals = packets[0].metrics.iter().filter(|metric| metric.name == "kasmina.commands.rejected_total");
    let totals: Vec<_> = totals.map(|metric| (metric.attributes["reason"].as_str(), metric.value)).collect();
    assert_eq!(totals, [("malformed", 1e3), ("nonce_replayed", 1e3), ("stale_command", 1e3)]);
    let events: Vec<_> = packets.iter().flat_map(|packet| &packet.events).collect();
    let said: Vec<_> = events
        .iter()
        .map(|event| {
            let said = |name: &str| event.attributes.get(name).cloned().unwrap_or_default();
            (said("reason"), said("count"), said("command_id"))
        })
        .collect();
    let row = |reason: &str, ids: &str| (reason.to_owned(), "1000".to_owned(), ids.to_owned());
    assert_eq!(said, [row("malformed", ""), row("nonce_replayed", "c-0"), row("stale_command", "c-0 c-1 c-2")]);
    assert_eq!(flush(&mut reporter, &sink), []);
}

#[test]
fn gauge_of_waiting_packets_goes_back_to_zero() {
    let (mut reporter, sink) = reporter();
    sink.set_down(true);
    reporter.emit(None, Event::new(names::GATE_FAILURE));
    flush(&mut reporter, &sink);
    sink.set_down(false);
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let packets = flush(&mut reporter, &sink);
        let metrics = packets.iter().flat_map(|packet| &packet.metrics);
        waiting
            .extend(metrics.filter(|metric| metric.name == names::EMERGENCY_WAITING.name).map(|metric| metric.value));
    }
    assert_eq!(waiting, [1.0, 0.0]);
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

/// The sum of what is drafted, if nothing is flushed in between.
fn drafted(critical: usize) -> usize {
    let (mut reporter, _sink) = reporter();
    let mut bytes = 0;
    for place in 0..critical {
        let gate = Event::new(names::GATE_FAILURE).with("reason", "loss_rising");
        let draft = reporter.draft(1, NOW, |to| to.event(None, gate));
        assert_eq!(draft.packets().len(), 1);
        bytes += draft.packets()[0].encoded_len();
        reporter.adopt(draft, vec![place as u64]);
    }
    bytes
}

#[test]
fn drafts_without_a_flush_cost_the_same_each_time() {
    let (few, many) = (drafted(100), drafted(1_000));
    assert!(many < few * 11, "{few} bytes for 100 drafts, {many} bytes for 1,000");
}

#[test]
fn draft_has_id_and_critical_events_of_its_packet() {
    let (mut reporter, sink) = reporter();
    let (a, b) = (SeedId::new("a").unwrap(), SeedId::new("b").unwrap());
    let names =
        |packet: &TelemetryPacket| packet.events.iter().map(|event| event.description.clone()).collect::<Vec<_>>();
    reporter.emit(Some(&a), Event::new(names::PAUSE));
    reporter.emit(Some(&b), Event::new(names::PAUSE));
    let draft = reporter.draft(1, NOW, |to| {
        to.event(Some(&a), Event::new(names::GATE_FAILURE));
        to.event(Some(&b), Event::new(names::RESUME));
    });
    assert_eq!((draft.packets().len(), names(&draft.packets()[0])), (1, vec!["pause".into(), "gate_failure".into()]));
    let id = draft.packets()[0].packet_id.clone();
    reporter.adopt(draft, vec![7]);
    let draft = reporter.draft(1, NOW, |to| to.event(Some(&a), Event::new(names::RESUME)));
    assert_eq!(draft.packets(), [], "nothing critical that is new");
    reporter.adopt(draft, vec![]);
    let draft = reporter.draft(1, NOW, |to| to.event(Some(&a), Event::new(names::GATE_FAILURE)));
    assert_eq!((&draft.packets()[0].packet_id, draft.packets()[0].events.len()), (&id, 4));
    reporter.adopt(draft, vec![8]);
    assert_eq!(reporter.undelivered().into_iter().collect::<Vec<_>>(), [8], "the newest draft says it all");
    let packets = flush(&mut reporter, &sink);
    assert_eq!((packets.len(), &packets[0].packet_id, packets[0].events.len()), (2, &id, 4));
    assert_eq!((reporter.packets(&a), reporter.undelivered().len()), ((1, 1), 0));
}

#[test]
fn full_draft_is_a_packet_and_the_next_event_begins_another() {
    let (mut reporter, sink) = reporter();
    for place in 0..40 {
        let draft = reporter.draft(1, NOW, |to| to.event(None, Event::new(names::GATE_FAILURE)));
        reporter.adopt(draft, vec![place]);
    }
    assert_eq!(reporter.undelivered().into_iter().collect::<Vec<_>>(), [15, 31, 39]);
    let packets = flush(&mut reporter, &sink);
    let events: Vec<_> = packets.iter().map(|packet| packet.events.len()).collect();
    let ids: std::collections::BTreeSet<_> = packets.iter().map(|packet| &packet.packet_id).collect();
    assert_eq!((events, ids.len()), (vec![16, 16, 8], 3));
    assert!(reporter.undelivered().is_empty());
}

#[test]
fn draft_without_a_place_in_a_journal_waits_for_the_flush() {
    let (mut reporter, sink) = reporter();
    for _ in 0..2 {
        let draft = reporter.draft(1, NOW, |to| to.event(None, Event::new(names::GATE_FAILURE)));
        reporter.adopt(draft, Vec::new());
    }
    reporter.set_journaled(false);
    let draft = reporter.draft(1, NOW, |to| to.event(None, Event::new(names::GATE_FAILURE)));
    assert_eq!(draft.packets(), []);
    reporter.adopt(draft, Vec::new());
    let packets = flush(&mut reporter, &sink);
    assert_eq!((packets.len(), packets[0].events.len()), (1, 3));
}

#[test]
fn health_lasts_until_it_is_set_again() {
    let (mut reporter, sink) = reporter();
    let seed = SeedId::new("a").unwrap();
    let mut said = |health: Option<Health>, event| {
        health.into_iter().for_each(|health| reporter.set_health(health));
        reporter.emit(Some(&seed), Event::new(event));
        let health = flush(&mut reporter, &sink)[0].system_health.clone().unwrap();
        (health.status(), health.summary)
    };
    let row = |status, summary: &str| (status, summary.to_owned());
    assert_eq!(said(None, names::PAUSE), row(HealthStatus::Healthy, "pause"));
    let open = Health::Unhealthy("breaker kernels is open".to_owned());
    assert_eq!(said(Some(open), names::PAUSE), row(HealthStatus::Unhealthy, "breaker kernels is open"));
    assert_eq!(said(None, names::SEED_CULLED), row(HealthStatus::Unhealthy, "breaker kernels is open"));
    let slow = Health::Degraded("blend latency of a".to_owned());
    assert_eq!(said(Some(slow), names::PAUSE), row(HealthStatus::Degraded, "blend latency of a"));
    assert_eq!(said(None, names::GATE_FAILURE), row(HealthStatus::Unhealthy, "gate_failure"));
    assert_eq!(said(Some(Health::Healthy), names::PAUSE), row(HealthStatus::Healthy, "pause"));
}

#[test]
fn summary_says_what_the_interval_held() {
    let (mut reporter, sink) = reporter();
    let mut summary = Vec::new();
    for step in 0..=2 * Reporter::SUMMARY_EVERY {
        let value = if step == 3 { f64::NAN } else { step as f64 };
        reporter.metric(None, Metric::new(names::HOST_LOSS, value));
        reporter.flush(step, NOW, &mut |_| None);
        let packets = sink.take();
        reporter.flush(step, NOW, &mut |_| None);
        assert_eq!(sink.take(), [], "a second flush of a step adds nothing");
        let points = packets[0].metrics.iter().filter(|point| point.name == "kasmina.host.loss");
        let said: Vec<_> =
            points.filter_map(|point| Some((point.attributes.get(names::STATISTIC)?.clone(), point.value))).collect();
        summary.extend((!said.is_empty()).then_some((step, said)));
    }
    let row = |values: [f64; 5]| names::STATISTICS.map(str::to_owned).into_iter().zip(values).collect::<Vec<_>>();
    // 0 to 100 without the third, and 101 to 200.
    let (first, second) = (row([100.0, 50.47, 0.0, 100.0, 95.0]), row([100.0, 150.5, 101.0, 200.0, 195.0]));
    assert_eq!(summary, [(100, first), (200, second)]);
}

#[test]
fn counter_stands_in_a_packet_when_it_has_grown() {
    let (mut reporter, sink) = reporter();
    let accepted = || Metric::new(names::COMMANDS_ACCEPTED, 1);
    let draft = reporter.draft(1, NOW, |to| to.count(accepted()));
    drop(draft);
    assert_eq!(flush(&mut reporter, &sink), []);
    for total in [2.0, 4.0] {
        for _ in 0..2 {
            let draft = reporter.draft(1, NOW, |to| to.count(accepted()));
            reporter.adopt(draft, Vec::new());
        }
        assert_eq!(flush(&mut reporter, &sink)[0].metrics[0].value, total);
        assert_eq!(flush(&mut reporter, &sink), []);
    }
}

#[test]
fn flush_failed_if_every_sink_is_down() {
    let (one, other) = (MemorySink::default(), MemorySink::default());
    let assembler = Assembler::new("kasmina", TrainingRunId::new("run-7").unwrap(), 64);
    let mut reporter = Reporter::new(assembler, vec![Box::new(one.clone()), Box::new(other.clone())], 100);
    let mut flush = |down: [bool; 2]| {
        one.set_down(down[0]);
        other.set_down(down[1]);
        reporter.emit(None, Event::new(names::PAUSE));
        reporter.flush(1, NOW, &mut |_| None)
    };
    assert_eq!(flush([false, false]), Flushed { failed: false, down: 0, delivered: 2 });
    assert_eq!(flush([true, false]), Flushed { failed: false, down: 1, delivered: 1 });
    assert!(flush([true, true]).failed);
    assert_eq!(flush([false, false]).down, 0);
    assert_eq!(other.take().len(), 4, "it gets what it has missed");
}

#[test]
fn flood_of_names_fills_no_memory() {
    let sink = MemorySink::default();
    let assembler = Assembler::new("kasmina", TrainingRunId::new("run-7").unwrap(), 64);
    let mut reporter = Reporter::new(assembler, vec![Box::new(sink.clone())], 2_000);
    for number in 0..3_000 {
        let seed = SeedId::new(format!("made-up-{number}")).unwrap();
        reporter.emit(Some(&seed), Event::new(names::COMMAND_REFUSED));
    }
    let packets = flush(&mut reporter, &sink);
    assert_eq!(packets.len(), Assembler::MOST_SEEDS + 1);
    let events: usize = packets.iter().map(|packet| packet.events.len()).sum();
    assert_eq!(events, Assembler::MOST_SEEDS + 64 + 1);
    assert_eq!(packets[0].events[64].attributes["count"], (3_000 - Assembler::MOST_SEEDS - 64).to_string());
}

#[test]
fn flood_of_rejections_between_flushes_keeps_its_size() {
    let (mut reporter, sink) = reporter();
    let ids: Vec<_> = (0..1_000).map(|number| CommandId::new(format!("c-{number}")).unwrap()).collect();
    let mut drafted = 0;
    for number in 0..1_000_000 {
        reporter.rejected("nonce_replayed", ids.get(number % ids.len()));
        reporter.rejected("stale_command", ids.get(number % 7));
        if number.is_multiple_of(1_000) {
            // An honest command that a gate refuses, in between: it journals itself alone, and a packet is full at sixteen.
            let draft = reporter.draft(1, NOW, |to| to.event(None, Event::new(names::GATE_FAILURE)));
            let bytes = draft.packets()[0].encoded_len();
            assert!(bytes < 1_500, "{bytes} bytes after {number} rejections");
            reporter.adopt(draft, vec![number as u64]);
            drafted += 1;
        }
    }
    // Of the sixty sealed packets a hundred may be in memory; the last is still open.
    assert_eq!((drafted, reporter.undelivered().len()), (1_000, 63));
    let packets = flush(&mut reporter, &sink);
    let rejected: Vec<_> = packets
        .iter()
        .flat_map(|packet| &packet.events)
        .filter(|event| event.description == "command_rejected")
        .map(|event| (event.attributes["count"].as_str(), event.attributes["command_id"].as_str()))
        .collect();
    assert_eq!(rejected, [("1000000", "c-0 c-1 c-2"), ("1000000", "c-0 c-1 c-2")]);
}

/// Takes so many packets, and then none.
struct Tired(u32);

impl Sink for Tired {
    fn deliver(&mut self, _: &Arc<TelemetryPacket>) -> Result<(), SinkError> {
        self.0 = self.0.checked_sub(1).ok_or_else(|| SinkError { sink: "tired", source: "enough".into() })?;
        Ok(())
    }
}

#[test]
fn packet_of_an_earlier_stage_does_not_count_for_this_one() {
    let assembler = Assembler::new("kasmina", TrainingRunId::new("run-7").unwrap(), 64);
    let left = Arc::new(std::sync::Mutex::new(0));
    struct Shared(Arc<std::sync::Mutex<u32>>);
    impl Sink for Shared {
        fn deliver(&mut self, packet: &Arc<TelemetryPacket>) -> Result<(), SinkError> {
            let mut left = self.0.lock().unwrap();
            let mut tired = Tired(*left);
            let taken = tired.deliver(packet);
            *left = tired.0;
            taken
        }
    }
    let mut reporter = Reporter::new(assembler, vec![Box::new(Shared(Arc::clone(&left)))], 100);
    let seed = SeedId::new("seed-1").unwrap();
    reporter.emit(Some(&seed), Event::new(names::SEED_STATE));
    reporter.flush(1, NOW, &mut |_| None);
    reporter.count_packets_from_here(&seed);
    reporter.emit(Some(&seed), Event::new(names::SEED_STATE));
    // The packet of before is taken, that of this stage is not.
    *left.lock().unwrap() = 1;
    reporter.flush(2, NOW, &mut |_| None);
    assert_eq!(reporter.packets(&seed), (1, 0));
}
