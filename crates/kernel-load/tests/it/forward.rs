//! Every kind of layer against a plain f64 reference, and every input that does not fit.

use crate::common::{Weights, artifact, manifest, numbers, verified, weights};
use crate::reference::Reference;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{DType, Tensor, TensorData};
use kasmina_kernel_load::{Activation, LayerSpec, Manifest, ShapeError, SlotContract};

#[test]
fn linear_matches_the_reference() {
    agrees::<2>([3, 5], 4, vec![LayerSpec::linear(5, 4)]);
    agrees::<3>([2, 3, 5], 4, vec![LayerSpec::Linear { channels_in: 5, channels_out: 4, bias: false }]);
}

#[test]
fn convolutions_match_the_reference() {
    agrees::<4>([2, 3, 5, 4], 6, vec![LayerSpec::pointwise(3, 6)]);
    agrees::<4>([2, 4, 5, 6], 4, vec![LayerSpec::depthwise(4, 3)]);
    let odd = LayerSpec::Conv2d {
        channels_in: 4,
        channels_out: 6,
        kernel: [3, 2],
        padding: [1, 2],
        dilation: [2, 3],
        groups: 2,
        bias: false,
    };
    agrees::<4>([2, 4, 7, 5], 6, vec![odd]);
    let plain = LayerSpec::Conv2d {
        channels_in: 3,
        channels_out: 2,
        kernel: [3, 3],
        padding: [0, 0],
        dilation: [1, 1],
        groups: 1,
        bias: true,
    };
    agrees::<4>([1, 3, 3, 3], 2, vec![plain]);
}

#[test]
fn norms_match_the_reference() {
    agrees::<2>([3, 8], 8, vec![LayerSpec::LayerNorm { channels: 8 }]);
    agrees::<3>([2, 3, 8], 8, vec![LayerSpec::LayerNorm { channels: 8 }]);
    agrees::<4>([2, 6, 3, 4], 6, vec![LayerSpec::GroupNorm { channels: 6, groups: 3 }]);
    agrees::<4>([2, 6, 3, 4], 6, vec![LayerSpec::GroupNorm { channels: 6, groups: 1 }]);
}

#[test]
fn activations_and_identity_match_the_reference() {
    use Activation::{Gelu, Relu, Sigmoid, Silu, Tanh};
    for function in [Relu, Gelu, Silu, Tanh, Sigmoid] {
        agrees::<2>([3, 8], 8, vec![LayerSpec::Activation(function)]);
        agrees::<4>([2, 3, 2, 2], 3, vec![LayerSpec::Activation(function)]);
    }
    agrees::<3>([2, 3, 4], 4, vec![LayerSpec::Identity {}]);
}

#[test]
fn nested_residuals_match_the_reference() {
    let inner = LayerSpec::Residual { layers: vec![LayerSpec::linear(6, 6), LayerSpec::Activation(Activation::Tanh)] };
    let outer = LayerSpec::Residual { layers: vec![LayerSpec::linear(6, 6), inner] };
    agrees::<2>([3, 6], 2, vec![outer.clone(), LayerSpec::linear(6, 2)]);
    agrees::<3>([2, 3, 6], 6, vec![outer]);
    agrees::<4>([2, 3, 5, 5], 3, vec![LayerSpec::Residual { layers: vec![LayerSpec::depthwise(3, 5)] }]);
}

#[test]
fn squeeze_excite_on_every_rank_matches_the_reference() {
    let layers = vec![LayerSpec::SqueezeExcite { channels: 6, hidden: 2 }];
    agrees::<2>([3, 6], 6, layers.clone());
    agrees::<3>([2, 4, 6], 6, layers.clone());
    agrees::<4>([2, 6, 3, 4], 6, layers);
}

#[test]
fn attention_matches_the_reference() {
    for (heads, causal) in [(1, false), (2, false), (4, false), (1, true), (4, true)] {
        agrees::<3>([2, 5, 8], 8, vec![LayerSpec::Attention { channels: 8, heads, causal }]);
    }
}

#[test]
fn low_rank_matches_the_reference() {
    let layers = vec![LayerSpec::LowRank { channels_in: 6, channels_out: 5, rank: 2 }];
    agrees::<2>([3, 6], 5, layers.clone());
    agrees::<3>([2, 4, 6], 5, layers);
}

#[test]
fn scale_on_every_rank_matches_the_reference() {
    let layers = vec![LayerSpec::Scale { channels: 6 }];
    agrees::<2>([3, 6], 6, layers.clone());
    agrees::<3>([2, 4, 6], 6, layers.clone());
    agrees::<4>([2, 6, 3, 4], 6, layers);
}

#[test]
fn input_of_another_rank_is_refused() {
    let kernel = conv();
    assert_eq!(kernel.forward(zeros([2, 3])).unwrap_err(), ShapeError::Rank { expected: 4, got: 2 });
    assert_eq!(kernel.forward(zeros([2, 3, 4])).unwrap_err().reason(), "input_rank");
    assert_eq!(kernel.forward(zeros([2, 3, 8, 8, 1])).unwrap_err(), ShapeError::Rank { expected: 4, got: 5 });
    assert_eq!(kernel.forward(zeros([3])).unwrap_err(), ShapeError::Rank { expected: 4, got: 1 });
}

#[test]
fn input_of_other_channels_is_refused_on_its_axis() {
    let refusal = conv().forward(zeros([2, 4, 8, 8])).unwrap_err();
    assert_eq!(refusal, ShapeError::Channels { axis: 1, expected: 3, got: 4 });
    let tokens = verified(&artifact(&manifest(SlotContract::f32(3, 6, 6), vec![LayerSpec::linear(6, 6)]), 1));
    let refusal = tokens.build::<Flex>(&Default::default()).forward(zeros([2, 6, 5])).unwrap_err();
    assert_eq!(refusal, ShapeError::Channels { axis: 2, expected: 6, got: 5 });
}

#[test]
fn input_of_another_dtype_is_refused() {
    let data = TensorData::new(vec![0.0_f64; 2 * 3 * 64], [2, 3, 8, 8]);
    let x = Tensor::<Flex, 4>::from_data(data, (&Default::default(), DType::F64));
    let refusal = conv().forward(x).unwrap_err();
    assert_eq!(refusal, ShapeError::Dtype { expected: "F32", got: "F64".into() });
}

#[test]
fn empty_and_small_inputs_are_refused() {
    let kernel = conv();
    assert_eq!(kernel.forward(zeros([0, 3, 8, 8])).unwrap_err(), ShapeError::Empty { axis: 0 });
    assert_eq!(kernel.forward(zeros([2, 3, 8, 0])).unwrap_err(), ShapeError::Empty { axis: 3 });
    let too_small = |got| ShapeError::TooSmall { least: [3, 5], got };
    assert_eq!(kernel.forward(zeros([2, 3, 2, 8])).unwrap_err(), too_small([2, 8]));
    assert_eq!(kernel.forward(zeros([2, 3, 8, 4])).unwrap_err(), too_small([8, 4]));
    assert_eq!(kernel.forward(zeros([2, 3, 3, 5])).unwrap().dims(), [2, 2, 1, 1], "the smallest input that is taken");
}

/// Reduces the height by 2 and the width by 4.
fn conv() -> kasmina_kernel_load::KernelModule<Flex> {
    let layer = LayerSpec::Conv2d {
        channels_in: 3,
        channels_out: 2,
        kernel: [3, 3],
        padding: [0, 0],
        dilation: [1, 2],
        groups: 1,
        bias: true,
    };
    verified(&artifact(&manifest(SlotContract::f32(4, 3, 2), vec![layer]), 1)).build(&Default::default())
}

fn zeros<const D: usize>(shape: [usize; D]) -> Tensor<Flex, D> {
    Tensor::zeros(shape, &Default::default())
}

fn agrees<const D: usize>(shape: [usize; D], channels_out: usize, layers: Vec<LayerSpec>) {
    let channel_axis = if D == 3 { 2 } else { 1 };
    let manifest = manifest(SlotContract::f32(D, shape[channel_axis], channels_out), layers);
    let weights = weights(&manifest, 100);
    let x: Vec<f32> = numbers(7, shape.iter().product()).into_iter().map(|v| v * 2.0).collect();
    let expected = expected(&manifest, &weights, &shape, &x);

    let artifact = verified(&artifact(&manifest, 100));
    let plain = Tensor::<Flex, D>::from_data(TensorData::new(x.clone(), shape), &Default::default());
    let y = artifact.build::<Flex>(&Default::default()).forward(plain).unwrap();
    close(&y, &expected, &manifest);

    let tracked = Tensor::<Autodiff<Flex>, D>::from_data(TensorData::new(x, shape), &Default::default());
    let y = artifact.build::<Autodiff<Flex>>(&Default::default()).forward(tracked).unwrap();
    close(&y.inner(), &expected, &manifest);
}

fn expected(manifest: &Manifest, weights: &Weights, shape: &[usize], x: &[f32]) -> Reference {
    let x = Reference { shape: shape.to_vec(), data: x.iter().map(|&v| f64::from(v)).collect() };
    crate::reference::forward(&manifest.layers, "", weights, x)
}

fn close<const D: usize>(got: &Tensor<Flex, D>, expected: &Reference, manifest: &Manifest) {
    assert_eq!(got.dims().to_vec(), expected.shape, "{manifest:?}");
    for (got, expected) in got.to_data().to_vec::<f32>().unwrap().into_iter().zip(&expected.data) {
        let error = (f64::from(got) - expected).abs();
        assert!(error <= 2e-5 * (1.0 + expected.abs()), "{got} for {expected}, {manifest:?}");
    }
}
