//! The panels, from top to bottom: accuracy, alpha, stages, gates, all on one time axis.

mod life;

use std::collections::{BTreeMap, BTreeSet};

use plotters::{backend::DrawingBackend, style::RGBColor};

use super::{
    Curve, PictureError, StageSpan, Story,
    canvas::{Anchor, Canvas, SIZE},
    palette::{ALPHA, CONTROL, FAINT_INK, FRAME, GRID, GROWN, INK, LARGE, NORMAL, SMALL, STAGES, TITLE},
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
/// Around text in and beside something.
const PADDING: f64 = 5.0;

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
        let labels: Vec<_> = narrow.iter().map(|(name, x)| (*x, canvas.width(name, SMALL) + 4.0)).collect();
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
        let hung = narrow.into_iter().zip(rows).map(|((name, x), row)| (name, x, row)).collect();
        let lanes = lanes.into_iter().collect();
        Ok(Self { story, canvas, time, accuracy, alpha, stages, hung, gates, lanes, colours })
    }

    fn draw(&self) -> Result<(), PictureError> {
        self.canvas.text(&self.story.title, (LEFT, 32.0), TITLE, INK, Anchor::Left)?;
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
            self.canvas.rectangle([(x, y - 7.0), (x + 30.0, y + 7.0)], colour, 0.2)?;
            self.canvas.line(&[(x, y), (x + 30.0, y)], 2.6, colour)?;
            self.canvas.text(&curve.label, (x + 38.0, y), NORMAL, INK, Anchor::Left)?;
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
            self.canvas.rectangle([(self.time.at(stage.from), top), (self.time.at(stage.to), bottom)], colour, 0.22)?;
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
            self.canvas.text(&format!("{tick}"), (x, BOTTOM + 16.0), SMALL, INK, Anchor::Middle)?;
        }
        self.canvas.line(&[(LEFT, BOTTOM), (RIGHT, BOTTOM)], 1.0, FRAME)?;
        let steps = self.story.steps_per_epoch;
        let name = format!("epoch ({steps} optimiser steps each)");
        self.canvas.text(&name, ((LEFT + RIGHT) / 2.0, BOTTOM + 40.0), NORMAL, INK, Anchor::Middle)
    }

    /// A panel's name, its frame and its ticks in per cent.
    fn panel(&self, name: &str, axis: &Axis, count: f64) -> Result<(), PictureError> {
        let (bottom, top) = axis.ends();
        for tick in axis.ticks(count) {
            let y = axis.at(tick);
            self.canvas.line(&[(LEFT, y), (RIGHT, y)], 1.0, GRID)?;
            self.canvas.text(&format!("{:.0} %", 100.0 * tick), (LEFT - 8.0, y), SMALL, INK, Anchor::Right)?;
        }
        self.canvas.line(&[(LEFT, top), (LEFT, bottom), (RIGHT, bottom)], 1.0, FRAME)?;
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
            self.canvas.line(&self.places(&self.accuracy, curve.points.iter().copied()), 2.6, colour)?;
        }
        let finals = curves.map(|(curve, colour)| (last(curve).unwrap_or_default(), colour));
        let mut heights = finals.map(|((_, value), _)| self.accuracy.at(value));
        apart(&mut heights, 24.0);
        for (((epoch, value), colour), height) in finals.into_iter().zip(heights) {
            let end = (self.time.at(epoch), self.accuracy.at(value));
            self.canvas.disc(end, 4.0, colour)?;
            self.canvas.line(&[end, (RIGHT + 14.0, height)], 1.0, colour)?;
            let text = format!("{:.1} %", 100.0 * value);
            self.canvas.text(&text, (RIGHT + 19.0, height), LARGE, colour, Anchor::Left)?;
        }
        Ok(())
    }

    fn alpha(&self) -> Result<(), PictureError> {
        self.panel("alpha", &self.alpha, 2.0)?;
        self.canvas.line(&self.places(&self.alpha, self.story.alpha.iter().copied()), 2.6, ALPHA)
    }

    fn places(&self, axis: &Axis, points: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
        points.filter(is_drawable).map(|(epoch, value)| (self.time.at(epoch), axis.at(value))).collect()
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
    let mut named: BTreeSet<&str> =
        story.stages.iter().filter(|stage| has_room(stage)).map(|stage| stage.name.as_str()).collect();
    let mut stages: Vec<&StageSpan> = story.stages.iter().collect();
    stages.sort_by(|a, b| a.from.total_cmp(&b.from));
    stages.retain(|stage| named.insert(stage.name.as_str()));
    stages
}

/// The last thing that happens.
fn end(story: &Story) -> f64 {
    let curves = [&story.control.points, &story.grown.points, &story.alpha].into_iter().flatten().map(|point| point.0);
    let stages = story.stages.iter().map(|stage| stage.to);
    let verdicts = story.verdicts.iter().map(|mark| mark.epoch);
    curves.chain(stages).chain(verdicts).filter(|epoch| epoch.is_finite()).fold(1e-9, f64::max)
}

/// From the lowest to the highest accuracy, in whole tenths.
fn accuracy_range(story: &Story) -> (f64, f64) {
    let curves = [&story.control, &story.grown];
    let points = curves.into_iter().flat_map(|curve| curve.points.iter().map(|point| point.1));
    let bands = curves.into_iter().flat_map(|curve| curve.band.iter().flat_map(|(_, low, high)| [*low, *high]));
    let values = points.chain(bands).filter(|value| value.is_finite());
    let (low, high) = values.fold((1.0_f64, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
    let low = ((low * 10.0).floor() / 10.0).clamp(0.0, 0.9);
    (low, ((high * 10.0).ceil() / 10.0).clamp(low + 0.1, 1.0))
}
