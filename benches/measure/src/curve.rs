//! How a cost grows.

use serde::{Deserialize, Serialize};

/// A cost at a size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// How many there are of what grows.
    pub size: f64,
    /// What one run costs, in nanoseconds.
    pub nanoseconds: f64,
}

/// How fast a cost may grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Growth {
    /// Not at all.
    Flat,
    /// With the size.
    Linear,
}

/// A cost at growing sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Unique.
    pub id: String,
    /// What costs, for readers.
    pub title: String,
    /// What grows, for readers.
    pub of: String,
    /// How fast the cost may grow.
    pub growth: Growth,
    /// From the smallest size to the largest.
    pub points: Vec<Point>,
}

impl Growth {
    /// The largest exponent of `cost = size ^ exponent` that passes. Our choices: caches get slower as they grow, so that a flat cost has up to 0.15
    /// (1.4 times for ten times the size) and a linear one up to 1.15.
    #[must_use]
    pub const fn most(self) -> f64 {
        match self {
            Self::Flat => 0.15,
            Self::Linear => 1.15,
        }
    }

    /// For readers.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Linear => "linear",
        }
    }
}

impl Curve {
    /// The exponent of the line through the three largest points on logarithmic axes; `None` with fewer than two sizes. At the smaller ones a cost
    /// that does not depend on the size hides what does.
    #[must_use]
    pub fn exponent(&self) -> Option<f64> {
        let logarithms =
            self.points.iter().rev().take(3).map(|point| (point.size.ln(), point.nanoseconds.max(1e-3).ln()));
        let logarithms: Vec<_> = logarithms.filter(|(size, _)| size.is_finite()).collect();
        let count = logarithms.len() as f64;
        let mean = |pick: fn(&(f64, f64)) -> f64| logarithms.iter().map(pick).sum::<f64>() / count;
        let (x, y) = (mean(|it| it.0), mean(|it| it.1));
        let spread: f64 = logarithms.iter().map(|it| (it.0 - x).powi(2)).sum();
        let together: f64 = logarithms.iter().map(|it| (it.0 - x) * (it.1 - y)).sum();
        (logarithms.len() > 1 && spread > 0.0).then(|| together / spread)
    }

    /// Whether it grows no faster than it may.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.exponent().is_some_and(|exponent| exponent <= self.growth.most())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(growth: Growth, cost: impl Fn(f64) -> f64) -> Curve {
        let points = [1.0, 4.0, 16.0, 64.0, 256.0].map(|size| Point { size, nanoseconds: cost(size) });
        Curve { id: "a".into(), title: "a".into(), of: "b".into(), growth, points: points.into() }
    }

    #[test]
    fn exponents_are_those_of_the_cost() {
        for exponent in [0.0, 0.5, 1.0, 2.0] {
            let fitted = curve(Growth::Flat, |size| 7.0 * size.powf(exponent)).exponent().unwrap();
            assert!((fitted - exponent).abs() < 1e-9, "{fitted} for {exponent}");
        }
    }

    #[test]
    fn what_grows_faster_than_it_may_is_told() {
        assert!(curve(Growth::Flat, |size| 100.0 + size * 0.1).is_kept());
        assert!(!curve(Growth::Flat, |size| 100.0 + size).is_kept());
        assert!(curve(Growth::Linear, |size| size).is_kept());
        assert!(!curve(Growth::Linear, |size| size * size).is_kept());
        assert!(!curve(Growth::Linear, |size| 1e3 + size * size).is_kept(), "a large constant hides no square");
        let one = Curve { points: vec![Point { size: 1.0, nanoseconds: 1.0 }], ..curve(Growth::Flat, |_| 1.0) };
        assert!(!one.is_kept(), "one point says nothing");
    }
}
