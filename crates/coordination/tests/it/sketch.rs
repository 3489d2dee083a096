//! The random-sign sketch.

use kasmina_coordination::Sketch;
use proptest::prelude::*;

fn sketch(k: usize, seed: u64, values: &[f32]) -> Vec<f32> {
    let mut sketch = Sketch::new(k, seed);
    sketch.add(values);
    sketch.finish()
}

fn squared(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value).powi(2)).sum()
}

proptest! {
    #[test]
    fn it_does_not_matter_how_the_vector_is_cut(
        values in proptest::collection::vec(-1.0_f32..1.0, 0..500), cut in 0_usize..500, seed: u64,
    ) {
        let (one, other) = values.split_at(cut.min(values.len()));
        let mut cut = Sketch::new(100, seed);
        cut.add(one);
        cut.add(other);
        prop_assert_eq!(cut.finish(), sketch(100, seed, &values));
    }

    #[test]
    fn it_is_linear(values in proptest::collection::vec((-1.0_f32..1.0, -1.0_f32..1.0), 1..500), seed: u64) {
        let (one, other): (Vec<f32>, Vec<f32>) = values.into_iter().unzip();
        let sum: Vec<f32> = one.iter().zip(&other).map(|(one, other)| one + other).collect();
        let (one, other, sum) = (sketch(128, seed, &one), sketch(128, seed, &other), sketch(128, seed, &sum));
        for ((one, other), sum) in one.iter().zip(&other).zip(&sum) {
            prop_assert!((one + other - sum).abs() < 1e-4);
        }
    }
}

#[test]
fn over_many_seeds_the_norm_is_kept_within_the_documented_error() {
    // A vector whose energy lies in every 64th value: one lane of the blocks.
    let spread: Vec<f32> = (0..5_000).map(|at| (at as f32 * 0.37).sin()).collect();
    let lane: Vec<f32> = (0..5_000).map(|at| if at % 64 == 7 { 1.0 } else { 0.0 }).collect();
    for values in [spread, lane] {
        let (k, seeds) = (256, 2_000);
        let ratios: Vec<f64> = (0..seeds).map(|seed| squared(&sketch(k, seed, &values)) / squared(&values)).collect();
        let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
        let deviation = (ratios.iter().map(|ratio| (ratio - mean).powi(2)).sum::<f64>() / ratios.len() as f64).sqrt();
        // Three standard errors of the mean, and a tenth above the bound of the deviation.
        let bound = (2.0 / k as f64).sqrt();
        assert!((mean - 1.0).abs() < 3.0 * bound / (seeds as f64).sqrt(), "mean {mean}");
        assert!(deviation < 1.1 * bound, "deviation {deviation}, bound {bound}");
    }
}

#[test]
fn another_seed_gives_another_sketch_and_the_same_one_the_same() {
    let values = [1.0, 2.0, 3.0];
    assert_eq!(sketch(64, 1, &values), sketch(64, 1, &values));
    assert_ne!(sketch(64, 1, &values), sketch(64, 2, &values));
    let spoilt = sketch(64, 1, &[1.0, f32::NAN, 3.0]);
    assert!(spoilt.iter().any(|value| value.is_nan()), "what is not finite shows");
}
