//! What the engine answers: a change, what the shell must do, what there is to emit, and the answer.

use kasmina_blending::{AlphaSchedule, BlendConfig};
use kasmina_commands::BreakerName;
use kasmina_gates::{Contribution, Idle};
use kasmina_leyline::{BlueprintId, SeedId, SlotId};
use kasmina_lifecycle::{Transition, Verdict};
use kasmina_safety::BreakerEvent;
use smallvec::SmallVec;

use crate::{
    ending::LifeEnded,
    input::{Fault, MemoryFacts, SeedStep, Violation},
    refusal::Refusal,
    state::Delta,
};

/// What follows from one input. Nothing has happened until the change is committed.
///
/// It has room for what an order does to one seed, so that deciding one allocates nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The records that change.
    pub delta: Delta,
    /// What the shell must do, in this order.
    pub effects: SmallVec<[Effect; 2]>,
    /// What there is to emit, in this order.
    pub events: SmallVec<[Event; 4]>,
    /// The answer. A refusal may come with a change: a gate that refuses culls its seed.
    pub answer: Result<(), Refusal>,
}

impl Decision {
    /// The moves of seeds, in order.
    pub fn transitions(&self) -> impl Iterator<Item = &Transition> {
        self.events.iter().filter_map(Event::transition)
    }

    /// The kernel that is to be fetched, and the seed that it is for.
    #[must_use]
    pub fn fetch(&self) -> Option<(&SeedId, &BlueprintId)> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Fetch { seed, blueprint } => Some((seed, blueprint)),
            Effect::Attach { .. }
            | Effect::Detach { .. }
            | Effect::SaveWeights { .. }
            | Effect::HandOver { .. }
            | Effect::CountPackets { .. }
            | Effect::RestoreSeed { .. }
            | Effect::Purge { .. } => None,
        })
    }
}

/// Something that only the shell can do.
#[allow(missing_docs, reason = "the fields' names say it")]
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Fetch this blueprint's kernel, and report `KernelReady` or `KernelFailed`.
    Fetch { seed: SeedId, blueprint: BlueprintId },
    /// Put the kernel that arrived into the seed's slot; its bytes must be durable before the answer.
    Attach { seed: SeedId },
    /// Take the kernel out of the slot and forget its optimizer.
    Detach { seed: SeedId },
    /// The kernel belongs to the model now: forget it, and its optimizer.
    HandOver { seed: SeedId },
    /// The weights that the gate judged must be durable before the answer.
    SaveWeights { seed: SeedId },
    /// Count the seed's packets from zero: it has entered a stage, or is forgotten.
    CountPackets { seed: SeedId },
    /// Put the seed's kernel and optimizer back as the checkpoint of this epoch has them.
    RestoreSeed { seed: SeedId, epoch: u64 },
    /// Drop what is cached; the teacher too if said so.
    Purge { include_teacher: bool },
}

/// Something that happened.
#[allow(missing_docs, reason = "the fields' names say it")]
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A seed moved.
    Moved(Transition),
    /// A gate passed or refused.
    Judged(Verdict),
    /// A gate postponed. Emitted once for each reason in a row and stage, however often the gate is asked.
    Postponed(Verdict),
    /// A seed is being taken out of the blend: alpha falls from `from` to 0 in `steps` batches, and then it is culled.
    Leaving { seed: SeedId, from: f32, steps: u64 },
    /// A seed was taken out of its slot.
    Culled { seed: SeedId, why: &'static str },
    /// A seed's life has ended: how, and with which numbers.
    LifeEnded(Box<LifeEnded>),
    /// An embargo ended.
    EmbargoEnded(SeedId),
    /// A blend was agreed on.
    BlendConfigured { seed: SeedId, blend: BlendConfig, schedule: AlphaSchedule },
    /// The identity stands in for a seed.
    Paused(SeedId),
    /// A seed does its part again.
    Resumed(SeedId),
    /// A breaker changed its state.
    Breaker(BreakerName, BreakerEvent),
    /// A gradient was found where it must not be; `count` with this one.
    Violated { violation: Violation, count: u64 },
    /// A graft could not do its part.
    Faulted(Fault),
    /// No gradient reaches a seed any more.
    Idle { seed: SeedId, slot: SlotId, reason: Idle },
    /// A seed took part in a pass.
    SeedStepped(SeedStep),
    /// What a seed changes was measured: on this batch, and in its stage so far.
    Probed { seed: SeedId, difference: f32, contribution: Contribution },
    /// How much two seeds change together beyond what each changes alone. See [`Input::Interaction`](crate::Input::Interaction).
    Interacted { seeds: (SeedId, SeedId), value: f32 },
    /// The loss of the blend misbehaves, as `seed` was the first to show: every live seed is probed in the next step.
    HuntBegan { seed: SeedId, reason: &'static str },
    /// The seed with the most negative contribution was culled, or none had one.
    HuntEnded { culled: Option<SeedId> },
    /// One seed went back to a checkpoint.
    SeedRolledBack { seed: SeedId, epoch: u64 },
    /// The model was restored as it was after step `model`, and what was measured of the seed is of a model after step `seed_step`: it
    /// is measured again. `join_withdrawn`: so is the verdict that let it become part of the model.
    EvidenceReset { seed: SeedId, seed_step: u64, model: u64, join_withdrawn: bool },
    /// Memory is short: no seed germinates from now on.
    ConservationBegan(MemoryFacts),
    /// Memory suffices again.
    ConservationEnded(MemoryFacts),
}

impl Event {
    /// The move, if this is one.
    #[must_use]
    pub const fn transition(&self) -> Option<&Transition> {
        match self {
            Self::Moved(transition) => Some(transition),
            Self::Judged(_)
            | Self::Culled { .. }
            | Self::LifeEnded(_)
            | Self::EmbargoEnded(_)
            | Self::BlendConfigured { .. }
            | Self::Paused(_)
            | Self::Resumed(_)
            | Self::Breaker(..)
            | Self::Violated { .. }
            | Self::Faulted(_)
            | Self::SeedStepped(_)
            | Self::Postponed(_)
            | Self::Leaving { .. }
            | Self::Idle { .. }
            | Self::Probed { .. }
            | Self::Interacted { .. }
            | Self::HuntBegan { .. }
            | Self::HuntEnded { .. }
            | Self::SeedRolledBack { .. }
            | Self::EvidenceReset { .. }
            | Self::ConservationBegan(_)
            | Self::ConservationEnded(_) => None,
        }
    }
}
