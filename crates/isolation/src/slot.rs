//! The places in a host that seeds can be grafted at, as a pass shows them.

use std::collections::BTreeMap;

use burn::{
    module::AutodiffModule,
    tensor::{DType, Tensor, backend::Backend},
};
use kasmina_blending::{GraftBackend, channel_axis};
use kasmina_kernel_load::SlotActivation;
use kasmina_leyline::SlotId;

use crate::{Grafts, PassKind, frozen_twin};

/// The shape and type of an activation: `[batch, channels]`, `[batch, tokens, channels]` or `[batch, channels, height, width]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    /// The extent of every dimension.
    pub dims: Vec<usize>,
    /// The element type.
    pub dtype: DType,
}

impl Activation {
    /// The shape and type of a tensor.
    #[must_use]
    pub fn of<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> Self {
        Self { dims: tensor.dims().to_vec(), dtype: tensor.dtype() }
    }

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

impl From<&SlotShape> for SlotActivation {
    fn from(shape: &SlotShape) -> Self {
        Self {
            rank: shape.output.rank(),
            channels_in: shape.input.channels(),
            channels_out: shape.output.channels(),
            dtype: shape.output.dtype,
        }
    }
}

/// Finds the slots of a host: runs `forward` once on its frozen twin, without grafts, and returns the slots that it reached. The host
/// does not change, nor do its running statistics. The forward may draw random numbers from the backend.
pub fn attach<B: GraftBackend, H: AutodiffModule<B>, R>(
    host: &H,
    forward: impl FnOnce(&H, &mut Grafts<B>) -> R,
) -> BTreeMap<SlotId, SlotShape> {
    let mut grafts = Grafts::bare(PassKind::Attach);
    forward(&frozen_twin(host), &mut grafts);
    grafts.finish().shapes
}
