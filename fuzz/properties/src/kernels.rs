//! Small kernels out of a fuzzer's choices.

use kasmina_kernel_load::{Activation, LayerSpec, Manifest, SlotContract};
use kasmina_leyline::BlueprintId;

use crate::choices::Choices;

/// A kernel of one to four layers of any kind; `None` where the choices make none.
pub(crate) fn kernel(choices: &mut Choices<'_>) -> Option<Manifest> {
    let rank = 2 + choices.below(3);
    let channels = 1 + choices.below(6);
    let count = 1 + choices.below(4);
    let (mut layers, mut given) = (Vec::new(), channels);
    for _ in 0..count {
        layers.push(layer(choices, rank, &mut given, 0)?);
    }
    let blueprint = BlueprintId::new(format!("fuzz-{rank}-{channels}")).ok()?;
    Manifest::new(blueprint, SlotContract::f32(rank, channels, given), layers).ok()
}

fn layer(choices: &mut Choices<'_>, rank: usize, channels: &mut usize, depth: usize) -> Option<LayerSpec> {
    let width = 1 + choices.below(4);
    let channels_in = *channels;
    Some(match (choices.below(6), rank) {
        (0, 4) => {
            let kernel = [1 + choices.below(3), 1 + choices.below(3)];
            let padding = kernel.map(|side| choices.below(side));
            let groups = if choices.flag() { channels_in } else { 1 };
            *channels = groups * width;
            LayerSpec::Conv2d {
                channels_in,
                channels_out: *channels,
                kernel,
                padding,
                dilation: [1, 1],
                groups,
                bias: choices.flag(),
            }
        }
        (0, _) => {
            *channels = width;
            LayerSpec::Linear { channels_in, channels_out: width, bias: choices.flag() }
        }
        (1, 4) => LayerSpec::GroupNorm { channels: channels_in, groups: 1 },
        (1, _) => LayerSpec::LayerNorm { channels: channels_in },
        (2, _) if depth < 4 => {
            let mut inner = channels_in;
            LayerSpec::Residual { layers: vec![layer(choices, rank, &mut inner, depth + 1)?] }
        }
        (3, _) => LayerSpec::SqueezeExcite { channels: channels_in, hidden: width },
        (4, 3) => LayerSpec::Attention { channels: channels_in, heads: 1, causal: choices.flag() },
        (4, 2) => {
            *channels = width;
            LayerSpec::LowRank { channels_in, channels_out: width, rank: 1 + choices.below(2) }
        }
        (5, _) => LayerSpec::Identity {},
        _ => LayerSpec::Activation(choices.pick(&ACTIVATIONS)?),
    })
}

const ACTIVATIONS: [Activation; 5] =
    [Activation::Relu, Activation::Gelu, Activation::Silu, Activation::Tanh, Activation::Sigmoid];
