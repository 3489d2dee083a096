//! The share of the seed in a blend.

use serde::{Deserialize, Serialize};

/// The share of the seed in a blend: a number in [0, 1], never NaN, without a unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f32", into = "f32")]
pub struct Alpha(f32);

impl Alpha {
    /// Only the host.
    pub const ZERO: Self = Self(0.0);
    /// Only the seed (in RESIDUAL, the whole seed on top of the host).
    pub const ONE: Self = Self(1.0);

    /// An alpha of this value, in [0, 1]. -0.0 becomes 0.0.
    ///
    /// # Errors
    /// [`InvalidAlpha`] for NaN, infinities and everything outside [0, 1].
    pub fn new(value: f32) -> Result<Self, InvalidAlpha> {
        if (0.0..=1.0).contains(&value) { Ok(Self(value.abs())) } else { Err(InvalidAlpha { got: value }) }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f32 {
        self.0
    }

    /// The nearest alpha to a number that a schedule computed; NaN becomes [`ZERO`](Self::ZERO).
    pub(crate) fn nearest(value: f64) -> Self {
        if value > 0.0 { Self(value.min(1.0) as f32) } else { Self::ZERO }
    }
}

impl TryFrom<f32> for Alpha {
    type Error = InvalidAlpha;

    fn try_from(value: f32) -> Result<Self, InvalidAlpha> {
        Self::new(value)
    }
}

impl From<Alpha> for f32 {
    fn from(alpha: Alpha) -> Self {
        alpha.get()
    }
}

/// The number is not an [`Alpha`].
#[allow(missing_docs, reason = "the message says it")]
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("alpha must be in [0, 1], got {got}")]
pub struct InvalidAlpha {
    pub got: f32,
}

impl InvalidAlpha {
    /// A machine-readable reason.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        "invalid_alpha"
    }
}
