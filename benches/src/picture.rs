//! Draws every row that has a budget, as a share of it.

use std::path::Path;

use kasmina_canvas::{
    Canvas,
    HPos::{Center, Left, Right},
    PictureError, RGBColor, SIZE, png,
};
use kasmina_measure::{Line, Report, Verdict, share};

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
    let rows: Vec<_> = report.rows.iter().filter_map(|line| Some((line, line.of_budget()?))).collect();
    let columns: Vec<_> = rows.chunks(DEEP).collect();
    let wide = (f64::from(SIZE.0) - 2.0 * LEFT) / columns.len().max(1) as f64;
    let high = (BOTTOM - TOP) / rows.len().clamp(1, DEEP) as f64;
    png(path, |canvas| {
        let machine = &report.machine;
        let title = format!("what is measured, as a share of its budget: {}, {} cores", machine.cpu, machine.cores);
        canvas.text(&title, (LEFT, 24.0), TITLE, INK, Left)?;
        let legend = "median and its 95 % interval; blue within the budget, grey too noisy to judge, red over it";
        canvas.text(legend, (LEFT, 46.0), SMALL + 2.0, INK, Left)?;
        for (column, left) in columns.iter().zip((0_u8..).map(|at| LEFT + wide * f64::from(at))) {
            let axis = Axis { left: left + NAMES * wide, right: left + wide - 20.0 };
            axis.draw(canvas, TOP + high * column.len() as f64)?;
            for ((line, shares), at) in column.iter().zip(0_u8..) {
                let y = TOP + high * (f64::from(at) + 0.5);
                canvas.text(&line.row.id, (axis.left - 8.0, y), SMALL, INK, Right)?;
                mark(canvas, &axis, line, *shares, y)?;
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

fn mark(canvas: &Canvas<'_>, axis: &Axis, line: &Line, shares: [f64; 3], y: f64) -> Result<(), PictureError> {
    let colour = match line.verdict {
        Verdict::Ok => KEPT,
        Verdict::Noisy => NOISY,
        Verdict::Over | Verdict::Failed | Verdict::Skipped => OVER,
    };
    let [low, median, high] = shares.map(|share| axis.at(share));
    canvas.line(&[(axis.left, y), (median, y)], 1.0, GRID)?;
    canvas.line(&[(low, y), (high, y)], 2.0, colour)?;
    canvas.disc((median, y), 3.0, colour)
}

#[cfg(test)]
mod tests {
    use kasmina::leyline::UnixTime;
    use kasmina_measure::{Limit, Machine, Row, Samples};

    use super::*;

    #[test]
    fn rows_with_a_budget_are_drawn() {
        let row = |budget| Row::new("area/thing", "thing").beside("another").budget(budget);
        let samples = Samples { ours: vec![150.0; 5], yardstick: vec![100.0; 5] };
        let rows = [Limit::RatioAtMost(1.0), Limit::RatioAtMost(3.0), Limit::None];
        let rows = rows.map(|budget| Line::measured(row(budget), &samples)).into();
        let machine = Machine::here("flex", "system", vec![], UnixTime::default());
        let report = Report { machine, quick: true, options: vec![], rows };
        let path = tempfile::tempdir().unwrap();
        let path = path.path().join("rows.png");
        draw(&report, &path).unwrap();
        assert!(path.metadata().unwrap().len() > 1_000);
    }
}
