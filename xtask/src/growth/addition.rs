//! Sums to be learned as text: `123+456=9750`, the sum's last digit first, because a network writes it in the order in which carries go.

use std::collections::BTreeSet;

use super::examples::Sequences;

/// Digits of a summand.
const DIGITS: usize = 3;
const SUMMANDS: u32 = 10_u32.pow(DIGITS as u32);
const PLUS: u8 = 10;
const EQUALS: u8 = 11;
/// Ten digits, `+` and `=`.
pub(super) const VOCABULARY: usize = 12;
/// Characters of a sum, all but the last of which a network reads.
const LENGTH: usize = 2 * DIGITS + 2 + DIGITS + 1;
/// What is drawn depends on this number alone.
const DRAW: u64 = 0x6164_6469_7469_6f6e;

/// Sums to learn from, to validate on and to test with. No two have the same summands, in any order.
pub(super) fn parts(sizes: [usize; 3]) -> [Sequences; 3] {
    let mut random = fastrand::Rng::with_seed(DRAW);
    let mut drawn = BTreeSet::new();
    sizes.map(|size| {
        let mut tokens = Vec::with_capacity(size * LENGTH);
        for _ in 0..size {
            let (one, other) = loop {
                let (one, other) = (random.u32(0..SUMMANDS), random.u32(0..SUMMANDS));
                if drawn.insert((one.min(other), one.max(other))) {
                    break (one, other);
                }
            };
            tokens.extend(write(one, other));
        }
        Sequences { length: LENGTH - 1, asked_from: 2 * DIGITS + 1, tokens }
    })
}

fn write(one: u32, other: u32) -> impl Iterator<Item = u8> {
    let digit = |number: u32, place: usize| ((number / 10_u32.pow(place as u32)) % 10) as u8;
    let summand = move |number: u32| (0..DIGITS).rev().map(move |place| digit(number, place));
    let sum = (0..=DIGITS).map(move |place| digit(one + other, place));
    summand(one).chain([PLUS]).chain(summand(other)).chain([EQUALS]).chain(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(digits: impl Iterator<Item = u8>) -> u32 {
        digits.fold(0, |number, digit| 10 * number + u32::from(digit))
    }

    #[test]
    fn every_sum_is_right_and_none_comes_twice() {
        let parts = parts([3_000, 500, 500]);
        assert_eq!(parts.each_ref().map(Sequences::len), [3_000, 500, 500]);
        let mut seen = BTreeSet::new();
        for sum in parts.iter().flat_map(|part| part.tokens.chunks_exact(LENGTH)) {
            assert_eq!((sum[3], sum[7]), (PLUS, EQUALS));
            let (one, other) = (number(sum[..3].iter().copied()), number(sum[4..7].iter().copied()));
            assert_eq!(one + other, number(sum[8..].iter().rev().copied()), "{sum:?}");
            assert!(seen.insert([one.min(other), one.max(other)]), "{one} and {other} come twice");
        }
    }

    #[test]
    fn the_question_ends_with_the_equals_sign() {
        let [part, ..] = parts([1, 1, 1]);
        assert_eq!(part.tokens[part.asked_from], EQUALS);
        assert_eq!(part.length - part.asked_from, DIGITS + 1);
    }

    #[test]
    fn the_same_sums_are_drawn_every_time() {
        assert_eq!(parts([40, 5, 5]), parts([40, 5, 5]));
    }
}
