//! One training step: the host's pass, a pass for each seed that learns on its own, the checks, the optimizer steps.

use std::{collections::BTreeMap, time::Duration};

use burn::{
    module::AutodiffModule,
    optim::{GradientsParams, Optimizer},
    tensor::{ElementConversion, Tensor, backend::Backend},
};
use kasmina_isolation::{GradientLedger, Violation, frozen_twin, gradient_norm};
use kasmina_leyline::{SeedId, v1::SeedLifecycleStage};
use kasmina_lifecycle::Transition;

use crate::{GraftBackend, Grafts, SeedManager, StepError};

/// What a training step did.
#[derive(Clone, Debug, Default)]
pub struct StepReport {
    /// The number of the step, from 1.
    pub step: u64,
    /// The host's own loss on the batch.
    pub loss: f32,
    /// The seeds that took part.
    pub seeds: Vec<SeedStep>,
    /// The stages that were left and entered in the step.
    pub transitions: Vec<Transition>,
    /// Gradients found where they must not be. The updates they came with were discarded.
    pub violations: Vec<Violation>,
    /// Where the time went.
    pub timing: StepTiming,
}

/// A seed's part in a step.
#[derive(Clone, Debug, PartialEq)]
pub struct SeedStep {
    /// Which seed.
    pub seed: SeedId,
    /// In which stage.
    pub stage: SeedLifecycleStage,
    /// The loss of the pass it took part in.
    pub loss: f32,
    /// Its alpha.
    pub alpha: f32,
    /// The norm of its gradient, where it was sampled.
    pub gradient_norm: Option<f32>,
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

/// What the host's pass left behind.
struct HostPass {
    loss: f32,
    gradients: GradientsParams,
    seeds: BTreeMap<SeedId, GradientsParams>,
}
