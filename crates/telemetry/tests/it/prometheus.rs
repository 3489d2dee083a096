//! The text that a Prometheus scrape gets.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kasmina_leyline::{
    SeedId, TrainingRunId, UnixTime,
    v1::{MetricPoint, SystemHealth, TelemetryEvent, TelemetryPacket},
};
use kasmina_telemetry::{names::*, *};
use proptest::prelude::*;

#[test]
fn text_is_the_golden_one() {
    let page = PrometheusText::default();
    let mut sink = page.clone();
    let mut assembler = Assembler::new("kasmina", TrainingRunId::new("run-7").unwrap(), 64);
    for step in 11..13 {
        for (seed, loss) in [("seed-2", f64::INFINITY), ("seed-1", 0.5), ("seed-3", f64::NAN)] {
            let seed = SeedId::new(seed).unwrap();
            assembler.metric(Some(&seed), Metric::new(SEED_LOSS, loss));
            assembler.event(Some(&seed), Event::new(SEED_STATE));
        }
        assembler.metric(Some(&SeedId::new("seed-1").unwrap()), Metric::new(ISOLATION_VIOLATIONS, 2.0));
        assembler.metric(None, Metric::new(HOST_LOSS, -1.5e-9 * step as f64));
        assembler.metric(None, Metric::new(CACHE_HITS, 1e21));
        assembler.count(Metric::new(COMMANDS_REJECTED, 3.0).with("reason", "malformed"));
        assembler.metric(None, Metric::new(BREAKER_STATE, 2.0).with("breaker", "kernels"));
        assembler.metric(None, Metric::new(BREAKER_STATE, 1.0).with("breaker", "isolation"));
        assembler
            .metric(Some(&SeedId::new("seed-1").unwrap()), Metric::new(BREAKER_STATE, 3.0).with("breaker", "seed"));
        assembler.event(None, Event::new(BREAKER_OPEN));
        for packet in assembler.assemble(step, UnixTime::from_millis(1_700_000_000_000)) {
            sink.deliver(&packet.packet).unwrap();
        }
    }
    assert_eq!(page.render(), include_str!("golden/metrics.prom"));
    assert_eq!(page.render(), sink.render());
    parse(&page.render());
}

#[test]
fn label_values_are_escaped() {
    let mut page = PrometheusText::default();
    page.deliver(&measured("a\\b\"c\nd", 1, SEED_LOSS.name, 0.5)).unwrap();
    assert!(page.render().contains("\nkasmina_seed_loss{seed_id=\"a\\\\b\\\"c\\nd\"} 0.5\n"), "{}", page.render());
}

#[test]
fn events_count_from_zero_and_every_metric_is_shown() {
    let mut page = PrometheusText::default();
    let zeros = parse(&page.render());
    assert_eq!(zeros.len(), EVENTS.len());
    assert!(zeros.values().all(|value| *value == 0.0));
    for metric in METRICS {
        page.deliver(&measured("", 1, metric.name, 1.0)).unwrap();
    }
    let series = parse(&page.render());
    assert_eq!(series.len(), EVENTS.len() + METRICS.len());
    assert_eq!(series[&("kasmina_seed_loss".to_owned(), vec![])], 1.0, "an empty label is none to Prometheus");
}

#[test]
fn undeclared_names_make_no_series() {
    let mut page = PrometheusText::default();
    let before = page.render();
    let mut packet = measured("seed-1", 1, "made.up", 0.5);
    Arc::make_mut(&mut packet)
        .events
        .push(TelemetryEvent { description: "made_up".to_owned(), ..TelemetryEvent::default() });
    page.deliver(&packet).unwrap();
    assert_eq!(page.render(), before);
}

#[test]
fn label_names_are_valid_and_unique() {
    for (attributes, labels) in [
        (&[("breaker", "a\\b\"c\nd")][..], "breaker=\"a\\\\b\\\"c\\nd\""),
        (&[("http.method", "GET"), ("größe", "1")], "gr__e=\"1\",http_method=\"GET\""),
        (&[("1st", "1"), ("", "2")], "_=\"2\",_1st=\"1\""),
        (&[("__name__", "forged"), ("_a", "1"), ("..b", "2")], "_a=\"1\",_b=\"2\",_name__=\"forged\""),
        (&[("a.b", "first"), ("a_b", "last")], "a_b=\"last\""),
        (&[("seed_id", "forged"), ("seed.id", "forged"), ("empty", ""), ("a", "1")], "a=\"1\""),
    ] {
        let mut page = PrometheusText::default();
        page.deliver(&labelled("seed-1", 1, attributes, 0.5)).unwrap();
        page.deliver(&labelled("", 1, attributes, 0.5)).unwrap();
        let text = page.render();
        parse(&text);
        for labels in [labels.to_owned(), format!("seed_id=\"seed-1\",{labels}")] {
            assert!(text.contains(&format!("\nkasmina_seed_loss{{{labels}}} 0.5\n")), "{attributes:?}: {text}");
        }
    }
}

#[test]
fn series_with_the_same_labels_are_one() {
    let mut page = PrometheusText::default();
    for (value, attributes) in [(1.0, &[][..]), (2.0, &[("a", "")]), (3.0, &[("seed_id", "seed-2")])] {
        page.deliver(&labelled("seed-1", 1, attributes, value)).unwrap();
        assert_eq!(seeds(&page), BTreeMap::from([("seed-1".to_owned(), value)]));
    }
}

#[test]
fn overtaken_packet_changes_no_value() {
    let at = |step, seconds: i64, value| {
        let mut packet = measured("seed-1", step, SEED_LOSS.name, value);
        Arc::make_mut(&mut packet).timestamp = Some(UnixTime::from_millis(seconds * 1_000).into());
        packet
    };
    let mut page = PrometheusText::default();
    for (step, seconds, value, shown, why) in [
        (12, 100, 1.0, 1.0, "the first"),
        (11, 99, 2.0, 1.0, "of an earlier step, overtaken"),
        (12, 100, 3.0, 3.0, "of the same step"),
        (13, 50, 4.0, 4.0, "a clock was set back"),
        (9, 51, 5.0, 5.0, "steps ran back, after a rollback"),
    ] {
        page.deliver(&at(step, seconds, value)).unwrap();
        assert_eq!(seeds(&page)["seed-1"], shown, "{why}");
    }
}

proptest! {
    /// Whatever a seed is called and whatever was measured, the text can be read back to it.
    #[test]
    fn any_label_and_any_value_can_be_read_back(id in text(), value in any::<f64>(), odd in 0..4_usize) {
        let value = [value, f64::NAN, f64::INFINITY, f64::NEG_INFINITY][odd];
        let mut page = PrometheusText::default();
        page.deliver(&measured(&id, 1, SEED_LOSS.name, value)).unwrap();
        let labels = if id.is_empty() { vec![] } else { vec![("seed_id".to_owned(), id)] };
        let read = parse(&page.render())[&("kasmina_seed_loss".to_owned(), labels)];
        prop_assert!(read == value || (read.is_nan() && value.is_nan()), "{} was read as {}", value, read);
    }

    /// Whatever attributes are called and say, the text can be read, and has no more series than the bounds allow: the ones
    /// measured last, beside the one without attributes.
    #[test]
    fn any_attributes_can_be_read_and_the_oldest_are_dropped(
        odd in prop::collection::vec((text(), text()), 0..6),
        visits in prop::collection::vec(0..40_usize, 0..90),
        seed in prop::sample::select(vec!["", "seed-1"]),
    ) {
        let mut page = PrometheusText::default();
        let odd: Vec<_> = odd.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        page.deliver(&labelled(seed, 1, &[], 0.5)).unwrap();
        page.deliver(&labelled(seed, 1, &odd, 0.5)).unwrap();
        parse(&page.render());
        let mut kept: Vec<usize> = Vec::new();
        for (step, visit) in visits.iter().enumerate() {
            page.deliver(&labelled(seed, 100 - step as u64, &[("visit", &visit.to_string())], 0.5)).unwrap();
            kept.retain(|held| held != visit);
            kept.push(*visit);
            kept.drain(..kept.len().saturating_sub(PrometheusText::MAX_LABEL_SETS));
            let series = parse(&page.render());
            let losses: Vec<_> = series.keys().filter(|(name, _)| name == "kasmina_seed_loss").collect();
            let visits = losses.iter().filter_map(|(_, labels)| {
                labels.iter().find(|(name, _)| name == "visit").and_then(|(_, value)| value.parse().ok())
            });
            prop_assert!(kept.iter().copied().collect::<BTreeSet<usize>>() == visits.collect());
            prop_assert!(losses.len() <= 1 + PrometheusText::MAX_LABEL_SETS);
            prop_assert!(losses.iter().any(|(_, labels)| labels.iter().all(|(name, _)| name == "seed_id")));
        }
    }

    /// The seeds shown are the ones measured last, as many as the bound allows.
    #[test]
    fn seeds_measured_longest_ago_are_dropped(
        visits in prop::collection::vec(0..12_usize, 0..60),
        max_seeds in 0..8_usize,
    ) {
        let mut page = PrometheusText::new(max_seeds);
        let mut kept: Vec<String> = Vec::new();
        for (step, seed) in visits.iter().enumerate() {
            let seed = format!("seed-{seed}");
            page.deliver(&measured(&seed, step as u64, SEED_LOSS.name, 0.5)).unwrap();
            page.deliver(&measured("", step as u64, HOST_LOSS.name, 0.5)).unwrap();
            kept.retain(|held| *held != seed);
            kept.push(seed);
            kept.drain(..kept.len().saturating_sub(max_seeds));
            let shown: BTreeSet<String> = seeds(&page).into_keys().collect();
            prop_assert_eq!(shown, kept.iter().cloned().collect::<BTreeSet<_>>());
        }
    }
}

/// Text with more than its share of what has to be escaped.
fn text() -> impl Strategy<Value = String> {
    let character =
        prop_oneof![any::<char>(), prop::sample::select(vec!['\\', '"', '\n', '\r', 'n', '{', '}', ',', '='])];
    prop::collection::vec(character, 0..20).prop_map(String::from_iter)
}

fn measured(seed: &str, step: u64, name: &str, value: f64) -> Arc<TelemetryPacket> {
    let indicators = [("seed_id", seed.to_owned()), ("step_index", step.to_string())];
    let indicators = indicators.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Arc::new(TelemetryPacket {
        metrics: vec![MetricPoint { name: name.to_owned(), value, ..MetricPoint::default() }],
        system_health: Some(SystemHealth { indicators, ..SystemHealth::default() }),
        ..TelemetryPacket::default()
    })
}

fn labelled(seed: &str, step: u64, attributes: &[(&str, &str)], value: f64) -> Arc<TelemetryPacket> {
    let mut packet = measured(seed, step, SEED_LOSS.name, value);
    Arc::make_mut(&mut packet).metrics[0].attributes =
        attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    packet
}

/// The loss of every seed that is shown.
fn seeds(page: &PrometheusText) -> BTreeMap<String, f64> {
    let losses = parse(&page.render()).into_iter().filter(|((name, _), _)| name == "kasmina_seed_loss");
    losses.map(|((_, mut labels), value)| (labels.remove(0).1, value)).collect()
}

type Series = (String, Vec<(String, String)>);

/// Reads the exposition format and fails at whatever is not in it: a series that stands twice or outside its family, an
/// unknown escape, a second family of one name.
fn parse(text: &str) -> BTreeMap<Series, f64> {
    assert!(text.ends_with('\n'));
    let (mut families, mut series) = (BTreeSet::new(), BTreeMap::new());
    let (mut helped, mut family) = ("", "");
    for line in text[..text.len() - 1].split('\n') {
        if let Some(help) = line.strip_prefix("# HELP ") {
            helped = help.split_once(' ').expect("a meaning").0;
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a kind");
            assert!(name == helped && families.insert(name), "{line}");
            let known = METRICS.iter().find(|metric| metric.name.replace('.', "_") == name);
            let counts = known.is_none_or(|metric| metric.kind == Kind::Counter);
            assert_eq!(kind, if counts { "counter" } else { "gauge" });
            assert!(!name.ends_with("_total") || counts, "{name} is called a counter");
            family = name;
        } else {
            let read = sample(line);
            assert!(read.is_some(), "not in the format: {line:?}");
            let (sample, value) = read.unwrap();
            assert_eq!(sample.0, family);
            assert!(series.insert(sample, value).is_none(), "twice: {line:?}");
        }
    }
    series
}

fn sample(line: &str) -> Option<(Series, f64)> {
    let (name, mut rest) = identifier(line)?;
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = identifier(rest)?;
            let (value, after) = quoted(after.strip_prefix('=')?)?;
            let new = labels.iter().all(|(held, _)| *held != label);
            labels.push((label, value));
            if !new || labels.iter().any(|(held, value)| held.starts_with("__") || value.is_empty()) {
                return None;
            }
            match after.strip_prefix(',') {
                Some(next) => rest = next,
                None => break rest = after.strip_prefix('}')?,
            }
        }
    }
    let value = match rest.strip_prefix(' ')? {
        "NaN" => f64::NAN,
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => number.parse().ok().filter(|number: &f64| number.is_finite())?,
    };
    Some(((name, labels), value))
}

fn identifier(text: &str) -> Option<(String, &str)> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    name.starts_with(|c: char| !c.is_ascii_digit()).then(|| (name.to_owned(), rest))
}

fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.strip_prefix('"')?.chars();
    loop {
        value.push(match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => match characters.next()? {
                'n' => '\n',
                escaped @ ('\\' | '"') => escaped,
                _ => return None,
            },
            plain => plain,
        });
    }
}
