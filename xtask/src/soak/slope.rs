//! A straight line through points, by least squares.

use std::fmt;

use serde::Serialize;

/// The line, and how certain its slope is. The standard error takes the points as independent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Slope {
    #[serde(rename = "bytes_per_1000_steps")]
    pub(super) per_unit: f64,
    pub(super) standard_error: f64,
    /// The line's first point and its last.
    #[serde(skip)]
    pub(super) ends: [(f64, f64); 2],
}

impl Slope {
    /// `None` for fewer than three points, or if they all have the same `x`.
    pub(super) fn of(points: &[(f64, f64)]) -> Option<Self> {
        let (first, last, count) = (points.first()?, points.last()?, points.len() as f64);
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (x, y) = (mean(|point| point.0), mean(|point| point.1));
        let spread: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
        if points.len() < 3 || spread <= 0.0 {
            return None;
        }
        let per_unit = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum::<f64>() / spread;
        let line = |at: f64| y + per_unit * (at - x);
        let residual: f64 = points.iter().map(|point| (point.1 - line(point.0)).powi(2)).sum();
        let standard_error = (residual / (count - 2.0) / spread).sqrt();
        Some(Self { per_unit, standard_error, ends: [first.0, last.0].map(|at| (at, line(at))) })
    }

    /// Whether the slope is above `bound` by more than so many standard errors.
    pub(super) fn is_above(&self, bound: f64, errors: f64) -> bool {
        self.per_unit - errors * self.standard_error > bound
    }

    /// From the first point of the line to its last.
    pub(super) fn rise(&self) -> f64 {
        self.ends[1].1 - self.ends[0].1
    }
}

impl fmt::Display for Slope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:+.0} ± {:.0} bytes per 1,000 steps", self.per_unit, self.standard_error)
    }
}

#[cfg(test)]
mod tests {
    use super::Slope;

    #[test]
    fn points_on_a_line_give_the_line_without_error() {
        let line = Slope::of(&[(1.0, 5.0), (2.0, 7.0), (4.0, 11.0)]).unwrap();
        assert_eq!((line.per_unit, line.standard_error, line.rise()), (2.0, 0.0, 6.0));
        assert!(line.is_above(1.9, 3.0) && !line.is_above(2.0, 3.0));
    }

    #[test]
    fn scattered_points_have_the_error_of_the_textbook() {
        // Slope 0.5, residuals 0.5, -1, 0.5: variance 1.5 over a spread of 2.
        let line = Slope::of(&[(0.0, 1.0), (1.0, 0.0), (2.0, 2.0)]).unwrap();
        assert!((line.per_unit - 0.5).abs() < 1e-12 && (line.standard_error - 0.75_f64.sqrt()).abs() < 1e-12);
        assert!(!line.is_above(0.0, 1.0) && line.is_above(-1.0, 1.0));
    }

    #[test]
    fn points_that_give_no_line_give_none() {
        assert_eq!(Slope::of(&[(0.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(Slope::of(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
    }
}
