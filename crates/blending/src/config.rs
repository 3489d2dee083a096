//! How a seed is blended.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::gate::Gate;
use crate::{ALPHA_HI, ALPHA_LO, BlendRefusal, GATE_K, GATE_TAU};

/// How host and seed are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BlendMode {
    /// `(1 - a) host + a seed`.
    #[default]
    Convex,
    /// `host + a seed`.
    Residual,
    /// CONVEX with `a v[c]` for channel c.
    Channel,
    /// CONVEX with an alpha for each sample, scaled by the confidence of its logits.
    Confidence,
}

impl BlendMode {
    /// The name in annotations and telemetry.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Convex => "CONVEX",
            Self::Residual => "RESIDUAL",
            Self::Channel => "CHANNEL",
            Self::Confidence => "CONFIDENCE",
        }
    }

    /// The mode of this name, in upper or lower case.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let name = name.trim();
        [Self::Convex, Self::Residual, Self::Channel, Self::Confidence]
            .into_iter()
            .find(|mode| mode.as_str().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for BlendMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A mode with everything that it needs. It is always valid, also after deserialisation. The default is CONVEX.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct BlendConfig {
    pub(crate) recipe: Recipe,
    pub(crate) source: Option<String>,
}

/// A [`BlendConfig`] as it was stored, possibly by another program.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    recipe: Recipe,
    source: Option<String>,
}

impl TryFrom<Unchecked> for BlendConfig {
    type Error = BlendRefusal;

    fn try_from(Unchecked { recipe, source }: Unchecked) -> Result<Self, BlendRefusal> {
        let config = match recipe {
            Recipe::Convex => Self::convex(),
            Recipe::Residual => Self::residual(),
            Recipe::Channel(alpha_vec) => Self::channel(alpha_vec)?,
            Recipe::Confidence(Gate { k, tau, lo, hi }) => Self::confidence(k, tau, lo, hi)?,
        };
        Ok(Self { source, ..config })
    }
}

/// What each mode needs, and no more.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Recipe {
    #[default]
    Convex,
    Residual,
    /// One entry in [0, 1] for each channel; at least one.
    Channel(Vec<f32>),
    Confidence(Gate),
}

impl BlendConfig {
    /// The maximum number of entries of `alpha_vec`, unless it is configured. Source: Esper's contract.
    pub const DEFAULT_MAX_ALPHA_VEC: usize = 64;
    /// `gate_k` if none is given. Our choice: a margin of 1 above tau takes the gate from 0.5 to 0.98.
    pub const DEFAULT_GATE_K: f32 = 4.0;
    /// `gate_tau` if none is given. Our choice: the gate is half open if the logits say 55:45 for two classes.
    pub const DEFAULT_GATE_TAU: f32 = 0.2;

    /// `(1 - a) host + a seed`.
    #[must_use]
    pub const fn convex() -> Self {
        Self { recipe: Recipe::Convex, source: None }
    }

    /// `host + a seed`.
    #[must_use]
    pub const fn residual() -> Self {
        Self { recipe: Recipe::Residual, source: None }
    }

    /// `(1 - a v[c]) host + a v[c] seed` for channel c. The length must be the number of channels of the blended tensors.
    ///
    /// # Errors
    /// [`BlendRefusal::AlphaVecEmpty`]; [`BlendRefusal::AlphaVecEntry`] for the first entry that is not in [0, 1].
    pub fn channel(alpha_vec: Vec<f32>) -> Result<Self, BlendRefusal> {
        check_alpha_vec(&alpha_vec)?;
        Ok(Self { recipe: Recipe::Channel(alpha_vec), source: None })
    }

    /// CONVEX with `clamp(a sigmoid(k (top1 - top2 - tau)), lo, hi)` for each sample, where top1 and top2 are its two largest
    /// logits. `k` (per unit of logit) and `tau` (in units of logit) are finite and at least 0. `lo` and `hi` are in [0, 1], and are
    /// swapped if `lo` is larger.
    ///
    /// If `lo` is above 0, part of the seed is in the blend even at alpha 0.
    ///
    /// # Errors
    /// [`BlendRefusal::OutOfRange`] for the first argument that is out of its range.
    pub fn confidence(k: f32, tau: f32, lo: f32, hi: f32) -> Result<Self, BlendRefusal> {
        for (name, got) in [(GATE_K, k), (GATE_TAU, tau)] {
            if !(got.is_finite() && got >= 0.0) {
                return Err(BlendRefusal::OutOfRange { name, expected: "finite and at least 0", got });
            }
        }
        for (name, got) in [(ALPHA_LO, lo), (ALPHA_HI, hi)] {
            if !(0.0..=1.0).contains(&got) {
                return Err(BlendRefusal::OutOfRange { name, expected: "in [0, 1]", got });
            }
        }
        Ok(Self { recipe: Recipe::Confidence(Gate { k, tau, lo: lo.min(hi), hi: lo.max(hi) }), source: None })
    }

    /// The same configuration with another [`source`](Self::source).
    #[must_use]
    pub fn with_source(self, source: Option<String>) -> Self {
        Self { source, ..self }
    }

    /// Its mode.
    #[must_use]
    pub const fn mode(&self) -> BlendMode {
        match self.recipe {
            Recipe::Convex => BlendMode::Convex,
            Recipe::Residual => BlendMode::Residual,
            Recipe::Channel(_) => BlendMode::Channel,
            Recipe::Confidence(_) => BlendMode::Confidence,
        }
    }

    /// Who chose it (annotation `blend_mode_source`). Only telemetry uses it.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// The factors of CHANNEL, one for each channel.
    #[must_use]
    pub fn alpha_vec(&self) -> Option<&[f32]> {
        match &self.recipe {
            Recipe::Channel(alpha_vec) => Some(alpha_vec),
            Recipe::Convex | Recipe::Residual | Recipe::Confidence(_) => None,
        }
    }
}

pub(crate) fn check_alpha_vec(alpha_vec: &[f32]) -> Result<(), BlendRefusal> {
    if alpha_vec.is_empty() {
        return Err(BlendRefusal::AlphaVecEmpty);
    }
    let invalid = alpha_vec.iter().enumerate().find(|(_, entry)| !(0.0..=1.0).contains(*entry));
    invalid.map_or(Ok(()), |(index, &got)| Err(BlendRefusal::AlphaVecEntry { index, got }))
}
