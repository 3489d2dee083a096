//! Puts what was measured beside what it has to be.

use serde::Serialize;

use super::{
    criterion::Estimates,
    rows::{Comparison, Limit, Row},
};

/// One row with what was measured.
#[derive(Serialize)]
pub(super) struct Line {
    id: &'static str,
    title: &'static str,
    nanoseconds: Option<f64>,
    compared_with: Option<&'static str>,
    ratio: Option<f64>,
    ratio_is_of: Option<&'static str>,
    budget: Limit,
    aim: Limit,
    aim_is_met: Option<bool>,
    verdict: Verdict,
}

/// Whether a row is within its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Ok,
    Over,
    /// It, or what it is compared with, was not measured.
    Missing,
}

impl Line {
    pub(super) fn judge(row: &Row, estimates: &Estimates) -> Self {
        let nanoseconds = estimates.nanoseconds(row.id);
        let compared_with = row.comparison.with();
        let other = compared_with.and_then(|id| estimates.nanoseconds(id));
        let ratio = nanoseconds.zip(other).map(|(own, other)| row.comparison.ratio(own, other));
        let verdict = match row.budget.keeps(nanoseconds, ratio) {
            _ if nanoseconds.is_none() || (compared_with.is_some() && ratio.is_none()) => Verdict::Missing,
            Some(false) => Verdict::Over,
            Some(true) | None => Verdict::Ok,
        };
        Self {
            id: row.id,
            title: row.title,
            nanoseconds,
            compared_with,
            ratio,
            ratio_is_of: match row.comparison {
                Comparison::Alone => None,
                Comparison::Time(_) => Some("time"),
                Comparison::Bandwidth { .. } => Some("bandwidth"),
            },
            budget: row.budget,
            aim: row.aim,
            aim_is_met: row.aim.keeps(nanoseconds, ratio),
            verdict,
        }
    }

    fn cells(&self) -> [String; 6] {
        let compared = match (self.ratio, self.ratio_is_of, self.compared_with) {
            (Some(ratio), Some("bandwidth"), Some(other)) => format!("{} of {other}'s bandwidth", percent(ratio)),
            (Some(ratio), _, Some(other)) => format!("{} of {other}", percent(ratio)),
            (None, _, Some(other)) => format!("no {other}"),
            (_, _, None) => String::new(),
        };
        let aim = match self.aim_is_met {
            Some(false) => format!("{} (not met)", self.aim.text()),
            Some(true) | None => self.aim.text(),
        };
        [
            self.title.to_owned(),
            self.nanoseconds.map(time).unwrap_or_default(),
            compared,
            self.budget.text(),
            aim,
            self.verdict.text().to_owned(),
        ]
    }
}

impl Limit {
    /// Whether it is kept; nothing where there is no limit or nothing to compare.
    fn keeps(self, nanoseconds: Option<f64>, ratio: Option<f64>) -> Option<bool> {
        match self {
            Self::None => None,
            Self::Nanoseconds(most) => nanoseconds.map(|time| time <= most),
            Self::RatioAtMost(most) => ratio.map(|ratio| ratio <= most),
            Self::RatioAtLeast(least) => ratio.map(|ratio| ratio >= least),
        }
    }

    fn text(self) -> String {
        match self {
            Self::None => String::new(),
            Self::Nanoseconds(most) => format!("<= {}", time(most)),
            Self::RatioAtMost(most) => format!("<= {}", percent(most)),
            Self::RatioAtLeast(least) => format!(">= {}", percent(least)),
        }
    }
}

impl Serialize for Limit {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, value) = match *self {
            Self::None => return serializer.serialize_none(),
            Self::Nanoseconds(most) => ("nanoseconds_at_most", most),
            Self::RatioAtMost(most) => ("ratio_at_most", most),
            Self::RatioAtLeast(least) => ("ratio_at_least", least),
        };
        serializer.collect_map([(kind, value)])
    }
}

impl Verdict {
    fn text(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Over => "OVER",
            Self::Missing => "MISSING",
        }
    }
}

/// All lines under one header, in columns.
pub(super) fn render(lines: &[Line]) -> String {
    let header = ["row", "measured", "compared with", "budget", "aim", "verdict"].map(str::to_owned);
    let cells: Vec<[String; 6]> = std::iter::once(header).chain(lines.iter().map(Line::cells)).collect();
    let mut widths = [0; 6];
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; 6]| {
        let padded = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rule = widths.map(|width| "-".repeat(width)).join("  ");
    let mut rendered: Vec<String> = cells.iter().map(line).collect();
    rendered.insert(1, rule);
    rendered.join("\n")
}

/// What is wrong with these lines, if anything is.
pub(super) fn verdict(lines: &[Line]) -> Option<String> {
    let ids =
        |verdict| lines.iter().filter(move |line| line.verdict == verdict).map(|line| line.id).collect::<Vec<_>>();
    let (over, missing) = (ids(Verdict::Over), ids(Verdict::Missing));
    let part = |what: &str, ids: &[&str]| (!ids.is_empty()).then(|| format!("{what}: {}", ids.join(", ")));
    let parts: Vec<String> = part("over budget", &over).into_iter().chain(part("not measured", &missing)).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// A time with three digits that count.
fn time(nanoseconds: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e9, "s"), (1e6, "ms"), (1e3, "us"), (1.0, "ns")];
    let (size, unit) = UNITS.into_iter().find(|(size, _)| nanoseconds >= *size).unwrap_or((1.0, "ns"));
    format!("{} {unit}", three_digits(nanoseconds / size))
}

fn percent(ratio: f64) -> String {
    format!("{} %", three_digits(100.0 * ratio))
}

fn three_digits(number: f64) -> String {
    let decimals = match number.abs() {
        small if small < 10.0 => 2,
        small if small < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{number:.decimals$}");
    if decimals == 0 { text } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::rows::ROWS;

    /// The verdict on a row, and whether it meets its aim.
    fn judge(comparison: Comparison, budget: Limit, aim: Limit, own: f64) -> (Verdict, Option<bool>) {
        let row = Row { id: "group/own", title: "own", comparison, budget, aim };
        let line = Line::judge(&row, &Estimates::from([("group/own", own), ("group/other", 100.0)]));
        (line.verdict, line.aim_is_met)
    }

    #[test]
    fn budgets_are_limits_and_aims_are_not() {
        use Limit::{Nanoseconds, None as No, RatioAtLeast, RatioAtMost};
        let other = Comparison::Time("group/other");
        let copy = Comparison::Bandwidth { of: "group/other", bytes: 1.5 };
        for (comparison, budget, aim, own, verdict, aim_is_met) in [
            (Comparison::Alone, Nanoseconds(100.0), No, 100.0, Verdict::Ok, None),
            (Comparison::Alone, Nanoseconds(100.0), Nanoseconds(10.0), 100.1, Verdict::Over, Some(false)),
            (Comparison::Alone, Nanoseconds(100.0), Nanoseconds(10.0), 50.0, Verdict::Ok, Some(false)),
            (other, RatioAtMost(1.35), RatioAtMost(1.3), 130.0, Verdict::Ok, Some(true)),
            (other, RatioAtMost(1.35), No, 140.0, Verdict::Over, None),
            (copy, RatioAtLeast(0.8), No, 150.0, Verdict::Ok, None),
            (copy, RatioAtLeast(0.8), No, 200.0, Verdict::Over, None),
            (Comparison::Time("group/absent"), Nanoseconds(1e9), No, 1.0, Verdict::Missing, None),
        ] {
            assert_eq!(judge(comparison, budget, aim, own), (verdict, aim_is_met), "{budget:?} {own}");
        }
    }

    #[test]
    fn rows_without_results_are_shown_and_named() {
        let lines: Vec<Line> = ROWS.iter().map(|row| Line::judge(row, &Estimates::default())).collect();
        let rendered = render(&lines);
        assert_eq!(rendered.lines().count(), ROWS.len() + 2);
        let columns: Vec<_> = rendered.lines().take(3).map(|line| line.rfind("  ")).collect();
        assert_eq!(columns, [columns[0]; 3]);
        assert!(verdict(&lines).unwrap().starts_with("not measured: breaker/allow_and_record, "));
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(
            [0.5, 9.996, 12.0, 12.34, 999.4, 1_500.0, 8e6, 2.5e9].map(time),
            ["0.5 ns", "10 ns", "12 ns", "12.3 ns", "999 ns", "1.5 us", "8 ms", "2.5 s"]
        );
        assert_eq!([0.00123, 1.05, 1.35].map(percent), ["0.12 %", "105 %", "135 %"]);
    }
}
