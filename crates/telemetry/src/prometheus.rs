//! The text of a Prometheus scrape.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kasmina_leyline::v1::{MetricPoint, TelemetryLevel, TelemetryPacket};

use crate::{
    EventName, MetricName, Sink, SinkError,
    names::{EVENTS, Kind, METRICS},
    packet::{seed_id, step_index},
};

/// Keeps the latest value of each metric of each seed, and counts events, for a scrape. Clones share the values: give one to
/// the lanes and render from the other. `MetricsEndpoint` (feature `http`) serves the text; so can any HTTP server.
///
/// - Metrics keep their names, with underscores for dots: `kasmina_seed_loss{seed_id="seed-1"} 0.5`, without that label if
///   the packet is not about a seed. Counters are counters, everything else is a gauge.
/// - The points of a summary have the label `statistic`; the series without it is the last value.
/// - Attributes of metrics become further labels: `kasmina_breaker_state{breaker="kernels"} 1.0`. In a label's name everything
///   but `[a-zA-Z0-9_]` becomes an underscore, a digit at the start gets one in front, and of several underscores at the start
///   one is kept, because two are reserved. If two names become one, the last in order is used. An attribute without a value,
///   or whose name would be `seed_id`, is left out.
/// - Events are counted over all seeds: `kasmina_events_total{event="gate_failure",level="CRITICAL"}`. Every name of
///   [`names`](crate::names) starts at zero, so that `increase` sees the first event too.
/// - Names that are not in that table are ignored: otherwise the sender could create any number of series. For the same reason
///   a metric of a seed keeps at most [`MAX_LABEL_SETS`](Self::MAX_LABEL_SETS) sets of attributes; one more replaces the one
///   that was delivered longest ago.
/// - The emergency lane overtakes. So a value is ignored if its step is earlier than the step of the value that is held, and
///   its time is not later. Either alone may go back: steps after a rollback, time when a clock is set.
///
/// One seed too many replaces the seed whose last measurement was delivered longest ago: its series end, and start again with
/// its next measurement. Event counts outlive their seeds.
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
///     sink.deliver(&packet.packet)?;
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

/// Flat, because deliveries wait while a scrape copies it: a map in the map would be an allocation for each value.
type Values = BTreeMap<(&'static str, Labels), Measured>;

/// The labels of a series besides the seed's: valid names, values that are not yet escaped. An empty map allocates nothing.
type Labels = BTreeMap<String, String>;

#[derive(Clone, Copy, Debug)]
struct Measured {
    value: f64,
    step: Option<u64>,
    time: Option<(i64, i32)>,
    seen: u64,
}

impl PrometheusText {
    /// The bound on seeds of [`PrometheusText::default`]. With every metric of every seed, without attributes, these are some
    /// 40,000 series or 2.5 MB of text.
    pub const DEFAULT_MAX_SEEDS: usize = 1_024;

    /// How many sets of attributes are kept for a metric of a seed, or of the run. A metric without attributes is not counted.
    pub const MAX_LABEL_SETS: usize = 32;

    /// The `Content-Type` under which to serve [`render`](Self::render).
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// An empty page for the metrics of at most `max_seeds` seeds.
    #[must_use]
    pub fn new(max_seeds: usize) -> Self {
        let events = EVENTS.iter().map(|event| ((event.name, event.level), 0)).collect();
        let state = State { max_seeds, of_no_seed: Values::new(), seeds: BTreeMap::new(), events, packets: 0 };
        Self(Arc::new(Mutex::new(state)))
    }

    /// The text in Prometheus's exposition format 0.0.4: metrics in the order of [`METRICS`], each with the run's value first
    /// and then the seeds by id, then events by name. Without a delivery in between the text is the same every time.
    ///
    /// A delivery at the same time waits while the values are copied, not while they are formatted.
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
    fn deliver(&mut self, packet: &Arc<TelemetryPacket>) -> Result<(), SinkError> {
        self.lock().record(packet);
        Ok(())
    }
}

impl State {
    fn record(&mut self, packet: &TelemetryPacket) {
        self.packets += 1;
        for event in &packet.events {
            if let Some(EventName { name, .. }) = EVENTS.iter().find(|known| known.name == event.description) {
                *self.events.entry((name, event.level())).or_default() += 1;
            }
        }
        let known = |point: &MetricPoint| METRICS.iter().find(|known| known.name == point.name);
        let mut points = packet.metrics.iter().filter_map(|point| Some((known(point)?.name, point))).peekable();
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
        for (name, point) in points {
            let labels = labels(&point.attributes);
            let bounded = !labels.is_empty();
            let news = Measured { value: point.value, step, time, seen: self.packets };
            let held = values.entry((name, labels)).or_insert(news);
            if news.step < held.step && news.time <= held.time {
                held.seen = news.seen;
            } else {
                *held = news;
            }
            if bounded {
                drop_oldest_label_set(values, name);
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
            .flat_map(|(seed, values)| {
                of_metric(values, metric.name).map(move |(labels, held)| (seed, labels, held.value))
            })
            .peekable();
        if values.peek().is_none() {
            return;
        }
        let name = metric.name.replace('.', "_");
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge | Kind::Sample => "gauge",
        };
        header(text, &name, metric.meaning, kind);
        for (seed, labels, value) in values {
            text.push_str(&name);
            let labels = labels.iter().map(|(name, value)| (name.as_str(), value));
            let mut before = '{';
            for (name, value) in seed.map(|seed| (SEED_ID, seed)).into_iter().chain(labels) {
                // Writing to a String cannot fail.
                let _ = write!(text, "{before}{name}=\"{}\"", label(value));
                before = ',';
            }
            line(text, format_args!("{} {}", if before == ',' { "}" } else { "" }, number(value)));
        }
    }
}

const EVENTS_TOTAL: &str = "kasmina_events_total";
const SEED_ID: &str = "seed_id";

/// The values that are held of a metric, by their labels.
fn of_metric<'a>(values: &'a Values, name: &'static str) -> impl Iterator<Item = (&'a Labels, &'a Measured)> {
    let from_here_on = values.range((name, Labels::new())..);
    from_here_on.take_while(move |((held, _), _)| *held == name).map(|((_, labels), held)| (labels, held))
}

fn drop_oldest_label_set(values: &mut Values, name: &'static str) {
    let labelled = || of_metric(values, name).filter(|(labels, _)| !labels.is_empty());
    if labelled().count() > PrometheusText::MAX_LABEL_SETS
        && let Some(oldest) = labelled().min_by_key(|(_, held)| held.seen).map(|(labels, _)| labels.clone())
    {
        values.remove(&(name, oldest));
    }
}

fn labels(attributes: &BTreeMap<String, String>) -> Labels {
    let shown = attributes.iter().filter(|(_, value)| !value.is_empty());
    let named = shown.map(|(name, value)| (label_name(name), value.clone()));
    named.filter(|(name, _)| name != SEED_ID).collect()
}

fn label_name(attribute: &str) -> String {
    let plain = |character: char| if character.is_ascii_alphanumeric() { character } else { '_' };
    let name: String = attribute.chars().map(plain).collect();
    match name.trim_start_matches('_') {
        stem if stem.len() < name.len() || stem.is_empty() || stem.starts_with(|c: char| c.is_ascii_digit()) => {
            format!("_{stem}")
        }
        stem => stem.to_owned(),
    }
}

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
