//! Checks that a manifest describes a kernel.

use crate::layer::{LayerSpec, MAX_CHANNELS, MAX_KERNEL};
use crate::manifest::FORMAT_VERSION;
use crate::plan::{self, TensorSpec};
use crate::{ArtifactLimits, Manifest, ManifestError};

/// The result for a valid manifest.
pub(crate) struct Checked {
    pub(crate) parameter_count: u64,
    pub(crate) plan: Vec<TensorSpec>,
    pub(crate) spatial: Spatial,
}

/// The effect of the convolutions on height and width.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spatial {
    /// How much larger the output is than the input.
    pub(crate) growth: [i64; 2],
    /// The most negative growth after any layer.
    low: [i64; 2],
}

impl Spatial {
    /// The smallest input that still has a pixel after every layer.
    pub(crate) fn smallest(&self) -> [usize; 2] {
        self.low.map(|low| usize::try_from(1 - low).unwrap_or(1))
    }
}

/// Checks everything.
pub(crate) fn manifest(manifest: &Manifest, limits: &ArtifactLimits) -> Result<Checked, ManifestError> {
    let checked = structure(manifest, limits)?;
    if manifest.parameter_count != checked.parameter_count {
        let (expected, got) = (checked.parameter_count, manifest.parameter_count);
        return Err(ManifestError::ParameterCount { expected, got });
    }
    Ok(checked)
}

/// Checks everything except the declared parameter count.
pub(crate) fn structure(manifest: &Manifest, limits: &ArtifactLimits) -> Result<Checked, ManifestError> {
    let Manifest { format_version, contract, layers, .. } = manifest;
    if *format_version != FORMAT_VERSION {
        return Err(ManifestError::Version { expected: FORMAT_VERSION, got: *format_version });
    }
    if !(2..=4).contains(&contract.rank) {
        return Err(ManifestError::ContractRank { got: contract.rank });
    }
    within("contract", "channels_in", contract.channels_in, 1, MAX_CHANNELS)?;
    let mut walk = Walk { rank: contract.rank, limits, layers: 0, spatial: Spatial::default() };
    let got = walk.chain(layers, "", contract.channels_in, 0)?;
    if got != contract.channels_out {
        return Err(ManifestError::Output { expected: contract.channels_out, got });
    }
    let plan = plan::tensors(layers);
    let parameter_count = count(&plan).ok_or(ManifestError::ParameterOverflow)?;
    if parameter_count > limits.max_parameters {
        return Err(ManifestError::TooManyParameters { limit: limits.max_parameters, got: parameter_count });
    }
    Ok(Checked { parameter_count, plan, spatial: walk.spatial })
}

fn count(plan: &[TensorSpec]) -> Option<u64> {
    plan.iter().try_fold(0_u64, |total, tensor| {
        let elements = tensor.shape.iter().try_fold(1_u64, |product, &axis| product.checked_mul(axis as u64))?;
        total.checked_add(elements)
    })
}

struct Walk<'a> {
    rank: usize,
    limits: &'a ArtifactLimits,
    layers: usize,
    spatial: Spatial,
}

impl Walk<'_> {
    /// The channels after `layers`, which get `channels`.
    fn chain(
        &mut self,
        layers: &[LayerSpec],
        prefix: &str,
        channels: usize,
        depth: usize,
    ) -> Result<usize, ManifestError> {
        if layers.is_empty() {
            return Err(ManifestError::NoLayers { at: if prefix.is_empty() { "manifest" } else { prefix }.into() });
        }
        layers.iter().enumerate().try_fold(channels, |channels, (index, layer)| {
            self.layers += 1;
            if self.layers > self.limits.max_layers {
                return Err(ManifestError::TooManyLayers { limit: self.limits.max_layers });
            }
            self.layer(layer, &format!("{prefix}layers.{index}"), channels, depth)
        })
    }

    fn layer(&mut self, layer: &LayerSpec, at: &str, channels: usize, depth: usize) -> Result<usize, ManifestError> {
        let takes = |expected: usize| {
            let at = at.to_owned();
            if expected == channels {
                Ok(channels)
            } else {
                Err(ManifestError::Channels { at, expected, got: channels })
            }
        };
        let divides = |field: &'static str, divisor: usize, of: usize| match of.checked_rem(divisor) {
            Some(0) => Ok(()),
            Some(_) | None => Err(ManifestError::NotDivisor { at: at.into(), field, of, got: divisor }),
        };
        match layer {
            LayerSpec::Linear { channels_in, channels_out, bias: _ } => {
                self.takes_rank(layer, at, &[2, 3])?;
                takes(*channels_in)?;
                within(at, "channels_out", *channels_out, 1, MAX_CHANNELS)
            }
            LayerSpec::Conv2d { channels_in, channels_out, kernel, padding, dilation, groups, bias: _ } => {
                self.takes_rank(layer, at, &[4])?;
                takes(*channels_in)?;
                within(at, "channels_out", *channels_out, 1, MAX_CHANNELS)?;
                divides("groups", *groups, *channels_in)?;
                divides("groups", *groups, *channels_out)?;
                for axis in 0..2 {
                    within(at, "kernel", kernel[axis], 1, MAX_KERNEL)?;
                    within(at, "dilation", dilation[axis], 1, MAX_KERNEL)?;
                    let reach = dilation[axis] * (kernel[axis] - 1);
                    within(at, "padding", padding[axis], 0, reach)?;
                    let growth = &mut self.spatial.growth[axis];
                    *growth += 2 * padding[axis] as i64 - reach as i64;
                    self.spatial.low[axis] = self.spatial.low[axis].min(*growth);
                }
                Ok(*channels_out)
            }
            LayerSpec::LayerNorm { channels } => {
                self.takes_rank(layer, at, &[2, 3])?;
                takes(*channels)
            }
            LayerSpec::GroupNorm { channels, groups } => {
                self.takes_rank(layer, at, &[4])?;
                divides("groups", *groups, *channels)?;
                takes(*channels)
            }
            LayerSpec::Residual { layers } => {
                if depth == self.limits.max_nesting {
                    return Err(ManifestError::TooDeep { at: at.into(), limit: self.limits.max_nesting });
                }
                let growth = self.spatial.growth;
                let behind = self.chain(layers, &format!("{at}.Residual."), channels, depth + 1)?;
                if behind != channels || self.spatial.growth != growth {
                    let grown = [self.spatial.growth[0] - growth[0], self.spatial.growth[1] - growth[1]];
                    return Err(ManifestError::Residual { at: at.into(), channels, got: behind, grown });
                }
                Ok(channels)
            }
            LayerSpec::SqueezeExcite { channels, hidden } => {
                within(at, "hidden", *hidden, 1, MAX_CHANNELS)?;
                takes(*channels)
            }
            LayerSpec::Attention { channels, heads, .. } => {
                self.takes_rank(layer, at, &[3])?;
                divides("heads", *heads, *channels)?;
                takes(*channels)
            }
            LayerSpec::LowRank { channels_in, channels_out, rank } => {
                self.takes_rank(layer, at, &[2, 3])?;
                takes(*channels_in)?;
                within(at, "rank", *rank, 1, MAX_CHANNELS)?;
                within(at, "channels_out", *channels_out, 1, MAX_CHANNELS)
            }
            LayerSpec::Scale { channels } => takes(*channels),
            LayerSpec::Activation(_) | LayerSpec::Identity {} => Ok(channels),
        }
    }

    fn takes_rank(&self, layer: &LayerSpec, at: &str, expected: &'static [usize]) -> Result<(), ManifestError> {
        if expected.contains(&self.rank) {
            return Ok(());
        }
        Err(ManifestError::Rank { at: at.into(), layer: layer.name(), expected, got: self.rank })
    }
}

fn within(at: &str, field: &'static str, got: usize, least: usize, most: usize) -> Result<usize, ManifestError> {
    if (least..=most).contains(&got) {
        return Ok(got);
    }
    Err(ManifestError::OutOfRange { at: at.into(), field, least, most, got })
}
