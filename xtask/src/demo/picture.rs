//! Draws what happened to one grown network: accuracy, alpha, stages and gates on one time axis.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use kasmina_canvas::{
    Canvas,
    HPos::{Center, Left, Right},
    PictureError, RGBColor, SIZE, png,
};

/// All that the picture shows. Times are in epochs.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) title: String,
    pub(crate) steps_per_epoch: u64,
    /// Networks that never had a seed.
    pub(crate) control: Curve,
    /// Networks that grew one.
    pub(crate) grown: Curve,
    /// The seed's share of its slot's output, 0 to 1.
    pub(crate) alpha: Vec<(f64, f64)>,
    pub(crate) stages: Vec<StageSpan>,
    pub(crate) verdicts: Vec<VerdictMark>,
}

/// A mean over several runs, and how far they lie apart.
#[derive(Clone, Debug)]
pub(crate) struct Curve {
    pub(crate) label: String,
    /// Epoch and mean accuracy, 0 to 1.
    pub(crate) points: Vec<(f64, f64)>,
    /// Epoch, lowest and highest accuracy.
    pub(crate) band: Vec<(f64, f64, f64)>,
}

/// How long a seed was in a stage.
#[derive(Clone, Debug)]
pub(crate) struct StageSpan {
    pub(crate) name: String,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

/// What a gate said.
#[derive(Clone, Debug)]
pub(crate) struct VerdictMark {
    pub(crate) epoch: f64,
    /// `G0` to `G5`.
    pub(crate) gate: String,
    pub(crate) passed: bool,
    /// Shown if there is room.
    pub(crate) reason: String,
}

const LEFT: f64 = 118.0;
const RIGHT: f64 = 1290.0;
const TOP: f64 = 98.0;
const BOTTOM: f64 = SIZE.1 as f64 - 58.0;
/// From one panel to the next.
const GAP: f64 = 26.0;
const ALPHA_HEIGHT: f64 = 96.0;
const BAR_HEIGHT: f64 = 30.0;
/// One row of labels below the stages' bar.
const LABEL_ROW: f64 = 17.0;
/// One gate.
const LANE: f64 = 24.0;
/// Half of a verdict's mark.
const MARK: f64 = 5.5;
const PADDING: f64 = 5.0;

const TITLE: f64 = 25.0;
const LARGE: f64 = 18.0;
const NORMAL: f64 = 15.5;
const SMALL: f64 = 13.5;

const INK: RGBColor = RGBColor(34, 34, 34);
const FAINT_INK: RGBColor = RGBColor(95, 95, 95);
const GRID: RGBColor = RGBColor(226, 226, 226);
const FRAME: RGBColor = RGBColor(150, 150, 150);
// Okabe and Ito's palette for lines and marks, Tol's light one for areas: both can be read without seeing red or green.
const CONTROL: RGBColor = RGBColor(100, 100, 100);
const GROWN: RGBColor = RGBColor(0, 114, 178);
const ALPHA: RGBColor = RGBColor(204, 121, 167);
const PASSED: RGBColor = RGBColor(0, 158, 115);
const REFUSED: RGBColor = RGBColor(213, 94, 0);
const STAGES: [RGBColor; 9] = [
    RGBColor(221, 221, 221),
    RGBColor(153, 221, 255),
    RGBColor(238, 221, 136),
    RGBColor(238, 136, 102),
    RGBColor(119, 170, 221),
    RGBColor(187, 204, 51),
    RGBColor(68, 187, 153),
    RGBColor(255, 170, 187),
    RGBColor(170, 170, 0),
];

/// Draws the story into a PNG file.
pub(crate) fn draw(story: &Story, path: &Path) -> Result<(), PictureError> {
    for curve in [&story.control, &story.grown] {
        if curve.points.is_empty() || !curve.points.iter().all(|(_, accuracy)| accuracy.is_finite()) {
            return Err(PictureError(format!("the curve {:?} has no points, or points without a number", curve.label)));
        }
    }
    png(path, |canvas| Panels::plan(story, canvas).draw())
}

/// A story with a place for everything.
struct Panels<'a, 'b> {
    story: &'a Story,
    canvas: &'a Canvas<'b>,
    /// The last epoch.
    end: f64,
    /// The lowest accuracy shown.
    lowest: f64,
    /// The upper edges of the stages' bar and of the gates' lanes.
    stages: f64,
    gates: f64,
    lanes: Vec<&'a str>,
    colours: BTreeMap<&'a str, RGBColor>,
    /// Stages without room for their name in a bar: the places of their labels' leaders and the labels' rows.
    hung: Vec<(&'a str, f64, usize)>,
}

/// Lower and upper edge of a panel, and the value at the lower one; 1 is at the upper one.
#[derive(Clone, Copy)]
struct Panel {
    bottom: f64,
    top: f64,
    lowest: f64,
}

impl Panel {
    fn at(self, value: f64) -> f64 {
        self.bottom + ((value - self.lowest) / (1.0 - self.lowest)).clamp(0.0, 1.0) * (self.top - self.bottom)
    }
}

impl<'a, 'b> Panels<'a, 'b> {
    /// Plans from the bottom up: the accuracy gets the height that is left.
    fn plan(story: &'a Story, canvas: &'a Canvas<'b>) -> Self {
        let curves = [&story.control, &story.grown];
        let end = curves.iter().flat_map(|curve| &curve.points).map(|(epoch, _)| *epoch).fold(1e-9, f64::max);
        let accuracies = curves.iter().flat_map(|curve| curve.points.iter().map(|(_, accuracy)| *accuracy));
        let lows = curves.iter().flat_map(|curve| curve.band.iter().map(|(_, low, _)| *low));
        let lowest = ((accuracies.chain(lows).fold(0.9, f64::min) * 10.0).floor() / 10.0).max(0.0);
        let lanes: BTreeSet<&str> = story.verdicts.iter().map(|mark| mark.gate.as_str()).collect();
        let gates = BOTTOM - LANE * lanes.len() as f64;
        let mut colours = BTreeMap::new();
        for stage in &story.stages {
            let next = STAGES[colours.len() % STAGES.len()];
            colours.entry(stage.name.as_str()).or_insert(next);
        }
        let lanes = lanes.into_iter().collect();
        let mut panels = Self { story, canvas, end, lowest, stages: 0.0, gates, lanes, colours, hung: Vec::new() };
        panels.hang();
        let rows = panels.hung.iter().map(|(_, _, row)| row + 1).max().unwrap_or(0);
        panels.stages = gates - GAP - LABEL_ROW * rows as f64 - BAR_HEIGHT;
        panels
    }

    /// Gives each name that fits into none of its bars a row below them, so that no label touches another one's leader.
    fn hang(&mut self) {
        let mut named: BTreeSet<&str> =
            self.story.stages.iter().filter(|stage| self.fits(stage)).map(|stage| stage.name.as_str()).collect();
        for stage in self.story.stages.iter().filter(|stage| named.insert(stage.name.as_str())) {
            let x = (self.time(stage.from) + self.time(stage.to)) / 2.0;
            for (name, other, row) in &mut self.hung {
                if *other + self.canvas.width(name, SMALL) + 2.0 * PADDING > x {
                    *row += 1;
                }
            }
            self.hung.push((stage.name.as_str(), x, 0));
        }
    }

    fn fits(&self, stage: &StageSpan) -> bool {
        self.canvas.width(&stage.name, SMALL) + 2.0 * PADDING <= self.time(stage.to) - self.time(stage.from)
    }

    fn time(&self, epoch: f64) -> f64 {
        LEFT + (epoch / self.end).clamp(0.0, 1.0) * (RIGHT - LEFT)
    }

    fn draw(&self) -> Result<(), PictureError> {
        let bottom = self.stages - GAP;
        let alpha = Panel { bottom, top: bottom - ALPHA_HEIGHT, lowest: 0.0 };
        let accuracy = Panel { bottom: alpha.top - GAP, top: TOP, lowest: self.lowest };
        self.legend()?;
        self.time_axis(&[accuracy, alpha])?;
        self.panel("accuracy", accuracy, 0.2)?;
        self.curves(accuracy)?;
        self.panel("alpha", alpha, 0.5)?;
        self.canvas.line(&self.places(alpha, self.story.alpha.iter().copied()), 2.6, ALPHA)?;
        self.bars()?;
        self.verdicts()
    }

    fn legend(&self) -> Result<(), PictureError> {
        self.canvas.text(&self.story.title, (LEFT, 32.0), TITLE, INK, Left)?;
        let (mut x, y) = (LEFT, 68.0);
        for (curve, colour) in [(&self.story.grown, GROWN), (&self.story.control, CONTROL)] {
            self.canvas.bar([(x, y - 7.0), (x + 30.0, y + 7.0)], colour, 0.2)?;
            self.canvas.line(&[(x, y), (x + 30.0, y)], 2.6, colour)?;
            self.canvas.text(&curve.label, (x + 38.0, y), NORMAL, INK, Left)?;
            x += 68.0 + self.canvas.width(&curve.label, NORMAL);
        }
        let note = "line: mean of the runs, band: lowest to highest; in SHADOWING the seed is out of the network and only measured";
        self.canvas.text(note, (x, y), SMALL, FAINT_INK, Left)
    }

    /// The axis, and in the panels its grid and the stages' colours.
    fn time_axis(&self, panels: &[Panel]) -> Result<(), PictureError> {
        for (panel, stage) in panels.iter().flat_map(|panel| self.story.stages.iter().map(move |stage| (panel, stage)))
        {
            let ends = [(self.time(stage.from), panel.top), (self.time(stage.to), panel.bottom)];
            self.canvas.bar(ends, self.colour(&stage.name), 0.22)?;
        }
        let step = if self.end > 24.0 { 5.0 } else { 2.0 };
        for tick in (0..=(self.end / step) as u32).map(|tick| f64::from(tick) * step) {
            let x = self.time(tick);
            for panel in panels {
                self.canvas.line(&[(x, panel.top), (x, panel.bottom)], 1.0, GRID)?;
            }
            self.canvas.line(&[(x, BOTTOM), (x, BOTTOM + 5.0)], 1.0, FRAME)?;
            self.canvas.text(&tick.to_string(), (x, BOTTOM + 16.0), SMALL, INK, Center)?;
        }
        self.canvas.line(&[(LEFT, BOTTOM), (RIGHT, BOTTOM)], 1.0, FRAME)?;
        let name = format!("epoch ({} optimiser steps each)", self.story.steps_per_epoch);
        self.canvas.text(&name, ((LEFT + RIGHT) / 2.0, BOTTOM + 40.0), NORMAL, INK, Center)
    }

    /// A panel's name, its frame, and ticks in per cent.
    fn panel(&self, name: &str, panel: Panel, step: f64) -> Result<(), PictureError> {
        let ticks = (0..=(1.0 / step) as u32).map(|tick| f64::from(tick) * step);
        for tick in ticks.filter(|tick| *tick >= panel.lowest) {
            let y = panel.at(tick);
            self.canvas.line(&[(LEFT, y), (RIGHT, y)], 1.0, GRID)?;
            self.canvas.text(&format!("{:.0} %", 100.0 * tick), (LEFT - 8.0, y), SMALL, INK, Right)?;
        }
        self.canvas.line(&[(LEFT, panel.top), (LEFT, panel.bottom), (RIGHT, panel.bottom)], 1.0, FRAME)?;
        self.name(name, (panel.bottom + panel.top) / 2.0)
    }

    fn curves(&self, panel: Panel) -> Result<(), PictureError> {
        let curves = [(&self.story.control, CONTROL), (&self.story.grown, GROWN)];
        for (curve, colour) in curves.into_iter().filter(|(curve, _)| curve.band.len() > 1) {
            let upper = curve.band.iter().map(|(epoch, _, high)| (*epoch, *high));
            let lower = curve.band.iter().rev().map(|(epoch, low, _)| (*epoch, *low));
            self.canvas.area(&self.places(panel, upper.chain(lower)), colour, 0.2)?;
        }
        let last = curves.map(|(curve, _)| curve.points.last().copied().unwrap_or_default());
        // The two labels stay apart.
        let (control, grown) = (panel.at(last[0].1), panel.at(last[1].1));
        let shift = ((24.0 - (control - grown).abs()) / 2.0).max(0.0) * if control < grown { -1.0 } else { 1.0 };
        for ((curve, colour), ((epoch, value), shift)) in curves.into_iter().zip(last.into_iter().zip([shift, -shift]))
        {
            self.canvas.line(&self.places(panel, curve.points.iter().copied()), 2.6, colour)?;
            let end = (self.time(epoch), panel.at(value));
            self.canvas.disc(end, 4.0, colour)?;
            self.canvas.line(&[end, (RIGHT + 14.0, end.1 + shift)], 1.0, colour)?;
            let label = format!("{:.1} %", 100.0 * value);
            self.canvas.text(&label, (RIGHT + 19.0, end.1 + shift), LARGE, colour, Left)?;
        }
        Ok(())
    }

    fn bars(&self) -> Result<(), PictureError> {
        let (top, bottom) = (self.stages, self.stages + BAR_HEIGHT);
        self.name("stage", (top + bottom) / 2.0)?;
        for stage in &self.story.stages {
            let (from, to) = (self.time(stage.from), self.time(stage.to));
            self.canvas.bar([(from, top), (to, bottom)], self.colour(&stage.name), 1.0)?;
            self.canvas.line(&[(from, top), (from, bottom)], 1.0, RGBColor(255, 255, 255))?;
            if self.fits(stage) {
                let middle = ((from + to) / 2.0, (top + bottom) / 2.0);
                self.canvas.text(&stage.name, middle, SMALL, INK, Center)?;
            }
        }
        for (name, x, row) in &self.hung {
            let y = bottom + LABEL_ROW * (*row as f64 + 0.65);
            self.canvas.line(&[(*x, bottom), (*x, y + 5.0)], 1.0, FAINT_INK)?;
            self.canvas.text(name, (x + 4.0, y), SMALL, INK, Left)?;
        }
        Ok(())
    }

    /// A lane for each gate. A reason stands to the right of its mark or, if the next one is too near, to the left.
    fn verdicts(&self) -> Result<(), PictureError> {
        self.name("gates", self.gates + LANE / 2.0)?;
        for (index, (passed, word)) in [(true, "passed"), (false, "refused")].into_iter().enumerate() {
            let y = self.gates + LANE * (index as f64 + 1.5);
            self.mark((20.0, y), passed)?;
            self.canvas.text(word, (31.0, y), SMALL, INK, Left)?;
        }
        for (index, gate) in self.lanes.iter().enumerate() {
            let top = self.gates + LANE * index as f64;
            let y = top + LANE / 2.0;
            if index % 2 == 0 {
                self.canvas.bar([(LEFT, top), (RIGHT, top + LANE)], GRID, 0.4)?;
            }
            self.canvas.text(gate, (LEFT - 8.0, y), SMALL, INK, Right)?;
            let marks: Vec<_> = self.story.verdicts.iter().filter(|mark| mark.gate == *gate).collect();
            let mut free = LEFT;
            for (index, VerdictMark { epoch, passed, reason, .. }) in marks.iter().enumerate() {
                let x = self.time(*epoch);
                self.mark((x, y), *passed)?;
                let colour = if *passed { FAINT_INK } else { REFUSED };
                let next = marks.get(index + 1).map_or(f64::from(SIZE.0), |next| self.time(next.epoch));
                let width = MARK + self.canvas.width(reason, SMALL) + 2.0 * PADDING;
                if x + width + MARK <= next {
                    self.canvas.text(reason, (x + MARK + PADDING, y), SMALL, colour, Left)?;
                } else if x - width >= free {
                    self.canvas.text(reason, (x - MARK - PADDING, y), SMALL, colour, Right)?;
                }
                free = x + width;
            }
        }
        Ok(())
    }

    fn mark(&self, (x, y): (f64, f64), passed: bool) -> Result<(), PictureError> {
        if passed {
            return self.canvas.disc((x, y), MARK, PASSED);
        }
        [-MARK, MARK]
            .into_iter()
            .try_for_each(|rise| self.canvas.line(&[(x - MARK, y - rise), (x + MARK, y + rise)], 2.6, REFUSED))
    }

    fn name(&self, name: &str, y: f64) -> Result<(), PictureError> {
        self.canvas.text(name, (14.0, y), NORMAL, INK, Left)
    }

    fn places(&self, panel: Panel, points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
        points.map(|(epoch, value)| (self.time(epoch), panel.at(value))).collect()
    }

    fn colour(&self, stage: &str) -> RGBColor {
        self.colours.get(stage).copied().unwrap_or(GRID)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Short stages, crowded verdicts, curves that end together.
    fn story() -> Story {
        let curve = |label: &str, lift: f64| Curve {
            label: label.to_owned(),
            points: (1..=60).map(|epoch| (f64::from(epoch), 0.9 - 0.7 / f64::from(epoch) + lift)).collect(),
            band: (1..=60).map(|epoch| (f64::from(epoch), 0.2, 0.95)).collect(),
        };
        let stage = |(index, name): (usize, &&str)| {
            let from = 30.0 + index as f64 * 0.4;
            StageSpan { name: (*name).to_owned(), from, to: from + 0.4 }
        };
        let verdict = |index: u32| VerdictMark {
            epoch: f64::from(index) * 3.0,
            gate: format!("G{}", index % 2),
            passed: !index.is_multiple_of(3),
            reason: "gain 0.4 % is below 1 % over three epochs".to_owned(),
        };
        Story {
            title: "A multilayer perceptron grows a second hidden layer".to_owned(),
            steps_per_epoch: 45,
            control: curve("control", 0.0),
            grown: curve("grown", 0.002),
            alpha: (0..=60).map(|epoch| (f64::from(epoch), f64::from(epoch) / 60.0)).collect(),
            stages: ["TRAINING", "BLENDING", "SHADOWING", "CULLED"].iter().enumerate().map(stage).collect(),
            verdicts: (0..20).map(verdict).collect(),
        }
    }

    /// `KASMINA_PICTURES=DIR` keeps the picture for whoever wants to look.
    #[test]
    fn a_crowded_story_is_drawn() {
        let held = tempfile::tempdir().unwrap();
        let directory = std::env::var_os("KASMINA_PICTURES").map_or_else(|| held.path().to_owned(), Into::into);
        let path = directory.join("crowded.png");
        draw(&story(), &path).unwrap();
        let bytes = std::fs::read(path).unwrap();
        assert_eq!((&bytes[..8], &bytes[16..24]), (&b"\x89PNG\r\n\x1a\n"[..], &[0, 0, 5, 120, 0, 0, 3, 132][..]));
        assert!(bytes.len() > 20_000, "{} bytes: little can be on it", bytes.len());
    }

    #[test]
    fn a_curve_without_numbers_is_named() {
        let held = tempfile::tempdir().unwrap();
        for points in [Vec::new(), vec![(1.0, f64::NAN)]] {
            let mut bare = story();
            bare.grown.points = points;
            let error = draw(&bare, &held.path().join("bare.png")).unwrap_err();
            assert!(error.to_string().contains("\"grown\""), "{error}");
        }
        let error = draw(&story(), &held.path().join("absent/story.png")).unwrap_err();
        assert!(error.to_string().contains("absent"), "{error}");
    }
}
