//! What a training step did, and what a recovery found.

use std::{collections::BTreeSet, time::Duration};

use kasmina_engine::input::SeedStep;
use kasmina_isolation::Violation;
use kasmina_leyline::SeedId;
use kasmina_lifecycle::Transition;
use kasmina_registry::UpdateRefusal;
use kasmina_rollback::StoreError;

/// What a training step did.
#[derive(Clone, Debug, Default)]
pub struct StepReport {
    /// The number of the step, from 1.
    pub step: u64,
    /// The model's own loss on the batch; the mean over the runs.
    pub loss: f32,
    /// The seeds that took part.
    pub seeds: Vec<SeedStep>,
    /// The seeds whose kernels became part of the model in the step. A trainer with checkpoints of its own takes one now: an older one is
    /// of a model without them.
    pub joined: Vec<SeedId>,
    /// The moves that became durable in the step: those of time and of a policy. Moves that a command or an order makes are in its answer.
    pub transitions: Vec<Transition>,
    /// Gradients found where they must not be. The updates that they came with were discarded.
    pub violations: Vec<Violation>,
    /// The teacher's parameters that got a gradient, because the model contains them. They were taken out of the step, which went on.
    pub withheld: Vec<UpdateRefusal>,
    /// Where the time went.
    pub timing: StepTiming,
}

/// Where the time of a step went, by the manager's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepTiming {
    /// The host's forward and backward pass.
    pub host: Duration,
    /// The passes of seeds.
    pub seeds: Duration,
    /// The isolation and registry checks.
    pub verify: Duration,
    /// The optimizer steps.
    pub optimizer: Duration,
    /// The exchanges with other workers, with the wait for the slowest. They are part of `seeds` where measurements are exchanged.
    pub exchange: Duration,
}

/// What was found in the store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recovered {
    /// How many processes have worked on the run before this one; 0 for a run that begins.
    pub incarnation: u64,
    /// Records that were read.
    pub records: usize,
    /// Registered seeds.
    pub seeds: usize,
    /// Seeds with a kernel.
    pub grafted: usize,
    /// The last step that the records know of.
    pub step: u64,
    /// Commands that will not be obeyed again.
    pub nonces: usize,
    /// Critical packets that no sink had taken, which are on their way again.
    pub undelivered: usize,
    /// The epochs that a rollback can go back to, oldest first.
    pub epochs: Vec<u64>,
    /// The epoch of a rollback that was ordered, if its checkpoint was in memory alone: the run goes on from where it is.
    pub abandoned_rollback: Option<u64>,
    /// Seeds whose newest weights are damaged; they came back with the weights before.
    pub older_weights: BTreeSet<SeedId>,
    /// The newest snapshot that cannot be read, by its place in the journal; the one before it and the changes since made up for it.
    pub skipped_snapshot: Option<u64>,
    /// What was cut off the end of the journal when it was opened: a batch that was never acknowledged, or damage.
    pub torn_tail: Option<StoreError>,
}
