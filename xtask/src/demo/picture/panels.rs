//! The panels, from top to bottom: accuracy, alpha, stages, gates, all on one time axis.

use std::collections::{BTreeMap, BTreeSet};

use plotters::{backend::DrawingBackend, style::RGBColor};

use super::{
    Curve, PictureError, StageSpan, Story,
    canvas::{Anchor, Canvas, SIZE},
    stack::{Axis, apart, hang},
};

const LEFT: f64 = 118.0;
const RIGHT: f64 = 1290.0;
const BOTTOM: f64 = SIZE.1 as f64 - 58.0;
/// From one panel to the next.
const GAP: f64 = 26.0;
const TOP: f64 = 98.0;
const ALPHA_HEIGHT: f64 = 96.0;
const BAR_HEIGHT: f64 = 30.0;
/// One row of labels below the stages' bar.
const LABEL_ROW: f64 = 17.0;
/// One gate.
const LANE: f64 = 24.0;
/// Half of a verdict's mark.
const MARK: f64 = 5.5;
/// Around text in and beside something.
const PADDING: f64 = 5.0;

const TITLE: f64 = 25.0;
const LARGE: f64 = 18.0;
const NORMAL: f64 = 15.5;
const SMALL: f64 = 13.5;

const INK: RGBColor = RGBColor(34, 34, 34);
const FAINT_INK: RGBColor = RGBColor(95, 95, 95);
const GRID: RGBColor = RGBColor(226, 226, 226);
const FRAME: RGBColor = RGBColor(150, 150, 150);

// Okabe and Ito's palette for lines and marks, Tol's light one for areas: both are told apart without seeing red or green.
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

/// Draws the whole story.
pub(super) fn draw<B: DrawingBackend>(story: &Story, canvas: &Canvas<'_, B>) -> Result<(), PictureError> {
    Panels::plan(story, canvas)?.draw()
}

/// A story with a place for everything.
struct Panels<'a, B: DrawingBackend> {
    story: &'a Story,
    canvas: &'a Canvas<'a, B>,
    time: Axis,
    accuracy: Axis,
    alpha: Axis,
    /// The bar's upper edge.
    stages: f64,
    /// Stages whose names fit into none of their bars, with the places of their leaders and the rows of their labels.
    hung: Vec<(&'a str, f64, usize)>,
    /// The upper edge of the gates' lanes.
    gates: f64,
    lanes: Vec<&'a str>,
    colours: BTreeMap<&'a str, RGBColor>,
}

impl<'a, B: DrawingBackend> Panels<'a, B> {
    /// Plans from the bottom up: what is left over is the accuracy's.
    fn plan(story: &'a Story, canvas: &'a Canvas<'a, B>) -> Result<Self, PictureError> {
        for curve in [&story.control, &story.grown] {
            if last(curve).is_none() {
                return Err(PictureError::Empty(curve.label.clone()));
            }
        }
        let time = Axis::new((0.0, end(story)), (LEFT, RIGHT));
        let lanes: BTreeSet<&str> = story.verdicts.iter().map(|mark| mark.gate.as_str()).collect();
        let gates = BOTTOM - LANE * lanes.len() as f64;

        let narrow = unnamed(story, |stage| {
            canvas.width(&stage.name, SMALL) + 2.0 * PADDING <= time.at(stage.to) - time.at(stage.from)
        });
        let narrow: Vec<_> = narrow
            .into_iter()
            .map(|stage| (stage.name.as_str(), (time.at(stage.from) + time.at(stage.to)) / 2.0))
            .collect();
        let labels: Vec<_> = narrow
            .iter()
            .map(|(name, x)| (*x, canvas.width(name, SMALL) + 4.0))
            .collect();
        let rows = hang(&labels, 6.0);
        let row_count = rows.iter().max().map_or(0, |most| most + 1);
        let stages = gates - GAP - LABEL_ROW * row_count as f64 - BAR_HEIGHT;

        let alpha_bottom = stages - GAP;
        let alpha = Axis::new((0.0, 1.0), (alpha_bottom, alpha_bottom - ALPHA_HEIGHT));
        let accuracy = Axis::new(accuracy_range(story), (alpha_bottom - ALPHA_HEIGHT - GAP, TOP));
        let mut colours = BTreeMap::new();
        for stage in &story.stages {
            let next = STAGES[colours.len() % STAGES.len()];
            colours.entry(stage.name.as_str()).or_insert(next);
        }
        let hung = narrow
            .into_iter()
            .zip(rows)
            .map(|((name, x), row)| (name, x, row))
            .collect();
        let lanes = lanes.into_iter().collect();
        Ok(Self {
            story,
            canvas,
            time,
            accuracy,
            alpha,
            stages,
            hung,
            gates,
            lanes,
            colours,
        })
    }

    fn draw(&self) -> Result<(), PictureError> {
        self.canvas
            .text(&self.story.title, (LEFT, 32.0), TITLE, INK, Anchor::Left)?;
        self.legend()?;
        for axis in [&self.accuracy, &self.alpha] {
            self.shade(axis)?;
        }
        self.time_axis()?;
        self.accuracy()?;
        self.alpha()?;
        self.stages()?;
        self.gates()
    }

    fn legend(&self) -> Result<(), PictureError> {
        let y = 68.0;
        let mut x = LEFT;
        for (curve, colour) in [(&self.story.grown, GROWN), (&self.story.control, CONTROL)] {
            self.canvas
                .rectangle([(x, y - 7.0), (x + 30.0, y + 7.0)], colour, 0.2)?;
            self.canvas.line(&[(x, y), (x + 30.0, y)], 2.6, colour)?;
            self.canvas
                .text(&curve.label, (x + 38.0, y), NORMAL, INK, Anchor::Left)?;
            x += 38.0 + self.canvas.width(&curve.label, NORMAL) + 30.0;
        }
        let explained = "line: mean of the runs, band: lowest to highest";
        self.canvas.text(explained, (x, y), SMALL, FAINT_INK, Anchor::Left)
    }

    /// Shades a panel with the stages' colours, so that what happens in it can be read off the bar below.
    fn shade(&self, axis: &Axis) -> Result<(), PictureError> {
        let (bottom, top) = axis.ends();
        for stage in &self.story.stages {
            let colour = self.colour(&stage.name);
            self.canvas.rectangle(
                [(self.time.at(stage.from), top), (self.time.at(stage.to), bottom)],
                colour,
                0.22,
            )?;
        }
        Ok(())
    }

    fn time_axis(&self) -> Result<(), PictureError> {
        for tick in self.time.ticks(12.0) {
            let x = self.time.at(tick);
            for axis in [&self.accuracy, &self.alpha] {
                let (bottom, top) = axis.ends();
                self.canvas.line(&[(x, top), (x, bottom)], 1.0, GRID)?;
            }
            self.canvas.line(&[(x, BOTTOM), (x, BOTTOM + 5.0)], 1.0, FRAME)?;
            self.canvas
                .text(&format!("{tick}"), (x, BOTTOM + 16.0), SMALL, INK, Anchor::Middle)?;
        }
        self.canvas.line(&[(LEFT, BOTTOM), (RIGHT, BOTTOM)], 1.0, FRAME)?;
        let steps = self.story.steps_per_epoch;
        let name = format!("epoch ({steps} optimiser steps each)");
        self.canvas.text(
            &name,
            ((LEFT + RIGHT) / 2.0, BOTTOM + 40.0),
            NORMAL,
            INK,
            Anchor::Middle,
        )
    }

    /// A panel's name, its frame and its ticks in per cent.
    fn panel(&self, name: &str, axis: &Axis, count: f64) -> Result<(), PictureError> {
        let (bottom, top) = axis.ends();
        for tick in axis.ticks(count) {
            let y = axis.at(tick);
            self.canvas.line(&[(LEFT, y), (RIGHT, y)], 1.0, GRID)?;
            self.canvas.text(
                &format!("{:.0} %", 100.0 * tick),
                (LEFT - 8.0, y),
                SMALL,
                INK,
                Anchor::Right,
            )?;
        }
        self.canvas
            .line(&[(LEFT, top), (LEFT, bottom), (RIGHT, bottom)], 1.0, FRAME)?;
        self.name(name, (bottom + top) / 2.0)
    }

    fn name(&self, name: &str, y: f64) -> Result<(), PictureError> {
        self.canvas.text(name, (14.0, y), NORMAL, INK, Anchor::Left)
    }

    fn accuracy(&self) -> Result<(), PictureError> {
        let (bottom, top) = self.accuracy.ends();
        self.panel("accuracy", &self.accuracy, (bottom - top) / 50.0)?;
        let curves = [(&self.story.control, CONTROL), (&self.story.grown, GROWN)];
        for (curve, colour) in curves {
            let upper = curve.band.iter().map(|(epoch, _, high)| (*epoch, *high));
            let lower = curve.band.iter().rev().map(|(epoch, low, _)| (*epoch, *low));
            let outline = self.places(&self.accuracy, upper.chain(lower));
            if outline.len() > 2 {
                self.canvas.area(&outline, colour, 0.2)?;
            }
        }
        for (curve, colour) in curves {
            self.canvas
                .line(&self.places(&self.accuracy, curve.points.iter().copied()), 2.6, colour)?;
        }
        let finals = curves.map(|(curve, colour)| (last(curve).unwrap_or_default(), colour));
        let mut heights = finals.map(|((_, value), _)| self.accuracy.at(value));
        apart(&mut heights, 24.0);
        for (((epoch, value), colour), height) in finals.into_iter().zip(heights) {
            let end = (self.time.at(epoch), self.accuracy.at(value));
            self.canvas.disc(end, 4.0, colour)?;
            self.canvas.line(&[end, (RIGHT + 14.0, height)], 1.0, colour)?;
            let text = format!("{:.1} %", 100.0 * value);
            self.canvas
                .text(&text, (RIGHT + 19.0, height), LARGE, colour, Anchor::Left)?;
        }
        Ok(())
    }

    fn alpha(&self) -> Result<(), PictureError> {
        self.panel("alpha", &self.alpha, 2.0)?;
        self.canvas
            .line(&self.places(&self.alpha, self.story.alpha.iter().copied()), 2.6, ALPHA)
    }

    fn stages(&self) -> Result<(), PictureError> {
        let (top, bottom) = (self.stages, self.stages + BAR_HEIGHT);
        if !self.story.stages.is_empty() {
            self.name("stage", (top + bottom) / 2.0)?;
        }
        for stage in &self.story.stages {
            let (from, to) = (self.time.at(stage.from), self.time.at(stage.to));
            self.canvas.rectangle(
                [(from, top), (to.max(from + 1.5), bottom)],
                self.colour(&stage.name),
                1.0,
            )?;
            self.canvas
                .line(&[(from, top), (from, bottom)], 1.0, RGBColor(255, 255, 255))?;
            if self.canvas.width(&stage.name, SMALL) + 2.0 * PADDING <= to - from {
                let middle = ((from + to) / 2.0, (top + bottom) / 2.0);
                self.canvas.text(&stage.name, middle, SMALL, INK, Anchor::Middle)?;
            }
        }
        for (name, x, row) in &self.hung {
            let y = bottom + LABEL_ROW * (*row as f64 + 0.65);
            self.canvas.line(&[(*x, bottom), (*x, y + 5.0)], 1.0, FAINT_INK)?;
            self.canvas.text(name, (x + 4.0, y), SMALL, INK, Anchor::Left)?;
        }
        Ok(())
    }

    fn gates(&self) -> Result<(), PictureError> {
        for (index, gate) in self.lanes.iter().enumerate() {
            let top = self.gates + LANE * index as f64;
            if index % 2 == 0 {
                self.canvas.rectangle([(LEFT, top), (RIGHT, top + LANE)], GRID, 0.4)?;
            }
            self.lane(gate, top + LANE / 2.0)?;
        }
        if self.lanes.is_empty() {
            return Ok(());
        }
        let top = self.gates + LANE / 2.0;
        self.name("gates", top)?;
        for (index, (passed, word)) in [(true, "passed"), (false, "refused")].into_iter().enumerate() {
            let y = top + LANE * (index as f64 + 1.0);
            self.mark((20.0, y), passed)?;
            self.canvas.text(word, (31.0, y), SMALL, INK, Anchor::Left)?;
        }
        Ok(())
    }

    /// One gate's verdicts. A reason stands to the right of its mark or, where the next one is too near, to the left.
    fn lane(&self, gate: &str, y: f64) -> Result<(), PictureError> {
        self.canvas.text(gate, (LEFT - 8.0, y), SMALL, INK, Anchor::Right)?;
        let mut marks: Vec<_> = self.story.verdicts.iter().filter(|mark| mark.gate == gate).collect();
        marks.sort_by(|a, b| a.epoch.total_cmp(&b.epoch));
        let mut free_from = LEFT;
        for (index, mark) in marks.iter().enumerate() {
            let x = self.time.at(mark.epoch);
            self.mark((x, y), mark.passed)?;
            let colour = if mark.passed { FAINT_INK } else { REFUSED };
            let next = marks
                .get(index + 1)
                .map_or(f64::from(SIZE.0), |next| self.time.at(next.epoch) - MARK);
            let (before, after) = (x - MARK - free_from, next - x - MARK - 2.0 * PADDING);
            free_from = x + MARK;
            if let Some(text) = self.shortened(&mark.reason, after, 1.0) {
                self.canvas
                    .text(&text, (x + MARK + PADDING, y), SMALL, colour, Anchor::Left)?;
                free_from += 2.0 * PADDING + self.canvas.width(&text, SMALL);
            } else if let Some(text) = self.shortened(&mark.reason, before - 2.0 * PADDING, 0.3) {
                self.canvas
                    .text(&text, (x - MARK - PADDING, y), SMALL, colour, Anchor::Right)?;
            }
        }
        Ok(())
    }

    fn mark(&self, (x, y): (f64, f64), passed: bool) -> Result<(), PictureError> {
        if passed {
            return self.canvas.disc((x, y), MARK, PASSED);
        }
        for rise in [-MARK, MARK] {
            self.canvas
                .line(&[(x - MARK, y - rise), (x + MARK, y + rise)], 2.6, REFUSED)?;
        }
        Ok(())
    }

    /// The text, or as many of its first words as there is room for; nothing if they are less than `least` of it.
    fn shortened(&self, text: &str, room: f64, least: f64) -> Option<String> {
        let fits = |text: &str| self.canvas.width(text, SMALL) <= room;
        if fits(text) {
            return Some(text.to_owned());
        }
        let cuts = text.char_indices().rev().filter(|(_, character)| *character == ' ');
        let cuts = cuts.take_while(|(cut, _)| *cut as f64 >= least * text.len() as f64);
        cuts.map(|(cut, _)| format!("{} ...", text[..cut].trim_end()))
            .find(|text| fits(text))
    }

    fn places(&self, axis: &Axis, points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
        points
            .filter(is_drawable)
            .map(|(epoch, value)| (self.time.at(epoch), axis.at(value)))
            .collect()
    }

    fn colour(&self, stage: &str) -> RGBColor {
        self.colours.get(stage).copied().unwrap_or(GRID)
    }
}

fn is_drawable((epoch, value): &(f64, f64)) -> bool {
    epoch.is_finite() && value.is_finite()
}

fn last(curve: &Curve) -> Option<(f64, f64)> {
    curve.points.iter().copied().rfind(is_drawable)
}

/// The first span of each stage none of whose spans has room for its name, in the order of time.
fn unnamed(story: &Story, has_room: impl Fn(&StageSpan) -> bool) -> Vec<&StageSpan> {
    let mut named: BTreeSet<&str> = story
        .stages
        .iter()
        .filter(|stage| has_room(stage))
        .map(|stage| stage.name.as_str())
        .collect();
    let mut stages: Vec<&StageSpan> = story.stages.iter().collect();
    stages.sort_by(|a, b| a.from.total_cmp(&b.from));
    stages.retain(|stage| named.insert(stage.name.as_str()));
    stages
}

/// The last thing that happens.
fn end(story: &Story) -> f64 {
    let curves = [&story.control.points, &story.grown.points, &story.alpha]
        .into_iter()
        .flatten()
        .map(|point| point.0);
    let stages = story.stages.iter().map(|stage| stage.to);
    let verdicts = story.verdicts.iter().map(|mark| mark.epoch);
    curves
        .chain(stages)
        .chain(verdicts)
        .filter(|epoch| epoch.is_finite())
        .fold(1e-9, f64::max)
}

/// From the lowest to the highest accuracy, in whole tenths.
fn accuracy_range(story: &Story) -> (f64, f64) {
    let curves = [&story.control, &story.grown];
    let points = curves
        .into_iter()
        .flat_map(|curve| curve.points.iter().map(|point| point.1));
    let bands = curves
        .into_iter()
        .flat_map(|curve| curve.band.iter().flat_map(|(_, low, high)| [*low, *high]));
    let values = points.chain(bands).filter(|value| value.is_finite());
    let (low, high) = values.fold((1.0_f64, 0.0_f64), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    let low = ((low * 10.0).floor() / 10.0).clamp(0.0, 0.9);
    (low, ((high * 10.0).ceil() / 10.0).clamp(low + 0.1, 1.0))
}
