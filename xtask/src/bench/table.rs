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

    fn row(comparison: Comparison, budget: Limit, aim: Limit) -> Row {
        Row { id: "group/own", title: "own", comparison, budget, aim }
    }

    fn judge(row: &Row, own: f64, other: f64) -> Line {
        Line::judge(row, &Estimates::from([("group/own", own), ("group/other", other)]))
    }

    #[test]
    fn a_time_is_within_its_budget_up_to_and_with_it() {
        let row = row(Comparison::Alone, Limit::Nanoseconds(100.0), Limit::None);
        assert_eq!(judge(&row, 100.0, 1.0).verdict, Verdict::Ok);
        assert_eq!(judge(&row, 100.1, 1.0).verdict, Verdict::Over);
    }

    #[test]
    fn a_time_is_compared_as_a_multiple() {
        let row = row(Comparison::Time("group/other"), Limit::RatioAtMost(1.35), Limit::RatioAtMost(1.0));
        let line = judge(&row, 130.0, 100.0);
        assert_eq!((line.ratio, line.verdict, line.aim_is_met), (Some(1.3), Verdict::Ok, Some(false)));
        assert_eq!(judge(&row, 140.0, 100.0).verdict, Verdict::Over);
    }

    #[test]
    fn bandwidth_counts_the_bytes() {
        let comparison = Comparison::Bandwidth { of: "group/other", bytes: 1.5 };
        let row = row(comparison, Limit::RatioAtLeast(0.8), Limit::None);
        let line = judge(&row, 150.0, 100.0);
        assert_eq!((line.ratio, line.verdict), (Some(1.0), Verdict::Ok));
        assert_eq!(judge(&row, 200.0, 100.0).verdict, Verdict::Over);
    }

    #[test]
    fn an_aim_that_is_not_met_is_no_failure() {
        let row = row(Comparison::Alone, Limit::Nanoseconds(100.0), Limit::Nanoseconds(10.0));
        let line = judge(&row, 50.0, 1.0);
        assert_eq!((line.verdict, line.aim_is_met), (Verdict::Ok, Some(false)));
        assert!(verdict(&[line]).is_none());
    }

    #[test]
    fn what_was_not_measured_is_missing() {
        let alone = row(Comparison::Alone, Limit::None, Limit::None);
        assert_eq!(Line::judge(&alone, &Estimates::default()).verdict, Verdict::Missing);
        let compared = row(Comparison::Time("group/absent"), Limit::Nanoseconds(1e9), Limit::None);
        assert_eq!(judge(&compared, 1.0, 1.0).verdict, Verdict::Missing);
    }

    #[test]
    fn the_verdict_names_the_rows() {
        let budget = row(Comparison::Alone, Limit::Nanoseconds(1.0), Limit::None);
        let absent = Row { id: "group/absent", ..row(Comparison::Alone, Limit::None, Limit::None) };
        let lines = [judge(&budget, 2.0, 1.0), judge(&absent, 2.0, 1.0)];
        assert_eq!(verdict(&lines).unwrap(), "over budget: group/own; not measured: group/absent");
    }

    #[test]
    fn the_table_is_in_columns() {
        let compared = row(Comparison::Time("group/other"), Limit::RatioAtMost(1.5), Limit::Nanoseconds(50.0));
        let rendered = render(&[judge(&compared, 1_234.0, 1_000.0)]);
        let expected = "\
row  measured  compared with       budget    aim                 verdict
---  --------  ------------------  --------  ------------------  -------
own  1.23 us   123 % of group/other  <= 150 %  <= 50 ns (not met)  ok";
        let words = |text: &str| {
            text.split_whitespace().filter(|word| !word.starts_with("--")).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(words(&rendered), words(expected));
        let rows: Vec<&str> = rendered.lines().collect();
        assert_eq!(rows[0].find("budget"), rows[2].find("<= 150 %"));
        assert_eq!(rows[1].find("  "), rows[1].find("- ").map(|at| at + 1));
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(
            [0.5, 9.996, 12.0, 12.34, 999.4, 1_500.0, 8e6, 2.5e9].map(time),
            ["0.5 ns", "10 ns", "12 ns", "12.3 ns", "999 ns", "1.5 us", "8 ms", "2.5 s"]
        );
        assert_eq!([0.00123, 1.05, 1.35].map(percent), ["0.12 %", "105 %", "135 %"]);
    }

    #[test]
    fn json_has_all_numbers() {
        let compared = row(Comparison::Time("group/other"), Limit::RatioAtMost(1.5), Limit::None);
        let json = serde_json::to_value(judge(&compared, 3.0, 2.0)).unwrap();
        assert_eq!(json["nanoseconds"], 3.0);
        assert_eq!(json["ratio"], 1.5);
        assert_eq!(json["budget"]["ratio_at_most"], 1.5);
        assert!(json["aim"].is_null());
        assert_eq!(json["verdict"], "ok");
    }

    #[test]
    fn all_rows_can_be_shown_without_any_measurement() {
        let lines: Vec<Line> = ROWS.iter().map(|row| Line::judge(row, &Estimates::default())).collect();
        assert_eq!(render(&lines).lines().count(), ROWS.len() + 2);
        assert!(verdict(&lines).is_some());
    }
}
