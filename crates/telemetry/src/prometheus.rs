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
/// - Metrics keep their names, with underscores for dots: `kasmina_seed_loss{seed_id="seed-1"} 0.5`, without that label where
///   the packet is about no seed. Those that end in `_total` are counters, the others gauges.
/// - Attributes of metrics are labels behind it: `kasmina_breaker_state{breaker="kernels"} 1.0`. A label's name has an
///   underscore for whatever is not `[a-zA-Z0-9_]`, and before a digit at its start; it begins with one underscore at most,
///   for two are Prometheus's own. Of names that become one, the last in order counts. An attribute without a value, or
///   that would be `seed_id`, is left out.
/// - Events count as `kasmina_events_total{event="gate_failure",level="CRITICAL"}`, over all seeds. Every name of
///   [`names`](crate::names) starts at zero, so that an `increase` over the series sees the first event too.
/// - Only names of that table count: with others the number of series would be the sender's choice. For the same reason a
///   metric of a seed has at most [`MAX_LABEL_SETS`](Self::MAX_LABEL_SETS) sets of attributes; one more pushes out the one
///   delivered longest ago.
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

/// Flat, because a scrape copies it while deliveries wait: a map within the map would be an allocation for each value.
type Values = BTreeMap<(&'static str, Labels), Measured>;

/// Of a series, beside the seed's: names in the format's alphabet, values not yet escaped. Empty, it allocates nothing.
type Labels = BTreeMap<String, String>;

#[derive(Clone, Copy, Debug)]
struct Measured {
    value: f64,
    step: Option<u64>,
    time: Option<(i64, i32)>,
    seen: u64,
}

impl PrometheusText {
    /// The bound on seeds of [`PrometheusText::default`]: with every metric of every seed, none with attributes, some 22,500
    /// series, which render to 1.3 MB.
    pub const DEFAULT_MAX_SEEDS: usize = 1_024;

    /// How many sets of attributes are held of a metric of a seed, or of a metric of no seed. A metric without attributes
    /// does not count.
    pub const MAX_LABEL_SETS: usize = 16;

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
                forget_label_sets(values, name);
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
        header(text, &name, metric.meaning, if name.ends_with("_total") { "counter" } else { "gauge" });
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

/// What is held of a metric, by its labels.
fn of_metric<'a>(values: &'a Values, name: &'static str) -> impl Iterator<Item = (&'a Labels, &'a Measured)> {
    let from_here_on = values.range((name, Labels::new())..);
    from_here_on.take_while(move |((held, _), _)| *held == name).map(|((_, labels), held)| (labels, held))
}

fn forget_label_sets(values: &mut Values, name: &'static str) {
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
