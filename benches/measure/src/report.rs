//! What a run has found.

use serde::{Deserialize, Serialize};

use crate::{Change, Line, Machine, Verdict, changes};

/// What a run has found, as `--json` writes it and `--baseline` reads it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Where, and with what.
    pub machine: Machine,
    /// Whether it was a look rather than a measurement.
    pub quick: bool,
    /// The options that change what is measured.
    pub options: Vec<(String, String)>,
    /// Every row.
    pub rows: Vec<Line>,
}

impl Report {
    /// The rows with this verdict.
    pub fn with(&self, verdict: Verdict) -> impl Iterator<Item = &Line> {
        self.rows.iter().filter(move |line| line.verdict == verdict)
    }

    /// How its rows differ from those of an earlier run, beyond the noise of both.
    #[must_use]
    pub fn changes_since(&self, earlier: &Self) -> Vec<Change> {
        changes(&earlier.rows, &self.rows)
    }

    /// What makes a run fail: rows over their budget and rows that could not be measured; `strict`, also those that this run cannot judge
    /// and those that have become slower. `None` if nothing does.
    #[must_use]
    pub fn problem(&self, strict: bool, changes: &[Change]) -> Option<String> {
        let ids = |verdict| self.with(verdict).map(|line| line.row.id.as_str()).collect::<Vec<_>>();
        let slower = changes.iter().filter(|change| change.is_worse).map(|change| change.id.as_str()).collect();
        let (noisy, slower) = if strict { (ids(Verdict::Noisy), slower) } else { (Vec::new(), Vec::new()) };
        let parts: Vec<String> = [
            ("over budget", ids(Verdict::Over)),
            ("not measured", ids(Verdict::Failed)),
            ("too noisy to judge", noisy),
            ("slower than the baseline", slower),
        ]
        .into_iter()
        .filter(|(_, ids)| !ids.is_empty())
        .map(|(what, ids)| format!("{what}: {}", ids.join(", ")))
        .collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use kasmina_leyline::UnixTime;

    use super::*;
    use crate::{Limit, Row, Samples};

    fn report(ours: f64) -> Report {
        let samples = Samples { ours: vec![ours; 9], yardstick: vec![100.0; 9] };
        let row = |id: &str, most| Row::new(id, id).beside("another").budget(Limit::RatioAtMost(most));
        let mut noisy = samples.clone();
        noisy.ours[..5].fill(500.0);
        let rows = vec![
            Line::measured(row("area/kept", 2.0), &samples),
            Line::measured(row("area/broken", 0.5), &samples),
            Line::measured(row("area/noisy", 3.0), &noisy),
            Line::skipped(row("area/absent", 2.0), "no server"),
        ];
        Report {
            machine: Machine::here("none", "none", vec![], UnixTime::default()),
            quick: true,
            options: vec![],
            rows,
        }
    }

    #[test]
    fn what_fails_a_run_is_named() {
        let report = report(100.0);
        assert_eq!(report.problem(false, &[]).unwrap(), "over budget: area/broken");
        assert_eq!(report.problem(true, &[]).unwrap(), "over budget: area/broken; too noisy to judge: area/noisy");
        let changes = self::report(150.0).changes_since(&report);
        assert_eq!(changes.iter().filter(|change| change.is_worse).count(), 2, "{changes:?}");
        let problem = self::report(150.0).problem(true, &changes).unwrap();
        assert!(problem.ends_with("slower than the baseline: area/kept, area/broken"), "{problem}");
    }

    #[test]
    fn a_report_survives_its_json() {
        let report = report(120.0);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        assert!(text.contains(r#""budget":{"ratio_at_most":2.0}"#), "{text}");
    }
}
