//! The vocabulary of layers.

use serde::{Deserialize, Serialize};

/// The maximum number of channels of a layer. Our choice: eight times the widest hidden layer of current transformers.
pub const MAX_CHANNELS: usize = 1 << 16;

/// The maximum side and the maximum dilation of a convolution's kernel. Our choice: twice the largest kernels in use (31).
pub const MAX_KERNEL: usize = 64;

/// The epsilon of every norm: the default of Burn and PyTorch. It is fixed, so that a manifest has only whole numbers.
pub const NORM_EPSILON: f64 = 1e-5;

/// One layer of a kernel. The vocabulary is closed: a file with any other name is refused.
///
/// *Channels* are the last axis on ranks 2 and 3, and axis 1 on rank 4. Tensors have the contract's element type.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LayerSpec {
    /// `y = x W + b` on ranks 2 and 3. Tensors: `weight [channels_in, channels_out]`, `bias [channels_out]`.
    Linear { channels_in: usize, channels_out: usize, bias: bool },
    /// A two-dimensional convolution of stride 1 on rank 4.
    ///
    /// Tensors: `weight [channels_out, channels_in / groups, kernel[0], kernel[1]]`, `bias [channels_out]`. Pairs are
    /// `[height, width]`. Padding is zeros on both sides, at most `dilation * (kernel - 1)`.
    Conv2d {
        channels_in: usize,
        channels_out: usize,
        /// Size of the kernel, each side at most [`MAX_KERNEL`].
        kernel: [usize; 2],
        /// Zeros on each side.
        padding: [usize; 2],
        /// Distance between the kernel's taps, at most [`MAX_KERNEL`].
        dilation: [usize; 2],
        /// Independent groups; divides both channel counts. Depthwise: as many as channels.
        groups: usize,
        bias: bool,
    },
    /// Normalises over the channels of each position, ranks 2 and 3. Tensors: `gamma [channels]`, `beta [channels]`.
    LayerNorm { channels: usize },
    /// Normalises over groups of channels of each sample, rank 4. Tensors: `gamma [channels]`, `beta [channels]`.
    GroupNorm {
        channels: usize,
        /// Groups; divides the channels.
        groups: usize,
    },
    /// An elementwise function, any rank. No tensors.
    Activation(Activation),
    /// `y = x + f(x)`, where `f` is the inner layers and keeps the shape. Any rank.
    Residual { layers: Vec<LayerSpec> },
    /// `y = x * sigmoid(expand(relu(reduce(mean(x)))))` per channel, with the mean over every axis except batch and channels.
    /// Any rank. Tensors: those of the linear layers `reduce` (to `hidden`) and `expand` (back).
    SqueezeExcite {
        channels: usize,
        /// Width of the bottleneck.
        hidden: usize,
    },
    /// Multi-head self-attention over `[batch, tokens, channels]`, no dropout, scores scaled by
    /// `1 / sqrt(channels / heads)`. Tensors: those of the linear layers `query`, `key`, `value` and `output`.
    Attention {
        channels: usize,
        /// Heads; divides the channels.
        heads: usize,
        /// Whether a token sees itself and those before it alone, as in a network that predicts the next token. Default false.
        #[serde(default, skip_serializing_if = "is_false")]
        causal: bool,
    },
    /// `y = (x D) U`, a linear map of low rank on ranks 2 and 3. Tensors: the weights of the linear layers `down`
    /// (`[channels_in, rank]`) and `up` (`[rank, channels_out]`); no bias.
    LowRank {
        channels_in: usize,
        channels_out: usize,
        /// Width of the bottleneck.
        rank: usize,
    },
    /// `y = gamma * x` per channel, any rank. Tensors: `gamma [channels]`, which starts at one, or at zero as the last layer of a kernel
    /// that must change nothing at first.
    Scale { channels: usize },
    /// `y = x`, any rank. No tensors.
    Identity {},
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// An elementwise function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `x * Phi(x)` with the error function, not its tanh approximation.
    Gelu,
    /// `x * sigmoid(x)`; `swish` is accepted too.
    #[serde(alias = "swish")]
    Silu,
    /// The hyperbolic tangent.
    Tanh,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
}

impl LayerSpec {
    /// Every name that a layer can have in a manifest.
    pub const NAMES: [&'static str; 11] = [
        "linear",
        "conv2d",
        "layer_norm",
        "group_norm",
        "activation",
        "residual",
        "squeeze_excite",
        "attention",
        "low_rank",
        "scale",
        "identity",
    ];

    /// The layer's name in a manifest.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Linear { .. } => "linear",
            Self::Conv2d { .. } => "conv2d",
            Self::LayerNorm { .. } => "layer_norm",
            Self::GroupNorm { .. } => "group_norm",
            Self::Activation(_) => "activation",
            Self::Residual { .. } => "residual",
            Self::SqueezeExcite { .. } => "squeeze_excite",
            Self::Attention { .. } => "attention",
            Self::LowRank { .. } => "low_rank",
            Self::Scale { .. } => "scale",
            Self::Identity {} => "identity",
        }
    }

    /// A linear layer with a bias.
    #[must_use]
    pub fn linear(channels_in: usize, channels_out: usize) -> Self {
        Self::Linear { channels_in, channels_out, bias: true }
    }

    /// A convolution with a 1x1 kernel and a bias: a linear layer for rank 4.
    #[must_use]
    pub fn pointwise(channels_in: usize, channels_out: usize) -> Self {
        Self::Conv2d {
            channels_in,
            channels_out,
            kernel: [1, 1],
            padding: [0, 0],
            dilation: [1, 1],
            groups: 1,
            bias: true,
        }
    }

    /// A convolution of each channel by itself, with a bias, that keeps height and width if `kernel` is odd.
    #[must_use]
    pub fn depthwise(channels: usize, kernel: usize) -> Self {
        Self::Conv2d {
            channels_in: channels,
            channels_out: channels,
            kernel: [kernel; 2],
            padding: [kernel / 2; 2],
            dilation: [1, 1],
            groups: channels,
            bias: true,
        }
    }
}
