//! Draws a soak: memory with its line, the store, and the telemetry that waits.

use std::path::Path;

use kasmina_canvas::{
    Canvas,
    HPos::{Left, Right},
    PictureError, RGBColor, SIZE, png,
};

use super::{Sample, mib, slope::Slope};

const LEFT: f64 = 110.0;
const RIGHT: f64 = SIZE.0 as f64 - 60.0;
const TOP: f64 = 60.0;
const PANEL: f64 = 145.0;
const GAP: f64 = 55.0;
const TEXT: f64 = 16.0;

const INK: RGBColor = RGBColor(34, 34, 34);
const GRID: RGBColor = RGBColor(226, 226, 226);
const LINE: RGBColor = RGBColor(0, 114, 178);
const FIT: RGBColor = RGBColor(213, 94, 0);

/// Writes the picture.
pub(super) fn draw(samples: &[Sample], heap: &Slope, resident: &Slope, path: &Path) -> Result<(), PictureError> {
    let points = |of: fn(&Sample) -> f64| samples.iter().map(|it| (it.step as f64, of(it))).collect::<Vec<_>>();
    let fit = |slope: &Slope| slope.ends.map(|(at, bytes)| (at * 1e3, bytes / f64::from(1 << 20)));
    let title = |what: &str, slope: &Slope| format!("{what}, MiB: {slope} after the warm-up");
    png(path, |canvas| {
        let (allocated, taken) = (points(|it| mib(it.heap_bytes)), points(|it| mib(it.resident_bytes)));
        panel(canvas, 0, &title("allocated and not freed", heap), &allocated, &fit(heap))?;
        panel(canvas, 1, &title("resident memory", resident), &taken, &fit(resident))?;
        panel(canvas, 2, "store on disk, MiB", &points(|it| mib(it.store_bytes)), &[])?;
        panel(canvas, 3, "packets that wait for a sink", &points(|it| it.telemetry_packets as f64), &[])
    })
}

fn panel(
    canvas: &Canvas<'_>,
    number: u32,
    title: &str,
    points: &[(f64, f64)],
    fit: &[(f64, f64)],
) -> Result<(), PictureError> {
    let top = TOP + f64::from(number) * (PANEL + GAP);
    let bottom = top + PANEL;
    let end = points.last().map_or(1.0, |point| point.0);
    let most = points.iter().map(|point| point.1).fold(0.0, f64::max).max(1e-9) * 1.1;
    let at = |point: &(f64, f64)| (LEFT + point.0 / end * (RIGHT - LEFT), bottom - point.1 / most * PANEL);
    for share in [0.0, 0.5, 1.0] {
        let y = bottom - share * PANEL;
        canvas.line(&[(LEFT, y), (RIGHT, y)], 1.0, GRID)?;
        canvas.text(&format!("{:.3}", most * share), (LEFT - 10.0, y), TEXT, INK, Right)?;
    }
    canvas.text(title, (LEFT, top - 18.0), TEXT, INK, Left)?;
    canvas.text(&format!("{end} steps"), (RIGHT, bottom + 18.0), TEXT, INK, Right)?;
    canvas.line(&points.iter().map(at).collect::<Vec<_>>(), 2.0, LINE)?;
    canvas.line(&fit.iter().map(at).collect::<Vec<_>>(), 2.0, FIT)
}
