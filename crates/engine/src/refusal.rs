//! Why an order was refused.

use kasmina_commands::BreakerName;
use kasmina_leyline::{
    BlueprintId, SeedId, SlotId,
    v1::{BlueprintTier, SeedLifecycleStage},
};
use kasmina_lifecycle::{IllegalTransition, Verdict};

use crate::input::{CheckpointFailure, KernelFailure};

/// Why an order was refused.
#[allow(missing_docs, reason = "the messages say it")]
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    #[error("seed {0} is not registered")]
    UnknownSeed(SeedId),
    #[error("seed {0} is already registered")]
    SeedExists(SeedId),
    #[error("slot {slot} holds {by}")]
    SlotTaken { slot: SlotId, by: SeedId },
    /// The move is not in the table.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// The order means nothing in the seed's stage.
    #[error("{seed} is {}: {cause}", stage_name(.stage))]
    WrongStage { seed: SeedId, stage: SeedLifecycleStage, cause: &'static str },
    #[error("{seed} is at alpha {alpha}: blending is not complete")]
    BlendingIncomplete { seed: SeedId, alpha: f32 },
    /// Not a failure of the seed, which stays where it is: ask again after some batches.
    #[error("{seed}: the gate cannot be evaluated yet: {what}")]
    NotMeasured { seed: SeedId, what: &'static str },
    /// The gate has refused. The seed has been culled, if its stage allows that.
    #[error("{} refused {}: {}", .0.gate.as_str_name(), .0.seed_id, .0.reason)]
    GateFailed(Box<Verdict>),
    /// The gate does not judge yet, for want of evidence or because of something that is not the seed's fault. The seed stays where it is;
    /// ask again later.
    ///
    /// Besides the gates' own reasons there are those for which no gate is asked, whoever keeps it:
    ///
    /// | reason | what it says |
    /// |---|---|
    /// | `breaker_open` | A breaker is open: the blending breaker for START_GRAFTING, any for EVALUATE and FOSSILIZE. |
    /// | `memory_pressure` | Memory is short: conservative mode is on, and no seed germinates. |
    /// | `origin_not_measured` | It is not known where the seed's kernel comes from. |
    /// | `ownership_not_measured` | It is not known who owns its parameters. |
    /// | `telemetry_not_measured` | It is not known how much of its telemetry has arrived. |
    /// | `pause_not_measured` | It has not been tried whether its slot is the identity while it is paused. |
    /// | `remains_not_measured` | It is not known what is left of it after its cull. |
    #[error("{} postpones {}: {}", .0.gate.as_str_name(), .0.seed_id, .0.reason)]
    Postponed(Box<Verdict>),
    /// The order cannot be meant for this seed or slot.
    #[error("{field}: {cause}")]
    Malformed { field: &'static str, cause: String },
    #[error("{blueprint} is of tier {} in the catalogue, the command says {}", .got.as_str_name(), .expected.as_str_name())]
    TierMismatch { blueprint: BlueprintId, expected: BlueprintTier, got: BlueprintTier },
    /// The kernel could not be had, or does not fit. The seed has been culled, if it had germinated.
    #[error("the kernel of {} cannot be grafted: {}", .0.blueprint, .0.detail)]
    Kernel(KernelFailure),
    #[error("the {} breaker is open", .breaker.as_str())]
    BreakerOpen { breaker: BreakerName },
    /// The checkpoint cannot be had.
    #[error("{}", .0.detail)]
    Checkpoint(CheckpointFailure),
    /// A rollback was ordered, and the trainer has not done it yet.
    #[error("a rollback to epoch {epoch} has been ordered and must be done first")]
    RollbackPending { epoch: u64 },
    #[error("{0} is not supported")]
    Unsupported(&'static str),
}

impl Refusal {
    /// The machine-readable reason, stable across releases.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownSeed(_) => "unknown_seed",
            Self::SeedExists(_) => "seed_exists",
            Self::SlotTaken { .. } => "slot_taken",
            Self::Illegal(illegal) => illegal.reason(),
            Self::WrongStage { .. } => "wrong_stage",
            Self::BlendingIncomplete { .. } => "blending_incomplete",
            Self::NotMeasured { .. } => "not_measured",
            Self::GateFailed(verdict) | Self::Postponed(verdict) => verdict.reason,
            Self::Malformed { .. } => "malformed_command",
            Self::TierMismatch { .. } => "tier_mismatch",
            Self::Kernel(failure) => failure.reason,
            Self::BreakerOpen { .. } => "breaker_open",
            Self::Checkpoint(failure) => failure.reason,
            Self::RollbackPending { .. } => "rollback_pending",
            Self::Unsupported(_) => "unsupported",
        }
    }
}

fn stage_name(stage: &SeedLifecycleStage) -> &'static str {
    stage.as_str_name().trim_start_matches("SEED_STAGE_")
}
