//! What every sink must do.

use std::{collections::BTreeMap, sync::Arc, thread};

use kasmina_leyline::v1::{MetricPoint, SystemHealth, TelemetryEvent, TelemetryLevel, TelemetryPacket};

use crate::{
    Sink,
    names::{EVENTS, METRICS},
};

/// Runs the suite on the sinks that `build` makes, which must be able to take packets:
///
/// - every packet is taken, however odd: empty, without a health, with unknown names, with NaN, or for the second time;
/// - a packet stays as it is, because other sinks share it;
/// - `&mut` and `Box` forward to the sink, on another thread as well.
///
/// `arrived` reads the `packet_id`s that the sink has passed on, in order, or returns `None` if that cannot be read back.
///
/// # Panics
/// If the sink does not conform.
pub fn run<S: Sink + 'static>(build: impl Fn() -> S, arrived: impl Fn(&S) -> Option<Vec<String>>) {
    let mut sink = build();
    let mut ids = Vec::new();
    for packet in packets() {
        let before = TelemetryPacket::clone(&packet);
        deliver(&mut sink, &packet);
        deliver(&mut &mut sink, &packet);
        assert!(same(&packet, &before), "{}: the sink changed a shared packet", packet.packet_id);
        ids.extend([packet.packet_id.clone(), packet.packet_id.clone()]);
    }
    if let Some(arrived) = arrived(&sink) {
        assert_eq!(arrived, ids, "packets were lost, added or reordered");
    }
    let mut boxed: Box<dyn Sink> = Box::new(sink);
    let elsewhere = thread::spawn(move || packets().iter().for_each(|packet| deliver(&mut boxed, packet)));
    assert!(elsewhere.join().is_ok(), "the boxed sink failed on another thread");
}

fn deliver(sink: &mut impl Sink, packet: &Arc<TelemetryPacket>) {
    let outcome = sink.deliver(packet);
    assert!(outcome.is_ok(), "packet {:?} was refused: {:?}", packet.packet_id, outcome.err());
}

/// Equal bit for bit: NaN does not equal itself.
fn same(packet: &TelemetryPacket, other: &TelemetryPacket) -> bool {
    format!("{packet:?}") == format!("{other:?}")
}

fn packets() -> Vec<Arc<TelemetryPacket>> {
    let event = |name: &str, level: TelemetryLevel| TelemetryEvent {
        description: name.to_owned(),
        level: level.into(),
        attributes: BTreeMap::from([("a \"key\"\n".to_owned(), "a\\value=\u{202e}".to_owned())]),
        ..TelemetryEvent::default()
    };
    let metric = |name: &str, value| MetricPoint { name: name.to_owned(), value, ..MetricPoint::default() };
    let named = |id: &str| TelemetryPacket { packet_id: id.to_owned(), ..TelemetryPacket::default() };
    let indicators = |seed: &str, step: &str| SystemHealth {
        indicators: [("seed_id", seed), ("step_index", step)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..SystemHealth::default()
    };
    let known = TelemetryPacket {
        events: EVENTS.iter().map(|known| event(known.name, known.level)).collect(),
        metrics: METRICS.iter().map(|known| metric(known.name, 0.5)).collect(),
        system_health: Some(indicators("seed-1", "12")),
        ..named("known")
    };
    let unknown = TelemetryPacket {
        events: vec![event("made_up", TelemetryLevel::Critical)],
        metrics: [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0].map(|value| metric("made.up", value)).into(),
        system_health: Some(indicators("a \"seed\"\n", "not a number")),
        level: 99,
        ..named("unknown")
    };
    [named("empty"), known, unknown].map(Arc::new).into()
}
