//! A kernel as a function: layers without parameters, which come as one tensor.

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::PaddingConfig2d;
use burn::tensor::{Tensor, backend::Backend};

use crate::blocks::{Elementwise, Layer, Source, Weights};
use crate::nested::Layers;
use crate::{KernelDtype, KernelModule, LayerSpec, ShapeError};

/// What a kernel computes, without its parameters and for any backend. Made by
/// [`KernelModule::forward_as_function`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelFunction {
    layers: Vec<LayerSpec>,
    dtype: KernelDtype,
}

impl KernelFunction {
    /// The kernel's output for `x`, with the kernel's parameters one after the other. Gradients go to both. Operations and numbers
    /// are those of [`KernelModule::forward`].
    ///
    /// # Panics
    /// If `x` is not what the kernel takes, or there are too few parameters.
    #[must_use]
    pub fn forward<B: Backend, const D: usize>(&self, x: Tensor<B, D>, parameters: Tensor<B, 1>) -> Tensor<B, D> {
        let device = x.device();
        let source = Source::Tensor { all: parameters, used: 0 };
        Weights { source, dtype: self.dtype.dtype(), device: &device }.layers(&self.layers).forward(x)
    }
}

impl<B: Backend> KernelModule<B> {
    /// Like [`forward`](Self::forward), but `run` computes the output: from the function, the input, and all parameters one after
    /// the other (a single zero if the kernel has none). So a caller can run the kernel elsewhere than on `B`. With autodiff, gradients of
    /// the last two arguments reach the input and the kernel's parameters.
    ///
    /// # Errors
    /// [`ShapeError`], as for `forward`. Then `run` is not called.
    pub fn forward_as_function<const D: usize>(
        &self,
        x: Tensor<B, D>,
        run: impl FnOnce(KernelFunction, Tensor<B, D>, Tensor<B, 1>) -> Tensor<B, D>,
    ) -> Result<Tensor<B, D>, ShapeError> {
        self.admit(&x)?;
        let dtype = self.contract().dtype;
        let mut flat = Flat(Vec::new());
        self.visit(&mut flat);
        if flat.0.is_empty() {
            flat.0.push(Tensor::zeros([1], (&x.device(), dtype.dtype())));
        }
        let function = KernelFunction { layers: self.layers().specs(), dtype };
        // Burn drops what it concatenates before the result is in the graph. Without these clones, a backward pass that ends on another
        // thread at that moment would free the nodes, and the parameters would get no gradients.
        let held = flat.0.clone();
        let parameters = Tensor::cat(flat.0, 0);
        drop(held);
        Ok(run(function, x, parameters))
    }
}

struct Flat<B: Backend>(Vec<Tensor<B, 1>>);

impl<B: Backend> ModuleVisitor<B> for Flat<B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.0.push(param.val().reshape([-1]));
    }
}

impl<B: Backend> Layers<B> {
    fn specs(&self) -> Vec<LayerSpec> {
        self.0.iter().map(Layer::spec).collect()
    }
}

impl<B: Backend> Layer<B> {
    /// What the layer was built from.
    fn spec(&self) -> LayerSpec {
        match self {
            Self::Linear(layer) => {
                let [channels_in, channels_out] = layer.weight.dims();
                LayerSpec::Linear { channels_in, channels_out, bias: layer.bias.is_some() }
            }
            Self::Conv2d(layer) => {
                let [channels_out, per_group, ..] = layer.weight.dims();
                let padding = match layer.padding {
                    PaddingConfig2d::Explicit(top, left, ..) => [top, left],
                    // Kernels are built with explicit padding alone.
                    PaddingConfig2d::Valid | PaddingConfig2d::Same => [0, 0],
                };
                LayerSpec::Conv2d {
                    channels_in: per_group * layer.groups,
                    channels_out,
                    kernel: layer.kernel_size,
                    padding,
                    dilation: layer.dilation,
                    groups: layer.groups,
                    bias: layer.bias.is_some(),
                }
            }
            Self::LayerNorm(layer) => LayerSpec::LayerNorm { channels: layer.gamma.dims()[0] },
            Self::GroupNorm(layer) => LayerSpec::GroupNorm { channels: layer.num_channels, groups: layer.num_groups },
            Self::Elementwise(Elementwise { function: None }) => LayerSpec::Identity {},
            Self::Elementwise(Elementwise { function: Some(function) }) => LayerSpec::Activation(*function),
            Self::Residual(layer) => LayerSpec::Residual { layers: layer.layers.specs() },
            Self::SqueezeExcite(layer) => {
                let [channels, hidden] = layer.reduce.weight.dims();
                LayerSpec::SqueezeExcite { channels, hidden }
            }
            Self::Attention(layer) => {
                let channels = layer.query.weight.dims()[0];
                LayerSpec::Attention { channels, heads: layer.heads, causal: layer.causal }
            }
            Self::LowRank(layer) => {
                let ([channels_in, rank], [_, channels_out]) = (layer.down.weight.dims(), layer.up.weight.dims());
                LayerSpec::LowRank { channels_in, channels_out, rank }
            }
            Self::Scale(layer) => LayerSpec::Scale { channels: layer.gamma.dims()[0] },
        }
    }
}
