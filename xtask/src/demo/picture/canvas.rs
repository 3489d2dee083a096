//! Lines, areas and text in two kinds of file, without anything that a system may lack.

use std::path::Path;

use plotters::{
    backend::{BitMapBackend, DrawingBackend, SVGBackend},
    coord::Shift,
    drawing::{DrawingArea, IntoDrawingArea},
    element::{Circle, PathElement, Polygon, Rectangle},
    style::{
        Color, FontFamily, FontStyle, FontTransform, RGBColor, ShapeStyle, TextStyle, register_font,
        text_anchor::{HPos, Pos, VPos},
    },
};

use super::PictureError;

/// The picture's size. Everything that is drawn is measured in these units.
pub(super) const SIZE: (u32, u32) = (1400, 900);
/// Both files are drawn this many times larger and shown smaller: finer places in one, smooth edges in the other.
const SCALE: u32 = 3;
const PNG_SINK: f64 = 0.12;
const BYTES_PER_PIXEL: usize = 3;

/// Which part of a text stands at its place.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Left,
    Middle,
    Right,
}

/// Something to draw on. Places are `(x, y)` from the upper left corner.
pub(super) struct Canvas<'a, B: DrawingBackend> {
    area: &'a DrawingArea<B, Shift>,
    file: String,
    /// How far text has to sink to stand in the middle, as a part of its size. Browsers put it there themselves.
    sink: f64,
}

/// Draws an SVG file's text.
pub(super) fn svg<F>(drawing: F) -> Result<String, PictureError>
where
    F: FnOnce(&Canvas<'_, SVGBackend<'_>>) -> Result<(), PictureError>,
{
    let mut text = String::new();
    paint(SVGBackend::with_string(&mut text, scaled_size()), "the SVG file", 0.0, drawing)?;
    let size = |(width, height): (u32, u32)| format!("width=\"{width}\" height=\"{height}\" viewBox");
    Ok(text.replacen(&size(scaled_size()), &size(SIZE), 1).replace(
        "font-family=\"sans-serif\"",
        "font-family=\"Ubuntu, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif\"",
    ))
}

/// Draws a PNG file.
pub(super) fn png<F>(path: &Path, drawing: F) -> Result<(), PictureError>
where
    F: FnOnce(&Canvas<'_, BitMapBackend<'_>>) -> Result<(), PictureError>,
{
    let (width, height) = scaled_size();
    let mut large = vec![u8::MAX; width as usize * height as usize * BYTES_PER_PIXEL];
    let file = path.display().to_string();
    paint(BitMapBackend::with_buffer(&mut large, (width, height)), &file, PNG_SINK, drawing)?;
    let small = shrink(&large);
    let mut backend = BitMapBackend::new(path, SIZE);
    let written = backend.blit_bitmap((0, 0), SIZE, &small).and_then(|()| backend.present());
    written.map_err(|cause| PictureError::Draw { what: file, cause: cause.to_string() })
}

fn paint<B, F>(backend: B, file: &str, sink: f64, drawing: F) -> Result<(), PictureError>
where
    B: DrawingBackend,
    F: FnOnce(&Canvas<'_, B>) -> Result<(), PictureError>,
{
    register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| PictureError::Font)?;
    let area = backend.into_drawing_area();
    let canvas = Canvas { area: &area, file: file.to_owned(), sink };
    canvas.done(area.fill(&RGBColor(255, 255, 255)))?;
    drawing(&canvas)?;
    canvas.done(area.present())
}

impl<B: DrawingBackend> Canvas<'_, B> {
    pub(super) fn line(&self, points: &[(f64, f64)], width: f64, colour: RGBColor) -> Result<(), PictureError> {
        let mut places: Vec<_> = points.iter().map(|point| place(*point)).collect();
        places.dedup();
        let style = ShapeStyle { color: colour.to_rgba(), filled: false, stroke_width: length(width).unsigned_abs() };
        self.done(self.area.draw(&PathElement::new(places, style)))
    }

    pub(super) fn area(&self, outline: &[(f64, f64)], colour: RGBColor, opacity: f64) -> Result<(), PictureError> {
        let places: Vec<_> = outline.iter().map(|point| place(*point)).collect();
        self.done(self.area.draw(&Polygon::new(places, colour.mix(opacity).filled())))
    }

    pub(super) fn rectangle(
        &self,
        [from, to]: [(f64, f64); 2],
        colour: RGBColor,
        opacity: f64,
    ) -> Result<(), PictureError> {
        self.done(self.area.draw(&Rectangle::new([place(from), place(to)], colour.mix(opacity).filled())))
    }

    pub(super) fn disc(&self, centre: (f64, f64), radius: f64, colour: RGBColor) -> Result<(), PictureError> {
        self.done(self.area.draw(&Circle::new(place(centre), length(radius), colour.filled())))
    }

    /// Writes one line of text, its middle at the place's height.
    pub(super) fn text(
        &self,
        text: &str,
        at: (f64, f64),
        size: f64,
        colour: RGBColor,
        anchor: Anchor,
    ) -> Result<(), PictureError> {
        let horizontal = match anchor {
            Anchor::Left => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::Right => HPos::Right,
        };
        let style = font(size).color(&colour).pos(Pos::new(horizontal, VPos::Center));
        self.done(self.area.draw_text(text, &style, place((at.0, at.1 + self.sink * size))))
    }

    /// How wide a text is, in the font of the PNG file.
    pub(super) fn width(&self, text: &str, size: f64) -> f64 {
        let measured = self.area.estimate_text_size(text, &font(size));
        measured.map_or(0.0, |(width, _)| f64::from(width) / f64::from(SCALE))
    }

    fn done<E: std::fmt::Display>(&self, result: Result<(), E>) -> Result<(), PictureError> {
        result.map_err(|cause| PictureError::Draw { what: self.file.clone(), cause: cause.to_string() })
    }
}

fn font(size: f64) -> TextStyle<'static> {
    let size = size * f64::from(SCALE);
    plotters::style::FontDesc::new(FontFamily::SansSerif, size, FontStyle::Normal).transform(FontTransform::None).into()
}

fn scaled_size() -> (u32, u32) {
    (SIZE.0 * SCALE, SIZE.1 * SCALE)
}

fn place((x, y): (f64, f64)) -> (i32, i32) {
    (length(x), length(y))
}

fn length(units: f64) -> i32 {
    (units * f64::from(SCALE)).round() as i32
}

/// Makes each pixel the mean of those that it stands for.
fn shrink(large: &[u8]) -> Vec<u8> {
    let scale = SCALE as usize;
    let (width, height) = (SIZE.0 as usize, SIZE.1 as usize);
    let row = width * scale * BYTES_PER_PIXEL;
    let mut sums = vec![0_u32; width * height * BYTES_PER_PIXEL];
    for (y, line) in large.chunks_exact(row).enumerate() {
        let start = y / scale * width * BYTES_PER_PIXEL;
        let Some(sums) = sums.get_mut(start..start + width * BYTES_PER_PIXEL) else {
            continue;
        };
        for (pixels, sum) in line.chunks_exact(scale * BYTES_PER_PIXEL).zip(sums.chunks_exact_mut(BYTES_PER_PIXEL)) {
            for (index, value) in pixels.iter().enumerate() {
                sum[index % BYTES_PER_PIXEL] += u32::from(*value);
            }
        }
    }
    let count = SCALE * SCALE;
    sums.into_iter().map(|sum| ((sum + count / 2) / count).min(u32::from(u8::MAX)) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::{BYTES_PER_PIXEL, SCALE, SIZE, scaled_size, shrink};

    #[test]
    fn shrinking_takes_the_mean_of_each_square() {
        let (width, height) = scaled_size();
        let mut large = vec![0; width as usize * height as usize * BYTES_PER_PIXEL];
        // The upper row of the first square is red.
        for pixel in large.chunks_exact_mut(BYTES_PER_PIXEL).take(SCALE as usize) {
            pixel[0] = 90;
        }
        let small = shrink(&large);
        assert_eq!(small.len(), SIZE.0 as usize * SIZE.1 as usize * BYTES_PER_PIXEL);
        assert_eq!(small[..6], [30, 0, 0, 0, 0, 0]);
    }
}
