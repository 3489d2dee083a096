//! What the registry refuses.

use burn::module::ParamId;
use kasmina_leyline::SeedId;

use crate::Owner;

/// Why a registration was refused. Nothing was registered.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The parameter belongs to somebody else.
    #[error("parameter {parameter} belongs to {owner}")]
    Owned {
        /// Which parameter.
        parameter: ParamId,
        /// Whose it is.
        owner: Owner,
    },
    /// The seed has no parameters here.
    #[error("{0} has no parameters registered")]
    UnknownSeed(SeedId),
    /// A learning rate scale must be finite and above 0.
    #[error("the learning rate scale {got} is not finite and above 0")]
    LearningRateScale {
        /// What was asked for.
        got: f64,
    },
}

impl RegistryError {
    /// The machine-readable name.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Owned { owner: Owner::Teacher, .. } => "teacher",
            Self::Owned { .. } => "cross_seed",
            Self::UnknownSeed(_) => "unregistered",
            Self::LearningRateScale { .. } => "learning_rate_scale",
        }
    }
}

/// Why an update was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateRefusal {
    /// Nobody has registered the parameter.
    #[error("parameter {parameter} is not registered")]
    Unregistered {
        /// Which parameter.
        parameter: ParamId,
    },
    /// The parameter belongs to somebody else.
    #[error("parameter {parameter} belongs to {owner}, not to {by}")]
    CrossSeed {
        /// Which parameter.
        parameter: ParamId,
        /// Whose it is.
        owner: Owner,
        /// Who wanted to update it.
        by: Owner,
    },
    /// The parameter belongs to the teacher, which nobody updates.
    #[error("parameter {parameter} belongs to the teacher")]
    Teacher {
        /// Which parameter.
        parameter: ParamId,
    },
}

impl UpdateRefusal {
    /// The parameter in question.
    #[must_use]
    pub const fn parameter(&self) -> ParamId {
        match self {
            Self::Unregistered { parameter } | Self::CrossSeed { parameter, .. } | Self::Teacher { parameter } => {
                *parameter
            }
        }
    }

    /// The machine-readable name.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unregistered { .. } => "unregistered",
            Self::CrossSeed { .. } => "cross_seed",
            Self::Teacher { .. } => "teacher",
        }
    }
}
