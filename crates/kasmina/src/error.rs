//! What can go wrong, by who is to blame.

use kasmina_blending::BlendRefusal;
use kasmina_kernel_load::LoadError;
use kasmina_leyline::{
    BlueprintId, CommandId, InvalidId, SeedId, SlotId,
    v1::{BlueprintTier, SeedLifecycleStage},
};
use kasmina_lifecycle::{IllegalTransition, Transition, Verdict};
use kasmina_registry::{RegistryError, UpdateRefusal};
use kasmina_security::Rejection;

use crate::{CheckpointError, Fault, SettingsError};

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The command is not authentic, not fresh, or a replay. Nothing in it was looked at.
    #[error("command rejected: {0}")]
    Rejected(#[from] Rejection),
    /// The command is authentic but cannot be carried out.
    #[error("command {command} refused: {refusal}")]
    Refused {
        /// Which command.
        command: CommandId,
        /// Why.
        #[source]
        refusal: Box<Refusal>,
        /// The moves that were made all the same: where a gate refuses or a kernel cannot be grafted, the seed is culled.
        transitions: Vec<Transition>,
    },
}

impl CommandError {
    /// The machine-readable reason, stable across releases.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Rejected(rejection) => rejection.reason(),
            Self::Refused { refusal, .. } => refusal.reason(),
        }
    }
}

/// Why an authentic command, or a call of the trainer, was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// An identifier in the command is not well-formed.
    #[error(transparent)]
    InvalidId(#[from] InvalidId),
    /// The command lacks what its type needs, or carries a number that cannot be meant.
    #[error("{field}: {cause}")]
    Malformed {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// The command came after its own deadline.
    #[error("its deadline of {deadline_ms} ms ran out {late_ms} ms ago")]
    DeadlineExceeded {
        /// The deadline, in milliseconds after `issued_at`.
        deadline_ms: u32,
        /// How late it was.
        late_ms: u64,
    },
    /// The command is for another training run.
    #[error("it is for run {got}, this is run {expected}")]
    WrongRun {
        /// This manager's run.
        expected: String,
        /// The command's.
        got: String,
    },
    /// No such seed is registered.
    #[error("seed {0} is not registered")]
    UnknownSeed(SeedId),
    /// A seed of this name is registered already.
    #[error("seed {0} is registered already")]
    SeedExists(SeedId),
    /// The move is not in the table.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// The seed has no kernel, or is not in a stage in which the command means something.
    #[error("{seed} is in {stage:?}: {cause}")]
    WrongStage {
        /// Which seed.
        seed: SeedId,
        /// Where it stands.
        stage: SeedLifecycleStage,
        /// What would have been needed.
        cause: &'static str,
    },
    /// Alpha has not reached 1 yet.
    #[error("{seed} is at alpha {alpha}: blending is not complete")]
    BlendingIncomplete {
        /// Which seed.
        seed: SeedId,
        /// How far.
        alpha: f32,
    },
    /// What the gate must be shown has not been measured yet. The seed stays where it is: ask again some batches later.
    #[error("{seed} cannot be judged yet: {what} have not been measured often enough")]
    NotMeasured {
        /// Which seed.
        seed: SeedId,
        /// What is missing.
        what: &'static str,
    },
    /// A gate said no. Where the stage allows it the seed has been culled.
    #[error("gate {:?} refused: {}", .0.gate, .0.reason)]
    GateFailed(Box<Verdict>),
    /// The annotations do not describe a blend.
    #[error(transparent)]
    Blend(#[from] BlendRefusal),
    /// The sender takes the blueprint to be of another tier than the catalogue does. Nothing has changed.
    #[error(
        "the sender takes {blueprint} to be of {}, the catalogue says {}",
        .expected.as_str_name(),
        .got.as_str_name()
    )]
    TierMismatch {
        /// Which blueprint.
        blueprint: BlueprintId,
        /// The sender's.
        expected: BlueprintTier,
        /// The catalogue's.
        got: BlueprintTier,
    },
    /// The kernel could not be had. The seed has been culled, unless not even its descriptor could be read.
    #[error("kernel {blueprint}: {cause}")]
    Kernel {
        /// Of which blueprint.
        blueprint: BlueprintId,
        /// Why.
        cause: Box<LoadError>,
    },
    /// The kernel does not fit its slot. The seed has been culled.
    #[error("kernel {blueprint} does not fit slot {slot}: {cause}")]
    Misfit {
        /// Of which blueprint.
        blueprint: BlueprintId,
        /// Which slot.
        slot: SlotId,
        /// What differs, expected and got.
        cause: String,
    },
    /// A parameter belongs to somebody else. Where it is a kernel's, the seed has been culled.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The breaker that guards this operation is open.
    #[error("the {breaker} breaker is open")]
    BreakerOpen {
        /// Which breaker.
        breaker: &'static str,
    },
    /// What the command did could not be made durable, so it has been undone: nothing has happened. Where the disk failed while it
    /// synced, nobody knows what is on it, and no other command is accepted until the process is started again; that one may
    /// find this command among what had happened.
    #[error("not carried out, because it could not be made durable: {0}")]
    NotDurable(Box<CheckpointError>),
    /// The checkpoint that the command means cannot be had.
    #[error(transparent)]
    Checkpoint(Box<CheckpointError>),
    /// A rollback was commanded, and the trainer has not done it yet.
    #[error("a rollback to epoch {epoch} is about to be done")]
    RollbackPending {
        /// The epoch to go back to.
        epoch: u64,
    },
    /// The command is understood and not offered.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
}

impl Refusal {
    /// The machine-readable reason, stable across releases.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidId(_) => "invalid_id",
            Self::Malformed { .. } => "malformed_command",
            Self::DeadlineExceeded { .. } => "deadline_exceeded",
            Self::WrongRun { .. } => "wrong_training_run",
            Self::UnknownSeed(_) => "unknown_seed",
            Self::SeedExists(_) => "seed_exists",
            Self::Illegal(illegal) => illegal.reason(),
            Self::WrongStage { .. } => "wrong_stage",
            Self::BlendingIncomplete { .. } => "blending_incomplete",
            Self::NotMeasured { .. } => "not_measured",
            Self::GateFailed(verdict) => verdict.reason,
            Self::Blend(refusal) => refusal.reason(),
            Self::TierMismatch { .. } => "tier_mismatch",
            Self::Kernel { cause, .. } => cause.reason(),
            Self::Misfit { .. } => "slot_contract",
            Self::Registry(error) => error.reason(),
            Self::BreakerOpen { .. } => "breaker_open",
            Self::NotDurable(_) => "not_durable",
            Self::Checkpoint(error) => error.reason(),
            Self::RollbackPending { .. } => "rollback_pending",
            Self::Unsupported(_) => "unsupported",
        }
    }
}

impl From<CheckpointError> for Refusal {
    fn from(error: CheckpointError) -> Self {
        Self::NotDurable(Box::new(error))
    }
}

/// Why a manager was not built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The settings make no sense.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The store cannot be read, is of another run, or is to be recovered.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Why a training step was not taken. The host, its optimizer and every seed that learns are as they were; what was due by time
/// has been done, and a seed whose kernel failed has been culled.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// The host's own loss is not a number. Nothing was stepped.
    #[error("the host's loss is {loss} at step {step}")]
    NonFiniteLoss {
        /// The loss.
        loss: f32,
        /// The step that was not taken.
        step: u64,
    },
    /// The loss is not one number.
    #[error("the loss has the shape {got:?}, expected [1]")]
    LossShape {
        /// Its shape.
        got: Vec<usize>,
    },
    /// A fossil, which is part of the host, could not do its part.
    #[error("the fossil {} at {} failed: {}", .0.seed, .0.slot, .0.detail)]
    Fossil(Box<Fault>),
    /// A rollback was commanded: [`roll_back`](crate::SeedManager::roll_back) comes before the next batch.
    #[error("a rollback to epoch {epoch} was commanded and has not been done")]
    RollbackPending {
        /// The epoch to go back to.
        epoch: u64,
    },
    /// A parameter of the host belongs to somebody else. Nothing was stepped.
    #[error("the host cannot be trained: {0}")]
    Host(#[from] RegistryError),
    /// The host's gradients are not the host's to apply. Nothing was stepped.
    #[error("the host cannot be trained: {0}")]
    Update(#[from] UpdateRefusal),
}

impl StepError {
    /// The machine-readable reason, stable across releases.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NonFiniteLoss { .. } => "non_finite_loss",
            Self::LossShape { .. } => "loss_shape",
            Self::Fossil(fault) => fault.reason,
            Self::RollbackPending { .. } => "rollback_pending",
            Self::Host(error) => error.reason(),
            Self::Update(refusal) => refusal.reason(),
        }
    }
}
