//! Packets as `tracing` events.

use std::{
    borrow::Cow,
    fmt::{self, Write},
    sync::Arc,
};

use kasmina_leyline::v1::{MetricPoint, TelemetryEvent, TelemetryLevel, TelemetryPacket};
use tracing::Level;

use crate::{
    Sink, SinkError,
    packet::{seed_id, step_index},
};

const TARGET: &str = TracingSink::TARGET;

/// Emits packets as `tracing` events, to the subscriber of the thread that delivers them.
///
/// Each event of a packet becomes one `tracing` event with the target [`TARGET`](Self::TARGET) and the level INFO, WARN
/// (`WARNING`) or ERROR (`ERROR` and `CRITICAL`). Its fields are `event` (the name), `seed_id`, `step_index` (a number) and
/// `attributes`. The metrics of a packet become one DEBUG event with `seed_id`, `step_index` and `metrics`. A field without a
/// value is absent.
///
/// Attributes and metrics are one string of `key=value` pairs, separated by spaces, in the order of the packet. A key or value
/// that is empty, or that contains a space, a quote, a backslash, an equals sign or anything but printable ASCII, is quoted and
/// escaped like a Rust string, so that text from outside cannot forge a pair or a log line. The key of a metric with attributes
/// is its name followed by their pairs in braces: `"kasmina.breaker.state{breaker=kernels}"=1`.
///
/// Delivery never fails, even if no subscriber is installed. If critical events must not be lost, add a second sink that can
/// report failure.
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingSink;

impl TracingSink {
    /// The target of everything that it emits.
    pub const TARGET: &'static str = "kasmina";
}

impl Sink for TracingSink {
    fn deliver(&mut self, packet: &Arc<TelemetryPacket>) -> Result<(), SinkError> {
        for event in &packet.events {
            emit(packet, event);
        }
        if !packet.metrics.is_empty() {
            tracing::event!(
                target: TARGET,
                Level::DEBUG,
                seed_id = seed_id(packet),
                step_index = step_index(packet),
                metrics = pairs(packet.metrics.iter().map(|metric| (key(metric), metric.value))),
            );
        }
        Ok(())
    }
}

fn emit(packet: &TelemetryPacket, event: &TelemetryEvent) {
    // The level of a `tracing` event is a constant of the place that emits it.
    macro_rules! at {
        ($level:expr) => {
            tracing::event!(
                target: TARGET,
                $level,
                event = event.description.as_str(),
                seed_id = seed_id(packet),
                step_index = step_index(packet),
                attributes = pairs(&event.attributes),
            )
        };
    }
    match event.level() {
        TelemetryLevel::Unspecified | TelemetryLevel::Info => at!(Level::INFO),
        TelemetryLevel::Warning => at!(Level::WARN),
        TelemetryLevel::Error | TelemetryLevel::Critical => at!(Level::ERROR),
    }
}

fn key(metric: &MetricPoint) -> Cow<'_, str> {
    match pairs(&metric.attributes) {
        None => Cow::Borrowed(&metric.name),
        Some(attributes) => Cow::Owned(format!("{}{{{attributes}}}", metric.name)),
    }
}

fn pairs<K: AsRef<str>, V: fmt::Display>(pairs: impl IntoIterator<Item = (K, V)>) -> Option<String> {
    let mut text = String::new();
    for (key, value) in pairs {
        let space = if text.is_empty() { "" } else { " " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{space}{}={}", Quoted(key.as_ref()), Quoted(&value.to_string()));
    }
    (!text.is_empty()).then_some(text)
}

struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'=');
        if !self.0.is_empty() && self.0.bytes().all(plain) { f.write_str(self.0) } else { write!(f, "{:?}", self.0) }
    }
}
