//! What a run has found.

use std::collections::{BTreeMap, BTreeSet};

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

    /// What was different in an earlier run, so that the numbers of both cannot be compared: the machine, the device, the options, or how much was
    /// done for a row. A newer system or compiler is what one may want to compare.
    #[must_use]
    pub fn differences(&self, earlier: &Self) -> Vec<String> {
        let (then, now) = (earlier.conditions(), self.conditions());
        let names: BTreeSet<_> = then.keys().chain(now.keys()).collect();
        let different = names.into_iter().filter(|name| then.get(*name) != now.get(*name));
        let value =
            |of: &BTreeMap<String, String>, name: &str| of.get(name).map_or("nothing", String::as_str).to_owned();
        different.map(|name| format!("{name} was {} and is {}", value(&then, name), value(&now, name))).collect()
    }

    /// What its numbers depend on, by name.
    fn conditions(&self) -> BTreeMap<String, String> {
        let Machine { cpu, cores, threads, arch, device, .. } = &self.machine;
        let conditions = [
            ("processor", cpu.clone()),
            ("cores", cores.to_string()),
            ("threads", threads.to_string()),
            ("architecture", arch.clone()),
            ("device", device.clone()),
            ("quick", self.quick.to_string()),
        ];
        let options = self.options.iter().cloned();
        conditions.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(options).collect()
    }

    /// How its rows differ from those of an earlier run, beyond the noise of both. See [`differences`](Self::differences) first.
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
    fn a_run_of_another_machine_or_with_other_options_cannot_be_compared() {
        let report = report(100.0);
        assert!(report.differences(&self::report(150.0)).is_empty());
        let mut newer = report.clone();
        newer.machine.rustc = "rustc 2.0.0".into();
        newer.machine.date = "2027-01-01T00:00:00Z".into();
        assert!(newer.differences(&report).is_empty(), "a compiler is what one may want to compare");
        let mut full = Report { quick: false, ..report.clone() };
        assert_eq!(full.differences(&report), ["quick was true and is false"]);
        full.machine.device = "cuda".into();
        assert_eq!(full.differences(&report), ["device was none and is cuda", "quick was true and is false"]);
        let option = |value: &str| Report { options: vec![("blend_mode".into(), value.into())], ..report.clone() };
        assert_eq!(option("channel").differences(&option("convex")), ["blend_mode was convex and is channel"]);
        assert_eq!(report.differences(&option("convex")), ["blend_mode was convex and is nothing"]);
        assert_eq!(option("channel").differences(&report), ["blend_mode was nothing and is channel"]);
        let mut other = report.clone();
        other.machine.cores += 1;
        assert_eq!(other.differences(&report).len(), 1);
    }

    #[test]
    fn a_report_survives_its_json() {
        let report = report(120.0);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
        assert!(text.contains(r#""budget":{"ratio_at_most":2.0}"#), "{text}");
    }
}
