//! Why an authentic command cannot be read.

use kasmina_blending::BlendRefusal;
use kasmina_leyline::InvalidId;

use crate::{CommandContext, Notice};

/// Why a command means nothing to this receiver. Its sender is to blame in every case.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names of the fields say it")]
pub enum ReadError {
    /// An identifier in the command is not well-formed.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// The command lacks what its type needs, or carries a value that cannot be meant.
    #[error("{field}: {cause}")]
    Malformed { field: &'static str, cause: String },
    /// The command arrived after its own deadline, which is in milliseconds after `issued_at`.
    #[error("its deadline of {deadline_ms} ms ran out {late_ms} ms ago")]
    DeadlineExceeded { deadline_ms: u32, late_ms: u64 },
    /// The command is for another training run.
    #[error("it is for run {got}, this is run {expected}")]
    WrongRun { expected: String, got: String },
    /// The blend does not make sense.
    #[error(transparent)]
    Blend(#[from] BlendRefusal),
    /// The command is part of the contract and not offered.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
}

impl ReadError {
    /// The machine-readable reason, stable across releases.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::InvalidId(_) => "invalid_id",
            Self::Malformed { .. } => "malformed_command",
            Self::DeadlineExceeded { .. } => "deadline_exceeded",
            Self::WrongRun { .. } => "wrong_training_run",
            Self::Blend(refusal) => refusal.reason(),
            Self::Unsupported(_) => "unsupported",
        }
    }

    pub(crate) fn missing(field: &'static str) -> Self {
        Self::Malformed { field, cause: "is missing".to_owned() }
    }

    pub(crate) fn malformed(field: &'static str, cause: impl ToString) -> Self {
        Self::Malformed { field, cause: cause.to_string() }
    }
}

/// A command that cannot be read, with what could be read of its context all the same.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{error}")]
pub struct Unreadable {
    /// Why.
    #[source]
    pub error: ReadError,
    /// What the sender says of its decision.
    pub context: Box<CommandContext>,
    /// What is wrong with the context.
    pub notices: Vec<Notice>,
}

impl Unreadable {
    /// The machine-readable reason, stable across releases.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.error.reason()
    }
}
