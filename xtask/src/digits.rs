//! The images that the demo and the growth runs learn from: handwritten digits, 8x8 pixels each. data/README.md says where they come from.

use std::{
    fs::File,
    io::{self, Read},
};

use flate2::read::GzDecoder;

use crate::workspace;

const PIXELS: usize = 64;
/// The grey value of ink.
const INK: u8 = 16;
/// Which images are in which part of the split depends on this number alone.
const SPLIT_SEED: u64 = 0x6b61_736d_696e_6121;

/// Why the digits could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DigitsError {
    #[error("cannot read: {0}")]
    Read(#[from] io::Error),
    #[error("row {row}: {found} cells instead of 65")]
    Cells { row: usize, found: usize },
    #[error("row {row}: {cell:?} is not a whole number from 0 to {most}")]
    Cell { row: usize, cell: String, most: u8 },
}

/// All images, each of 64 grey values from 0 to 1, with the digits that they show.
#[derive(Debug)]
pub(crate) struct Digits {
    pub(crate) images: Vec<[f32; PIXELS]>,
    pub(crate) labels: Vec<u8>,
}

/// A part of the images, with their labels.
#[derive(Debug, Default)]
pub(crate) struct Split {
    pub(crate) images: Vec<[f32; PIXELS]>,
    pub(crate) labels: Vec<u8>,
}

impl Digits {
    /// Reads data/digits.csv.gz.
    pub(crate) fn read() -> Result<Self, DigitsError> {
        let mut text = String::new();
        GzDecoder::new(File::open(workspace::root().join("data/digits.csv.gz"))?).read_to_string(&mut text)?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, DigitsError> {
        let mut digits = Self { images: Vec::new(), labels: Vec::new() };
        for (index, line) in text.lines().enumerate() {
            let row = index + 1;
            let cells: Vec<&str> = line.split(',').collect();
            let wrong = || DigitsError::Cells { row, found: cells.len() };
            let (label, pixels) = cells.split_last().ok_or_else(wrong)?;
            let pixels: &[&str; PIXELS] = pixels.try_into().map_err(|_| wrong())?;
            let mut image = [0.0; PIXELS];
            for (grey, cell) in image.iter_mut().zip(pixels) {
                *grey = f32::from(number(row, cell, INK)?) / f32::from(INK);
            }
            digits.images.push(image);
            digits.labels.push(number(row, label, 9)?);
        }
        Ok(digits)
    }

    /// Four fifths to learn from and one fifth to be judged by, the same ones in every run.
    pub(crate) fn split(&self) -> (Split, Split) {
        let mut order: Vec<usize> = (0..self.images.len()).collect();
        shuffle(&mut order, SPLIT_SEED);
        let (train, test) = order.split_at(order.len() * 4 / 5);
        (self.part(train), self.part(test))
    }

    fn part(&self, indices: &[usize]) -> Split {
        let mut part = Split::default();
        for (image, label) in indices.iter().filter_map(|&index| self.images.get(index).zip(self.labels.get(index))) {
            part.images.push(*image);
            part.labels.push(*label);
        }
        part
    }
}

fn number(row: usize, cell: &str, most: u8) -> Result<u8, DigitsError> {
    let number = cell.trim().parse().ok().filter(|number| *number <= most);
    number.ok_or_else(|| DigitsError::Cell { row, cell: cell.to_owned(), most })
}

/// Fisher and Yates's shuffle with splitmix64: the same order from the same seed on every machine, and in every version of every
/// library, because the pictures in docs/ and the accuracies in the README depend on it.
pub(crate) fn shuffle(order: &mut [usize], seed: u64) {
    let mut state = seed;
    for left in (2..=order.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut drawn = state;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        drawn ^= drawn >> 31;
        // The remainder's bias is that of 2^64 over less than 2^11: none that anybody can see.
        order.swap(left - 1, (drawn % left as u64) as usize);
    }
}

impl Split {
    /// All but the last `count` images, and those.
    pub(crate) fn hold_out(mut self, count: usize) -> (Self, Self) {
        let at = self.labels.len().saturating_sub(count);
        let held = Self { images: self.images.split_off(at), labels: self.labels.split_off(at) };
        (self, held)
    }
}

#[cfg(test)]
mod tests {
    use super::Digits;

    #[test]
    fn the_split_is_fixed_and_loses_nothing() {
        let digits = Digits::read().unwrap();
        assert_eq!((digits.images.len(), digits.labels.len()), (1797, 1797));
        assert_eq!(digits.labels[..5], [0, 1, 2, 3, 4]);
        assert_eq!(digits.images[0][..5], [0.0, 0.0, 5.0 / 16.0, 13.0 / 16.0, 9.0 / 16.0]);
        assert!(digits.images.iter().flatten().all(|grey| (0.0..=1.0).contains(grey)));
        let ((train, test), (again, _)) = (digits.split(), digits.split());
        assert_eq!((train.images.len(), test.images.len(), &train.labels), (1437, 360, &again.labels));
        for digit in 0..=9 {
            let count = |labels: &[u8]| labels.iter().filter(|label| **label == digit).count();
            assert_eq!(count(&train.labels) + count(&test.labels), count(&digits.labels));
            assert!(count(&test.labels) > 20);
        }
    }

    #[test]
    fn wrong_rows_are_named() {
        let row = |pixel: &str, label: &str| format!("{}{label}\n", format!("{pixel},").repeat(64));
        assert!(Digits::parse(&row("16", "9")).is_ok());
        let message = |text: &str| Digits::parse(text).unwrap_err().to_string();
        assert_eq!(message(&(row("0", "1") + "1,2,3")), "row 2: 3 cells instead of 65");
        assert_eq!(message(&row("17", "1")), "row 1: \"17\" is not a whole number from 0 to 16");
        assert_eq!(message(&row("0", "ten")), "row 1: \"ten\" is not a whole number from 0 to 9");
    }
}
