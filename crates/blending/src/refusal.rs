//! Why a command's blend settings are refused.

/// Why blend settings are refused. The sender of the command is to blame in every case.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BlendRefusal {
    /// `blend_mode` names no [`BlendMode`](crate::BlendMode).
    #[error("blend_mode must be CONVEX, RESIDUAL, CHANNEL or CONFIDENCE, got {got:?}")]
    UnknownMode {
        /// What it said.
        got: String,
    },
    /// `alpha_schedule` names no [`AlphaSchedule`](crate::AlphaSchedule).
    #[error("alpha_schedule must be sigmoid, linear or cosine, got {got:?}")]
    UnknownSchedule {
        /// What it said.
        got: String,
    },
    /// An annotation that must be a number is none.
    #[error("{name} must be {expected}, got {got:?}")]
    NotANumber {
        /// Which annotation.
        name: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What it said.
        got: String,
    },
    /// A number lies outside its range.
    #[error("{name} must be {expected}, got {got}")]
    OutOfRange {
        /// Which annotation or parameter.
        name: &'static str,
        /// What it must be.
        expected: &'static str,
        /// What it was.
        got: f32,
    },
    /// CHANNEL without `alpha_vec`.
    #[error("CHANNEL needs alpha_vec")]
    AlphaVecMissing,
    /// `alpha_vec` is neither a JSON list of numbers nor comma-separated numbers.
    #[error("alpha_vec must be a JSON list of numbers or comma-separated numbers: {detail}")]
    AlphaVecMalformed {
        /// Where reading stopped.
        detail: String,
    },
    /// `alpha_vec` has no entry.
    #[error("alpha_vec is empty")]
    AlphaVecEmpty,
    /// `alpha_vec` has more entries than are allowed.
    #[error("alpha_vec may have {max} entries, got {got}")]
    AlphaVecTooLong {
        /// How many are allowed.
        max: usize,
        /// How many there are.
        got: usize,
    },
    /// An entry of `alpha_vec` is not finite or outside [0, 1].
    #[error("alpha_vec[{index}] must lie in [0, 1], got {got}")]
    AlphaVecEntry {
        /// Which entry.
        index: usize,
        /// What it was.
        got: f32,
    },
    /// `alpha_vec_len` says another length than `alpha_vec` has (0 where `alpha_vec` is absent).
    #[error("alpha_vec_len says {expected}, alpha_vec has {got} entries")]
    AlphaVecLength {
        /// What `alpha_vec_len` says.
        expected: usize,
        /// How many entries there are.
        got: usize,
    },
}

impl BlendRefusal {
    /// A machine-readable reason; one for each variant.
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
