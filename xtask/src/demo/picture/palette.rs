//! Sizes of text, and colours.

use plotters::style::RGBColor;

pub(super) const TITLE: f64 = 25.0;
pub(super) const LARGE: f64 = 18.0;
pub(super) const NORMAL: f64 = 15.5;
pub(super) const SMALL: f64 = 13.5;

pub(super) const INK: RGBColor = RGBColor(34, 34, 34);
pub(super) const FAINT_INK: RGBColor = RGBColor(95, 95, 95);
pub(super) const GRID: RGBColor = RGBColor(226, 226, 226);
pub(super) const FRAME: RGBColor = RGBColor(150, 150, 150);

// Okabe and Ito's palette for lines and marks, Tol's light one for areas: both are told apart without seeing red or green.
pub(super) const CONTROL: RGBColor = RGBColor(100, 100, 100);
pub(super) const GROWN: RGBColor = RGBColor(0, 114, 178);
pub(super) const ALPHA: RGBColor = RGBColor(204, 121, 167);
pub(super) const PASSED: RGBColor = RGBColor(0, 158, 115);
pub(super) const REFUSED: RGBColor = RGBColor(213, 94, 0);
pub(super) const STAGES: [RGBColor; 9] = [
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
