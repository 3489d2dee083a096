//! A run's numbers as Leyline telemetry: a metric for each row, and an event for each budget that is broken.

use std::{fs::File, io::BufWriter, path::Path};

use kasmina::{
    leyline::{TrainingRunId, UnixTime, v1::TelemetryLevel},
    telemetry::{Assembler, Event, EventName, JsonLinesSink, Kind, Lanes, Metric, MetricName},
};
use kasmina_measure::{Line, Report, Unit, Verdict};

use crate::failure::Failure;

const MEDIAN: MetricName = metric("bench.median_ns", "ns", "The median of what one run of a row takes.");
const P95: MetricName = metric("bench.p95_ns", "ns", "The 95th percentile of that.");
const COUNT: MetricName = metric("bench.count", "1", "The median of a row that counts.");
const SHARE: MetricName = metric("bench.share", "1", "The median of a row that is a share, 0 to 1.");
const RATIO: MetricName = metric("bench.ratio", "1", "The median ratio of a row to its yardstick.");
const NOISE: MetricName = metric("bench.noise", "1", "Half the distance of the quartiles, as a share of the median.");
const BROKEN: EventName = EventName {
    name: "bench_budget_broken",
    level: TelemetryLevel::Warning,
    meaning: "A row is over its budget by more than the noise.",
};

const fn metric(name: &'static str, unit: &'static str, meaning: &'static str) -> MetricName {
    MetricName { name, unit, kind: Kind::Gauge, meaning }
}

/// Writes a report's packets to a file, one a line.
pub(crate) fn write(report: &Report, now: UnixTime, path: &Path) -> Result<(), Failure> {
    let file = File::create(path).map_err(Failure::file("create", path))?;
    let mut lanes = Lanes::new(usize::MAX);
    for packet in packets(report, now) {
        lanes.push(packet);
    }
    let drained = lanes.drain(&mut JsonLinesSink::new(BufWriter::new(file)));
    drained.error.map_or(Ok(()), |error| Err(error.into()))
}

fn packets(report: &Report, now: UnixTime) -> Vec<kasmina::telemetry::Packet> {
    let run = TrainingRunId::new("bench").expect("an id");
    let mut assembler = Assembler::new("kasmina-bench", run, report.rows.len().max(1));
    for line in &report.rows {
        let mut tell = |name, value: f64| assembler.metric(None, Metric::new(name, value).with("row", &line.row.id));
        if let Some(ours) = line.ours {
            match line.row.unit {
                Unit::Nanoseconds => {
                    tell(MEDIAN, ours.median);
                    tell(P95, ours.p95);
                }
                Unit::Count => tell(COUNT, ours.median),
                Unit::Share => tell(SHARE, ours.median),
            }
        }
        if let Some(noise) = line.ratio.or(line.ours) {
            tell(NOISE, noise.noise);
        }
        if let Some(ratio) = line.ratio {
            tell(RATIO, ratio.median);
        }
        if line.verdict == Verdict::Over {
            assembler.event(None, broken(line));
        }
    }
    assembler.assemble(0, now)
}

fn broken(line: &Line) -> Event {
    let event = Event::new(BROKEN).with("row", &line.row.id).with("budget", line.row.budget.text(line.row.unit));
    let measured = if line.row.budget.is_of_ratio() { line.ratio } else { line.ours };
    measured.map_or(event.clone(), |measured| event.with("measured", measured.median))
}

#[cfg(test)]
mod tests {
    use kasmina_measure::{Limit, Machine, Row, Samples};

    use super::*;

    #[test]
    fn every_row_is_a_metric_and_every_broken_budget_an_event() {
        let samples = Samples { ours: vec![150.0; 5], yardstick: vec![100.0; 5] };
        let row = |id: &str, most| Row::new(id, id).beside("another").budget(Limit::RatioAtMost(most));
        let rows = vec![Line::measured(row("a/kept", 2.0), &samples), Line::measured(row("a/broken", 1.0), &samples)];
        let report = Report {
            machine: Machine::here("flex", "system", vec![], UnixTime::default()),
            quick: true,
            options: vec![],
            rows,
        };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bench.jsonl");
        write(&report, UnixTime::from_millis(1_700_000_000_000), &path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("bench.ratio").count(), 2, "{text}");
        assert_eq!(text.matches(r#""description":"bench_budget_broken""#).count(), 1, "{text}");
        assert!(text.contains("<= 1x") && text.contains("a/broken"), "{text}");
    }
}
