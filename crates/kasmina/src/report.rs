//! What a training step did.

use std::time::Duration;

use kasmina_engine::input::SeedStep;
use kasmina_isolation::Violation;
use kasmina_lifecycle::Transition;

/// What a training step did.
#[derive(Clone, Debug, Default)]
pub struct StepReport {
    /// The number of the step, from 1.
    pub step: u64,
    /// The host's own loss on the batch.
    pub loss: f32,
    /// The seeds that took part.
    pub seeds: Vec<SeedStep>,
    /// The moves that became durable in the step.
    pub transitions: Vec<Transition>,
    /// Gradients found where they must not be. The updates that they came with were discarded.
    pub violations: Vec<Violation>,
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
}
