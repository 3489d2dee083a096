//! What goes into the engine: what happened, and the facts that only the shell can measure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use kasmina_commands::Order;
pub use kasmina_gates::{Idle, KernelOrigin};
use kasmina_leyline::{
    BlueprintId, CommandId, SeedId, SlotId,
    v1::{BlueprintDescriptor, SeedLifecycleStage},
};

use crate::{
    seed::{Contract, Seed},
    state::{State, Validation},
};

/// Something that happened, or that somebody wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// An order from the owning process or from a policy.
    Order(Order),
    /// The order of a command.
    Command(CommandId, Order),
    /// A new seed at a slot.
    Register(SeedId, SlotId),
    /// A TERMINATED seed is not needed on record any more.
    Forget(SeedId),
    /// The kernel that a seed waits for is in memory and fits its slot.
    KernelReady(SeedId, KernelFacts),
    /// The kernel that a seed waits for will not come.
    KernelFailed(SeedId, KernelFailure),
    /// A batch has begun in which seeds are blended in: alpha advances. Once in a step, however many passes it has.
    AlphaAdvanced,
    /// The host's pass over a batch is done; the step goes on.
    HostPass(HostPassFacts),
    /// The host's pass over a batch failed. The step is not taken.
    HostPassFailed(Vec<Fault>),
    /// The one pass of all seeds that learn behind the barrier is done.
    LearningPass(LearningFacts),
    /// What a seed changes was measured, as [`State::measurements`] asked.
    Probe(SeedId, ProbeFacts),
    /// How much two seeds change together beyond what each changes alone, as [`State::measurements`] asked.
    Interaction {
        /// Which two.
        seeds: (SeedId, SeedId),
        /// L(without both) - L(without the first) - L(without the second) + L(with all), on one batch. Below zero, they do each
        /// other's work; above it, each needs the other.
        value: f32,
    },
    /// Whether a pass with this seed paused left its slot as a pass without it did, bit for bit, as [`State::measurements`] asked.
    PauseProof(SeedId, bool),
    /// The optimizers have stepped: the step is taken.
    StepTaken(StepFacts),
    /// Telemetry was flushed, or a flush failed.
    Flushed {
        /// Whether a sink refused.
        failed: bool,
    },
    /// Metrics of the whole network.
    Validation(Vec<Validation>),
    /// An epoch has ended.
    EpochEnded,
    /// The trainer has gone back to the epoch of a checkpoint, whose state this is.
    RolledBack(u64, Box<State>),
    /// The rollback that was ordered will not be done.
    RollbackAbandoned,
    /// The kernels of some seeds have become part of the model, after FOSSILIZE, or have left it, after TERMINATE.
    ModelSettled {
        /// In the order in which they were added.
        joined: Vec<SeedId>,
        /// Taken out.
        removed: Vec<SeedId>,
    },
    /// After a restart, the trainer has the model as it was after this step.
    ModelRestored(u64),
    /// How memory stands.
    Memory(MemoryFacts),
    /// The shell has drawn what the random numbers of all steps are derived from.
    RngSeeded(u64),
    /// Time has passed.
    Tick,
}

/// A kernel that arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelFacts {
    /// The blueprint it was built from.
    pub blueprint: BlueprintId,
    /// What it takes and gives.
    pub contract: Contract,
    /// Its parameter tensors.
    pub parameters: u64,
}

/// Why a kernel did not arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelFailure {
    /// Of this blueprint.
    pub blueprint: BlueprintId,
    /// Why, machine-readable.
    pub reason: &'static str,
    /// Why, for a reader.
    pub detail: String,
    /// Whether the source of kernels is to blame. A kernel that was loaded and does not fit says nothing against the source.
    pub source_failed: bool,
}

/// What the host's pass showed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostPassFacts {
    /// Grafts that could not do their part.
    pub faults: Vec<Fault>,
    /// Gradients found where they must not be.
    pub violations: Vec<Violation>,
    /// TRAINING seeds that no gradient reached, and why. The others of that stage got one.
    pub idle: Vec<(SeedId, Idle)>,
}

/// What the pass of all seeds that learn behind the barrier showed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LearningFacts {
    /// The loss of the network with every seed in the blend, without the culprits; `None` if no pass gave a number.
    pub loss: Option<f32>,
    /// The seeds that took part and whose loss it is.
    pub learners: BTreeSet<SeedId>,
    /// Seeds without which the loss is finite. It was not finite with them.
    pub culprits: Vec<SeedId>,
    /// How long each kernel and its blend took.
    pub blend_latencies: BTreeMap<SeedId, Duration>,
    /// How long the isolation check took.
    pub verify_latency: Duration,
    /// Grafts that could not do their part.
    pub faults: Vec<Fault>,
    /// Gradients found where they must not be.
    pub violations: Vec<Violation>,
    /// Seeds that no gradient reached, and why.
    pub idle: Vec<(SeedId, Idle)>,
}

/// What a probe showed: two losses of the network on the same batch with the same random draws, that differ in one seed.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeFacts {
    /// The loss without the seed.
    pub without: f32,
    /// The loss with the seed, which is at alpha 1 in SHADOWING; `None` if the kernel could not do its part.
    pub with: Option<f32>,
    /// How long kernel and blend took; `None` if the loss with the seed was known from another pass.
    pub blend_latency: Option<Duration>,
    /// Grafts that could not do their part.
    pub faults: Vec<Fault>,
}

/// How memory stands, as the shell has measured it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryFacts {
    /// Whether it is short: then no seed germinates. The shell decides this with hysteresis.
    pub conserving: bool,
    /// Whether what is cached must go now.
    pub purge: bool,
    /// What is held of the budget that is nearest to being used up, in bytes.
    pub held: u64,
    /// That budget, in bytes.
    pub limit: u64,
}

/// What the whole step showed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StepFacts {
    /// The host's own loss on the batch.
    pub host_loss: f32,
    /// The L2 norm of the host's gradient, if it was sampled.
    pub host_gradient_norm: Option<f32>,
    /// How long the isolation checks took.
    pub verify_latency: Duration,
    /// Whether no violation was found.
    pub clean: bool,
    /// The kernels whose optimizer stepped.
    pub learned: BTreeMap<SeedId, Learned>,
}

/// One optimizer step of a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Learned {
    /// The learning rate that was used.
    pub learning_rate: f64,
    /// L2 norm of the gradient, if it was sampled.
    pub gradient_norm: Option<f32>,
}

/// A graft that could not do its part in a pass. The host's activation went on as if the seed were not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whose graft.
    pub seed: SeedId,
    /// Where.
    pub slot: SlotId,
    /// Why, machine-readable.
    pub reason: &'static str,
    /// Why, for a reader.
    pub detail: String,
}

/// Gradients where none may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    /// The seed that was involved.
    pub seed: SeedId,
    /// The pass it was found in: [`HOST`](Self::HOST) or [`SEED`](Self::SEED).
    pub pass: &'static str,
    /// How many parameters both had.
    pub shared: usize,
    /// Cosine similarity of the two gradients, if both could be had.
    pub cosine: Option<f32>,
    /// Their dot product, if both could be had.
    pub dot_product: Option<f32>,
}

impl Violation {
    /// [`pass`](Self::pass) of one that was found in the host's pass.
    pub const HOST: &'static str = "Host";
    /// [`pass`](Self::pass) of one that was found in a pass of seeds.
    pub const SEED: &'static str = "Seed";
}

/// A fact that the shell is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// What the catalogue says of this blueprint.
    Descriptor(BlueprintId),
    /// What this slot has shown.
    Slot(SlotId),
    /// A forward and a backward pass of this seed's kernel alone.
    Rehearsal(SeedId),
    /// Who owns this seed's parameters.
    Ownership(SeedId),
    /// How much of this seed's telemetry has arrived.
    Packets(SeedId),
    /// Where this seed's kernel comes from.
    Origin(SeedId),
    /// What is left of a seed that was culled.
    Remains(SeedId),
    /// The epochs that can be gone back to.
    Epochs,
    /// This seed as the checkpoint of an epoch has it: of the given epoch, or of the newest.
    Checkpoint(SeedId, Option<u64>),
}

impl Want {
    /// The seed that the fact is about.
    #[must_use]
    pub const fn seed(&self) -> Option<&SeedId> {
        match self {
            Self::Rehearsal(seed)
            | Self::Ownership(seed)
            | Self::Packets(seed)
            | Self::Origin(seed)
            | Self::Remains(seed)
            | Self::Checkpoint(seed, _) => Some(seed),
            Self::Descriptor(_) | Self::Slot(_) | Self::Epochs => None,
        }
    }
}

/// Facts that were measured for one input. What was not wanted, or could not be had, is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// For [`Want::Descriptor`]: `None` inside if the catalogue does not have it.
    pub descriptor: Option<Result<Option<BlueprintDescriptor>, KernelFailure>>,
    /// For [`Want::Slot`]: absent for a slot that the host has not shown.
    pub slot: Option<Contract>,
    /// For [`Want::Rehearsal`].
    pub rehearsal: Option<Rehearsal>,
    /// For [`Want::Ownership`].
    pub ownership: BTreeMap<SeedId, Ownership>,
    /// For [`Want::Packets`]: due, and delivered to every sink, since the seed's last gate.
    pub packets: Option<(u64, u64)>,
    /// For [`Want::Origin`].
    pub origins: BTreeMap<SeedId, KernelOrigin>,
    /// For [`Want::Remains`].
    pub remains: BTreeMap<SeedId, Remains>,
    /// For [`Want::Epochs`], oldest first.
    pub epochs: Vec<u64>,
    /// For [`Want::Checkpoint`].
    pub checkpoint: Option<Result<SeedCheckpoint, CheckpointFailure>>,
}

/// A forward and a backward pass of a kernel alone, towards a ramp.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rehearsal {
    /// The loss; NaN if the kernel does not run.
    pub loss: f32,
    /// The L2 norm of the gradient; NaN if the kernel does not run.
    pub gradient_norm: f32,
}

/// Who owns the parameters of a seed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ownership {
    /// Parameters that the kernel has.
    pub own: u64,
    /// Parameters that are registered as the seed's.
    pub registered: u64,
    /// Registered parameters that the kernel does not have.
    pub foreign: u64,
}

/// What is left of a seed that was culled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// Kernels of the seed in its slot.
    pub kernels: u64,
    /// Cache entries that belong to this seed alone.
    pub cached: u64,
    /// Telemetry packets that are counted as the seed's.
    pub packets: u64,
}

/// A seed as a checkpoint has it.
#[derive(Clone, Debug, PartialEq)]
pub struct SeedCheckpoint {
    /// The epoch of the checkpoint.
    pub epoch: u64,
    /// The seed's record there; `None` if it was not registered.
    pub seed: Option<Seed>,
    /// Whether it had the same kernel there, parameter for parameter.
    pub same_graft: bool,
}

/// Why a checkpoint could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointFailure {
    /// Why, machine-readable.
    pub reason: &'static str,
    /// Why, for a reader.
    pub detail: String,
}

/// What a step was for one seed.
#[derive(Clone, Debug, PartialEq)]
pub struct SeedStep {
    /// Which seed.
    pub seed: SeedId,
    /// In which stage.
    pub stage: SeedLifecycleStage,
    /// The loss of the pass that it took part in.
    pub loss: f32,
    /// Its alpha.
    pub alpha: f32,
    /// The norm of its gradient, if it was ever sampled.
    pub gradient_norm: Option<f32>,
}
