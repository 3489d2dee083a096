//! What a `tracing` subscriber sees of packets.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex},
};

use kasmina_leyline::{SeedId, TrainingRunId, UnixTime, v1::TelemetryPacket};
use kasmina_telemetry::{names::*, *};
use tracing::{
    Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

#[test]
fn events_keep_level_seed_and_step() {
    let seen = seen(Level::TRACE, |assembler, seed| {
        assembler.event(Some(seed), Event::new(SEED_STATE).with("from", "TRAINING").with("to", "BLENDING"));
        assembler.event(Some(seed), Event::new(SEED_CULLED));
        assembler.event(Some(seed), Event::new(GATE_FAILURE).with("gate", 2));
    });
    let about = [("seed_id", "seed-1"), ("step_index", "12")];
    assert_eq!(
        seen,
        [
            record(Level::INFO, about, [("event", "seed_state"), ("attributes", "from=TRAINING to=BLENDING")]),
            record(Level::WARN, about, [("event", "seed_culled")]),
            record(Level::ERROR, about, [("event", "gate_failure"), ("attributes", "gate=2")]),
        ]
    );
}

#[test]
fn metrics_of_a_packet_are_one_debug_event() {
    let seen = seen(Level::TRACE, |assembler, _| {
        assembler.metric(None, Metric::new(HOST_LOSS, 0.5));
        assembler.metric(None, Metric::new(HOST_PASS_MS, f64::NAN));
    });
    let metrics = "kasmina.host.loss=0.5 kasmina.host.pass_ms=NaN";
    assert_eq!(seen, [record(Level::DEBUG, [("step_index", "12")], [("metrics", metrics)])]);
}

#[test]
fn attributes_of_a_metric_are_part_of_its_key() {
    let seen = seen(Level::TRACE, |assembler, _| {
        let state = |value: f64| Metric::new(BREAKER_STATE, value);
        assembler.metric(None, state(1.0).with("breaker", "isolation"));
        assembler.metric(None, state(2.0).with("by", "a\n b=\"3\"").with("breaker", "kernels"));
        assembler.metric(None, state(3.0));
    });
    assert_eq!(
        seen[0].fields["metrics"],
        r#""kasmina.breaker.state{breaker=isolation}"=1 "kasmina.breaker.state{breaker=kernels by=\"a\\n b=\\\"3\\\"\"}"=2 kasmina.breaker.state=3"#
    );
}

#[test]
fn subscriber_for_errors_gets_only_errors() {
    let seen = seen(Level::ERROR, |assembler, seed| {
        assembler.event(Some(seed), Event::new(SEED_STATE));
        assembler.event(None, Event::new(BREAKER_OPEN));
        assembler.metric(None, Metric::new(HOST_LOSS, 0.5));
    });
    assert_eq!(seen, [record(Level::ERROR, [("step_index", "12")], [("event", "breaker_open")])]);
}

#[test]
fn text_from_outside_forges_no_pair_and_no_line() {
    let seen = seen(Level::TRACE, |assembler, _| {
        let reason = "late\nERROR kasmina: key=\"none\"";
        let event = Event::new(COMMAND_REJECTED).with("by", "").with("key", "a=b").with("reason", reason);
        assembler.event(None, event.with("two words", r"back\slash").with("who", "\u{202e}ä"));
    });
    assert_eq!(
        seen[0].fields["attributes"],
        r#"by="" key="a=b" reason="late\nERROR kasmina: key=\"none\"" "two words"="back\\slash" who="\u{202e}ä""#
    );
}

#[test]
fn packets_are_taken_without_a_subscriber() {
    assert!(TracingSink.deliver(&Arc::new(TelemetryPacket::default())).is_ok());
}

/// What a subscriber of `level` sees of the packets of a step.
fn seen(level: Level, step: impl Fn(&mut Assembler, &SeedId)) -> Vec<Record> {
    let mut assembler = Assembler::new("kasmina", TrainingRunId::new("run-7").unwrap(), 64);
    step(&mut assembler, &SeedId::new("seed-1").unwrap());
    let records = Arc::default();
    tracing::subscriber::with_default(Recorder { level, records: Arc::clone(&records) }, || {
        for packet in assembler.assemble(12, UnixTime::from_millis(1_700_000_000_000)) {
            TracingSink.deliver(&packet.packet).unwrap();
        }
    });
    let mut records = records.lock().unwrap();
    std::mem::take(&mut *records)
}

fn record<const A: usize, const B: usize>(level: Level, about: [(&str, &str); A], rest: [(&str, &str); B]) -> Record {
    let fields = about.into_iter().chain(rest).map(|(name, value)| (name.to_owned(), value.to_owned()));
    Record { level, target: "kasmina".to_owned(), fields: fields.collect() }
}

#[derive(Debug, PartialEq)]
struct Record {
    level: Level,
    target: String,
    fields: BTreeMap<String, String>,
}

/// Writes down every event of its level or graver.
struct Recorder {
    level: Level,
    records: Arc<Mutex<Vec<Record>>>,
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (level, target) = (*event.metadata().level(), event.metadata().target().to_owned());
        self.records.lock().unwrap().push(Record { level, target, fields: fields.0 });
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[derive(Default)]
struct Fields(BTreeMap<String, String>);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}
