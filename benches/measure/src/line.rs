//! A row with what was measured.

use serde::{Deserialize, Serialize};

use crate::{Estimate, Limit, Row, Samples, row::Kept};

/// A row with what was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// What was to be measured.
    #[serde(flatten)]
    pub row: Row,
    /// Our side.
    pub ours: Option<Estimate>,
    /// The other side.
    pub beside: Option<Estimate>,
    /// The ratios of the pairs.
    pub ratio: Option<Estimate>,
    /// Whether the budget is kept.
    pub verdict: Verdict,
    /// Whether the aim is reached; absent without one, or where the noise does not say.
    pub aim_is_met: Option<bool>,
    /// Why it was skipped, what failed, or what else a reader should know.
    pub note: Option<String>,
}

/// How a row stands to its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Within its budget, or without one.
    Ok,
    /// Over its budget, by more than the noise.
    Over,
    /// The interval of the median has the budget in it: this run cannot tell.
    Noisy,
    /// It was not measured here.
    Skipped,
    /// It could not be measured.
    Failed,
}

impl Line {
    /// Judges what was measured.
    #[must_use]
    pub fn measured(row: Row, samples: &Samples) -> Self {
        let (ours, beside) = (Estimate::of(&samples.ours), Estimate::of(&samples.yardstick));
        let ratio = row.comparison.ratio(samples);
        let judge = |limit: Limit| limit.judge(ours, ratio);
        let verdict = match judge(row.budget) {
            _ if ours.is_none() => Verdict::Failed,
            None if row.budget != Limit::None => Verdict::Failed,
            None | Some(Kept::Yes) => Verdict::Ok,
            Some(Kept::No) => Verdict::Over,
            Some(Kept::Unclear) => Verdict::Noisy,
        };
        let aim_is_met = match judge(row.aim) {
            Some(Kept::Yes) => Some(true),
            Some(Kept::No) => Some(false),
            Some(Kept::Unclear) | None => None,
        };
        let note = (verdict == Verdict::Failed).then(|| "nothing to judge was measured".to_owned());
        Self { row, ours, beside, ratio, verdict, aim_is_met, note }
    }

    /// A row that needs something that is not here.
    pub fn skipped(row: Row, why: impl Into<String>) -> Self {
        Self::without(row, Verdict::Skipped, why.into())
    }

    /// A row that could not be measured.
    pub fn failed(row: Row, why: impl Into<String>) -> Self {
        Self::without(row, Verdict::Failed, why.into())
    }

    fn without(row: Row, verdict: Verdict, note: String) -> Self {
        Self { row, ours: None, beside: None, ratio: None, verdict, aim_is_met: None, note: Some(note) }
    }

    /// The measured number that the budget is about, as a share of it: 1 is the limit, and more is worse.
    #[must_use]
    pub fn of_budget(&self) -> Option<[f64; 3]> {
        let number = if self.row.budget.is_of_ratio() { self.ratio } else { self.ours }?;
        let limit = self.row.budget.value().filter(|limit| *limit != 0.0)?;
        let numbers = [number.low, number.median, number.high];
        Some(match self.row.budget {
            Limit::None | Limit::AtMost(_) | Limit::RatioAtMost(_) => numbers.map(|number| number / limit),
            Limit::AtLeast(_) | Limit::RatioAtLeast(_) => {
                let [low, median, high] = numbers.map(|number| limit / number);
                [high, median, low]
            }
        })
    }
}

impl Verdict {
    /// For readers.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Over => "OVER",
            Self::Noisy => "noisy",
            Self::Skipped => "skipped",
            Self::Failed => "FAILED",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(budget: Limit, aim: Limit, ours: &[f64], yardstick: &[f64]) -> Line {
        let samples = Samples { ours: ours.to_vec(), yardstick: yardstick.to_vec() };
        Line::measured(Row::new("area/thing", "thing").beside("another").budget(budget).aim(aim), &samples)
    }

    #[test]
    fn a_row_near_its_budget_is_noisy_and_not_over() {
        let yardstick = [100.0; 5];
        let verdict = |ours: &[f64]| line(Limit::RatioAtMost(1.1), Limit::None, ours, &yardstick).verdict;
        assert_eq!(verdict(&[104.0, 106.0, 105.0, 107.0, 103.0]), Verdict::Ok);
        assert_eq!(verdict(&[104.0, 115.0, 105.0, 107.0, 103.0]), Verdict::Noisy);
        assert_eq!(verdict(&[114.0, 115.0, 125.0, 117.0, 113.0]), Verdict::Over);
    }

    #[test]
    fn aims_are_shown_and_break_nothing() {
        let line = |aim| line(Limit::AtMost(200.0), aim, &[100.0; 3], &[100.0; 3]);
        assert_eq!(
            (line(Limit::AtMost(99.0)).verdict, line(Limit::AtMost(99.0)).aim_is_met),
            (Verdict::Ok, Some(false))
        );
        assert_eq!(line(Limit::RatioAtMost(1.0)).aim_is_met, Some(true));
    }

    #[test]
    fn a_budget_without_a_number_is_a_failure() {
        assert_eq!(line(Limit::RatioAtMost(2.0), Limit::None, &[1.0], &[]).verdict, Verdict::Failed);
        assert_eq!(line(Limit::None, Limit::None, &[], &[]).verdict, Verdict::Failed);
        assert_eq!(line(Limit::None, Limit::None, &[1.0], &[]).verdict, Verdict::Ok);
    }

    #[test]
    fn shares_of_a_budget_are_worse_above_one() {
        let share = |budget, ours: f64| line(budget, Limit::None, &[ours], &[100.0]).of_budget().unwrap()[1];
        assert_eq!(share(Limit::RatioAtMost(2.0), 100.0), 0.5);
        assert_eq!(share(Limit::RatioAtLeast(0.5), 25.0), 0.5 / 0.25);
        assert_eq!(line(Limit::None, Limit::None, &[1.0], &[]).of_budget(), None);
    }
}
