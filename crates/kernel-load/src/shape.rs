//! Why a kernel does not take a tensor.

/// Why a [`KernelModule`](crate::KernelModule) does not take a tensor. The caller is to blame: the kernel does not fit the slot.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
#[non_exhaustive]
pub enum ShapeError {
    #[strum(serialize = "input_rank")]
    #[error("the kernel takes rank {expected}, got {got}")]
    Rank { expected: usize, got: usize },
    #[strum(serialize = "input_channels")]
    #[error("the kernel takes {expected} channels on axis {axis}, got {got}")]
    Channels { axis: usize, expected: usize, got: usize },
    #[strum(serialize = "input_dtype")]
    #[error("the kernel takes {expected}, got {got}")]
    Dtype { expected: &'static str, got: String },
    #[strum(serialize = "input_empty")]
    #[error("the tensor is empty on axis {axis}")]
    Empty { axis: usize },
    /// The convolutions would leave no pixel.
    #[strum(serialize = "input_too_small")]
    #[error("the kernel takes a height and width of at least {least:?}, got {got:?}")]
    TooSmall { least: [usize; 2], got: [usize; 2] },
}

impl ShapeError {
    /// A stable name for telemetry.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.into()
    }
}
