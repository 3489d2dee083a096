//! Draws every row that has a budget, as a share of it.

use std::path::Path;

use kasmina_canvas::{
    Canvas,
    HPos::{Center, Left, Right},
    PictureError, RGBColor, SIZE, png,
};
use kasmina_measure::{Limit, Line, Report, Verdict, share};

const TITLE: f64 = 18.0;
const SMALL: f64 = 11.0;
const TOP: f64 = 80.0;
const BOTTOM: f64 = SIZE.1 as f64 - 20.0;
const LEFT: f64 = 20.0;
/// Rows of a column.
const DEEP: usize = 56;
/// The share of a column that its names take.
const NAMES: f64 = 0.5;
/// The axis is logarithmic, from a sixteenth of the budget to twice.
const RANGE: (f64, f64) = (1.0 / 16.0, 2.0);
const TICKS: [f64; 4] = [0.1, 0.25, 0.5, 1.0];

const INK: RGBColor = RGBColor(34, 34, 34);
const GRID: RGBColor = RGBColor(226, 226, 226);
const KEPT: RGBColor = RGBColor(0, 114, 178);
const NOISY: RGBColor = RGBColor(150, 150, 150);
const OVER: RGBColor = RGBColor(213, 94, 0);

/// Writes the picture. Rows without a budget are not in it.
pub(crate) fn draw(report: &Report, path: &Path) -> Result<(), PictureError> {
    let rows: Vec<_> = report.rows.iter().filter(|line| line.row.budget != Limit::None).collect();
    let columns: Vec<_> = rows.chunks(DEEP).collect();
    let wide = (f64::from(SIZE.0) - 2.0 * LEFT) / columns.len().max(1) as f64;
    let high = (BOTTOM - TOP) / rows.len().clamp(1, DEEP) as f64;
    png(path, |canvas| {
        let machine = &report.machine;
        let title = format!("what is measured, as a share of its budget: {}, {} cores", machine.cpu, machine.cores);
        canvas.text(&title, (LEFT, 24.0), TITLE, INK, Left)?;
        let legend =
            "median and its 95 % interval; blue within the budget, grey too noisy to judge, red over it or failed";
        canvas.text(legend, (LEFT, 46.0), SMALL + 2.0, INK, Left)?;
        for (column, left) in columns.iter().zip((0_u8..).map(|at| LEFT + wide * f64::from(at))) {
            let axis = Axis { left: left + NAMES * wide, right: left + wide - 20.0 };
            axis.draw(canvas, TOP + high * column.len() as f64)?;
            for (line, at) in column.iter().zip(0_u8..) {
                let y = TOP + high * (f64::from(at) + 0.5);
                canvas.text(&line.row.id, (axis.left - 8.0, y), SMALL, INK, Right)?;
                mark(canvas, &axis, line, y)?;
            }
        }
        Ok(())
    })
}

/// Where shares of a budget stand.
struct Axis {
    left: f64,
    right: f64,
}

impl Axis {
    fn at(&self, share: f64) -> f64 {
        let (low, high) = (RANGE.0.ln(), RANGE.1.ln());
        let place = (share.max(1e-9).ln() - low) / (high - low);
        self.left + place.clamp(0.0, 1.0) * (self.right - self.left)
    }

    fn draw(&self, canvas: &Canvas<'_>, bottom: f64) -> Result<(), PictureError> {
        for tick in TICKS {
            let colour = if tick < 1.0 { GRID } else { INK };
            canvas.line(&[(self.at(tick), TOP), (self.at(tick), bottom)], 1.0, colour)?;
            canvas.text(&share(tick), (self.at(tick), TOP - 10.0), SMALL, INK, Center)?;
        }
        Ok(())
    }
}

/// The share, or why there is none.
fn mark(canvas: &Canvas<'_>, axis: &Axis, line: &Line, y: f64) -> Result<(), PictureError> {
    let colour = match line.verdict {
        Verdict::Ok => KEPT,
        Verdict::Noisy | Verdict::Skipped => NOISY,
        Verdict::Over | Verdict::Failed => OVER,
    };
    let Some(shares) = line.of_budget() else {
        return canvas.text(line.verdict.text(), (axis.left + 4.0, y), SMALL, colour, Left);
    };
    let [low, median, high] = shares.map(|share| axis.at(share));
    canvas.line(&[(axis.left, y), (median, y)], 1.0, GRID)?;
    canvas.line(&[(low, y), (high, y)], 2.0, colour)?;
    canvas.disc((median, y), 3.0, colour)
}

#[cfg(test)]
mod tests {
    use kasmina::leyline::UnixTime;
    use kasmina_measure::{Machine, Row, Samples};

    use super::*;

    fn row(budget: Limit) -> Row {
        Row::new("area/thing", "thing").beside("another").budget(budget)
    }

    fn measured(budget: Limit) -> Line {
        Line::measured(row(budget), &Samples { ours: vec![150.0; 5], yardstick: vec![100.0; 5] })
    }

    /// The bytes of the picture.
    fn drawn(rows: Vec<Line>) -> Vec<u8> {
        let machine = Machine::here("flex", "system", vec![], UnixTime::default());
        let report = Report { machine, quick: true, options: vec![], rows };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rows.png");
        draw(&report, &path).unwrap();
        std::fs::read(&path).unwrap()
    }

    #[test]
    fn rows_with_a_budget_are_drawn() {
        let (one, other) = (measured(Limit::RatioAtMost(1.0)), measured(Limit::RatioAtMost(3.0)));
        assert_ne!(drawn(vec![one.clone(), other]), drawn(vec![one.clone()]));
        assert_eq!(drawn(vec![one.clone(), measured(Limit::None)]), drawn(vec![one]));
    }

    #[test]
    fn rows_that_were_not_measured_say_so() {
        let line = measured(Limit::RatioAtMost(1.0));
        let (failed, skipped) =
            (Line::failed(line.row.clone(), "it broke"), Line::skipped(line.row.clone(), "no server"));
        let alone = drawn(vec![line.clone()]);
        let [failed, skipped] = [failed, skipped].map(|other| drawn(vec![line.clone(), other]));
        assert!(failed != alone && skipped != alone && failed != skipped);
    }
}
