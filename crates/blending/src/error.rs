//! Why two tensors cannot be blended.

use burn::tensor::DType;

/// Why two tensors cannot be blended. The caller is to blame in every case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlendError {
    /// Tensors of this rank have no channel axis; see [`channel_axis`](crate::channel_axis).
    #[error("a blend needs tensors of rank 2, 3 or 4, got rank {got}")]
    UnsupportedRank {
        /// The rank.
        got: usize,
    },
    /// Host and seed have different shapes.
    #[error("the seed must have the host's shape {expected:?}, got {got:?}")]
    ShapeMismatch {
        /// The host's shape.
        expected: Vec<usize>,
        /// The seed's shape.
        got: Vec<usize>,
    },
    /// Host and seed have different element types.
    #[error("the seed must have the host's dtype {expected:?}, got {got:?}")]
    DTypeMismatch {
        /// The host's.
        expected: DType,
        /// The seed's.
        got: DType,
    },
    /// Seed or logits live on another device than the host.
    #[error("{what} must live on the host's device {expected}, got {got}")]
    DeviceMismatch {
        /// Which tensor.
        what: &'static str,
        /// The host's device.
        expected: String,
        /// Its device.
        got: String,
    },
    /// CHANNEL with another number of factors than the tensors have channels.
    #[error("alpha_vec must have one entry for each of {expected} channels, got {got}")]
    ChannelMismatch {
        /// How many channels there are.
        expected: usize,
        /// How many entries there are.
        got: usize,
    },
    /// CONFIDENCE without logits. Activations are never a stand-in.
    #[error("CONFIDENCE needs logits of [batch, classes]")]
    LogitsMissing,
    /// Logits of another batch.
    #[error("logits must have the host's batch of {expected}, got {got}")]
    LogitsBatch {
        /// The host's batch.
        expected: usize,
        /// That of the logits.
        got: usize,
    },
    /// Logits of fewer than two classes have no margin.
    #[error("logits must have at least 2 classes, got {got}")]
    LogitsClasses {
        /// How many they have.
        got: usize,
    },
    /// The logits could not be read back from their device.
    #[error("the logits could not be read: {detail}")]
    LogitsUnreadable {
        /// What the backend said.
        detail: String,
    },
}

impl BlendError {
    /// A machine-readable reason; one for each variant.
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
