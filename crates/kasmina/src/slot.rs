//! The places in a host where seeds can be grafted, as its own passes show them.

use burn::tensor::DType;
use kasmina_blending::channel_axis;

/// One activation as it was seen: `[batch, channels]`, `[batch, tokens, channels]` or `[batch, channels, height, width]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// The extent of every dimension.
    pub dims: Vec<usize>,
    /// The element type.
    pub dtype: DType,
}

impl Activation {
    /// The number of dimensions.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.dims.len()
    }

    /// The extent of the channel dimension; 0 for a rank that has none.
    #[must_use]
    pub fn channels(&self) -> usize {
        channel_axis(self.rank()).and_then(|axis| self.dims.get(axis).copied()).unwrap_or(0)
    }
}

/// What a kernel at a slot reads and what it modifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotShape {
    /// The activation that the kernel reads: the tap, or the slot's own activation.
    pub input: Activation,
    /// The activation that the kernel modifies.
    pub output: Activation,
}
