//! Why two tensors cannot be blended.

use burn::tensor::DType;

/// Why two tensors cannot be blended. The caller is to blame in every case.
#[allow(missing_docs, reason = "the names and messages say it")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlendError {
    /// Tensors of this rank have no channel axis; see [`channel_axis`](crate::channel_axis).
    #[error("a blend needs tensors of rank 2, 3 or 4, got rank {got}")]
    UnsupportedRank { got: usize },
    #[error("the seed must have the host's shape {expected:?}, got {got:?}")]
    ShapeMismatch { expected: Vec<usize>, got: Vec<usize> },
    #[error("the seed must have the host's dtype {expected:?}, got {got:?}")]
    DTypeMismatch { expected: DType, got: DType },
    /// `what` is the seed or the logits.
    #[error("{what} must be on the host's device {expected}, got {got}")]
    DeviceMismatch { what: &'static str, expected: String, got: String },
    #[error("alpha_vec must have one entry for each of {expected} channels, got {got}")]
    ChannelMismatch { expected: usize, got: usize },
    /// Activations never stand in for logits.
    #[error("CONFIDENCE needs logits of shape [batch, classes]")]
    LogitsMissing,
    #[error("logits must have the host's batch of {expected}, got {got}")]
    LogitsBatch { expected: usize, got: usize },
    /// Fewer than two classes have no margin.
    #[error("logits must have at least 2 classes, got {got}")]
    LogitsClasses { got: usize },
    #[error("the logits could not be read from their device: {detail}")]
    LogitsUnreadable { detail: String },
}

impl BlendError {
    /// A machine-readable reason, one for each variant.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::UnsupportedRank { .. } => "unsupported_rank",
            Self::ShapeMismatch { .. } => "shape_mismatch",
            Self::DTypeMismatch { .. } => "dtype_mismatch",
            Self::DeviceMismatch { .. } => "device_mismatch",
            Self::ChannelMismatch { .. } => "channel_mismatch",
            Self::LogitsMissing => "logits_missing",
            Self::LogitsBatch { .. } => "logits_batch_mismatch",
            Self::LogitsClasses { .. } => "logits_too_few_classes",
            Self::LogitsUnreadable { .. } => "logits_unreadable",
        }
    }
}
