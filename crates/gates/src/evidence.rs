//! What the gates must be shown. Evidence is plain data; whoever gathers it answers for its truth.

use std::{collections::BTreeMap, time::Duration};

use kasmina_leyline::{
    SeedId, SlotId, TrainingRunId,
    v1::{BlueprintDescriptor, SeedLifecycleStage},
};

/// For G0: is there a blueprint that may be tried, a place for it, and a run that it belongs to?
#[derive(Clone, Debug, PartialEq)]
pub struct SanityEvidence {
    /// The stage in which this was gathered.
    pub expected_stage: SeedLifecycleStage,
    /// The run.
    pub training_run_id: TrainingRunId,
    /// What the catalogue says of the blueprint; `None` where it does not have it.
    pub blueprint: Option<BlueprintDescriptor>,
    /// The parameters that the blueprint shall be made with.
    pub parameters: BTreeMap<String, f32>,
    /// Where it shall go.
    pub slot: SlotId,
    /// How it looks there.
    pub slot_state: SlotState,
}

/// How a slot looks to a seed that wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// The host has shown no slot of this name.
    Unknown,
    /// Nobody is there, or fossils alone.
    Free,
    /// This seed is there.
    Taken(SeedId),
}

/// For G1: is there a real kernel, and can it learn?
#[derive(Clone, Debug, PartialEq)]
pub struct GradientHealthEvidence {
    /// The stage in which this was gathered.
    pub expected_stage: SeedLifecycleStage,
    /// What is attached.
    pub kernel: KernelOrigin,
    /// Isolation violations of the seed so far.
    pub violations: u64,
    /// The seed's loss.
    pub loss: f32,
    /// The L2 norm of the gradient over the seed's parameters.
    pub gradient_norm: f32,
}

/// Where an attached kernel comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelOrigin {
    /// Nothing is attached.
    Missing,
    /// An artifact that passed verification.
    Verified,
    /// Something that stands in for it.
    Fallback,
}

/// For G2: is it stable?
#[derive(Clone, Debug, PartialEq)]
pub struct StabilityEvidence {
    /// The stage in which this was gathered.
    pub expected_stage: SeedLifecycleStage,
    /// The losses of the passes that the seed took part in, oldest first.
    pub losses: Vec<f32>,
    /// Alpha in the step before, where there was one, and now.
    pub alpha: (Option<f32>, f32),
    /// The median time that kernel and blend took per step.
    pub blend_latency: Duration,
    /// The median time that the isolation checks took per step.
    pub isolation_latency: Duration,
    /// Whether anything stood in for the kernel.
    pub fallback_used: bool,
    /// Isolation violations of the seed so far.
    pub violations: u64,
}

/// For G3: does it fit in every way?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceEvidence {
    /// The stage in which this was gathered.
    pub expected_stage: SeedLifecycleStage,
    /// What the kernel's contract says.
    pub kernel: Interface,
    /// What the slot shows.
    pub slot: Interface,
    /// Parameters that the kernel has, and that are registered to the seed.
    pub parameters: (u64, u64),
    /// Of the latter, those that the kernel does not have.
    pub foreign_parameters: u64,
    /// Telemetry packets that were due since the last gate, and that were delivered.
    pub packets: (u64, u64),
    /// Whether a paused seed has been shown to leave the host's output as it is, bit for bit.
    pub pause_proven: bool,
}

/// One side of a slot contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The number of dimensions.
    pub rank: usize,
    /// Channels in and out.
    pub channels: (usize, usize),
    /// The element type, in lower case, e.g. `f32`.
    pub dtype: String,
}

/// For G4: how does the network do with it?
#[derive(Clone, Debug, PartialEq)]
pub struct SystemImpactEvidence {
    /// The stage in which this was gathered.
    pub expected_stage: SeedLifecycleStage,
    /// Metrics of the network with the seed beside those without.
    pub metrics: Vec<ImpactMetric>,
    /// How the system is.
    pub status: SystemStatus,
    /// Isolation violations of the seed so far.
    pub violations: u64,
}

/// A metric without the seed and with it.
#[derive(Clone, Debug, PartialEq)]
pub struct ImpactMetric {
    /// Its name.
    pub name: String,
    /// Without the seed.
    pub baseline: f64,
    /// With it.
    pub current: f64,
    /// Which way is up.
    pub higher_is_better: bool,
}

/// How the system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemStatus {
    /// Everything runs as it should.
    Nominal,
    /// Something is not as it should be: a breaker is open, a budget is broken.
    Degraded,
    /// Something stands in for what should run.
    Fallback,
}

/// For G5: is nothing left of the seed?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResetEvidence {
    /// The stage in which this was gathered.
    pub expected_stage: SeedLifecycleStage,
    /// Whether its kernel is still in the slot.
    pub slot_occupied: bool,
    /// Its counters that are not zero.
    pub counters_left: u64,
    /// Cache entries of its own.
    pub cached_entries: u64,
    /// Parameters registered to it.
    pub registered_parameters: u64,
}
