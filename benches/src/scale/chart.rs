//! Draws curves on logarithmic axes, each with its exponent beside what that may be.

use std::path::Path;

use kasmina_canvas::{
    Canvas,
    HPos::{Left, Right},
    PictureError, RGBColor, SIZE, png,
};
use kasmina_measure::Curve;

const COLUMNS: usize = 4;
const TEXT: f64 = 13.0;
const SMALL: f64 = 11.0;
const MARGIN: f64 = 60.0;
const GAP: f64 = 75.0;

const INK: RGBColor = RGBColor(34, 34, 34);
const GRID: RGBColor = RGBColor(226, 226, 226);
const KEPT: RGBColor = RGBColor(0, 114, 178);
const STEEP: RGBColor = RGBColor(213, 94, 0);

/// Writes the picture.
pub(super) fn draw(curves: &[Curve], path: &Path) -> Result<(), PictureError> {
    let rows = curves.len().div_ceil(COLUMNS).max(1);
    let wide = (f64::from(SIZE.0) - MARGIN - 20.0) / COLUMNS as f64 - GAP;
    let high = (f64::from(SIZE.1) - 20.0) / rows as f64 - GAP;
    png(path, |canvas| {
        for (index, curve) in curves.iter().enumerate() {
            let left = MARGIN + (wide + GAP) * (index % COLUMNS) as f64;
            let top = 45.0 + (high + GAP) * (index / COLUMNS) as f64;
            panel(canvas, curve, Frame { left, top, wide, high })?;
        }
        Ok(())
    })
}

/// Where a curve stands.
#[derive(Clone, Copy)]
struct Frame {
    left: f64,
    top: f64,
    wide: f64,
    high: f64,
}

/// Powers of ten that a range of numbers lies between.
#[derive(Clone, Copy)]
struct Decades {
    low: f64,
    high: f64,
}

impl Decades {
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let low = values.clone().fold(f64::INFINITY, f64::min).max(1e-3).log10().floor();
        let high = values.fold(1e-3, f64::max).log10().ceil();
        Self { low, high: high.max(low + 1.0) }
    }

    fn at(self, value: f64) -> f64 {
        (value.max(1e-3).log10() - self.low) / (self.high - self.low)
    }

    fn ticks(self) -> impl Iterator<Item = f64> {
        (self.low as i32..=self.high as i32).map(|power| 10_f64.powi(power))
    }
}

fn panel(canvas: &Canvas<'_>, curve: &Curve, frame: Frame) -> Result<(), PictureError> {
    let Frame { left, top, wide, high } = frame;
    let across = Decades::of(curve.points.iter().map(|point| point.size));
    let up = Decades::of(curve.points.iter().map(|point| point.nanoseconds));
    let place = |size: f64, nanoseconds: f64| (left + across.at(size) * wide, top + (1.0 - up.at(nanoseconds)) * high);
    for tick in up.ticks() {
        let (_, y) = place(1.0, tick);
        canvas.line(&[(left, y), (left + wide, y)], 1.0, GRID)?;
        canvas.text(&time(tick), (left - 6.0, y), SMALL, INK, Right)?;
    }
    for tick in across.ticks() {
        let (x, _) = place(tick, 1.0);
        canvas.line(&[(x, top), (x, top + high)], 1.0, GRID)?;
        canvas.text(&count(tick), (x, top + high + 12.0), SMALL, INK, kasmina_canvas::HPos::Center)?;
    }
    let colour = if curve.is_kept() { KEPT } else { STEEP };
    let points: Vec<_> = curve.points.iter().map(|point| place(point.size, point.nanoseconds)).collect();
    canvas.line(&points, 2.0, colour)?;
    points.iter().try_for_each(|point| canvas.disc(*point, 3.0, colour))?;
    let exponent = curve.exponent().map_or_else(|| "unknown".to_owned(), |exponent| format!("{exponent:.2}"));
    canvas.text(&format!("{}, by {}", curve.title, curve.of), (left, top - 26.0), TEXT, INK, Left)?;
    let said = format!("exponent {exponent}; {}, at most {}", curve.growth.text(), curve.growth.most());
    canvas.text(&said, (left, top - 10.0), SMALL, colour, Left)
}

fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        small if small < 1e3 => format!("{small} ns"),
        small if small < 1e6 => format!("{} us", small / 1e3),
        small if small < 1e9 => format!("{} ms", small / 1e6),
        large => format!("{} s", large / 1e9),
    }
}

fn count(number: f64) -> String {
    match number {
        small if small < 1e3 => format!("{small}"),
        small if small < 1e6 => format!("{}k", small / 1e3),
        large => format!("{}M", large / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use kasmina_measure::{Growth, Point};

    use super::*;

    #[test]
    fn curves_are_drawn_one_beside_the_other() {
        let points = [1.0, 10.0, 1e6].map(|size| Point { size, nanoseconds: 50.0 * size });
        let curve =
            Curve { id: "a".into(), title: "a".into(), of: "b".into(), growth: Growth::Linear, points: points.into() };
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("scale.png");
        draw(&vec![curve; 9], &path).unwrap();
        assert!(path.metadata().unwrap().len() > 1_000);
    }
}
