//! What is measured, beside what, and what it has to be.

use serde::{Deserialize, Serialize};

use crate::{Estimate, Samples, Unit, number::write};

/// One measured thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// `area/thing/size`, unique.
    pub id: String,
    /// For readers: what is done, and how large it is.
    pub title: String,
    /// What its numbers are.
    #[serde(default)]
    pub unit: Unit,
    /// What its yardstick is, for readers.
    pub yardstick: Option<String>,
    /// What the ratio of the two is.
    pub comparison: Comparison,
    /// What breaks a promise if it is not kept.
    pub budget: Limit,
    /// What it should reach; shown, no more.
    pub aim: Limit,
}

/// The ratio of a row to its yardstick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// Our time as a multiple of the yardstick's.
    #[default]
    Time,
    /// Our rate as a multiple of the yardstick's. The number says how much one run of ours does, in runs of the yardstick: bytes that it
    /// moves, or commands that it handles.
    Rate(f64),
}

/// What a row has to keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Nothing: the row is there to be seen.
    #[default]
    None,
    /// Our median, in the row's unit.
    AtMost(f64),
    /// The same, where more is better.
    AtLeast(f64),
    /// The median of the pairs' ratios.
    RatioAtMost(f64),
    /// The same, where more is better.
    RatioAtLeast(f64),
}

/// How a number stands to its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Yes,
    No,
    /// The interval of the median has the limit in it.
    Unclear,
}

impl Row {
    /// Something in nanoseconds that has neither yardstick nor limits yet.
    pub fn new(id: impl Into<String>, title: impl Into<String>) -> Self {
        let (id, title) = (id.into(), title.into());
        let (unit, comparison) = (Unit::Nanoseconds, Comparison::Time);
        Self { id, title, unit, yardstick: None, comparison, budget: Limit::None, aim: Limit::None }
    }

    /// Its yardstick.
    #[must_use]
    pub fn beside(self, yardstick: impl Into<String>) -> Self {
        Self { yardstick: Some(yardstick.into()), ..self }
    }

    /// Compares rates: see [`Comparison::Rate`].
    #[must_use]
    pub fn doing(self, times_as_much: f64) -> Self {
        Self { comparison: Comparison::Rate(times_as_much), ..self }
    }

    /// What its numbers are, if not nanoseconds.
    #[must_use]
    pub fn in_unit(self, unit: Unit) -> Self {
        Self { unit, ..self }
    }

    /// What it has to keep.
    #[must_use]
    pub fn budget(self, budget: Limit) -> Self {
        Self { budget, ..self }
    }

    /// What it should reach.
    #[must_use]
    pub fn aim(self, aim: Limit) -> Self {
        Self { aim, ..self }
    }
}

impl Comparison {
    /// The pairs' ratios; `None` without a yardstick.
    #[must_use]
    pub fn ratio(self, samples: &Samples) -> Option<Estimate> {
        let ratio = |(ours, yardstick): (&f64, &f64)| match self {
            Self::Time => ours / yardstick,
            Self::Rate(times_as_much) => times_as_much * yardstick / ours,
        };
        Estimate::of(&samples.ours.iter().zip(&samples.yardstick).map(ratio).collect::<Vec<_>>())
    }
}

impl Limit {
    /// Whether the limit is kept; `None` without a limit or without a measurement.
    pub(crate) fn judge(self, ours: Option<Estimate>, ratio: Option<Estimate>) -> Option<Kept> {
        let (number, most, limit) = match self {
            Self::None => return None,
            Self::AtMost(limit) => (ours?, true, limit),
            Self::AtLeast(limit) => (ours?, false, limit),
            Self::RatioAtMost(limit) => (ratio?, true, limit),
            Self::RatioAtLeast(limit) => (ratio?, false, limit),
        };
        let (best, worst) = if most { (number.low, number.high) } else { (-number.high, -number.low) };
        let limit = if most { limit } else { -limit };
        Some(match () {
            () if worst <= limit => Kept::Yes,
            () if best > limit => Kept::No,
            () => Kept::Unclear,
        })
    }

    /// For readers.
    #[must_use]
    pub fn text(self, unit: Unit) -> String {
        match self {
            Self::None => String::new(),
            Self::AtMost(most) => format!("<= {}", write(most, unit)),
            Self::AtLeast(least) => format!(">= {}", write(least, unit)),
            Self::RatioAtMost(most) => format!("<= {}x", crate::number::three_digits(most)),
            Self::RatioAtLeast(least) => format!(">= {}x", crate::number::three_digits(least)),
        }
    }

    /// Whether it is about the ratio.
    #[must_use]
    pub const fn is_of_ratio(self) -> bool {
        matches!(self, Self::RatioAtMost(_) | Self::RatioAtLeast(_))
    }

    /// Its number.
    #[must_use]
    pub const fn value(self) -> Option<f64> {
        match self {
            Self::None => None,
            Self::AtMost(value) | Self::AtLeast(value) | Self::RatioAtMost(value) | Self::RatioAtLeast(value) => {
                Some(value)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between(low: f64, high: f64) -> Option<Estimate> {
        Some(Estimate { low, high, ..Estimate::of(&[(low + high) / 2.0]).unwrap() })
    }

    #[test]
    fn a_limit_inside_the_interval_is_unclear() {
        for (limit, low, high, kept) in [
            (Limit::RatioAtMost(1.1), 1.0, 1.1, Kept::Yes),
            (Limit::RatioAtMost(1.1), 1.05, 1.2, Kept::Unclear),
            (Limit::RatioAtMost(1.1), 1.11, 1.2, Kept::No),
            (Limit::RatioAtLeast(0.8), 0.8, 0.9, Kept::Yes),
            (Limit::RatioAtLeast(0.8), 0.7, 0.9, Kept::Unclear),
            (Limit::RatioAtLeast(0.8), 0.7, 0.79, Kept::No),
        ] {
            assert_eq!(limit.judge(None, between(low, high)), Some(kept), "{limit:?} {low} {high}");
        }
        assert_eq!(Limit::AtMost(5.0).judge(between(4.0, 5.0), None), Some(Kept::Yes));
        assert_eq!(Limit::AtMost(5.0).judge(between(5.1, 6.0), None), Some(Kept::No));
        assert_eq!(Limit::RatioAtMost(5.0).judge(between(4.0, 5.0), None), None);
        assert_eq!(Limit::None.judge(between(4.0, 5.0), None), None);
    }

    #[test]
    fn a_rate_counts_what_is_done() {
        let samples = Samples { ours: vec![150.0; 3], yardstick: vec![100.0; 3] };
        assert_eq!(Comparison::Rate(1.5).ratio(&samples).unwrap().median, 1.0);
        assert_eq!(Comparison::Time.ratio(&samples).unwrap().median, 1.5);
        assert_eq!(Comparison::Time.ratio(&Samples { yardstick: vec![], ..samples }), None);
    }
}
