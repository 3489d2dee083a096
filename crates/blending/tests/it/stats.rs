//! The numbers for telemetry.

use burn::backend::Flex;
use burn::tensor::Tensor;
use kasmina_blending::{Alpha, BlendConfig, BlendMode, barrier_blend, stats};

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
