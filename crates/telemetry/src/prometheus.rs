//! What a Prometheus scrape is told.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kasmina_leyline::v1::{MetricPoint, TelemetryLevel, TelemetryPacket};

use crate::{
    EventName, MetricName, Sink, SinkError,
    indicators::{seed_id, step_index},
    names::{EVENTS, METRICS},
};

/// Keeps the last value of each metric of each seed and counts events, for a scrape. Clones share what they keep: hand one
/// to the lanes and render from the other; whoever owns a socket serves the text.
///
/// - Metrics keep their names, with underscores for dots: `kasmina_seed_loss{seed_id="seed-1"} 0.5`, without a label where
///   the packet is about no seed. Those that end in `_total` are counters, the others gauges.
/// - Events count as `kasmina_events_total{event="gate_failure",level="CRITICAL"}`, over all seeds. Every name of
///   [`names`](crate::names) starts at zero, so that an `increase` over the series sees the first event too.
/// - Only names of that table count. Others, and attributes of metrics, are left out: with them the number of series
///   would be the sender's choice.
/// - A value whose step is earlier than that of the one held, and whose time is no later, is old news and changes nothing:
///   the emergency lane overtakes. Either alone may run back: steps after a rollback, time when a clock is set.
///
/// A seed in excess of the bound pushes out the one whose last measurement was delivered longest ago; its series end, and
/// begin anew with its next measurement. Event counts outlive their seeds.
///
/// ```
/// use kasmina_leyline::{SeedId, TrainingRunId, UnixTime};
/// use kasmina_telemetry::{Assembler, Metric, PrometheusText, Sink, names};
///
/// let mut assembler = Assembler::new("kasmina", TrainingRunId::new("run-7")?, 64);
/// assembler.metric(Some(&SeedId::new("seed-1")?), Metric::new(names::SEED_ALPHA, 0.25));
/// let page = PrometheusText::default();
/// let mut sink = page.clone();
/// for packet in assembler.assemble(12, UnixTime::from_millis(1_700_000_000_000)) {
///     sink.deliver(&packet)?;
/// }
/// assert!(page.render().contains("kasmina_seed_alpha{seed_id=\"seed-1\"} 0.25\n"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct PrometheusText(Arc<Mutex<State>>);

#[derive(Clone, Debug)]
struct State {
    max_seeds: usize,
    of_no_seed: Values,
    seeds: BTreeMap<String, Seed>,
    events: BTreeMap<(&'static str, TelemetryLevel), u64>,
    packets: u64,
}

#[derive(Clone, Debug, Default)]
struct Seed {
    seen: u64,
    values: Values,
}

type Values = BTreeMap<&'static str, Measured>;

#[derive(Clone, Copy, Debug)]
struct Measured {
    value: f64,
    step: Option<u64>,
    time: Option<(i64, i32)>,
}

impl PrometheusText {
    /// The bound on seeds of [`PrometheusText::default`]: with every metric of every seed some 18,000 series, which render
    /// to 1.2 MB.
    pub const DEFAULT_MAX_SEEDS: usize = 1_024;

    /// The `Content-Type` under which to serve [`render`](Self::render).
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// Nothing measured yet, no event counted; it will hold the metrics of at most `max_seeds` seeds.
    #[must_use]
    pub fn new(max_seeds: usize) -> Self {
        let events = EVENTS.iter().map(|event| ((event.name, event.level), 0)).collect();
        let state = State { max_seeds, of_no_seed: Values::new(), seeds: BTreeMap::new(), events, packets: 0 };
        Self(Arc::new(Mutex::new(state)))
    }

    /// The text, in Prometheus's exposition format 0.0.4: metrics in the order of [`METRICS`], of each first the value of no
    /// seed and then seeds by their ids, and events by name. Without a packet in between it is the same every time.
    ///
    /// A delivery meanwhile waits only while the values are copied, not while they are written out.
    #[must_use]
    pub fn render(&self) -> String {
        let state = self.lock().clone();
        let mut text = String::new();
        for metric in METRICS {
            state.render_metric(metric, &mut text);
        }
        header(&mut text, EVENTS_TOTAL, "Events so far.", "counter");
        for ((name, level), count) in &state.events {
            let level = level.as_str_name().trim_start_matches("TELEMETRY_LEVEL_");
            line(&mut text, format_args!("{EVENTS_TOTAL}{{event=\"{name}\",level=\"{level}\"}} {count}"));
        }
        text
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for PrometheusText {
    fn default() -> Self {
        Self::new(Self::DEFAULT_MAX_SEEDS)
    }
}

impl Sink for PrometheusText {
    fn deliver(&mut self, packet: &TelemetryPacket) -> Result<(), SinkError> {
        self.lock().take_in(packet);
        Ok(())
    }
}

impl State {
    fn take_in(&mut self, packet: &TelemetryPacket) {
        self.packets += 1;
        for event in &packet.events {
            if let Some(EventName { name, .. }) = EVENTS.iter().find(|known| known.name == event.description) {
                *self.events.entry((name, event.level())).or_default() += 1;
            }
        }
        let known = |point: &MetricPoint| METRICS.iter().find(|known| known.name == point.name);
        let mut points = packet.metrics.iter().filter_map(|point| Some((known(point)?.name, point.value))).peekable();
        if points.peek().is_none() {
            return;
        }
        let values = match seed_id(packet) {
            None => &mut self.of_no_seed,
            Some(id) => {
                let seed = self.seeds.entry(id.to_owned()).or_default();
                seed.seen = self.packets;
                &mut seed.values
            }
        };
        let step = step_index(packet);
        let time = packet.timestamp.map(|time| (time.seconds, time.nanos));
        for (name, value) in points {
            let news = Measured { value, step, time };
            let held = values.entry(name).or_insert(news);
            if !(news.step < held.step && news.time <= held.time) {
                *held = news;
            }
        }
        if self.seeds.len() > self.max_seeds
            && let Some(oldest) = self.seeds.iter().min_by_key(|(_, seed)| seed.seen).map(|(id, _)| id.clone())
        {
            self.seeds.remove(&oldest);
        }
    }

    fn render_metric(&self, metric: &MetricName, text: &mut String) {
        let of_seeds = self.seeds.iter().map(|(id, seed)| (Some(id), &seed.values));
        let mut values = std::iter::once((None, &self.of_no_seed))
            .chain(of_seeds)
            .filter_map(|(seed, values)| Some((seed, values.get(metric.name)?.value)))
            .peekable();
        if values.peek().is_none() {
            return;
        }
        let name = metric.name.replace('.', "_");
        header(text, &name, metric.meaning, if name.ends_with("_total") { "counter" } else { "gauge" });
        for (seed, value) in values {
            let labels = seed.map_or_else(String::new, |seed| format!("{{seed_id=\"{}\"}}", label(seed)));
            line(text, format_args!("{name}{labels} {}", number(value)));
        }
    }
}

const EVENTS_TOTAL: &str = "kasmina_events_total";

fn header(text: &mut String, name: &str, meaning: &str, kind: &str) {
    line(text, format_args!("# HELP {name} {}", help(meaning)));
    line(text, format_args!("# TYPE {name} {kind}"));
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}

fn help(text: &str) -> String {
    text.replace('\\', r"\\").replace('\n', r"\n")
}

fn label(text: &str) -> String {
    help(text).replace('"', "\\\"")
}

/// The shortest text that reads back as the same number.
fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        format!("{value:?}")
    }
}
