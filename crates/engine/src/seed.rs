//! One seed: its stage, and in the stage what exists in that stage alone.

use std::collections::BTreeMap;

use kasmina_blending::{Alpha, AlphaSchedule, BlendConfig};
use kasmina_gates::{Contribution, Idle, Interface};
use kasmina_leyline::{
    BlueprintId, CommandId, Monotonic, SeedId, ShortText, SlotId,
    v1::SeedLifecycleStage::{
        self, SeedStageBlending, SeedStageCulled, SeedStageDormant, SeedStageEmbargoed, SeedStageFossilized,
        SeedStageGerminated, SeedStageProbationary, SeedStageResetting, SeedStageShadowing, SeedStageTerminated,
        SeedStageTraining,
    },
};
use serde::{Deserialize, Serialize};

pub use crate::leaving::Leaving;
use crate::vitals::Vitals;

/// Everything that is known of one seed but its tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seed {
    /// The name by which orders mean it.
    pub id: SeedId,
    /// Where it is grafted, or will be.
    pub slot: SlotId,
    /// Isolation violations since it was last DORMANT.
    pub violations: u64,
    /// Where it stands.
    pub stage: Stage,
    /// Why a gate postponed its last request in this stage, if it did and was not asked for another move since.
    #[serde(default)]
    pub postponed: Option<String>,
    /// How often it has germinated.
    #[serde(default)]
    pub lives: u64,
    /// How many seeds had been forgotten when it was registered: what tells it from one of the same name that was forgotten.
    #[serde(default)]
    pub registered: u64,
}

/// A stage with its payload. A seed that was never registered has no record, so UNKNOWN has no variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Stage {
    /// Registered; nothing is grafted.
    Dormant,
    /// G0 has passed.
    Germinated(Germinated),
    /// Learns behind the host.
    Training(Graft),
    /// Is blended in, step by step.
    Blending(Graft, Blend),
    /// Runs beside the host, without a part in it.
    Shadowing(Graft, Trial),
    /// Has a part in the live network, on probation.
    Probationary(Graft, Trial, Probation),
    /// Part of the model, which has its kernel.
    Fossilized(Fossil),
    /// Taken out. A seed leaves this stage in the decision that it enters it.
    Culled,
    /// Rests until its embargo ends.
    Embargoed(Embargo),
    /// The embargo has ended and G5 has not passed.
    Resetting,
    /// Gone for good.
    Terminated,
}

/// A seed that has passed G0: its kernel is on its way, or has arrived and waits for G1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "a seed waits for its kernel only for a while, and there are few seeds")]
pub enum Germinated {
    /// The kernel was asked for.
    Awaiting(KernelRequest),
    /// The kernel is in the slot, where it does nothing yet.
    Ready(Graft),
}

/// A kernel that was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelRequest {
    /// Of this blueprint.
    pub blueprint: BlueprintId,
    /// What the learning rate of the graft will be multiplied by.
    pub lr_scale: f64,
}

/// A kernel in its slot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graft {
    /// The blueprint that the kernel was built from.
    pub blueprint: BlueprintId,
    /// What the kernel takes and gives.
    pub contract: Contract,
    /// Its parameter tensors.
    pub parameters: u64,
    /// What its learning rate is multiplied by.
    pub lr_scale: f64,
    /// The epoch in which it was attached.
    pub epoch: u64,
    /// Whether the identity stands in for it.
    pub paused: bool,
    /// What has been measured of it.
    pub vitals: Vitals,
    /// Why no gradient reached it in the last step, if none did.
    #[serde(default)]
    pub idle: Option<Idle>,
    /// How far it has been taken out of the blend, if it is being taken out. Its kernel does not learn any more.
    #[serde(default)]
    pub leaving: Option<Leaving>,
    /// The command that ends its life once it has taken effect: FOSSILIZE, or CULL with a ramp.
    #[serde(default)]
    pub ending: Option<CommandId>,
}

/// What a kernel takes and gives, or what a slot shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contract {
    /// Dimensions of the activation, 2 to 4.
    pub rank: usize,
    /// Channels in and out.
    pub channels: (usize, usize),
    /// Element type, e.g. `f32`.
    pub dtype: ShortText,
}

impl From<Contract> for Interface {
    fn from(Contract { rank, channels, dtype }: Contract) -> Self {
        Self { rank, channels, dtype }
    }
}

/// How far a blend has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blend {
    /// How host and seed are joined.
    pub config: BlendConfig,
    /// How alpha grows.
    pub schedule: AlphaSchedule,
    /// Batches that have been blended.
    pub advanced: u64,
    /// What it changes, measured while it is blended in; it says nothing of another alpha.
    #[serde(default)]
    pub contribution: Contribution,
    /// Whether its slot was left as it is without it when it was paused; `None` before that was measured.
    #[serde(default)]
    pub pause_proven: Option<bool>,
}

impl Blend {
    /// The alpha of the last batch that was blended; 0 before the first.
    #[must_use]
    pub fn alpha(&self) -> Alpha {
        self.schedule.at(self.advanced)
    }

    /// The alpha before that; `None` before the first batch.
    #[must_use]
    pub fn previous_alpha(&self) -> Option<Alpha> {
        Some(self.schedule.at(self.advanced.checked_sub(1)?))
    }

    /// Whether alpha has reached 1.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.alpha() == Alpha::ONE
    }
}

/// A seed whose effect is being measured, at alpha 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// How host and seed are joined.
    pub blend: BlendConfig,
    /// What it changes, measured in this stage since it last learned.
    #[serde(default)]
    pub contribution: Contribution,
}

/// What a seed in PROBATIONARY is waiting for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Probation {
    /// That what it changes is measured.
    #[default]
    OnTrial,
    /// That its own optimizer has taken so many more steps, at least 1.
    FineTuning(u64),
    /// That it becomes part of the model: FOSSILIZE has been answered.
    Joining(Joining),
}

/// What FOSSILIZE was answered on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joining {
    /// The last step before the verdict.
    pub step: u64,
    /// The values that the gate looked at.
    pub verdict: BTreeMap<String, String>,
}

/// What is left of a seed in the manager once its kernel is part of the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fossil {
    /// The blueprint that the kernel was built from.
    pub blueprint: BlueprintId,
    /// How it is blended in, at alpha 1.
    pub blend: BlendConfig,
    /// Whether TERMINATE was answered, and the kernel is still to be taken out of the model.
    pub terminated: bool,
}

/// The rest that follows a cull.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Embargo {
    /// When it ends.
    #[serde(with = "nanos")]
    pub until: Monotonic,
}

/// Nanoseconds of this process's monotonic clock; [`State::rebase`](crate::State::rebase) moves them to another's.
pub(crate) mod nanos {
    use kasmina_leyline::Monotonic;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Monotonic, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(time.as_nanos())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Monotonic, D::Error> {
        u64::deserialize(deserializer).map(Monotonic::from_nanos)
    }
}

/// What a seed does in a training step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It takes no part.
    None,
    /// It learns behind the host, in the host's pass.
    Rides,
    /// It learns behind the barrier, in the learning pass.
    Learns,
    /// It is being taken out of the blend, and does not learn.
    Leaves,
    /// What it changes is measured.
    IsProbed,
    /// It is about to become part of the model. Until then it is blended in.
    Joins,
    /// It is part of the model.
    IsHost,
}

impl Stage {
    /// The stage's name in the contract.
    #[must_use]
    pub const fn leyline(&self) -> SeedLifecycleStage {
        match self {
            Self::Dormant => SeedStageDormant,
            Self::Germinated(_) => SeedStageGerminated,
            Self::Training(_) => SeedStageTraining,
            Self::Blending(..) => SeedStageBlending,
            Self::Shadowing(..) => SeedStageShadowing,
            Self::Probationary(..) => SeedStageProbationary,
            Self::Fossilized(_) => SeedStageFossilized,
            Self::Culled => SeedStageCulled,
            Self::Embargoed(_) => SeedStageEmbargoed,
            Self::Resetting => SeedStageResetting,
            Self::Terminated => SeedStageTerminated,
        }
    }

    /// The kernel in the slot, in the stages that have one.
    #[must_use]
    pub const fn graft(&self) -> Option<&Graft> {
        match self {
            Self::Germinated(Germinated::Ready(graft))
            | Self::Training(graft)
            | Self::Blending(graft, _)
            | Self::Shadowing(graft, _)
            | Self::Probationary(graft, ..) => Some(graft),
            Self::Dormant
            | Self::Germinated(Germinated::Awaiting(_))
            | Self::Fossilized(_)
            | Self::Culled
            | Self::Embargoed(_)
            | Self::Resetting
            | Self::Terminated => None,
        }
    }

    pub(crate) const fn graft_mut(&mut self) -> Option<&mut Graft> {
        match self {
            Self::Germinated(Germinated::Ready(graft))
            | Self::Training(graft)
            | Self::Blending(graft, _)
            | Self::Shadowing(graft, _)
            | Self::Probationary(graft, ..) => Some(graft),
            Self::Dormant
            | Self::Germinated(Germinated::Awaiting(_))
            | Self::Fossilized(_)
            | Self::Culled
            | Self::Embargoed(_)
            | Self::Resetting
            | Self::Terminated => None,
        }
    }

    /// How host and seed are joined, from BLENDING on.
    #[must_use]
    pub const fn blend(&self) -> Option<&BlendConfig> {
        match self {
            Self::Blending(_, Blend { config, .. }) => Some(config),
            Self::Shadowing(_, Trial { blend, .. })
            | Self::Probationary(_, Trial { blend, .. }, _)
            | Self::Fossilized(Fossil { blend, .. }) => Some(blend),
            Self::Dormant
            | Self::Germinated(_)
            | Self::Training(_)
            | Self::Culled
            | Self::Embargoed(_)
            | Self::Resetting
            | Self::Terminated => None,
        }
    }

    /// How much of the seed is in the blend; `None` without a kernel, 0 before BLENDING, 1 after it, and less and less for a seed
    /// that is leaving.
    #[must_use]
    pub fn alpha(&self) -> Option<Alpha> {
        if let Some(leaving) = self.leaving() {
            return Some(leaving.alpha());
        }
        match self {
            Self::Germinated(Germinated::Ready(_)) | Self::Training(_) => Some(Alpha::ZERO),
            Self::Blending(_, blend) => Some(blend.alpha()),
            Self::Shadowing(..) | Self::Probationary(..) | Self::Fossilized(_) => Some(Alpha::ONE),
            Self::Dormant
            | Self::Germinated(Germinated::Awaiting(_))
            | Self::Culled
            | Self::Embargoed(_)
            | Self::Resetting
            | Self::Terminated => None,
        }
    }

    /// What the seed does in a training step; nothing while it is paused.
    #[must_use]
    pub const fn turn(&self) -> Turn {
        match self {
            Self::Training(graft) if !graft.paused => Turn::Rides,
            Self::Blending(graft, _) | Self::Probationary(graft, ..) if !graft.paused && graft.leaving.is_some() => {
                Turn::Leaves
            }
            Self::Blending(graft, _) if !graft.paused => Turn::Learns,
            Self::Shadowing(graft, _) if !graft.paused => Turn::IsProbed,
            Self::Probationary(graft, _, probation) if !graft.paused => match probation {
                Probation::OnTrial => Turn::IsProbed,
                Probation::FineTuning(_) => Turn::Learns,
                Probation::Joining(_) => Turn::Joins,
            },
            Self::Fossilized(_) => Turn::IsHost,
            Self::Dormant
            | Self::Germinated(_)
            | Self::Training(_)
            | Self::Blending(..)
            | Self::Shadowing(..)
            | Self::Probationary(..)
            | Self::Culled
            | Self::Embargoed(_)
            | Self::Resetting
            | Self::Terminated => Turn::None,
        }
    }

    /// How far the seed has been taken out of the blend, if it is being taken out.
    #[must_use]
    pub const fn leaving(&self) -> Option<&Leaving> {
        match self.graft() {
            Some(graft) => graft.leaving.as_ref(),
            None => None,
        }
    }

    /// Whether the seed has a part in the live network that is not the host's own: BLENDING or PROBATIONARY, and not paused.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self, Self::Blending(graft, _) | Self::Probationary(graft, ..) if !graft.paused)
    }

    pub(crate) const fn contribution_mut(&mut self) -> Option<&mut Contribution> {
        match self {
            Self::Blending(_, Blend { contribution, .. })
            | Self::Shadowing(_, Trial { contribution, .. })
            | Self::Probationary(_, Trial { contribution, .. }, _) => Some(contribution),
            Self::Dormant
            | Self::Germinated(_)
            | Self::Training(_)
            | Self::Fossilized(_)
            | Self::Culled
            | Self::Embargoed(_)
            | Self::Resetting
            | Self::Terminated => None,
        }
    }

    /// The kernel that the seed waits for.
    #[must_use]
    pub const fn awaits(&self) -> Option<&KernelRequest> {
        match self {
            Self::Germinated(Germinated::Awaiting(request)) => Some(request),
            Self::Dormant
            | Self::Germinated(Germinated::Ready(_))
            | Self::Training(_)
            | Self::Blending(..)
            | Self::Shadowing(..)
            | Self::Probationary(..)
            | Self::Fossilized(_)
            | Self::Culled
            | Self::Embargoed(_)
            | Self::Resetting
            | Self::Terminated => None,
        }
    }

    /// The blueprint of the kernel that the seed has, or waits for.
    #[must_use]
    pub fn blueprint(&self) -> Option<&BlueprintId> {
        let awaited = self.awaits().map(|request| &request.blueprint);
        self.graft().map(|graft| &graft.blueprint).or(awaited)
    }

    /// What the seed has been measured to change, in the stages in which it is measured.
    #[must_use]
    pub const fn contribution(&self) -> Option<&Contribution> {
        match self {
            Self::Blending(_, Blend { contribution, .. })
            | Self::Shadowing(_, Trial { contribution, .. })
            | Self::Probationary(_, Trial { contribution, .. }, _) => Some(contribution),
            Self::Dormant
            | Self::Germinated(_)
            | Self::Training(_)
            | Self::Fossilized(_)
            | Self::Culled
            | Self::Embargoed(_)
            | Self::Resetting
            | Self::Terminated => None,
        }
    }

    /// Whether its own optimizer may still step in PROBATIONARY.
    #[must_use]
    pub const fn is_fine_tuning(&self) -> bool {
        matches!(self, Self::Probationary(_, _, Probation::FineTuning(_)))
    }

    /// What FOSSILIZE was answered on, if the seed is still to become part of the model.
    #[must_use]
    pub const fn joining(&self) -> Option<&Joining> {
        match self {
            Self::Probationary(_, _, Probation::Joining(joining)) => Some(joining),
            Self::Probationary(_, _, Probation::OnTrial | Probation::FineTuning(_))
            | Self::Dormant
            | Self::Germinated(_)
            | Self::Training(_)
            | Self::Blending(..)
            | Self::Shadowing(..)
            | Self::Fossilized(_)
            | Self::Culled
            | Self::Embargoed(_)
            | Self::Resetting
            | Self::Terminated => None,
        }
    }

    /// Whether the slot is taken: by a kernel that is not part of the host, or by one that was asked for.
    pub(crate) const fn occupies_slot(&self) -> bool {
        match self {
            Self::Germinated(_)
            | Self::Training(_)
            | Self::Blending(..)
            | Self::Shadowing(..)
            | Self::Probationary(..) => true,
            Self::Dormant
            | Self::Fossilized(_)
            | Self::Culled
            | Self::Embargoed(_)
            | Self::Resetting
            | Self::Terminated => false,
        }
    }
}

impl Seed {
    /// A seed that was just registered, in a run that has forgotten none.
    #[must_use]
    pub const fn dormant(id: SeedId, slot: SlotId) -> Self {
        Self { id, slot, violations: 0, stage: Stage::Dormant, postponed: None, lives: 0, registered: 0 }
    }

    /// When its embargo ends.
    #[must_use]
    pub const fn embargo_until(&self) -> Option<Monotonic> {
        match self.stage {
            Stage::Embargoed(Embargo { until }) => Some(until),
            Stage::Dormant
            | Stage::Germinated(_)
            | Stage::Training(_)
            | Stage::Blending(..)
            | Stage::Shadowing(..)
            | Stage::Probationary(..)
            | Stage::Fossilized(_)
            | Stage::Culled
            | Stage::Resetting
            | Stage::Terminated => None,
        }
    }
}
