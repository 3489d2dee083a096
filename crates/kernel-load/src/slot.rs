//! The kernels that fit a slot.

use std::fmt;

use burn::tensor::DType;

use crate::{KernelDtype, SlotContract};

/// The activations that a kernel reads and modifies at a slot, as plain data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotActivation {
    /// The number of dimensions of both activations.
    pub rank: usize,
    /// Channels of the activation that a kernel reads there.
    pub channels_in: usize,
    /// Channels of the activation that a kernel modifies there.
    pub channels_out: usize,
    /// Element type of the activation that a kernel modifies there.
    pub dtype: DType,
}

/// A kernel does not fit the slot. The caller is to blame: it chose a blueprint for another slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the kernel takes {expected}; the slot has {got}")]
pub struct Misfit {
    /// The kernel's input and output.
    pub expected: SlotActivation,
    /// The slot's activations.
    pub got: SlotActivation,
}

impl SlotContract {
    /// Checks that a kernel with this contract fits the slot: rank, channels and element type must be the same.
    ///
    /// # Errors
    /// [`Misfit`] has both sides.
    pub fn fits(&self, slot: &SlotActivation) -> Result<(), Misfit> {
        let expected = SlotActivation::from(*self);
        if expected == *slot { Ok(()) } else { Err(Misfit { expected, got: *slot }) }
    }
}

impl SlotActivation {
    /// The name of the element type in a manifest: `f32`, `bf16`.
    #[must_use]
    pub fn dtype_name(&self) -> String {
        format!("{:?}", self.dtype).to_lowercase()
    }
}

impl SlotActivation {
    /// The contract of the kernels that fit the slot; `None` if kernels do not have its element type.
    #[must_use]
    pub fn contract(&self) -> Option<SlotContract> {
        let Self { rank, channels_in, channels_out, dtype } = *self;
        KernelDtype::of(dtype).map(|dtype| SlotContract { rank, channels_in, channels_out, dtype })
    }
}

impl From<SlotContract> for SlotActivation {
    /// The slot that a kernel with this contract fits.
    fn from(contract: SlotContract) -> Self {
        let SlotContract { rank, channels_in, channels_out, dtype } = contract;
        Self { rank, channels_in, channels_out, dtype: dtype.dtype() }
    }
}

impl fmt::Display for SlotActivation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rank, channels_in, channels_out, .. } = self;
        write!(f, "rank {rank}, {channels_in} to {channels_out} channels, {}", self.dtype_name())
    }
}
