//! Why a checkpoint cannot be made or taken up.

use kasmina_kernel_load::{ManifestError, weights::WeightsError};
use kasmina_leyline::InvalidId;
use kasmina_rollback::StoreError;

/// Why a checkpoint cannot be made, or not be taken up. Nothing was changed, and nothing acknowledged.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The journal or the store of checkpoints refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The checkpoint has no such part.
    #[error("the checkpoint has no {blob}")]
    Missing {
        /// The part's name.
        blob: String,
    },
    /// A part cannot be read or written.
    #[error("{what} of the checkpoint is malformed: {detail}")]
    Malformed {
        /// Which part.
        what: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// What is to be put back does not fit what is there, for example because the host has been changed since.
    #[error("{what}: {expected} expected, the checkpoint has {got}")]
    Mismatch {
        /// Which part.
        what: &'static str,
        /// What is there.
        expected: String,
        /// What the checkpoint has.
        got: String,
    },
    /// Tensors of this type cannot be written.
    #[error("tensors of {got} cannot be checkpointed")]
    Dtype {
        /// The type.
        got: String,
    },
    /// Written by a newer version of this crate.
    #[error("the checkpoint has version {got}, at most {newest} is read")]
    NewerVersion {
        /// The newest version that is read here.
        newest: u32,
        /// The checkpoint's.
        got: u32,
    },
    /// The store belongs to another training run.
    #[error("the store is of run {got}, this is run {expected}")]
    WrongRun {
        /// This manager's run.
        expected: String,
        /// The store's.
        got: String,
    },
    /// The store holds a run already: it is to be recovered, not begun anew.
    #[error("the store holds {records} records of a run: recover it")]
    NotEmpty {
        /// How many records.
        records: usize,
    },
    /// An identifier in the checkpoint is none.
    #[error(transparent)]
    Id(#[from] InvalidId),
    /// The manifest of a kernel in the checkpoint does not pass the checks that every artifact's passes.
    #[error(transparent)]
    Kernel(#[from] ManifestError),
    /// There is nothing to go back to.
    #[error("there is no checkpoint of epoch {epoch}; there are those of {held:?}")]
    UnknownEpoch {
        /// The epoch that was asked for.
        epoch: u64,
        /// The epochs that there are checkpoints of.
        held: Vec<u64>,
    },
    /// A rollback was commanded, and comes first.
    #[error("a rollback to epoch {epoch} was commanded and has not been done")]
    RollbackPending {
        /// The epoch to go back to.
        epoch: u64,
    },
    /// No command asked for a rollback.
    #[error("no rollback has been commanded")]
    NotCommanded,
}

impl From<WeightsError> for CheckpointError {
    fn from(error: WeightsError) -> Self {
        match error {
            WeightsError::Malformed { what, detail } => Self::Malformed { what, detail },
            WeightsError::Mismatch { what, expected, got } => Self::Mismatch { what, expected, got },
            WeightsError::Dtype { got } => Self::Dtype { got },
        }
    }
}

impl CheckpointError {
    /// The machine-readable reason, stable across releases.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Store(error) => error.reason(),
            Self::Missing { .. } => "checkpoint_part_missing",
            Self::Malformed { .. } => "checkpoint_malformed",
            Self::Mismatch { .. } => "checkpoint_mismatch",
            Self::Dtype { .. } => "checkpoint_dtype",
            Self::NewerVersion { .. } => "checkpoint_newer_version",
            Self::WrongRun { .. } => "wrong_training_run",
            Self::NotEmpty { .. } => "store_not_empty",
            Self::Id(_) => "invalid_id",
            Self::Kernel(error) => error.reason(),
            Self::UnknownEpoch { .. } => "unknown_checkpoint",
            Self::RollbackPending { .. } => "rollback_pending",
            Self::NotCommanded => "rollback_not_commanded",
        }
    }
}
