//! Why a command's blend settings are refused.

/// Why blend settings are refused. The sender of the command is to blame in every case.
#[allow(missing_docs, reason = "the names and messages say it")]
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BlendRefusal {
    #[error("blend_mode must be CONVEX, RESIDUAL, CHANNEL or CONFIDENCE, got {got:?}")]
    UnknownMode { got: String },
    #[error("alpha_schedule must be sigmoid, linear or cosine, got {got:?}")]
    UnknownSchedule { got: String },
    #[error("{name} must be {expected}, got {got:?}")]
    NotANumber { name: &'static str, expected: &'static str, got: String },
    #[error("{name} must be {expected}, got {got}")]
    OutOfRange { name: &'static str, expected: &'static str, got: f32 },
    #[error("CHANNEL needs alpha_vec")]
    AlphaVecMissing,
    #[error("alpha_vec must be a JSON list of numbers or comma-separated numbers: {detail}")]
    AlphaVecMalformed { detail: String },
    #[error("alpha_vec is empty")]
    AlphaVecEmpty,
    #[error("alpha_vec must have at most {max} entries, got {got}")]
    AlphaVecTooLong { max: usize, got: usize },
    /// The entry is not finite, or it is outside [0, 1].
    #[error("alpha_vec[{index}] must be in [0, 1], got {got}")]
    AlphaVecEntry { index: usize, got: f32 },
    /// `got` is 0 if `alpha_vec` is absent.
    #[error("alpha_vec_len is {expected}, but alpha_vec has {got} entries")]
    AlphaVecLength { expected: usize, got: usize },
}

impl BlendRefusal {
    /// A machine-readable reason, one for each variant.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::UnknownMode { .. } => "unknown_blend_mode",
            Self::UnknownSchedule { .. } => "unknown_alpha_schedule",
            Self::NotANumber { .. } => "not_a_number",
            Self::OutOfRange { .. } => "out_of_range",
            Self::AlphaVecMissing => "alpha_vec_missing",
            Self::AlphaVecMalformed { .. } => "alpha_vec_malformed",
            Self::AlphaVecEmpty => "alpha_vec_empty",
            Self::AlphaVecTooLong { .. } => "alpha_vec_too_long",
            Self::AlphaVecEntry { .. } => "alpha_vec_entry",
            Self::AlphaVecLength { .. } => "alpha_vec_length",
        }
    }
}
