//! The numbers for telemetry.

use burn::backend::Flex;
use burn::tensor::Tensor;
use kasmina_blending::{Alpha, BlendConfig, BlendMode, BlendStats, Sampled, barrier_blend, sample, stats};
use proptest::prelude::*;

fn half() -> Alpha {
    Alpha::new(0.5).unwrap()
}

#[test]
fn single_alpha_is_every_number() {
    let stats = stats::<Flex>(&BlendConfig::residual(), half(), None).unwrap();
    assert_eq!((stats.mode, stats.alpha_mean, stats.alpha_p95), (BlendMode::Residual, 0.5, 0.5));
    assert_eq!((stats.sparsity, stats.clamped_fraction, stats.gate_mean), (0.0, 0.0, None));
}

#[test]
fn channel_weights_are_summarised() {
    let mut alpha_vec = vec![0.0; 10];
    alpha_vec.extend([0.5; 8]);
    alpha_vec.extend([1.0, 1.0]);
    let stats = stats::<Flex>(&BlendConfig::channel(alpha_vec).unwrap(), half(), None).unwrap();
    assert_eq!((stats.alpha_mean, stats.alpha_p95, stats.sparsity), (0.15, 0.5, 0.5));
}

#[test]
fn confidence_weights_are_those_of_the_blend() {
    let logits: [[f32; 3]; 5] =
        [[0.0, 4.0, 1.0], [1.0, 1.0, 0.0], [9.0, 0.0, 0.0], [0.0, f32::NAN, 1.0], [0.5, 0.1, 0.2]];
    let logits = Tensor::<Flex, 2>::from_floats(logits, &Default::default());
    let config = BlendConfig::confidence(2.0, 1.0, 0.08, 0.45).unwrap();
    let stats = stats(&config, half(), Some(logits.clone())).unwrap();
    let (host, seed) =
        (Tensor::<Flex, 2>::zeros([5, 1], &Default::default()), Tensor::<Flex, 2>::ones([5, 1], &Default::default()));
    let weights = barrier_blend(host, seed, &config, half(), Some(logits)).unwrap();
    let weights: Vec<f32> = weights.to_data().to_vec().unwrap();
    assert!((stats.alpha_mean - weights.iter().sum::<f32>() / 5.0).abs() < 1e-6);
    assert!((stats.alpha_p95 - weights.iter().copied().fold(0.0, f32::max)).abs() < 1e-6);
    // Raised from 0.06, lowered from 0.49 twice, and one sample without a margin.
    assert_eq!((stats.clamped_fraction, stats.sparsity), (0.8, 0.0));
    let gates = [2.0, -1.0, 8.0, -0.7].map(|margin: f64| 1.0 / (1.0 + (-2.0 * margin).exp()));
    assert!((f64::from(stats.gate_mean.unwrap()) - gates.iter().sum::<f64>() / 4.0).abs() < 1e-6);
}

#[test]
fn confidence_without_valid_logits_is_an_error() {
    let config = BlendConfig::confidence(2.0, 1.0, 0.0, 1.0).unwrap();
    assert_eq!(stats::<Flex>(&config, half(), None).unwrap_err().reason(), "logits_missing");
    let single = Tensor::<Flex, 2>::zeros([2, 1], &Default::default());
    assert_eq!(stats(&config, half(), Some(single)).unwrap_err().reason(), "logits_too_few_classes");
    let empty = Tensor::<Flex, 2>::zeros([0, 3], &Default::default());
    let stats = stats(&config, half(), Some(empty)).unwrap();
    assert_eq!((stats.alpha_mean, stats.gate_mean), (0.0, None));
}

/// The sampled numbers, read.
fn read(sampled: Sampled<Flex>) -> BlendStats {
    match sampled {
        Sampled::Known(stats) => stats,
        Sampled::OnDevice(mode, numbers) => {
            let numbers: Vec<f32> = numbers.to_data().to_vec().unwrap();
            assert_eq!(numbers.len(), Sampled::<Flex>::NUMBERS);
            BlendStats::from_numbers(mode, &numbers).unwrap()
        }
    }
}

#[test]
fn sample_without_logits_needs_no_device() {
    for config in [BlendConfig::convex(), BlendConfig::residual(), BlendConfig::channel(vec![0.0, 0.3, 1.0]).unwrap()] {
        let sampled = sample::<Flex>(&config, half(), None).unwrap();
        assert!(matches!(sampled, Sampled::Known(_)));
        assert_eq!(read(sampled), stats::<Flex>(&config, half(), None).unwrap());
    }
    let config = BlendConfig::confidence(2.0, 1.0, 0.0, 1.0).unwrap();
    assert_eq!(sample::<Flex>(&config, half(), None).unwrap_err().reason(), "logits_missing");
    let empty = Tensor::<Flex, 2>::zeros([0, 3], &Default::default());
    assert!(matches!(sample(&config, half(), Some(empty)).unwrap(), Sampled::Known(_)));
    assert_eq!(BlendStats::from_numbers(BlendMode::Confidence, &[0.0; 4]), None);
}

#[test]
fn sample_of_a_large_batch_is_compared_in_parts() {
    let logits: Vec<f32> = (0..2 * 5_000).map(|at| ((at * 7_919) % 10_007) as f32 / 1e4).collect();
    let logits = Tensor::<Flex, 1>::from_floats(logits.as_slice(), &Default::default()).reshape([5_000, 2]);
    let config = BlendConfig::confidence(2.0, 0.1, 0.0, 1.0).unwrap();
    let expected = stats(&config, half(), Some(logits.clone())).unwrap();
    let sampled = read(sample(&config, half(), Some(logits)).unwrap());
    assert!((sampled.alpha_p95 - expected.alpha_p95).abs() < 1e-6, "{sampled:?} {expected:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// On the device as on the CPU, whatever the logits are.
    #[test]
    fn sampled_numbers_are_those_of_the_plain_computation(
        logits in prop::collection::vec((-4.0..4.0_f32, 0..12_u8), 3..180),
        (k, tau, lo, hi) in (0.0..5.0_f32, 0.0..2.0_f32, 0.0..1.0_f32, 0.0..1.0_f32),
        alpha in prop::sample::select(vec![0.0, 0.3, 1.0]),
    ) {
        let odd = |(value, odd): &(f32, u8)| match odd {
            0 => f32::NAN,
            1 => f32::INFINITY,
            2 => f32::NEG_INFINITY,
            _ => *value,
        };
        let rows = logits.len() / 3;
        let values: Vec<f32> = logits.iter().take(rows * 3).map(odd).collect();
        let logits = Tensor::<Flex, 1>::from_floats(values.as_slice(), &Default::default()).reshape([rows, 3]);
        let config = BlendConfig::confidence(k, tau, lo, hi).unwrap();
        let alpha = Alpha::new(alpha).unwrap();
        let expected = stats(&config, alpha, Some(logits.clone())).unwrap();
        let sampled = read(sample(&config, alpha, Some(logits)).unwrap());
        let close = |a: f32, b: f32| (a - b).abs() < 1e-5;
        prop_assert!(close(sampled.alpha_mean, expected.alpha_mean), "{:?} {:?}", sampled, expected);
        prop_assert!(close(sampled.alpha_p95, expected.alpha_p95), "{:?} {:?}", sampled, expected);
        prop_assert_eq!(sampled.sparsity, expected.sparsity);
        prop_assert!(close(sampled.clamped_fraction, expected.clamped_fraction), "{:?} {:?}", sampled, expected);
        prop_assert_eq!(sampled.gate_mean.is_some(), expected.gate_mean.is_some());
        let gates = sampled.gate_mean.zip(expected.gate_mean);
        prop_assert!(gates.is_none_or(|(a, b)| close(a, b)), "{:?} {:?}", sampled, expected);
    }
}
