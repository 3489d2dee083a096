//! The evidence of each gate. It is plain data; whoever gathers it is responsible for its truth.
//!
//! Every kind of evidence carries the stage it was gathered in, and is worthless in any other. Counts of isolation
//! violations are of the whole life of the seed. The manager fills all of it: from its own records, from the host and seed
//! passes of the last step, and from the kernel loader.

use std::{collections::BTreeMap, time::Duration};

use kasmina_leyline::{
    SeedId, SlotId, TrainingRunId,
    v1::{BlueprintDescriptor, SeedLifecycleStage},
};

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
    pub kernel: KernelOrigin,
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
    /// A substitute. The kernel loader of this workspace has none: whoever adds one must report it here, and G1 refuses it.
    Fallback,
}

/// Evidence of G2: a seed that is stable.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct StabilityEvidence {
    pub expected_stage: SeedLifecycleStage,
    /// The losses of the passes that the seed took part in, oldest first.
    pub losses: Vec<f32>,
    /// Alpha after the step before, if there was one, and alpha now.
    pub alpha: (Option<f32>, f32),
    /// The median time per step that kernel and blend took.
    pub blend_latency: Duration,
    /// The median time per step that the isolation checks took.
    pub isolation_latency: Duration,
    /// Whether a substitute ran instead of the kernel, even once since the last gate. See [`KernelOrigin::Fallback`].
    pub fallback_used: bool,
    pub violations: u64,
}

/// Evidence of G3: a seed that fits its slot, its parameters and its telemetry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct InterfaceEvidence {
    pub expected_stage: SeedLifecycleStage,
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
    pub dtype: String,
}

/// Evidence of G4: what the seed does to the whole network.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct SystemImpactEvidence {
    pub expected_stage: SeedLifecycleStage,
    pub metrics: Vec<ImpactMetric>,
    pub status: SystemStatus,
    pub violations: u64,
}

/// One metric of the network without the seed and with it.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct ImpactMetric {
    pub name: String,
    /// The value without the seed.
    pub baseline: f64,
    /// The value with the seed, in the same unit.
    pub current: f64,
    pub higher_is_better: bool,
}

/// The state of the system that the metrics were measured on. The caller decides it from its breakers and budgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum SystemStatus {
    /// Everything runs as it should.
    Nominal,
    /// A breaker is open, or a budget is exceeded.
    Degraded,
    /// A substitute runs instead of a kernel. See [`KernelOrigin::Fallback`].
    Fallback,
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
