//! The tensors of a manifest.

use crate::layer::LayerSpec;

/// A tensor that a kernel must have: its name in the file and its shape.
///
/// The names are the paths that Burn's own stores use for the parameters of a [`KernelModule`](crate::KernelModule).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// `layers.<index>.<Layer>.<tensor>`, for example `layers.0.Linear.weight`.
    pub name: String,
    /// The length of each axis.
    pub shape: Vec<usize>,
    pub(crate) fill: Fill,
}

/// The initial values of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// Uniform in `±1 / sqrt(fan_in)`.
    Uniform {
        fan_in: usize,
    },
    Ones,
    Zeros,
}

/// The tensors of `layers` in the order in which a module visits its parameters.
pub(crate) fn tensors(layers: &[LayerSpec]) -> Vec<TensorSpec> {
    let mut plan = Vec::new();
    collect(layers, "", &mut plan);
    plan
}

/// The path of the last linear map that adds to the output. If it is zero, the output of its layer is zero.
///
/// Squeeze-excite only scales, so it is skipped. `None` if no layer has such a map.
pub(crate) fn last_map(layers: &[LayerSpec]) -> Option<String> {
    fn find(layers: &[LayerSpec], prefix: &str) -> Option<String> {
        layers.iter().enumerate().rev().find_map(|(index, layer)| {
            let path = |layer: &str| format!("{prefix}layers.{index}.{layer}.");
            match layer {
                LayerSpec::Linear { .. } => Some(path("Linear")),
                LayerSpec::Conv2d { .. } => Some(path("Conv2d")),
                LayerSpec::LayerNorm { .. } => Some(path("LayerNorm")),
                LayerSpec::GroupNorm { .. } => Some(path("GroupNorm")),
                LayerSpec::Residual { layers } => find(layers, &path("Residual")),
                LayerSpec::Attention { .. } => Some(path("Attention.output")),
                LayerSpec::LowRank { .. } => Some(path("LowRank.up")),
                LayerSpec::Scale { .. } => Some(path("Scale")),
                LayerSpec::SqueezeExcite { .. } | LayerSpec::Activation(_) | LayerSpec::Identity {} => None,
            }
        })
    }
    find(layers, "")
}

fn collect(layers: &[LayerSpec], prefix: &str, plan: &mut Vec<TensorSpec>) {
    for (index, layer) in layers.iter().enumerate() {
        let path = |layer: &str| format!("{prefix}layers.{index}.{layer}");
        match layer {
            LayerSpec::Linear { channels_in, channels_out, bias } => {
                linear(plan, &path("Linear"), *channels_in, *channels_out, *bias);
            }
            LayerSpec::Conv2d { channels_in, channels_out, kernel, groups, bias, .. } => {
                let path = path("Conv2d");
                let shape = [*channels_out, channels_in / groups, kernel[0], kernel[1]];
                let fill = Fill::Uniform { fan_in: shape[1..].iter().product() };
                push(plan, &path, "weight", &shape, fill);
                if *bias {
                    push(plan, &path, "bias", &[*channels_out], fill);
                }
            }
            LayerSpec::LayerNorm { channels } => norm(plan, &path("LayerNorm"), *channels),
            LayerSpec::GroupNorm { channels, .. } => norm(plan, &path("GroupNorm"), *channels),
            LayerSpec::Residual { layers } => collect(layers, &format!("{}.", path("Residual")), plan),
            LayerSpec::SqueezeExcite { channels, hidden } => {
                let path = path("SqueezeExcite");
                linear(plan, &format!("{path}.reduce"), *channels, *hidden, true);
                linear(plan, &format!("{path}.expand"), *hidden, *channels, true);
            }
            LayerSpec::Attention { channels, .. } => {
                let path = path("Attention");
                for part in ["query", "key", "value", "output"] {
                    linear(plan, &format!("{path}.{part}"), *channels, *channels, true);
                }
            }
            LayerSpec::LowRank { channels_in, channels_out, rank } => {
                let path = path("LowRank");
                linear(plan, &format!("{path}.down"), *channels_in, *rank, false);
                linear(plan, &format!("{path}.up"), *rank, *channels_out, false);
            }
            LayerSpec::Scale { channels } => push(plan, &path("Scale"), "gamma", &[*channels], Fill::Ones),
            LayerSpec::Activation(_) | LayerSpec::Identity {} => {}
        }
    }
}

fn linear(plan: &mut Vec<TensorSpec>, path: &str, channels_in: usize, channels_out: usize, bias: bool) {
    let fill = Fill::Uniform { fan_in: channels_in };
    push(plan, path, "weight", &[channels_in, channels_out], fill);
    if bias {
        push(plan, path, "bias", &[channels_out], fill);
    }
}

fn norm(plan: &mut Vec<TensorSpec>, path: &str, channels: usize) {
    push(plan, path, "gamma", &[channels], Fill::Ones);
    push(plan, path, "beta", &[channels], Fill::Zeros);
}

fn push(plan: &mut Vec<TensorSpec>, path: &str, name: &str, shape: &[usize], fill: Fill) {
    plan.push(TensorSpec { name: format!("{path}.{name}"), shape: shape.to_vec(), fill });
}
