//! A short stand-in for a long vector of gradients.

/// Values that are added at once.
const BLOCK: usize = 64;
/// Rows of signs, of which each block gets one.
const ROWS: usize = 64;

/// A random-sign sketch: every value of the vector gets a random sign and is added to one of `k` sums.
///
/// It is linear: the sketch of a sum is the sum of the sketches, up to rounding. Its squared norm is that of the vector
/// in expectation, because the signs of any two values are independent. Its relative standard deviation is about
/// `sqrt(2 / k)` at most, because two values fall in the same sum with a probability of at most `1 / k` (Charikar, Chen
/// and Farach-Colton, "Finding frequent items in data streams", 2002): 9 % for 256 sums. As it is linear, the same holds
/// for the distance between two vectors. So equal vectors have equal sketches, bit for bit, and if two sketches are 1 %
/// apart, so are the vectors, within a few per mille. The sums are 32-bit floats, whose rounding is some 1e-5 of a sum of
/// a million values. What it does not see: a difference that was chosen with the seed in hand. Let the seed follow from
/// something that nobody knows before the gradients are fixed.
///
/// To be cheap, 64 values in a row get a row of signs out of 64 rows, which follow from the seed, all of them turned or
/// not, and fall in 64 sums in a row, from a place that is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Sketch {
    seed: u64,
    /// Sign bits.
    rows: Vec<[u32; BLOCK]>,
    sums: Vec<f32>,
    /// How many values have been added.
    place: u64,
}

impl Sketch {
    /// An empty sketch of `k` sums, at least 64, with signs and places that follow from `seed`.
    #[must_use]
    pub fn new(k: usize, seed: u64) -> Self {
        let row = |number: u64| {
            let signs = mix(mix(seed).wrapping_add(number));
            std::array::from_fn(|at| (((signs >> at) & 1) as u32) << 31)
        };
        let rows = (0..ROWS as u64).map(row).collect();
        Self { seed, rows, sums: vec![0.0; k.max(BLOCK)], place: 0 }
    }

    /// Adds the next values of the vector. It does not matter how the vector is cut into chunks.
    pub fn add(&mut self, mut chunk: &[f32]) {
        while !chunk.is_empty() {
            let within = usize::try_from(self.place % BLOCK as u64).unwrap_or(0);
            let (now, later) = chunk.split_at(chunk.len().min(BLOCK - within));
            self.block(self.place / BLOCK as u64, within, now);
            self.place += now.len() as u64;
            chunk = later;
        }
    }

    /// Values of one block, from its `within`th on: each in a sum of its own, beside that of the value before.
    fn block(&mut self, block: u64, within: usize, values: &[f32]) {
        let drawn = mix(self.seed ^ mix(block));
        let turned = ((drawn >> 63) as u32) << 31;
        let signs = &self.rows[usize::try_from(drawn >> 56).unwrap_or(0) % ROWS][within..];
        let k = self.sums.len();
        let first = usize::try_from((drawn & 0xffff_ffff_ffff) % k as u64).unwrap_or(0) + within;
        let first = if first >= k { first - k } else { first };
        let (straight, wrapped) = values.split_at(values.len().min(k - first));
        add_signed(&mut self.sums[first..], straight, signs, turned);
        add_signed(&mut self.sums, wrapped, &signs[straight.len()..], turned);
    }

    /// The sums, for a [`Digest`](crate::Digest).
    #[must_use]
    pub fn finish(&self) -> Vec<f32> {
        self.sums.clone()
    }
}

fn add_signed(sums: &mut [f32], values: &[f32], signs: &[u32], turned: u32) {
    for ((sum, value), sign) in sums.iter_mut().zip(values).zip(signs) {
        *sum += f32::from_bits(value.to_bits() ^ sign ^ turned);
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
const fn mix(state: u64) -> u64 {
    let mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The median of each value. Sketches that are shorter than the first do not count where they have none.
pub(crate) fn median(sketches: &[&[f32]]) -> Vec<f32> {
    let length = sketches.first().map_or(0, |first| first.len());
    let at = |place: usize| {
        let mut values: Vec<f32> = sketches.iter().filter_map(|sketch| sketch.get(place).copied()).collect();
        values.sort_unstable_by(f32::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    };
    (0..length).map(at).collect()
}

/// How far a sketch is from the median, in units of the median's norm. Infinite if it has another length, not finite
/// values, or if the median is zero and it is not.
pub(crate) fn distance(sketch: &[f32], median: &[f32]) -> f32 {
    if sketch.len() != median.len() {
        return f32::INFINITY;
    }
    let squared = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    let apart = squared(&mut sketch.iter().zip(median).map(|(one, other)| f64::from(*one) - f64::from(*other)));
    let norm = squared(&mut median.iter().map(|value| f64::from(*value)));
    #[expect(clippy::cast_possible_truncation, reason = "a ratio for people to read")]
    let ratio = if apart == 0.0 { 0.0 } else { (apart / norm).sqrt() as f32 };
    if ratio.is_nan() { f32::INFINITY } else { ratio }
}
