//! Draws what happened to one grown network, on one time axis. Knows plain data alone.

mod canvas;
mod palette;
mod panels;
mod stack;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use canvas::Canvas;

/// All that the picture shows. Times are in epochs.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) title: String,
    /// Said beside the time axis.
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

/// How long a seed was in a stage of its life.
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
    /// Shown where there is room.
    pub(crate) reason: String,
}

/// Why a picture could not be drawn.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PictureError {
    /// A curve has no point that could be drawn.
    #[error("nothing to draw: the curve {0:?} has no point")]
    Empty(String),
    /// The file or its directory could not be written.
    #[error("cannot write {path}: {source}")]
    Write { path: PathBuf, source: io::Error },
    /// The font that comes with the program was not accepted.
    #[error("the built-in font cannot be used")]
    Font,
    /// The drawing library gave up.
    #[error("cannot draw {what}: {cause}")]
    Draw { what: String, cause: String },
}

/// Draws the story twice, as `stem.svg` and as `stem.png`, and gives their paths.
pub(crate) fn draw(story: &Story, directory: &Path, stem: &str) -> Result<[PathBuf; 2], PictureError> {
    let write = |path: &Path| {
        let path = path.to_owned();
        move |source| PictureError::Write { path, source }
    };
    fs::create_dir_all(directory).map_err(write(directory))?;
    let paths = ["svg", "png"].map(|extension| directory.join(format!("{stem}.{extension}")));
    let [svg, png] = &paths;
    let drawing = canvas::svg(|canvas: &Canvas<'_, _>| panels::draw(story, canvas))?;
    fs::write(svg, drawing).map_err(write(svg))?;
    canvas::png(png, |canvas: &Canvas<'_, _>| panels::draw(story, canvas))?;
    Ok(paths)
}

#[cfg(test)]
mod tests;
