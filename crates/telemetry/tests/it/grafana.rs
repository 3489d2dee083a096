//! The dashboard and the alerts, against the names that a scrape really has.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use kasmina_leyline::v1::{MetricPoint, TelemetryLevel, TelemetryPacket};
use kasmina_telemetry::{Kind, PrometheusText, Sink, names::*};
use serde_json::Value;

#[test]
fn every_metric_of_the_dashboard_is_in_a_scrape() {
    let text = read("kasmina.json");
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut expressions = Vec::new();
    collect(&dashboard, &mut expressions);
    assert!(expressions.len() > 20, "the dashboard is not read as it should be: {expressions:?}");
    check(&expressions);
}

#[test]
fn every_metric_of_the_alerts_is_in_a_scrape() {
    let text = read("alerts.yml");
    let expressions: Vec<_> = text.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    assert_eq!(expressions.len(), text.matches("- alert: ").count());
    check(&expressions.iter().map(|expression| (*expression).to_owned()).collect::<Vec<_>>());
}

#[test]
fn every_critical_event_has_an_alert() {
    let text = read("alerts.yml");
    let alerts = matched(&text, "event=\"");
    let critical = EVENTS.iter().filter(|event| event.level >= TelemetryLevel::Critical);
    assert_eq!(alerts, critical.map(|event| event.name.to_owned()).collect());
}

#[test]
fn scrape_configuration_names_the_alerts() {
    assert!(read("prometheus.yml").contains("\nrule_files: [alerts.yml]\n"));
}

/// Each name has to be spelled as in a scrape, each event has to exist, and a sample has to say which of its series is meant: the last value
/// and the numbers of its summary have one name.
fn check(expressions: &[String]) {
    let scraped = scraped();
    for expression in expressions {
        for (at, _) in expression.match_indices("kasmina_") {
            let rest = &expression[at..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (name, rest) = rest.split_at(end);
            assert!(scraped.contains(name), "no scrape has {name}: {expression}");
            let sample = METRICS.iter().any(|known| known.kind == Kind::Sample && known.name.replace('.', "_") == name);
            let labels = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(labels, _)| labels);
            assert_eq!(labels.contains("statistic=\""), sample, "{name} in {expression}");
            let statistics = matched(labels, "statistic=\"");
            assert!(
                statistics.iter().all(|said| said.is_empty() || STATISTICS.contains(&said.as_str())),
                "{expression}"
            );
        }
        for event in matched(expression, "event=\"").into_iter().chain(matched(expression, "event=~\"")) {
            assert!(EVENTS.iter().any(|known| known.name == event), "no event is called {event}: {expression}");
        }
    }
}

/// What stands between the opening and the next quote; alternatives count one by one.
fn matched(text: &str, opening: &str) -> BTreeSet<String> {
    let values = text.split(opening).skip(1).filter_map(|rest| rest.split('"').next());
    values.flat_map(|value| value.split('|')).map(str::to_owned).collect()
}

/// The names of a page with every metric.
fn scraped() -> BTreeSet<String> {
    let metrics = METRICS.iter().map(|known| MetricPoint { name: known.name.to_owned(), ..MetricPoint::default() });
    let mut page = PrometheusText::default();
    page.deliver(&Arc::new(TelemetryPacket { metrics: metrics.collect(), ..TelemetryPacket::default() })).unwrap();
    let page = page.render();
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// Every query in the dashboard: of panels, of variables and of annotations.
fn collect(value: &Value, expressions: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if ["expr", "query", "definition"].contains(&name.as_str()) => {
                        expressions.push(text.to_owned());
                    }
                    Some(_) | None => collect(value, expressions),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, expressions)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/grafana").join(name)).unwrap()
}
