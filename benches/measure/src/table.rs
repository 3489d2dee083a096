//! A report in columns.

use crate::{
    Estimate, Line,
    number::{three_digits, write},
    share,
};

/// All lines under one header.
#[must_use]
pub fn table(lines: &[Line]) -> String {
    const HEADER: [&str; 9] =
        ["row", "median", "p95", "yardstick", "ratio", "interval", "noise", "budget, aim", "verdict"];
    let cells: Vec<[String; 9]> = std::iter::once(HEADER.map(str::to_owned)).chain(lines.iter().map(cells)).collect();
    let mut widths = [0; 9];
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |row: &[String; 9]| {
        let padded = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut rendered: Vec<String> = cells.iter().map(line).collect();
    rendered.insert(1, widths.map(|width| "-".repeat(width)).join("  "));
    rendered.join("\n")
}

fn cells(line: &Line) -> [String; 9] {
    let row = &line.row;
    let number = |estimate: Option<Estimate>, pick: fn(Estimate) -> f64| {
        estimate.map(|it| write(pick(it), row.unit)).unwrap_or_default()
    };
    let beside = match (&row.yardstick, line.beside) {
        (Some(name), Some(_)) => format!("{} {name}", number(line.beside, |it| it.median)),
        (Some(name), None) => name.clone(),
        (None, _) => String::new(),
    };
    let ratio = line.ratio.map(|it| format!("{}x", three_digits(it.median))).unwrap_or_default();
    let interval = line.ratio.map(|it| format!("{}-{}", three_digits(it.low), three_digits(it.high)));
    let interval =
        interval.or_else(|| line.ours.map(|it| format!("{}-{}", write(it.low, row.unit), write(it.high, row.unit))));
    let interval = interval.unwrap_or_default();
    let noise = line.ratio.or(line.ours).map(|it| format!("± {}", share(it.noise))).unwrap_or_default();
    let missed = if line.aim_is_met == Some(false) { " (not met)" } else { "" };
    let (budget, aim) = (row.budget.text(row.unit), row.aim.text(row.unit));
    let limits = match aim.is_empty() {
        true => budget,
        false => format!("{budget}, {aim}{missed}").trim_start_matches(", ").to_owned(),
    };
    let note = line.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
    [
        row.id.clone(),
        number(line.ours, |it| it.median),
        number(line.ours, |it| it.p95),
        beside,
        ratio,
        interval,
        noise,
        limits,
        line.verdict.text().to_owned() + &note,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limit, Row, Samples};

    #[test]
    fn columns_stand_under_each_other_and_say_what_is_missed() {
        let row = Row::new("blend/convex", "convex").beside("a copy");
        let row = row.budget(Limit::RatioAtMost(2.0)).aim(Limit::RatioAtMost(1.0));
        let samples = Samples { ours: vec![1_500.0; 3], yardstick: vec![1_000.0; 3] };
        let lines = [Line::measured(row.clone(), &samples), Line::skipped(row, "no device")];
        let table = table(&lines);
        let [_, rule, first, second] = table.lines().collect::<Vec<_>>()[..] else { panic!("{table}") };
        assert!(first.contains("1.5 us") && first.contains("1 us a copy") && first.contains("1.5x"), "{first}");
        assert!(first.contains("<= 2x, <= 1x (not met)") && first.ends_with("ok"), "{first}");
        assert!(second.ends_with("skipped: no device"), "{second}");
        assert!(first.contains("1.5-1.5"), "{first}");
        let columns = |text: &str| text.replace('±', "+").find("<= 2x");
        assert!(columns(first) == columns(second) && rule.starts_with("------------  "), "{table}");
    }
}
