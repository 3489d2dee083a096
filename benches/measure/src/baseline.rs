//! What has changed since an earlier run.

use crate::{Estimate, Limit, Line, Unit, row::Comparison};

/// A difference of ratios that two runs of the same program show now and then: where code and pages come to lie. Our choice.
const RATIO: f64 = 0.03;
/// The same of times without a yardstick: a machine's speed drifts by a third within minutes.
const TIME: f64 = 1.0 / 3.0;
/// The same of counts and shares: no machine makes them drift.
const COUNT: f64 = 0.0;

/// A row that differs from an earlier run's by more than the noise of both.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The row.
    pub id: String,
    /// The earlier ratio; or number, of a row without a yardstick.
    pub before: f64,
    /// The present one.
    pub after: f64,
    /// Whether the change is to the worse.
    pub is_worse: bool,
}

/// The rows of `after` that differ from those of `before`: the intervals of the medians are apart, and so are the medians, by 3 % for a ratio and
/// by a third for a time without a yardstick. A count or a share, such as allocations, does not drift, so every difference is reported. Rows that
/// are in one of the two alone are left out.
#[must_use]
pub fn changes(before: &[Line], after: &[Line]) -> Vec<Change> {
    let earlier = |line: &Line| before.iter().find(|other| other.row.id == line.row.id);
    after.iter().filter_map(|line| change(earlier(line)?, line)).collect()
}

fn change(before: &Line, after: &Line) -> Option<Change> {
    let (least, before, now) = match (before.ratio, after.ratio) {
        (Some(before), Some(now)) => (RATIO, before, now),
        _ => (least_of(after.row.unit), before.ours?, after.ours?),
    };
    let is_apart = now.low > before.high || now.high < before.low;
    let differs = (now.median - before.median).abs() > least * before.median.abs();
    let more_is_better = match after.row.comparison {
        Comparison::Rate(_) => after.ratio.is_some(),
        Comparison::Time => matches!(after.row.budget, Limit::AtLeast(_) | Limit::RatioAtLeast(_)),
    };
    let rises = |now: Estimate| now.median > before.median;
    (is_apart && differs).then(|| Change {
        id: after.row.id.clone(),
        before: before.median,
        after: now.median,
        is_worse: rises(now) != more_is_better,
    })
}

const fn least_of(unit: Unit) -> f64 {
    match unit {
        Unit::Nanoseconds => TIME,
        Unit::Count | Unit::Share => COUNT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Row, Samples};

    fn line(row: Row, ours: &[f64]) -> Line {
        let yardstick = if row.yardstick.is_some() { vec![100.0; ours.len()] } else { Vec::new() };
        Line::measured(row, &Samples { ours: ours.to_vec(), yardstick })
    }

    fn change(row: &Row, before: &[f64], after: &[f64]) -> Option<Change> {
        changes(&[line(row.clone(), before)], &[line(row.clone(), after)]).pop()
    }

    #[test]
    fn only_changes_beyond_the_noise_are_told() {
        let row = Row::new("a", "a").beside("b");
        assert_eq!(change(&row, &[100.0; 9], &[102.0; 9]), None, "within what two runs differ by");
        let slower = change(&row, &[100.0; 9], &[110.0; 9]).unwrap();
        assert!(slower.is_worse && (slower.after - 1.1).abs() < 1e-9);
        assert!(!change(&row, &[110.0; 9], &[100.0; 9]).unwrap().is_worse);
        let wild = [90.0, 95.0, 100.0, 105.0, 110.0, 115.0, 120.0];
        assert_eq!(change(&row, &wild, &wild.map(|it| it * 1.1)), None, "the intervals overlap");
        let alone = Row::new("a", "a");
        assert_eq!(change(&alone, &[100.0; 9], &[130.0; 9]), None, "a machine may drift so far");
        assert!(change(&alone, &[100.0; 9], &[150.0; 9]).unwrap().is_worse);
        let rate = Row::new("a", "a").beside("b").doing(1.5);
        assert!(change(&rate, &[100.0; 9], &[120.0; 9]).unwrap().is_worse, "a rate that falls");
        assert!(changes(&[], &[line(row, &[1.0])]).is_empty());
    }

    #[test]
    fn a_count_that_differs_by_one_is_told() {
        let row = Row::new("a/allocations", "a").in_unit(Unit::Count);
        assert!(change(&row, &[30.0; 9], &[31.0; 9]).unwrap().is_worse);
        assert!(!change(&row, &[30.0; 9], &[29.0; 9]).unwrap().is_worse);
        assert_eq!(change(&row, &[30.0; 9], &[30.0; 9]), None);
    }

    #[test]
    fn a_share_that_falls_is_worse_where_more_is_better() {
        let row = Row::new("a/hits", "a").in_unit(Unit::Share).budget(Limit::AtLeast(0.5));
        assert!(change(&row, &[0.65; 9], &[0.6; 9]).unwrap().is_worse);
    }
}
