//! From packets to `tracing`.

use std::{
    borrow::Cow,
    fmt::{self, Write},
};

use kasmina_leyline::v1::{MetricPoint, TelemetryEvent, TelemetryLevel, TelemetryPacket};
use tracing::Level;

use crate::{
    Sink, SinkError,
    indicators::{seed_id, step_index},
};

const TARGET: &str = TracingSink::TARGET;

/// Passes packets on to the `tracing` subscriber of the thread that delivers them.
///
/// Each event of a packet becomes one of target [`TARGET`](Self::TARGET) and of the level INFO, WARN (`WARNING`) or ERROR
/// (`ERROR` and `CRITICAL`), with the fields `event` (its name), `seed_id`, `step_index` (a number) and `attributes`. The
/// metrics of a packet become one DEBUG event with `seed_id`, `step_index` and `metrics`. Attributes and metrics are one
/// string of `key=value` pairs between spaces, in the order in which the packet has them; a key or value that is empty or
/// is more than plain ASCII without space, quote, backslash and equals sign stands in quotes, escaped as a Rust string, so
/// that no text of a stranger forges a pair or a line of a log. The key of a metric with attributes is its name and, in braces,
/// their pairs: `"kasmina.breaker.state{breaker=kernels}"=1`. A field with nothing to say is absent.
///
/// It takes every packet, also those that no subscriber wants: nobody learns here whether the subscriber kept them. Where
/// critical events must arrive, a sink that can refuse belongs beside this one.
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingSink;

impl TracingSink {
    /// The target of all that it emits, to filter by.
    pub const TARGET: &'static str = "kasmina";
}

impl Sink for TracingSink {
    fn deliver(&mut self, packet: &TelemetryPacket) -> Result<(), SinkError> {
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
