//! What samples say of a number, without a guess at how they are distributed.

use serde::{Deserialize, Serialize};

/// A number that was sampled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The middle sample.
    pub median: f64,
    /// The 95th percentile of the samples.
    pub p95: f64,
    /// The lower end of an interval that has the true median in it with a probability of at least 95 %, by order statistics.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Half the distance between the quartiles, as a share of the median: how much one sample differs from the next.
    pub noise: f64,
    /// How many samples there were.
    pub samples: usize,
}

impl Estimate {
    /// What these samples say; `None` if there are none.
    #[must_use]
    pub fn of(samples: &[f64]) -> Option<Self> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let median = median(&sorted)?;
        let count = sorted.len();
        let below = rank_below(count);
        let above = count - 1 - below;
        let quartiles = percentile(&sorted, 75.0)? - percentile(&sorted, 25.0)?;
        Some(Self {
            median,
            p95: percentile(&sorted, 95.0)?,
            low: *sorted.get(below)?,
            high: *sorted.get(above)?,
            noise: if median == 0.0 { 0.0 } else { (quartiles / 2.0 / median).abs() },
            samples: count,
        })
    }
}

/// How many of the sorted samples are below the interval of the median; as many are above it.
///
/// How many samples lie below the true median has a binomial distribution. Its normal approximation is rounded outwards, because between two
/// order statistics it promises up to 3 % too much. With five or fewer samples even the extremes do not reach 95 %: the interval is all there is.
fn rank_below(count: usize) -> usize {
    let reach = 1.96 * (count as f64).sqrt();
    let rank = ((count as f64 - reach) / 2.0).floor();
    (rank - 1.0).max(0.0) as usize
}

/// The middle of sorted numbers: the mean of the middle two if their number is even.
#[must_use]
pub fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 { Some(upper) } else { Some((sorted.get(middle - 1)? + upper) / 2.0) }
}

/// The smallest of sorted numbers that at least `percent` % of them do not exceed.
#[must_use]
pub fn percentile(sorted: &[f64], percent: f64) -> Option<f64> {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_samples_say_nothing_and_one_says_itself() {
        assert_eq!(Estimate::of(&[]), None);
        let one = Estimate::of(&[3.0]).unwrap();
        assert_eq!((one.median, one.p95, one.low, one.high, one.noise), (3.0, 3.0, 3.0, 3.0, 0.0));
    }

    #[test]
    fn percentiles_are_samples_and_the_median_is_between_two() {
        let samples: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let estimate = Estimate::of(&samples).unwrap();
        assert_eq!((estimate.median, estimate.p95, estimate.samples), (50.5, 95.0, 100));
        // As in the usual tables.
        assert_eq!((estimate.low, estimate.high), (40.0, 61.0));
        assert!((estimate.noise - 25.0 / 50.5).abs() < 1e-12, "{}", estimate.noise);
    }

    /// The probability that the true median lies between two samples with so many below and as many above: that of a fair coin which is thrown
    /// `count` times and shows heads more than `below` times, and tails too.
    fn coverage(count: usize, below: usize) -> f64 {
        let mut probability = 0.5_f64.powi(count as i32);
        let mut outside = 0.0;
        for heads in 0..=below {
            outside += 2.0 * probability;
            probability *= (count - heads) as f64 / (heads + 1) as f64;
        }
        1.0 - outside
    }

    #[test]
    fn six_samples_or_more_have_an_interval_of_at_least_95_percent_that_is_no_wider_than_it_must_be() {
        assert!((coverage(8, 1) - 0.9297).abs() < 1e-4 && (coverage(100, 39) - 0.9648).abs() < 1e-4);
        for count in 6..=1_000 {
            let below = rank_below(count);
            assert!(coverage(count, below) >= 0.95, "{} of {count}", coverage(count, below));
            assert!(coverage(count, below + 2) < 0.95, "{count} samples have a narrower one");
        }
    }

    #[test]
    fn few_samples_have_an_interval_of_all_of_them() {
        let estimate = Estimate::of(&[5.0, 1.0, 2.0, 4.0, 3.0]).unwrap();
        assert_eq!((estimate.low, estimate.high), (1.0, 5.0));
    }

    #[test]
    fn one_wild_sample_moves_neither_median_nor_noise() {
        let calm = Estimate::of(&[1.0; 21]).unwrap();
        let mut wild = [1.0; 21];
        wild[7] = 1e6;
        let wild = Estimate::of(&wild).unwrap();
        assert_eq!((wild.median, wild.noise, wild.high), (calm.median, calm.noise, calm.high));
    }
}
