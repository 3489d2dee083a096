//! The evidence of each gate. It is plain data; whoever gathers it is responsible for its truth.
//!
//! Every kind of evidence carries the stage it was gathered in, and is worthless in any other. Counts of isolation
//! violations are of the whole life of the seed. The manager fills all of it: from its own records, from the host and seed
//! passes of the last step, and from the kernel loader.

use std::{collections::BTreeMap, time::Duration};

use kasmina_leyline::{
    SeedId, ShortText, SlotId, TrainingRunId,
    v1::{BlueprintDescriptor, SeedLifecycleStage},
};
use serde::{Deserialize, Serialize};

use crate::Contribution;

/// Evidence of G0: a blueprint that may be tried, a slot for it, and the run that it belongs to.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct SanityEvidence {
    pub expected_stage: SeedLifecycleStage,
    pub training_run_id: TrainingRunId,
    /// The catalogue's description, or `None` if it does not list the blueprint.
    pub blueprint: Option<BlueprintDescriptor>,
    /// The parameters that the blueprint is to be built with, by name.
    pub parameters: BTreeMap<String, f32>,
    pub slot: SlotId,
    pub slot_state: SlotState,
}

/// Whether a slot can take a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// The host has no slot of this name, or has not run yet.
    Unknown,
    /// The slot is empty, or holds only fossils.
    Free,
    /// This seed occupies the slot.
    Taken(SeedId),
}

/// Evidence of G1: a real kernel that can learn.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct GradientHealthEvidence {
    pub expected_stage: SeedLifecycleStage,
    pub origin: KernelOrigin,
    pub violations: u64,
    /// The loss of a rehearsal or of the seed's last pass.
    pub loss: f32,
    /// The L2 norm of the gradient over all of the seed's parameters.
    pub gradient_norm: f32,
}

/// Where an attached kernel comes from. The kernel loader answers for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelOrigin {
    /// No kernel is attached.
    Missing,
    /// An artifact that passed verification.
    Verified,
    /// A substitute. The kernel loader of this workspace has none: whoever adds one must report it here, and G1 to G4 refuse it.
    Fallback,
}

/// Evidence of G2: a seed that learns, and then one that is stable.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct StabilityEvidence {
    pub expected_stage: SeedLifecycleStage,
    pub origin: KernelOrigin,
    pub violations: u64,
    /// The median time per step that kernel and blend took.
    pub blend_latency: Duration,
    /// The median time per step that the isolation checks took.
    pub isolation_latency: Duration,
    /// What the stage has shown.
    pub progress: Progress,
}

/// What G2 is shown: a seed that learned behind the host, or one that is in the blend.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Progress {
    /// Of a seed that is to be grafted. The host's loss says nothing of it, because it does not touch the host yet.
    Training {
        /// Steps in TRAINING, those in which it was paused left out.
        steps: u64,
        /// The L2 norm of its last sampled gradient.
        gradient_norm: Option<f32>,
        /// The L2 norm of the host's last sampled gradient.
        host_gradient_norm: Option<f32>,
        /// Why it gets no gradient, if it gets none.
        idle: Option<Idle>,
    },
    /// Of a seed in the blend, after each step.
    Blending {
        /// The losses of the network with all seeds in the blend, oldest first.
        losses: Vec<f32>,
        /// Alpha after the step before, if there was one, and alpha now.
        alpha: (Option<f32>, f32),
    },
}

/// Why no gradient reaches a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Idle {
    /// The host did not come to the seed's slot.
    SlotNotReached,
    /// The host came to the slot and did not use what left it.
    SlotUnused,
}

impl Idle {
    /// The machine-readable name, stable across versions.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            // The host's forward does not call `at` for the slot on this batch.
            Self::SlotNotReached => "slot_not_reached",
            // The loss does not depend on what `at` returned.
            Self::SlotUnused => "slot_unused",
        }
    }
}

/// Evidence of G3: a seed that fits its slot, its parameters and its telemetry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct InterfaceEvidence {
    pub expected_stage: SeedLifecycleStage,
    pub origin: KernelOrigin,
    /// The kernel's contract.
    pub kernel: Interface,
    /// What the host has at the slot.
    pub slot: Interface,
    /// How many parameters the kernel has, and how many are registered to the seed.
    pub parameters: (u64, u64),
    /// How many of the registered parameters the kernel does not have.
    pub foreign_parameters: u64,
    /// Telemetry packets that were due since the last gate, and packets that were delivered.
    pub packets: (u64, u64),
    /// Whether a pass with the seed paused left the slot's activation unchanged, bit for bit.
    pub pause_proven: bool,
}

/// One side of a slot contract.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Interface {
    /// The number of dimensions, the batch included.
    pub rank: usize,
    /// Channels in and channels out.
    pub channels: (usize, usize),
    /// The element type in lower case, for example `f32`.
    pub dtype: ShortText,
}

/// Evidence of G4: what the seed does to the whole network.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct SystemImpactEvidence {
    pub expected_stage: SeedLifecycleStage,
    pub origin: KernelOrigin,
    pub violations: u64,
    /// What the seed alone changes, measured in this stage.
    pub contribution: Contribution,
    /// Metrics of the whole network, if any were reported since it last moved.
    pub metrics: Vec<ImpactMetric>,
    /// Other seeds in the live network. The metrics are as much theirs as this seed's.
    pub other_seeds: usize,
}

/// One metric of the network without the live seeds and with them.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct ImpactMetric {
    pub name: String,
    /// The value without the seeds.
    pub baseline: f64,
    /// The value with the seeds, in the same unit.
    pub current: f64,
    pub higher_is_better: bool,
}

/// Evidence of G5: nothing of the seed is left.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct ResetEvidence {
    pub expected_stage: SeedLifecycleStage,
    pub slot_occupied: bool,
    /// How many of the seed's counters are not zero.
    pub counters_left: u64,
    /// How many cache entries belong to this seed alone. Kernels are cached by blueprint and are not counted.
    pub cached_entries: u64,
    pub registered_parameters: u64,
}
