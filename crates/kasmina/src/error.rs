//! What can go wrong, by who is to blame.

use kasmina_commands::{ReadError, Unreadable};
use kasmina_engine as engine;
use kasmina_grown::GrownError;
use kasmina_isolation::{Fault, HostPassCause, PrewarmError};
use kasmina_kernel_load::{LoadError, blueprints::Unfit, weights::WeightsError};
use kasmina_leyline::{BlueprintId, CommandId, InvalidId, SeedId, SlotId};
use kasmina_lifecycle::Transition;
use kasmina_reduce::ReduceError;
use kasmina_registry::{RegistryError, UpdateRefusal};
use kasmina_rollback::StoreError;
use kasmina_security::Rejection;

use crate::settings::SettingsError;

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The command is not authentic, not fresh, or a replay. Nothing in it was looked at.
    #[error("command rejected: {0}")]
    Rejected(#[from] Rejection),
    /// The command is authentic but cannot be carried out.
    #[error("command {command} refused: {refusal}")]
    #[allow(missing_docs, reason = "the names say it")]
    Refused {
        command: CommandId,
        #[source]
        refusal: Box<Refusal>,
        /// The moves that were made all the same: if a gate refuses or a kernel cannot be grafted, the seed is culled.
        transitions: Vec<Transition>,
    },
}

impl CommandError {
    /// Whether an answer outlives this process, so that a transport may forget the command: `not_durable` does not.
    #[must_use]
    pub fn is_final<T>(answer: &Result<T, Self>) -> bool {
        match answer {
            Ok(_) | Err(Self::Rejected(_)) => true,
            Err(Self::Refused { refusal, .. }) => !matches!(**refusal, Refusal::NotDurable(_)),
        }
    }

    /// The machine-readable reason, stable across releases.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Rejected(rejection) => rejection.reason(),
            Self::Refused { refusal, .. } => refusal.reason(),
        }
    }
}

/// Why seeds do not grow on a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The run goes on from a store, and nobody has said which model it goes on with.
    #[error(
        "the model has not been restored: call `restore_model`, or `model_restored` if the trainer has restored it"
    )]
    NotRestored,
    /// It was restored from an older or a newer checkpoint than the seeds, or its fossils were changed by hand.
    #[error("the model has other fossils than the run: {missing:?} are missing, {unknown:?} are not known")]
    #[allow(missing_docs, reason = "the names say it")]
    Fossils { missing: Vec<SeedId>, unknown: Vec<SeedId> },
}

impl ModelError {
    /// The machine-readable reason, stable across releases.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotRestored => "model_not_restored",
            Self::Fossils { .. } => "fossils_differ",
        }
    }
}

/// Why an authentic command, an order, or a call of the trainer was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The command cannot be meant, is for another run, or came too late.
    #[error(transparent)]
    Unreadable(Unreadable),
    /// The engine says no.
    #[error(transparent)]
    Decided(#[from] engine::Refusal),
    /// The kernel could not be grafted. The seed was culled, if it had germinated.
    #[error("the kernel of {blueprint} cannot be grafted: {cause}")]
    #[allow(missing_docs, reason = "the names say it")]
    Kernel {
        blueprint: BlueprintId,
        #[source]
        cause: Box<KernelError>,
    },
    /// A parameter of the model belongs to somebody else.
    #[error(transparent)]
    Host(#[from] RegistryError),
    /// Seeds do not grow on this model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// It could not be made durable, so nothing has happened. If `fsync` failed, the state on disk is unknown: all further commands are
    /// refused until restart, and recovery may find that this one was applied after all.
    #[error("not carried out, because it could not be made durable: {0}")]
    NotDurable(Box<CheckpointError>),
    /// The checkpoint cannot be had.
    #[error(transparent)]
    Checkpoint(Box<CheckpointError>),
}

impl Refusal {
    /// The machine-readable reason, stable across releases.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable(unreadable) => unreadable.reason(),
            Self::Decided(refusal) => refusal.reason(),
            Self::Kernel { cause, .. } => cause.reason(),
            Self::Host(error) => error.reason(),
            Self::Model(error) => error.reason(),
            Self::NotDurable(_) => "not_durable",
            Self::Checkpoint(error) => error.reason(),
        }
    }

    /// As telemetry says it.
    pub(crate) fn summary(&self) -> Refused {
        let late = match self {
            Self::Unreadable(Unreadable { error: ReadError::DeadlineExceeded { deadline_ms, late_ms }, .. }) => {
                Some((*deadline_ms, *late_ms))
            }
            Self::Unreadable(_)
            | Self::Decided(_)
            | Self::Kernel { .. }
            | Self::Host(_)
            | Self::Model(_)
            | Self::NotDurable(_)
            | Self::Checkpoint(_) => None,
        };
        Refused { reason: self.reason(), detail: self.to_string(), late }
    }
}

impl From<CheckpointError> for Refusal {
    fn from(error: CheckpointError) -> Self {
        Self::NotDurable(Box::new(error))
    }
}

/// Why a kernel was not grafted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// It could not be had, or is not what it should be.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// It does not fit what the slot has shown.
    #[error("{0}")]
    Misfit(String),
    /// A parameter belongs to somebody else.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// It does not run at its slot.
    #[error(transparent)]
    Prewarm(#[from] PrewarmError),
    /// It is here, but not on all workers of the group.
    #[error("the kernel is not on all workers: {0}")]
    Elsewhere(String),
}

impl KernelError {
    /// The machine-readable reason, stable across releases.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Load(error) => error.reason(),
            Self::Misfit(_) => "slot_contract",
            Self::Registry(error) => error.reason(),
            Self::Prewarm(error) => error.reason(),
            Self::Elsewhere(_) => "kernel_on_another_worker",
        }
    }
}

/// Why a command was not obeyed, as telemetry says it.
pub(crate) struct Refused {
    pub(crate) reason: &'static str,
    pub(crate) detail: String,
    /// The deadline in milliseconds, and by how many the command missed it.
    pub(crate) late: Option<(u32, u64)>,
}

/// Why a checkpoint cannot be made or restored. Nothing was changed, and nothing acknowledged.
#[allow(missing_docs, reason = "the messages say it")]
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The journal or the blobs refuse.
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no {blob}")]
    Missing { blob: String },
    #[error("{what} is malformed: {detail}")]
    Malformed { what: &'static str, detail: String },
    /// The stored tensors cannot be read or written, or do not fit.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A parameter of a stored kernel belongs to somebody else.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The network cannot be put together.
    #[error(transparent)]
    Grown(#[from] GrownError),
    /// It is not of this model.
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(
        "the record has version {got}, and this build reads version {reads}: finish the run with the release that wrote it, or start \
         in an empty directory"
    )]
    WrongVersion { reads: u32, got: u32 },
    #[error("the store is of run {got}, this is run {expected}")]
    WrongRun { expected: String, got: String },
    #[error("the store holds {records} records of a run: recover it")]
    NotEmpty { records: usize },
    #[error("there is no checkpoint of epoch {epoch}; there are checkpoints of {held:?}")]
    UnknownEpoch { epoch: u64, held: Vec<u64> },
    #[error("a rollback to epoch {epoch} has been ordered and must be done first")]
    RollbackPending { epoch: u64 },
    #[error("no rollback has been ordered")]
    NotCommanded,
}

impl CheckpointError {
    /// The machine-readable reason, stable across releases.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Store(error) => error.reason(),
            Self::Missing { .. } => "checkpoint_part_missing",
            Self::Malformed { .. } => "checkpoint_malformed",
            Self::Weights(WeightsError::Mismatch { .. }) => "checkpoint_mismatch",
            Self::Weights(WeightsError::Malformed { .. }) => "checkpoint_malformed",
            Self::Weights(error) => error.reason(),
            Self::Registry(error) => error.reason(),
            Self::Grown(error) => error.reason(),
            Self::Model(error) => error.reason(),
            Self::WrongVersion { .. } => "checkpoint_version",
            Self::WrongRun { .. } => "wrong_training_run",
            Self::NotEmpty { .. } => "store_not_empty",
            Self::UnknownEpoch { .. } => "unknown_checkpoint",
            Self::RollbackPending { .. } => "rollback_pending",
            Self::NotCommanded => "rollback_not_commanded",
        }
    }
}

/// Why a manager was not built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A setting is out of range.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The store cannot be read, is of another run, or must be recovered.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The run has no name that is one.
    #[error("the run: {0}")]
    Run(#[from] InvalidId),
}

/// Why no seed was planted.
#[allow(missing_docs, reason = "the messages say it")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlantError {
    #[error("the host has not shown a slot {slot} yet: call `attach_host`, or look at the name")]
    UnknownSlot { slot: String },
    #[error("no kernel computes in {dtype}, as slot {slot} does")]
    Dtype { slot: SlotId, dtype: String },
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error(transparent)]
    Name(#[from] InvalidId),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Why a training step was not taken. The host, its optimizer and every seed that learns are as they were; what was due by time has
/// been done, and a seed whose kernel failed has been culled.
#[allow(missing_docs, reason = "the messages say it")]
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    #[error("the model's loss is {loss} at step {step}")]
    NonFiniteLoss { loss: f32, step: u64 },
    #[error("the loss has the shape {got:?}, expected [1]")]
    LossShape { got: Vec<usize> },
    /// A fossil, which is part of the model, could not do its part on this batch. Leave the batch out, order TERMINATE of the fossil, or go
    /// back to an epoch.
    #[error("the fossil {} at {} failed: {}", .0.seed, .0.slot, .0.detail)]
    Fossil(Box<Fault>),
    /// [`roll_back`](crate::SeedManager::roll_back) comes before the next batch.
    #[error("a rollback to epoch {epoch} has been ordered and must be done first")]
    RollbackPending { epoch: u64 },
    /// Seeds do not grow on this model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// [`Step::finish`](crate::Step::finish) comes after a run.
    #[error("the step has no run that counts")]
    NothingRun,
    /// [`Step::run`](crate::Step::run) comes before [`Step::gradients`](crate::Step::gradients).
    #[error("the step's gradients have been taken: finish it, and run the batch in the next one")]
    GradientsTaken,
    /// The workers of a group could not exchange what they have. None of them takes the step.
    #[error(transparent)]
    Reduce(#[from] ReduceError),
    /// Another worker of the group is not where this one is, so nothing that it has goes with what is here. Go back to an epoch, on all.
    #[error("worker {worker} is not in step: {what}")]
    OutOfStep { worker: usize, what: String },
    /// Another worker of the group cannot take the step.
    #[error("worker {worker} cannot take the step: {why}")]
    RefusedElsewhere { worker: usize, why: String },
    /// A parameter of the model belongs to somebody else.
    #[error("the model cannot be trained: {0}")]
    Host(#[from] RegistryError),
    /// The model's gradients are not its own to apply.
    #[error("the model cannot be trained: {0}")]
    Update(#[from] UpdateRefusal),
}

impl StepError {
    pub(crate) fn of(cause: HostPassCause, step: u64) -> Self {
        match cause {
            HostPassCause::LossShape { got } => Self::LossShape { got },
            HostPassCause::NonFiniteLoss { loss } => Self::NonFiniteLoss { loss, step },
            HostPassCause::Fossil(fault) => Self::Fossil(fault),
            HostPassCause::Host(error) => Self::Host(error),
            HostPassCause::Update(refusal) => Self::Update(refusal),
        }
    }

    /// The machine-readable reason, stable across releases.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NonFiniteLoss { .. } => "non_finite_loss",
            Self::LossShape { .. } => "loss_shape",
            Self::Fossil(fault) => fault.reason,
            Self::RollbackPending { .. } => "rollback_pending",
            Self::Model(error) => error.reason(),
            Self::NothingRun => "nothing_run",
            Self::GradientsTaken => "gradients_taken",
            Self::Reduce(error) => error.reason(),
            Self::OutOfStep { .. } => "worker_out_of_step",
            Self::RefusedElsewhere { .. } => "refused_by_another_worker",
            Self::Host(error) => error.reason(),
            Self::Update(refusal) => refusal.reason(),
        }
    }
}
