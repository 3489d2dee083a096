//! Examples, and batches of them.

use burn::tensor::TensorData;
use kasmina::kernel_load::Digest;

/// What a network learns from, or is judged by.
#[derive(Debug)]
pub(super) enum Examples {
    Images(Images),
    Sequences(Sequences),
}

/// Square grey images, each with one of ten labels.
#[derive(Debug, Default)]
pub(super) struct Images {
    pub(super) side: usize,
    /// The grey value of ink: what a network reads as 1.
    pub(super) ink: u8,
    /// `side * side` for each image.
    pub(super) pixels: Vec<u8>,
    pub(super) labels: Vec<u8>,
}

/// Sequences of tokens, whose next tokens are asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sequences {
    /// Tokens that a network reads.
    pub(super) length: usize,
    /// The place of the first token whose next one is asked for.
    pub(super) asked_from: usize,
    /// `length + 1` for each sequence.
    pub(super) tokens: Vec<u8>,
}

/// Some examples as a network reads them.
#[derive(Debug)]
pub(super) struct Batch {
    /// Pixels `[examples, side * side]` from 0 to 1, or tokens `[examples, length]`.
    pub(super) inputs: TensorData,
    /// One for each row of the logits.
    pub(super) labels: TensorData,
}

/// How images are moved before they are learned from.
#[derive(Debug)]
pub(super) struct Shift {
    /// The most pixels in each direction.
    pub(super) reach: usize,
    pub(super) random: fastrand::Rng,
}

impl Examples {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Images(images) => images.labels.len(),
            Self::Sequences(sequences) => sequences.len(),
        }
    }

    /// The examples of these places. A shift moves images; sequences stay as they are.
    pub(super) fn batch(&self, places: &[usize], shift: Option<&mut Shift>) -> Batch {
        match self {
            Self::Images(images) => images.batch(places, shift),
            Self::Sequences(sequences) => sequences.batch(places),
        }
    }

    /// All of them, in batches of at most `most`.
    pub(super) fn batches(&self, most: usize) -> impl Iterator<Item = Batch> {
        let all: Vec<usize> = (0..self.len()).collect();
        let starts = (0..self.len()).step_by(most.max(1));
        starts.map(move |start| self.batch(all.get(start..(start + most).min(all.len())).unwrap_or_default(), None))
    }

    /// Says what is in them. Two that differ in a pixel, a label or a token have different texts.
    pub(super) fn fingerprint(&self) -> String {
        match self {
            Self::Images(Images { side, ink, pixels, labels }) => {
                format!("images {side} {ink} {} {}", Digest::of(pixels), Digest::of(labels))
            }
            Self::Sequences(Sequences { length, asked_from, tokens }) => {
                format!("sequences {length} {asked_from} {}", Digest::of(tokens))
            }
        }
    }

    /// The first `count`, or all if there are not so many.
    pub(super) fn truncate(&mut self, count: usize) {
        match self {
            Self::Images(images) => {
                images.labels.truncate(count);
                images.pixels.truncate(count * images.side * images.side);
            }
            Self::Sequences(sequences) => sequences.tokens.truncate(count * (sequences.length + 1)),
        }
    }
}

impl Images {
    fn batch(&self, places: &[usize], mut shift: Option<&mut Shift>) -> Batch {
        let (side, ink) = (self.side, f32::from(self.ink));
        let mut pixels = Vec::with_capacity(places.len() * side * side);
        for place in places {
            let image = self.pixels.get(place * side * side..(place + 1) * side * side).unwrap_or_default();
            let [down, right] = shift.as_deref_mut().map_or([0; 2], Shift::draw);
            let grey = |row: usize, column: usize| {
                let row = row.checked_add_signed(-down).filter(|row| *row < side)?;
                let column = column.checked_add_signed(-right).filter(|column| *column < side)?;
                image.get(row * side + column).copied()
            };
            let places = (0..side).flat_map(|row| (0..side).map(move |column| (row, column)));
            pixels.extend(places.map(|(row, column)| f32::from(grey(row, column).unwrap_or(0)) / ink));
        }
        let labels: Vec<i64> =
            places.iter().filter_map(|place| self.labels.get(*place)).map(|it| (*it).into()).collect();
        let rows = labels.len();
        Batch { inputs: TensorData::new(pixels, [rows, side * side]), labels: TensorData::new(labels, [rows]) }
    }
}

impl Sequences {
    pub(super) fn len(&self) -> usize {
        self.tokens.len() / (self.length + 1)
    }

    fn batch(&self, places: &[usize]) -> Batch {
        let (mut inputs, mut labels) = (Vec::<i64>::new(), Vec::<i64>::new());
        let mut rows = 0;
        for place in places {
            let width = self.length + 1;
            let Some(tokens) = self.tokens.get(place * width..(place + 1) * width) else { continue };
            inputs.extend(tokens.iter().take(self.length).map(|token| i64::from(*token)));
            labels.extend(tokens.iter().skip(self.asked_from + 1).map(|token| i64::from(*token)));
            rows += 1;
        }
        let asked = labels.len();
        Batch { inputs: TensorData::new(inputs, [rows, self.length]), labels: TensorData::new(labels, [asked]) }
    }
}

impl Shift {
    fn draw(&mut self) -> [isize; 2] {
        let reach = isize::try_from(self.reach).unwrap_or_default();
        [self.random.isize(-reach..=reach), self.random.isize(-reach..=reach)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(data: &TensorData) -> Vec<f32> {
        data.iter::<f32>().collect()
    }

    fn one_dot() -> Examples {
        Examples::Images(Images { side: 3, ink: 4, pixels: vec![0, 0, 0, 0, 4, 0, 0, 0, 2], labels: vec![7] })
    }

    #[test]
    fn images_are_read_from_0_to_1() {
        let batch = one_dot().batch(&[0], None);
        assert_eq!(numbers(&batch.inputs), [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.5]);
        assert_eq!((&batch.inputs.shape[..], numbers(&batch.labels)), (&[1, 9][..], vec![7.0]));
    }

    #[test]
    fn a_shifted_image_keeps_what_stays_within_its_frame() {
        let mut shift = Shift { reach: 1, random: fastrand::Rng::with_seed(3) };
        let drawn: Vec<f32> = (0..200).flat_map(|_| numbers(&one_dot().batch(&[0], Some(&mut shift)).inputs)).collect();
        let ink: f32 = drawn.iter().sum();
        // The dot in the middle never leaves a frame of 3 x 3, and the other one leaves it in five of nine moves.
        assert!((200.0..300.0).contains(&ink), "{ink}");
        for place in 0..9 {
            assert!(drawn.chunks(9).any(|image| image[place] == 1.0), "the dot never came to {place}");
        }
    }

    #[test]
    fn sequences_ask_for_the_next_tokens() {
        let sequences = Sequences { length: 3, asked_from: 1, tokens: vec![1, 2, 3, 4, 5, 6, 7, 8] };
        let batch = Examples::Sequences(sequences).batch(&[1, 0], None);
        assert_eq!(numbers(&batch.inputs), [5.0, 6.0, 7.0, 1.0, 2.0, 3.0]);
        assert_eq!(numbers(&batch.labels), [7.0, 8.0, 3.0, 4.0]);
    }

    #[test]
    fn batches_cover_all_examples_once() {
        let tokens = (0..22).collect();
        let examples = Examples::Sequences(Sequences { length: 1, asked_from: 0, tokens });
        let sizes: Vec<usize> = examples.batches(4).map(|batch| batch.inputs.shape[0]).collect();
        assert_eq!(sizes, [4, 4, 3]);
        let labels: Vec<f32> = examples.batches(4).flat_map(|batch| numbers(&batch.labels)).collect();
        assert_eq!(labels, (0..11).map(|at| (2 * at + 1) as f32).collect::<Vec<_>>());
    }

    #[test]
    fn a_cut_leaves_whole_examples() {
        let mut examples = one_dot();
        examples.truncate(0);
        assert_eq!(examples.len(), 0);
        let mut examples = Examples::Sequences(Sequences { length: 1, asked_from: 0, tokens: vec![1, 2, 3, 4] });
        examples.truncate(1);
        assert_eq!(examples.len(), 1);
        examples.truncate(9);
        assert_eq!(examples.len(), 1);
    }
}
