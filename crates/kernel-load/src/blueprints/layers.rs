//! The layers of each blueprint.

use super::{Blueprint, Start};
use crate::layer::MAX_CHANNELS;
use crate::{Activation, LayerSpec, SlotContract};

pub(super) fn of(blueprint: Blueprint, slot: SlotContract, start: Start) -> Vec<LayerSpec> {
    let layers = change(blueprint, slot);
    match start {
        Start::Identity => vec![LayerSpec::Residual { layers }],
        Start::Zero => layers,
    }
}

/// The `f` of the table. Its last layer is one that `zero_last` makes zero.
fn change(blueprint: Blueprint, slot: SlotContract) -> Vec<LayerSpec> {
    let SlotContract { rank, channels_in: c, channels_out: o, dtype: _ } = slot;
    let quarter = (c / 4).max(1);
    let mut layers = match blueprint {
        Blueprint::Norm => vec![norm(rank, c)],
        Blueprint::Bottleneck => vec![map(rank, c, quarter), gelu(), map(rank, quarter, o)],
        Blueprint::Mlp => {
            let wide = c.saturating_mul(4).min(MAX_CHANNELS);
            vec![norm(rank, c), map(rank, c, wide), gelu(), map(rank, wide, o)]
        }
        Blueprint::LowRank => low_rank(rank, c, o),
        Blueprint::DepthwiseSeparable => {
            let silu = LayerSpec::Activation(Activation::Silu);
            vec![LayerSpec::depthwise(c, 3), norm(rank, c), silu, map(rank, c, o)]
        }
        Blueprint::SqueezeExcite => {
            vec![LayerSpec::SqueezeExcite { channels: c, hidden: quarter }, LayerSpec::Scale { channels: c }]
        }
        Blueprint::ConvResidual => {
            let relu = LayerSpec::Activation(Activation::Relu);
            vec![norm(rank, c), conv(c, c), relu, conv(c, o)]
        }
        Blueprint::Attention => vec![norm(rank, c), attention(c, false)],
        Blueprint::CausalAttention => vec![norm(rank, c), attention(c, true)],
    };
    let keeps_channels = [Blueprint::Norm, Blueprint::SqueezeExcite, Blueprint::Attention, Blueprint::CausalAttention];
    if keeps_channels.contains(&blueprint) && c != o {
        layers.push(map(rank, c, o));
    }
    layers
}

fn gelu() -> LayerSpec {
    LayerSpec::Activation(Activation::Gelu)
}

fn norm(rank: usize, channels: usize) -> LayerSpec {
    if rank == 4 {
        LayerSpec::GroupNorm { channels, groups: groups(channels) }
    } else {
        LayerSpec::LayerNorm { channels }
    }
}

fn map(rank: usize, from: usize, to: usize) -> LayerSpec {
    if rank == 4 { LayerSpec::pointwise(from, to) } else { LayerSpec::linear(from, to) }
}

fn low_rank(rank: usize, channels_in: usize, channels_out: usize) -> Vec<LayerSpec> {
    let width = 8.min(channels_in);
    if rank != 4 {
        return vec![LayerSpec::LowRank { channels_in, channels_out, rank: width }];
    }
    let map = |channels_in, channels_out| LayerSpec::Conv2d {
        channels_in,
        channels_out,
        kernel: [1, 1],
        padding: [0, 0],
        dilation: [1, 1],
        groups: 1,
        bias: false,
    };
    vec![map(channels_in, width), map(width, channels_out)]
}

/// A 3x3 convolution with a bias that keeps height and width.
fn conv(channels_in: usize, channels_out: usize) -> LayerSpec {
    LayerSpec::Conv2d {
        channels_in,
        channels_out,
        kernel: [3, 3],
        padding: [1, 1],
        dilation: [1, 1],
        groups: 1,
        bias: true,
    }
}

/// Groups of a group norm: 32 (Wu and He, "Group Normalization", 2018), or fewer if they would not divide the channels or hold fewer than
/// four.
fn groups(channels: usize) -> usize {
    [32, 16, 8, 4, 2].into_iter().find(|groups| channels.is_multiple_of(*groups) && channels / groups >= 4).unwrap_or(1)
}

/// With heads of 64 channels, as in most transformers, or of 32; one head for anything else.
fn attention(channels: usize, causal: bool) -> LayerSpec {
    let width = [64, 32].into_iter().find(|width| channels.is_multiple_of(*width));
    LayerSpec::Attention { channels, heads: width.map_or(1, |width| (channels / width).max(1)), causal }
}
