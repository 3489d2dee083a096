//! Why the registry refuses.

use burn::module::ParamId;

use crate::Owner;

/// Why a registration was refused. Nothing was registered.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    #[error("parameter {parameter} belongs to {owner}")]
    Owned { parameter: ParamId, owner: Owner },
    /// [`OwnsNothing`](crate::OwnsNothing) registers nothing.
    #[error("there is no registry to register a parameter in")]
    NoRegistry,
}

impl RegistryError {
    /// A stable name for telemetry.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Owned { owner: Owner::Teacher, .. } => "teacher",
            Self::Owned { .. } => "cross_seed",
            Self::NoRegistry => "no_registry",
        }
    }
}

/// Why an update was refused.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, strum::IntoStaticStr)]
#[non_exhaustive]
pub enum UpdateRefusal {
    #[strum(serialize = "unregistered")]
    #[error("parameter {parameter} is not registered")]
    Unregistered { parameter: ParamId },
    #[strum(serialize = "cross_seed")]
    #[error("parameter {parameter} belongs to {owner}, not to {by}")]
    CrossSeed { parameter: ParamId, owner: Owner, by: Owner },
    /// The teacher's parameters are never updated.
    #[strum(serialize = "teacher")]
    #[error("parameter {parameter} belongs to the teacher")]
    Teacher { parameter: ParamId },
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

    /// A stable name for telemetry.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.into()
    }
}
