//! Lines, areas and text in a PNG file, with a font of its own.

use std::{fmt::Display, fs::File, io::BufWriter, path::Path};

pub use plotters::style::{RGBColor, text_anchor::HPos};
use plotters::{
    backend::BitMapBackend,
    coord::Shift,
    drawing::{DrawingArea, IntoDrawingArea},
    element::{Circle, Drawable, PathElement, PointCollection, Polygon, Rectangle},
    style::{
        Color, FontDesc, FontFamily, FontStyle, ShapeStyle, TextStyle, register_font,
        text_anchor::{Pos, VPos},
    },
};

/// Why a picture could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("picture: {0}")]
pub struct PictureError(pub String);

impl PictureError {
    fn from_cause(cause: impl Display) -> Self {
        Self(cause.to_string())
    }
}

/// The picture's size. Everything that is drawn is measured in these units.
pub const SIZE: (u32, u32) = (1400, 900);
/// The picture is drawn this many times larger and then shrunk: that makes its edges smooth.
const SCALE: usize = 3;
/// How far text sinks to stand in the middle of its line, as a part of its size.
const SINK: f64 = 0.12;

/// Something to draw on. Places are `(x, y)` from the upper left corner.
pub struct Canvas<'a>(DrawingArea<BitMapBackend<'a>, Shift>);

/// Writes a PNG file of what `drawing` draws.
///
/// # Errors
/// [`PictureError`] if it cannot be drawn or written.
pub fn png(path: &Path, drawing: impl FnOnce(&Canvas<'_>) -> Result<(), PictureError>) -> Result<(), PictureError> {
    register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| PictureError("the built-in font cannot be used".to_owned()))?;
    let (width, height) = (SIZE.0 as usize * SCALE, SIZE.1 as usize * SCALE);
    let mut large = vec![u8::MAX; width * height * 3];
    let canvas = Canvas(BitMapBackend::with_buffer(&mut large, (width as u32, height as u32)).into_drawing_area());
    drawing(&canvas)?;
    canvas.0.present().map_err(PictureError::from_cause)?;
    drop(canvas);
    let write = || {
        let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), SIZE.0, SIZE.1);
        encoder.set_color(png::ColorType::Rgb);
        encoder.write_header()?.write_image_data(&shrink(&large))
    };
    write().map_err(|cause: png::EncodingError| PictureError(format!("cannot write {}: {cause}", path.display())))
}

impl Canvas<'_> {
    /// A line through these points.
    ///
    /// # Errors
    /// [`PictureError`] if it cannot be drawn.
    pub fn line(&self, points: &[(f64, f64)], width: f64, colour: RGBColor) -> Result<(), PictureError> {
        let mut places: Vec<_> = points.iter().map(|point| place(*point)).collect();
        places.dedup();
        let style = ShapeStyle { color: colour.to_rgba(), filled: false, stroke_width: length(width).unsigned_abs() };
        self.draw(&PathElement::new(places, style))
    }

    /// The inside of an outline; opacity is 0 to 1.
    ///
    /// # Errors
    /// [`PictureError`] if it cannot be drawn.
    pub fn area(&self, outline: &[(f64, f64)], colour: RGBColor, opacity: f64) -> Result<(), PictureError> {
        let places: Vec<_> = outline.iter().map(|point| place(*point)).collect();
        self.draw(&Polygon::new(places, colour.mix(opacity).filled()))
    }

    /// A rectangle between two corners; opacity is 0 to 1.
    ///
    /// # Errors
    /// [`PictureError`] if it cannot be drawn.
    pub fn bar(&self, ends: [(f64, f64); 2], colour: RGBColor, opacity: f64) -> Result<(), PictureError> {
        self.draw(&Rectangle::new(ends.map(place), colour.mix(opacity).filled()))
    }

    /// A disc.
    ///
    /// # Errors
    /// [`PictureError`] if it cannot be drawn.
    pub fn disc(&self, centre: (f64, f64), radius: f64, colour: RGBColor) -> Result<(), PictureError> {
        self.draw(&Circle::new(place(centre), length(radius), colour.filled()))
    }

    /// Writes one line of text; `anchor` is the part of it that stands at the place.
    ///
    /// # Errors
    /// [`PictureError`] if it cannot be drawn.
    pub fn text(
        &self,
        text: &str,
        (x, y): (f64, f64),
        size: f64,
        colour: RGBColor,
        anchor: HPos,
    ) -> Result<(), PictureError> {
        let style = font(size).color(&colour).pos(Pos::new(anchor, VPos::Center));
        self.0.draw_text(text, &style, place((x, y + SINK * size))).map_err(PictureError::from_cause)
    }

    /// How wide a line of text of this size is.
    #[must_use]
    pub fn width(&self, text: &str, size: f64) -> f64 {
        let measured = self.0.estimate_text_size(text, &font(size));
        measured.map_or(0.0, |(width, _)| f64::from(width) / SCALE as f64)
    }

    fn draw<'e, E>(&self, element: &'e E) -> Result<(), PictureError>
    where
        &'e E: PointCollection<'e, (i32, i32)>,
        E: for<'b> Drawable<BitMapBackend<'b>>,
    {
        self.0.draw(element).map_err(PictureError::from_cause)
    }
}

fn font(size: f64) -> TextStyle<'static> {
    FontDesc::new(FontFamily::SansSerif, size * SCALE as f64, FontStyle::Normal).into()
}

fn place((x, y): (f64, f64)) -> (i32, i32) {
    (length(x), length(y))
}

fn length(units: f64) -> i32 {
    (units * SCALE as f64).round() as i32
}

/// Makes each pixel the mean of those that it stands for.
fn shrink(large: &[u8]) -> Vec<u8> {
    let (width, height) = (SIZE.0 as usize, SIZE.1 as usize);
    let mut sums = vec![0; width * height * 3];
    for (index, value) in large.iter().enumerate() {
        let (pixel, colour) = (index / 3, index % 3);
        let (x, y) = (pixel % (width * SCALE) / SCALE, pixel / (width * SCALE) / SCALE);
        if let Some(sum) = sums.get_mut((y * width + x) * 3 + colour) {
            *sum += usize::from(*value);
        }
    }
    sums.into_iter().map(|sum| (sum / (SCALE * SCALE)) as u8).collect()
}
