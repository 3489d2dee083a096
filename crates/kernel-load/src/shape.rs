//! Why a kernel does not take a tensor.

/// Why a [`KernelModule`](crate::KernelModule) does not take a tensor. The caller is to blame: the slot and the kernel do
/// not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// Another rank than the contract's.
    #[error("the kernel takes rank {expected}, got {got}")]
    Rank {
        /// The contract's.
        expected: usize,
        /// The tensor's.
        got: usize,
    },
    /// Another number of channels than the contract's.
    #[error("the kernel takes {expected} channels on axis {axis}, got {got}")]
    Channels {
        /// The axis of the channels.
        axis: usize,
        /// The contract's channels.
        expected: usize,
        /// The tensor's.
        got: usize,
    },
    /// Another element type than the contract's.
    #[error("the kernel takes {expected}, got {got}")]
    Dtype {
        /// The contract's, as safetensors spells it.
        expected: &'static str,
        /// The tensor's.
        got: String,
    },
    /// An axis of length zero.
    #[error("the tensor is empty on axis {axis}")]
    Empty {
        /// The first such axis.
        axis: usize,
    },
    /// A height or width that a convolution would use up.
    #[error("the kernel takes a height and width of at least {least:?}, got {got:?}")]
    TooSmall {
        /// The smallest height and width.
        least: [usize; 2],
        /// The tensor's.
        got: [usize; 2],
    },
}

impl ShapeError {
    /// A stable name for telemetry.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Rank { .. } => "input_rank",
            Self::Channels { .. } => "input_channels",
            Self::Dtype { .. } => "input_dtype",
            Self::Empty { .. } => "input_empty",
            Self::TooSmall { .. } => "input_too_small",
        }
    }
}
