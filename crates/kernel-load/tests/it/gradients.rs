//! Kernels have the outputs and gradients of the same layers in plain Burn.

use burn::backend::{Autodiff, Flex};
use burn::module::{AutodiffModule, Module, ModuleVisitor, Param};
use burn::nn::attention::{MhaInput, MultiHeadAttention, MultiHeadAttentionConfig, generate_autoregressive_mask};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{GroupNorm, GroupNormConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::optim::GradientsParams;
use burn::tensor::activation::{gelu, relu, sigmoid};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use kasmina_kernel_load::blueprints::{Blueprint, Start};
use kasmina_kernel_load::{ArtifactLimits, LayerSpec, Manifest, SlotContract, write_artifact};
use kasmina_leyline::BlueprintId;

use crate::common::{numbers, verified};

type Train = Autodiff<Flex>;

#[derive(Module, Debug)]
struct Mlp<B: Backend> {
    norm: LayerNorm<B>,
    up: Linear<B>,
    down: Linear<B>,
}

#[test]
fn mlp_has_the_gradients_of_plain_burn() {
    let device = Default::default();
    let plain = Mlp::<Train> {
        norm: LayerNormConfig::new(6).init(&device),
        up: LinearConfig::new(6, 24).init(&device),
        down: LinearConfig::new(24, 6).init(&device),
    };
    agrees(Blueprint::Mlp, [2, 5, 6], plain, |plain, x| {
        x.clone() + plain.down.forward(gelu(plain.up.forward(plain.norm.forward(x))))
    });
}

#[derive(Module, Debug)]
struct ConvResidual<B: Backend> {
    norm: GroupNorm<B>,
    first: Conv2d<B>,
    second: Conv2d<B>,
}

#[test]
fn conv_residual_has_the_gradients_of_plain_burn() {
    let device = Default::default();
    let conv = || Conv2dConfig::new([8, 8], [3, 3]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init(&device);
    let norm = GroupNormConfig::new(2, 8).init(&device);
    let plain = ConvResidual::<Train> { norm, first: conv(), second: conv() };
    agrees(Blueprint::ConvResidual, [2, 8, 5, 4], plain, |plain, x| {
        x.clone() + plain.second.forward(relu(plain.first.forward(plain.norm.forward(x))))
    });
}

#[derive(Module, Debug)]
struct Attention<B: Backend> {
    norm: LayerNorm<B>,
    attention: MultiHeadAttention<B>,
}

#[test]
fn attention_has_the_gradients_of_plain_burn() {
    let device = Default::default();
    let attention = MultiHeadAttentionConfig::new(64, 1).with_dropout(0.0).init(&device);
    let plain = Attention::<Train> { norm: LayerNormConfig::new(64).init(&device), attention };
    agrees(Blueprint::Attention, [2, 5, 64], plain, |plain, x| {
        x.clone() + plain.attention.forward(MhaInput::self_attn(plain.norm.forward(x))).context
    });
}

#[test]
fn causal_attention_has_the_gradients_of_plain_burn() {
    let device = Default::default();
    let attention = MultiHeadAttentionConfig::new(64, 1).with_dropout(0.0).init(&device);
    let plain = Attention::<Train> { norm: LayerNormConfig::new(64).init(&device), attention };
    agrees(Blueprint::CausalAttention, [2, 5, 64], plain, |plain, x| {
        let input = MhaInput::self_attn(plain.norm.forward(x.clone()));
        let mask = generate_autoregressive_mask(2, 5, &x.device());
        x + plain.attention.forward(input.mask_attn(mask)).context
    });
}

#[derive(Module, Debug)]
struct SqueezeExcite<B: Backend> {
    reduce: Linear<B>,
    expand: Linear<B>,
    gamma: Param<Tensor<B, 1>>,
}

#[test]
fn squeeze_excite_and_scale_have_the_gradients_of_plain_burn() {
    let device = Default::default();
    let plain = SqueezeExcite::<Train> {
        reduce: LinearConfig::new(8, 2).init(&device),
        expand: LinearConfig::new(2, 8).init(&device),
        gamma: Param::from_data(TensorData::new(numbers(5, 8), [8]), &device),
    };
    agrees(Blueprint::SqueezeExcite, [2, 8, 3, 4], plain, |plain, x| {
        let mean = x.clone().reshape([2, 8, 12]).mean_dim(2).reshape([2, 8]);
        let gate = sigmoid(plain.expand.forward(relu(plain.reduce.forward(mean))));
        x.clone() + x * gate.reshape([2, 8, 1, 1]) * plain.gamma.val().reshape([1, 8, 1, 1])
    });
}

#[test]
fn convolutions_of_every_form_have_the_gradients_of_plain_burn() {
    for (shape, kernel, padding, dilation, groups, bias) in [
        // A matrix product, and with more channels than places not.
        ([3, 4, 5, 6], [1, 1], [0, 0], [1, 1], 1, true),
        ([3, 4, 5, 6], [1, 1], [0, 0], [1, 1], 1, false),
        ([3, 4, 1, 2], [1, 1], [0, 0], [1, 1], 1, true),
        ([3, 4, 5, 6], [1, 1], [0, 0], [1, 1], 2, true),
        ([2, 4, 7, 5], [3, 3], [1, 1], [1, 1], 1, true),
        ([2, 4, 7, 6], [3, 3], [2, 2], [2, 2], 4, true),
    ] {
        let [_, channels, ..] = shape;
        let layer = LayerSpec::Conv2d {
            channels_in: channels,
            channels_out: channels,
            kernel,
            padding,
            dilation,
            groups,
            bias,
        };
        let contract = SlotContract::f32(4, channels, channels);
        let manifest = Manifest::new(BlueprintId::new("conv").unwrap(), contract, vec![layer]).unwrap();
        let plain = Conv2dConfig::new([channels, channels], kernel)
            .with_padding(PaddingConfig2d::Explicit(padding[0], padding[1], padding[0], padding[1]))
            .with_dilation(dilation)
            .with_groups(groups)
            .with_bias(bias)
            .init(&Default::default());
        agree(&manifest, shape, plain, |plain, x| plain.forward(x));
    }
}

fn agrees<const D: usize, M: AutodiffModule<Train>>(
    blueprint: Blueprint,
    shape: [usize; D],
    plain: M,
    forward: impl Fn(&M, Tensor<Train, D>) -> Tensor<Train, D>,
) {
    let channels = if D == 3 { shape[2] } else { shape[1] };
    let manifest = blueprint.for_slot(SlotContract::f32(D, channels, channels), Start::Identity).unwrap();
    agree(&manifest, shape, plain, forward);
}

/// The kernel gets the weights of the plain module, which has its parameters in the same order.
fn agree<const D: usize, M: AutodiffModule<Train>>(
    manifest: &Manifest,
    shape: [usize; D],
    plain: M,
    forward: impl Fn(&M, Tensor<Train, D>) -> Tensor<Train, D>,
) {
    let mut weights = Collect::<'_> { gradients: None, found: Vec::new() };
    plain.visit(&mut weights);
    let plan = manifest.tensors(&ArtifactLimits::default()).unwrap();
    assert_eq!(plan.len(), weights.found.len());
    let tensors = plan.into_iter().map(|spec| spec.name).zip(weights.found).collect();
    let kernel = verified(&write_artifact(manifest, &tensors).unwrap()).build::<Train>(&Default::default());

    let x = TensorData::new(numbers(11, shape.iter().product()), shape);
    let run = |module: &dyn Fn(Tensor<Train, D>) -> Tensor<Train, D>| {
        let x = Tensor::<Train, D>::from_data(x.clone(), &Default::default()).require_grad();
        let y = module(x.clone());
        let gradients = (y.clone() * y.clone().sin()).sum().backward();
        let input: Vec<f32> = x.grad(&gradients).unwrap().into_data().iter().collect();
        (y.into_data().iter::<f32>().collect::<Vec<_>>(), input, gradients)
    };
    let (y, dx, gradients) = run(&|x| forward(&plain, x));
    let ours = run(&|x| kernel.forward(x).unwrap());
    close(&y, &ours.0, "the output");
    close(&dx, &ours.1, "the gradient of the input");
    let (theirs, ours) = (of(gradients, &plain), of(ours.2, &kernel));
    assert_eq!(theirs.len(), ours.len());
    theirs.iter().zip(&ours).enumerate().for_each(|(index, (a, b))| close(a, b, &format!("the gradient of {index}")));
}

fn of<M: AutodiffModule<Train>>(gradients: <Train as AutodiffBackend>::Gradients, module: &M) -> Vec<Vec<f32>> {
    let gradients = GradientsParams::from_grads(gradients, module);
    let mut collect = Collect { gradients: Some(&gradients), found: Vec::new() };
    module.visit(&mut collect);
    collect.found
}

/// All parameters, or all gradients, in the module's order.
struct Collect<'a> {
    gradients: Option<&'a GradientsParams>,
    found: Vec<Vec<f32>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let tensor = match self.gradients {
            None => param.val().inner(),
            Some(gradients) => gradients.get::<B::InnerBackend, D>(param.id).unwrap(),
        };
        self.found.push(tensor.into_data().iter().collect());
    }
}

fn close(expected: &[f32], got: &[f32], what: &str) {
    assert_eq!(expected.len(), got.len());
    let scale = expected.iter().map(|v| v.abs()).fold(0.1, f32::max);
    for (expected, got) in expected.iter().zip(got) {
        assert!((expected - got).abs() <= 1e-5 * scale, "{what}: {got} for {expected}");
    }
}
