//! The layers of a kernel as Burn modules. Shapes are not checked here, because the manifest and the input were.

use burn::module::{Module, Param, ParamId};
use burn::nn::conv::Conv2d;
use burn::nn::{GroupNorm, LayerNorm, LayerNormConfig, Linear, PaddingConfig2d};
use burn::tensor::activation::{gelu, relu, sigmoid, silu, softmax};
use burn::tensor::{Bool, DType, Tensor, TensorData, backend::Backend};

use crate::LayerSpec;
use crate::layer::{Activation, NORM_EPSILON};
use crate::nested::Layers;

/// One layer. The variants' names are part of the tensors' names.
#[expect(clippy::large_enum_variant, reason = "Burn does not take a box as a module, and a kernel has few layers")]
#[derive(Module, Debug)]
pub(crate) enum Layer<B: Backend> {
    Linear(Linear<B>),
    Conv2d(Conv2d<B>),
    LayerNorm(LayerNorm<B>),
    GroupNorm(GroupNorm<B>),
    Elementwise(Elementwise),
    Residual(Residual<B>),
    SqueezeExcite(SqueezeExcite<B>),
    Attention(Attention<B>),
    LowRank(LowRank<B>),
    Scale(Scale<B>),
}

/// An elementwise function; `None` is the identity.
#[derive(Module, Clone, Debug)]
pub(crate) struct Elementwise {
    pub(crate) function: Option<Activation>,
}

/// `x + f(x)`.
#[derive(Module, Debug)]
pub(crate) struct Residual<B: Backend> {
    pub(crate) layers: Layers<B>,
}

/// `x * sigmoid(expand(relu(reduce(mean(x)))))`.
#[derive(Module, Debug)]
pub(crate) struct SqueezeExcite<B: Backend> {
    pub(crate) reduce: Linear<B>,
    pub(crate) expand: Linear<B>,
}

/// Multi-head self-attention.
#[derive(Module, Debug)]
pub(crate) struct Attention<B: Backend> {
    pub(crate) query: Linear<B>,
    pub(crate) key: Linear<B>,
    pub(crate) value: Linear<B>,
    pub(crate) output: Linear<B>,
    pub(crate) heads: usize,
    pub(crate) causal: bool,
}

/// `(x D) U`.
#[derive(Module, Debug)]
pub(crate) struct LowRank<B: Backend> {
    pub(crate) down: Linear<B>,
    pub(crate) up: Linear<B>,
}

/// `gamma * x` per channel.
#[derive(Module, Debug)]
pub(crate) struct Scale<B: Backend> {
    pub(crate) gamma: Param<Tensor<B, 1>>,
}

impl<B: Backend> Layers<B> {
    pub(crate) fn forward<const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        self.0.iter().fold(x, |x, layer| layer.forward(x))
    }
}

impl<B: Backend> Layer<B> {
    fn forward<const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        match self {
            Self::Linear(layer) => layer.forward(x),
            Self::Conv2d(layer) => with_rank(convolve(layer, with_rank(x))),
            Self::LayerNorm(layer) => layer.forward(x),
            Self::GroupNorm(layer) => layer.forward(x),
            Self::Elementwise(layer) => layer.forward(x),
            Self::Residual(layer) => x.clone() + layer.layers.forward(x),
            Self::SqueezeExcite(layer) => layer.forward(x),
            Self::Attention(layer) => with_rank(layer.forward(with_rank(x))),
            Self::LowRank(layer) => layer.up.forward(layer.down.forward(x)),
            Self::Scale(layer) => layer.forward(x),
        }
    }
}

/// A convolution, in a form that is fast on the CPU. The backward pass of Burn's own copies its tensors number by number there, once for the weights
/// and once for the bias. So a bias is added apart, and a convolution of single places is a matrix product, whose backward pass
/// copies nothing. The product has a gradient of the weights for each example, which must not be larger than the activation.
fn convolve<B: Backend>(layer: &Conv2d<B>, x: Tensor<B, 4>) -> Tensor<B, 4> {
    let ([batch, channels_in, height, width], channels_out) = (x.dims(), layer.weight.dims()[0]);
    let is_padded = !matches!(layer.padding, PaddingConfig2d::Explicit(0, 0, 0, 0));
    let is_pointwise = layer.kernel_size == [1, 1] && layer.stride == [1, 1] && layer.groups == 1 && !is_padded;
    let out = if is_pointwise && height * width >= channels_in {
        let weight = layer.weight.val().reshape([1, channels_out, channels_in]);
        let places = x.reshape([batch, channels_in, height * width]);
        weight.matmul(places).reshape([batch, channels_out, height, width])
    } else {
        Conv2d { bias: None, ..layer.clone() }.forward(x)
    };
    match &layer.bias {
        Some(bias) => out + bias.val().reshape([1, channels_out, 1, 1]),
        None => out,
    }
}

impl Elementwise {
    fn forward<B: Backend, const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        match self.function {
            None => x,
            Some(Activation::Relu) => relu(x),
            Some(Activation::Gelu) => gelu(x),
            Some(Activation::Silu) => silu(x),
            Some(Activation::Tanh) => x.tanh(),
            Some(Activation::Sigmoid) => sigmoid(x),
        }
    }
}

impl<B: Backend> SqueezeExcite<B> {
    fn forward<const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        let channel_axis = channel_axis(D);
        let mean = (1..D).filter(|&axis| axis != channel_axis).fold(x.clone(), Tensor::mean_dim);
        let shape = mean.dims();
        let squeezed = mean.reshape([shape[0], shape[channel_axis]]);
        let gate = sigmoid(self.expand.forward(relu(self.reduce.forward(squeezed))));
        x * gate.reshape(shape)
    }
}

impl<B: Backend> Attention<B> {
    fn forward(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        let [batch, tokens, channels] = x.dims();
        let width = channels / self.heads;
        let split = |linear: &Linear<B>| {
            let x: Tensor<B, 3> = linear.forward(x.clone());
            x.reshape([batch, tokens, self.heads, width]).swap_dims(1, 2)
        };
        let mut scores = split(&self.query).matmul(split(&self.key).transpose()) / (width as f64).sqrt();
        if self.causal {
            // True where a token would see one that comes after it.
            let hidden = Tensor::<B, 4, Bool>::tril_mask([1, 1, tokens, tokens], 0, &x.device());
            scores = scores.mask_fill(hidden, f32::NEG_INFINITY);
        }
        let mixed = softmax(scores, 3).matmul(split(&self.value));
        self.output.forward(mixed.swap_dims(1, 2).reshape([batch, tokens, channels]))
    }
}

impl<B: Backend> Scale<B> {
    fn forward<const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, D> {
        let gamma = self.gamma.val();
        let mut shape = [1; D];
        shape[channel_axis(D)] = gamma.dims()[0];
        x * gamma.reshape(shape)
    }
}

/// The axis of the channels on this rank.
const fn channel_axis(rank: usize) -> usize {
    if rank == 3 { 2 } else { 1 }
}

/// The same tensor when `D` and `E` are equal at run time, which the types do not know.
fn with_rank<B: Backend, const D: usize, const E: usize>(x: Tensor<B, D>) -> Tensor<B, E> {
    Tensor::from_primitive(x.into_primitive())
}

/// The parameters that are not yet used, in the plan's order.
pub(crate) struct Weights<'a, B: Backend> {
    pub(crate) source: Source<'a, B>,
    pub(crate) dtype: DType,
    pub(crate) device: &'a B::Device,
}

/// Where the parameters of a module come from.
pub(crate) enum Source<'a, B: Backend> {
    /// New ones, from numbers.
    Numbers(&'a [f32]),
    /// Parts of a tensor, which stay parts of it.
    Tensor { all: Tensor<B, 1>, used: usize },
}

impl<B: Backend> Weights<'_, B> {
    pub(crate) fn layers(&mut self, specs: &[LayerSpec]) -> Layers<B> {
        Layers(specs.iter().map(|spec| self.layer(spec)).collect())
    }

    fn layer(&mut self, spec: &LayerSpec) -> Layer<B> {
        match spec {
            LayerSpec::Linear { channels_in, channels_out, bias } => {
                Layer::Linear(self.linear(*channels_in, *channels_out, *bias))
            }
            LayerSpec::Conv2d { channels_in, channels_out, kernel, padding, dilation, groups, bias } => {
                Layer::Conv2d(Conv2d {
                    weight: self.take([*channels_out, channels_in / groups, kernel[0], kernel[1]]),
                    bias: bias.then(|| self.take([*channels_out])),
                    stride: [1, 1],
                    kernel_size: *kernel,
                    dilation: *dilation,
                    groups: *groups,
                    padding: PaddingConfig2d::Explicit(padding[0], padding[1], padding[0], padding[1]),
                })
            }
            LayerSpec::LayerNorm { channels } => {
                // The epsilon is private, so `init` must set it; the parameters that it makes are lazy and are never initialised.
                let mut norm = LayerNormConfig::new(*channels).with_epsilon(NORM_EPSILON).init(self.device);
                norm.gamma = self.take([*channels]);
                norm.beta = Some(self.take([*channels]));
                Layer::LayerNorm(norm)
            }
            LayerSpec::GroupNorm { channels, groups } => Layer::GroupNorm(GroupNorm {
                gamma: Some(self.take([*channels])),
                beta: Some(self.take([*channels])),
                num_groups: *groups,
                num_channels: *channels,
                epsilon: NORM_EPSILON,
                affine: true,
            }),
            LayerSpec::Activation(function) => Layer::Elementwise(Elementwise { function: Some(*function) }),
            LayerSpec::Residual { layers } => Layer::Residual(Residual { layers: self.layers(layers) }),
            LayerSpec::SqueezeExcite { channels, hidden } => Layer::SqueezeExcite(SqueezeExcite {
                reduce: self.linear(*channels, *hidden, true),
                expand: self.linear(*hidden, *channels, true),
            }),
            LayerSpec::Attention { channels, heads, causal } => Layer::Attention(Attention {
                query: self.linear(*channels, *channels, true),
                key: self.linear(*channels, *channels, true),
                value: self.linear(*channels, *channels, true),
                output: self.linear(*channels, *channels, true),
                heads: *heads,
                causal: *causal,
            }),
            LayerSpec::LowRank { channels_in, channels_out, rank } => Layer::LowRank(LowRank {
                down: self.linear(*channels_in, *rank, false),
                up: self.linear(*rank, *channels_out, false),
            }),
            LayerSpec::Scale { channels } => Layer::Scale(Scale { gamma: self.take([*channels]) }),
            LayerSpec::Identity {} => Layer::Elementwise(Elementwise { function: None }),
        }
    }

    fn linear(&mut self, channels_in: usize, channels_out: usize, bias: bool) -> Linear<B> {
        Linear { weight: self.take([channels_in, channels_out]), bias: bias.then(|| self.take([channels_out])) }
    }

    fn take<const D: usize>(&mut self, shape: [usize; D]) -> Param<Tensor<B, D>> {
        let count = shape.iter().product();
        match &mut self.source {
            Source::Numbers(parameters) => {
                let (weights, rest) = parameters.split_at(count);
                *parameters = rest;
                let data = TensorData::new(weights.to_vec(), shape);
                Param::from_tensor(Tensor::from_data(data, (self.device, self.dtype)))
            }
            Source::Tensor { all, used } => {
                let part = *used..*used + count;
                *used = part.end;
                Param::initialized(ParamId::new(), all.clone().slice([part]).reshape(shape))
            }
        }
    }
}
