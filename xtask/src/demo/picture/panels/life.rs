//! The lower panels: a seed's stages, and what the gates said.

use plotters::{backend::DrawingBackend, style::RGBColor};

use super::{
    super::{
        PictureError,
        canvas::{Anchor, SIZE},
        palette::{FAINT_INK, GRID, INK, PASSED, REFUSED, SMALL},
    },
    BAR_HEIGHT, LABEL_ROW, LANE, LEFT, PADDING, Panels, RIGHT,
};

/// Half of a verdict's mark.
const MARK: f64 = 5.5;

impl<B: DrawingBackend> Panels<'_, B> {
    pub(super) fn stages(&self) -> Result<(), PictureError> {
        let (top, bottom) = (self.stages, self.stages + BAR_HEIGHT);
        if !self.story.stages.is_empty() {
            self.name("stage", (top + bottom) / 2.0)?;
        }
        for stage in &self.story.stages {
            let (from, to) = (self.time.at(stage.from), self.time.at(stage.to));
            self.canvas.rectangle([(from, top), (to.max(from + 1.5), bottom)], self.colour(&stage.name), 1.0)?;
            self.canvas.line(&[(from, top), (from, bottom)], 1.0, RGBColor(255, 255, 255))?;
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

    pub(super) fn gates(&self) -> Result<(), PictureError> {
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
            let next = marks.get(index + 1).map_or(f64::from(SIZE.0), |next| self.time.at(next.epoch) - MARK);
            let (before, after) = (x - MARK - free_from, next - x - MARK - 2.0 * PADDING);
            free_from = x + MARK;
            if let Some(text) = self.shortened(&mark.reason, after, 1.0) {
                self.canvas.text(&text, (x + MARK + PADDING, y), SMALL, colour, Anchor::Left)?;
                free_from += 2.0 * PADDING + self.canvas.width(&text, SMALL);
            } else if let Some(text) = self.shortened(&mark.reason, before - 2.0 * PADDING, 0.3) {
                self.canvas.text(&text, (x - MARK - PADDING, y), SMALL, colour, Anchor::Right)?;
            }
        }
        Ok(())
    }

    fn mark(&self, (x, y): (f64, f64), passed: bool) -> Result<(), PictureError> {
        if passed {
            return self.canvas.disc((x, y), MARK, PASSED);
        }
        for rise in [-MARK, MARK] {
            self.canvas.line(&[(x - MARK, y - rise), (x + MARK, y + rise)], 2.6, REFUSED)?;
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
        cuts.map(|(cut, _)| format!("{} ...", text[..cut].trim_end())).find(|text| fits(text))
    }
}
