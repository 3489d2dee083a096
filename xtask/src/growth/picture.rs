//! Draws the contenders of one host: how good they are against what they weigh, and against what their training cost.

use std::path::Path;

use kasmina_canvas::{
    Canvas,
    HPos::{Center, Left, Right},
    PictureError, RGBColor, SIZE, png,
};

use super::{
    labels::{Area, Labelled, place},
    record::Contender,
    report::{HostReport, Spread, Summary},
};

const TOP: f64 = 130.0;
const BOTTOM: f64 = SIZE.1 as f64 - 90.0;
/// Left and right edges of the panels.
const PANELS: [(f64, f64); 2] = [(110.0, 680.0), (800.0, 1370.0)];
const TITLE: f64 = 25.0;
const NORMAL: f64 = 17.0;
const SMALL: f64 = 14.0;
/// Half of a mark.
const MARK: f64 = 8.0;
/// Of a range, on each side of what is in it.
const MARGIN: f64 = 0.12;

const INK: RGBColor = RGBColor(34, 34, 34);
const GRID: RGBColor = RGBColor(226, 226, 226);
const FRAME: RGBColor = RGBColor(150, 150, 150);

/// What is on the vertical axis.
struct Measure {
    name: &'static str,
    unit: &'static str,
    of: fn(&Summary) -> Option<Spread>,
    factor: f64,
    /// The largest value there can be. The least is 0.
    most: f64,
}

/// A mean and the ends of its bar.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bar {
    mean: f64,
    low: f64,
    high: f64,
}

/// From values to places.
struct Axis {
    low: f64,
    high: f64,
    places: (f64, f64),
}

/// Writes the picture: accuracies of images, losses of sequences, on the test part if all runs have looked at it.
pub(super) fn draw(title: &str, report: &HostReport, images: bool, path: &Path) -> Result<(), PictureError> {
    let tested = report.summary.iter().all(|row| row.test_accuracy.is_some() || row.diverged == row.runs);
    let (of, name): (fn(&Summary) -> Option<Spread>, _) = match (images, tested) {
        (true, true) => (|row| row.test_accuracy, "test accuracy, %"),
        (true, false) => (|row| row.validation_accuracy, "validation accuracy, %"),
        (false, true) => (|row| row.test_loss, "test loss, nats per character"),
        (false, false) => (|row| row.validation_loss, "validation loss, nats per character"),
    };
    let measure = if images {
        Measure { name, unit: " %", of, factor: 100.0, most: 100.0 }
    } else {
        Measure { name, unit: "", of, factor: 1.0, most: f64::INFINITY }
    };
    if report.summary.is_empty() {
        return Err(PictureError("there are no runs to draw".to_owned()));
    }
    png(path, |canvas| {
        canvas.text(title, (PANELS[0].0, 36.0), TITLE, INK, Left)?;
        legend(canvas, &report.summary)?;
        panel(canvas, &report.summary, &measure, PANELS[0], "parameters", 1.0, |row| row.parameters)?;
        panel(canvas, &report.summary, &measure, PANELS[1], "parameter-steps, millions", 1e-6, |row| {
            row.parameter_steps
        })
    })
}

fn legend(canvas: &Canvas<'_>, rows: &[Summary]) -> Result<(), PictureError> {
    let mut x = PANELS[0].0;
    for row in rows {
        mark(canvas, row.contender, (x + MARK, 80.0))?;
        let label = row.contender.to_string();
        canvas.text(&label, (x + 3.0 * MARK, 80.0), NORMAL, INK, Left)?;
        x += 7.0 * MARK + canvas.width(&label, NORMAL);
    }
    canvas.text(&bars(rows), (x, 80.0), SMALL, INK, Left)
}

/// What the bars are.
fn bars(rows: &[Summary]) -> String {
    let runs = || rows.iter().map(|row| row.runs - row.diverged).filter(|runs| *runs > 0);
    match (runs().min(), runs().max()) {
        (None, _) | (_, None) => "all runs diverged".to_owned(),
        (_, Some(1)) => "one run of each".to_owned(),
        (Some(least), Some(most)) if least == most => format!("bars: one standard deviation over {most} runs"),
        (Some(least), Some(most)) => format!("bars: one standard deviation over {least} to {most} runs"),
    }
}

fn panel(
    canvas: &Canvas<'_>,
    rows: &[Summary],
    measure: &Measure,
    (left, right): (f64, f64),
    name: &str,
    factor: f64,
    of: fn(&Summary) -> Spread,
) -> Result<(), PictureError> {
    let points: Vec<(&Summary, Bar, Bar)> = rows
        .iter()
        .filter_map(|row| {
            let bar = Bar::of((measure.of)(row)?, measure.factor, measure.most)?;
            Some((row, Bar::of(of(row), factor, f64::INFINITY)?, bar))
        })
        .collect();
    let across = Axis::around(points.iter().map(|(_, x, _)| *x), (left, right));
    let up = Axis::around(points.iter().map(|(_, _, y)| *y), (BOTTOM, TOP));
    for tick in across.ticks() {
        let x = across.place(tick);
        canvas.line(&[(x, TOP), (x, BOTTOM)], 1.0, GRID)?;
        canvas.text(&label(tick, across.step()), (x, BOTTOM + 18.0), SMALL, INK, Center)?;
    }
    for tick in up.ticks() {
        let y = up.place(tick);
        canvas.line(&[(left, y), (right, y)], 1.0, GRID)?;
        canvas.text(&label(tick, up.step()), (left - 8.0, y), SMALL, INK, Right)?;
    }
    canvas.line(&[(left, TOP), (left, BOTTOM), (right, BOTTOM)], 1.0, FRAME)?;
    canvas.text(name, ((left + right) / 2.0, BOTTOM + 46.0), NORMAL, INK, Center)?;
    canvas.text(measure.name, (left - 60.0, TOP - 18.0), SMALL, INK, Left)?;
    let text = |row: &Summary, y: &Bar| format!("{} {:.2}{}", row.contender, y.mean, measure.unit);
    let labelled = |(row, x, y): &(&Summary, Bar, Bar)| {
        let mark = (across.place(x.mean), up.place(y.mean));
        let level = Area { left: across.place(x.low), right: across.place(x.high), ..Area::around(mark, 0.0, 1.0) };
        let upright = Area { top: up.place(y.high), bottom: up.place(y.low), ..Area::around(mark, 1.0, 0.0) };
        Labelled { mark, bars: [level, upright], width: canvas.width(&text(row, y), SMALL) }
    };
    let marks: Vec<Labelled> = points.iter().map(labelled).collect();
    for ((row, ..), Labelled { mark, bars: [level, upright], .. }) in points.iter().zip(&marks) {
        canvas.line(&[(mark.0, upright.top), (mark.0, upright.bottom)], 2.0, colour(row.contender))?;
        canvas.line(&[(level.left, mark.1), (level.right, mark.1)], 2.0, colour(row.contender))?;
    }
    for ((row, ..), it) in points.iter().zip(&marks) {
        mark(canvas, row.contender, it.mark)?;
    }
    let room = Area { left, right, top: TOP, bottom: BOTTOM };
    for ((row, _, y), area) in points.iter().zip(place(&marks, &room)) {
        let at = (area.left, f64::midpoint(area.top, area.bottom));
        canvas.text(&text(row, y), at, SMALL, colour(row.contender), Left)?;
    }
    Ok(())
}

/// Each contender has a shape and a colour of its own. The colours are Okabe and Ito's, which can be told apart without red or green.
fn mark(canvas: &Canvas<'_>, contender: Contender, (x, y): (f64, f64)) -> Result<(), PictureError> {
    let colour = colour(contender);
    match contender {
        Contender::Control => {
            canvas.bar([(x - MARK * 0.8, y - MARK * 0.8), (x + MARK * 0.8, y + MARK * 0.8)], colour, 1.0)
        }
        Contender::Grown => canvas.disc((x, y), MARK, colour),
        Contender::ScratchSame => {
            let corners = [(x, y - MARK * 1.2), (x + MARK * 1.2, y + MARK), (x - MARK * 1.2, y + MARK)];
            canvas.area(&corners, colour, 1.0)
        }
        Contender::ScratchWide => {
            let [wide, high] = [MARK * 1.2; 2];
            canvas.area(&[(x, y - high), (x + wide, y), (x, y + high), (x - wide, y)], colour, 1.0)
        }
    }
}

const fn colour(contender: Contender) -> RGBColor {
    match contender {
        Contender::Control => RGBColor(100, 100, 100),
        Contender::Grown => RGBColor(0, 114, 178),
        Contender::ScratchSame => RGBColor(213, 94, 0),
        Contender::ScratchWide => RGBColor(0, 158, 115),
    }
}

impl Bar {
    /// From 0 to `most` at the furthest. `None` of a number that is not finite.
    fn of(spread: Spread, factor: f64, most: f64) -> Option<Self> {
        let Spread { mean, deviation } = Spread { mean: spread.mean * factor, deviation: spread.deviation * factor };
        let finite = mean.is_finite() && deviation.is_finite();
        finite.then_some(Self { mean, low: (mean - deviation).max(0.0), high: (mean + deviation).min(most) })
    }
}

impl Axis {
    /// An axis on which all bars have room.
    fn around(bars: impl Iterator<Item = Bar>, places: (f64, f64)) -> Self {
        let (low, high) =
            bars.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), bar| (low.min(bar.low), high.max(bar.high)));
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let margin = (MARGIN * (high - low)).max(1e-6 * high.abs()).max(1e-9);
        Self { low: low - margin, high: high + margin, places }
    }

    fn place(&self, value: f64) -> f64 {
        let (from, to) = self.places;
        from + ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0) * (to - from)
    }

    /// 1, 2 or 5 times a power of ten, so that there are up to six ticks.
    fn step(&self) -> f64 {
        let rough = (self.high - self.low) / 6.0;
        let power = 10.0_f64.powf(rough.log10().floor());
        [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * power).find(|step| *step >= rough).unwrap_or(rough)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let (step, high) = (self.step(), self.high);
        let first = (self.low / step).ceil();
        (0..12).map(move |index| (first + f64::from(index)) * step).take_while(move |tick| *tick <= high)
    }
}

/// A number with as many decimals as its axis needs.
fn label(tick: f64, step: f64) -> String {
    let decimals = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{tick:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::growth::{
        data::Source,
        recipe::{HostName, Recipe},
    };

    fn report(accuracies: [f64; 4]) -> HostReport {
        let spread = |mean| Spread { mean, deviation: 0.003 };
        let row = |(contender, accuracy): (Contender, f64)| Summary {
            contender,
            runs: 5,
            diverged: 0,
            parameters: Spread { mean: 1_000.0 + 3e4 * accuracy, deviation: 90.0 },
            parameter_steps: spread(2e6 / accuracy),
            seconds: spread(3.0),
            validation_loss: Some(spread(0.1)),
            validation_accuracy: Some(spread(accuracy)),
            test_loss: Some(spread(0.1)),
            test_accuracy: Some(spread(accuracy)),
        };
        let summary = Contender::ALL.into_iter().zip(accuracies).map(row).collect();
        let recipe = Recipe::of(&Source::Digits, HostName::Mlp);
        HostReport { host: "mlp".to_owned(), recipe, data: None, network: None, summary, records: Vec::new() }
    }

    #[test]
    fn bars_end_where_no_value_can_be() {
        let bar = |mean, deviation, factor, most| Bar::of(Spread { mean, deviation }, factor, most);
        let loss = bar(0.5, 0.75, 1.0, f64::INFINITY);
        assert_eq!(loss, Some(Bar { mean: 0.5, low: 0.0, high: 1.25 }));
        assert_eq!(bar(0.875, 0.25, 100.0, 100.0), Some(Bar { mean: 87.5, low: 62.5, high: 100.0 }));
        assert_eq!(bar(f64::NAN, 0.0, 1.0, 1.0), None);
    }

    #[test]
    fn a_single_run_has_no_deviation() {
        let rows = |runs: [usize; 4]| {
            let summary = report([0.5; 4]).summary.into_iter().zip(runs);
            summary.map(|(row, diverged)| Summary { runs: 3, diverged, ..row }).collect::<Vec<_>>()
        };
        assert_eq!(bars(&rows([2; 4])), "one run of each");
        assert_eq!(bars(&rows([0; 4])), "bars: one standard deviation over 3 runs");
        assert_eq!(bars(&rows([0, 3, 1, 0])), "bars: one standard deviation over 2 to 3 runs");
        assert_eq!(bars(&rows([3; 4])), "all runs diverged");
    }

    /// `KASMINA_PICTURES=DIR` keeps the picture for whoever wants to look.
    #[test]
    fn four_contenders_are_drawn_even_if_they_are_equal() {
        let held = tempfile::tempdir().unwrap();
        let directory = std::env::var_os("KASMINA_PICTURES").map_or_else(|| held.path().to_owned(), Into::into);
        for (name, accuracies) in [("growth", [0.91, 0.981, 0.983, 0.972]), ("growth-equal", [0.5; 4])] {
            let path = directory.join(format!("{name}.png"));
            draw("Four contenders", &report(accuracies), true, &path).unwrap();
            assert!(std::fs::metadata(path).unwrap().len() > 10_000);
        }
    }

    #[test]
    fn a_report_without_runs_is_not_drawn() {
        let bare = HostReport { summary: Vec::new(), ..report([0.5; 4]) };
        let error = draw("Nobody", &bare, true, Path::new("absent/x.png")).unwrap_err();
        assert_eq!(error.to_string(), "picture: there are no runs to draw");
    }

    #[test]
    fn ticks_are_round_numbers_within_the_axis() {
        let ticks = |low, high| {
            let axis = Axis { low, high, places: (0.0, 1.0) };
            axis.ticks().map(|tick| label(tick, axis.step())).collect::<Vec<_>>()
        };
        assert_eq!(ticks(0.93, 1.01), ["0.94", "0.96", "0.98", "1.00"]);
        assert_eq!(ticks(900.0, 13_000.0), ["5000", "10000"]);
        assert_eq!(ticks(-0.5, 2.2), ["-0.5", "0.0", "0.5", "1.0", "1.5", "2.0"]);
    }
}
