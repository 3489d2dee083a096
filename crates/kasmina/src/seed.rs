//! One seed: where it stands, and what it holds while it is grafted.

use std::collections::VecDeque;

use burn::{
    module::ParamId,
    optim::{AdamW, AdamWConfig, GradientsParams, Optimizer, adaptor::OptimizerAdaptor},
};
use kasmina_blending::{Alpha, AlphaSchedule, BlendConfig};
use kasmina_kernel_load::{KernelModule, SlotContract};
use kasmina_leyline::{BlueprintId, SeedId, SlotId, v1::SeedLifecycleStage};
use kasmina_lifecycle::Lifecycle;

use crate::GraftBackend;

/// A seed under the manager's care.
pub(crate) struct Seed<B: GraftBackend> {
    pub(crate) id: SeedId,
    pub(crate) slot: SlotId,
    pub(crate) lifecycle: Lifecycle,
    /// There from the kernel's arrival in GERMINATED until the seed is culled or terminated.
    pub(crate) attached: Option<Attached<B>>,
}

impl<B: GraftBackend> Seed<B> {
    pub(crate) fn stage(&self) -> SeedLifecycleStage {
        self.lifecycle.stage()
    }
}

/// The kernel of a grafted seed with everything that learning it needs.
pub(crate) struct Attached<B: GraftBackend> {
    pub(crate) blueprint: BlueprintId,
    pub(crate) contract: SlotContract,
    pub(crate) kernel: KernelModule<B>,
    pub(crate) parameters: Vec<ParamId>,
    pub(crate) optimizer: OptimizerAdaptor<AdamW, KernelModule<B>, B>,
    pub(crate) blend: BlendConfig,
    pub(crate) schedule: AlphaSchedule,
    /// Batches that alpha has advanced.
    pub(crate) blended: u64,
    pub(crate) alpha: Alpha,
    pub(crate) paused: bool,
    /// Steps that FINE_TUNE still allows.
    pub(crate) fine_tune: u64,
    pub(crate) vitals: Vitals,
}

impl<B: GraftBackend> Attached<B> {
    pub(crate) fn new(
        blueprint: BlueprintId,
        contract: SlotContract,
        kernel: KernelModule<B>,
        parameters: Vec<ParamId>,
        schedule: AlphaSchedule,
    ) -> Self {
        Self {
            blueprint,
            contract,
            kernel,
            parameters,
            optimizer: AdamWConfig::new().init(),
            blend: BlendConfig::default(),
            schedule,
            blended: 0,
            alpha: Alpha::ZERO,
            paused: false,
            fine_tune: 0,
            vitals: Vitals::default(),
        }
    }

    /// One optimizer step on the kernel.
    pub(crate) fn learn(&mut self, rate: f64, gradients: GradientsParams) {
        self.kernel = self.optimizer.step(rate, self.kernel.clone(), gradients);
    }

    /// The next alpha of the schedule, for the batch about to be blended.
    pub(crate) fn advance_alpha(&mut self) {
        self.blended += 1;
        self.alpha = self.schedule.at(self.blended);
    }

    pub(crate) fn blending_complete(&self) -> bool {
        self.alpha == Alpha::ONE
    }
}

/// What has been measured of a grafted seed since it entered its stage.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    pub(crate) steps: u64,
    pub(crate) losses: VecDeque<f32>,
    pub(crate) gradient_norm: Option<f32>,
    pub(crate) last_alpha: Option<Alpha>,
    pub(crate) blend_latency: std::time::Duration,
    pub(crate) verify_latency: std::time::Duration,
    pub(crate) packets: u64,
    pub(crate) pause_proven: bool,
    pub(crate) probe: Probe,
}

impl Vitals {
    /// The most losses that are remembered; gates look at fewer.
    const WINDOW: usize = 256;

    pub(crate) fn record_loss(&mut self, loss: f32) {
        if self.losses.len() == Self::WINDOW {
            self.losses.pop_front();
        }
        self.losses.push_back(loss);
    }
}

/// Losses of the host alone and of the host with the seed, on the same batches.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Probe {
    pub(crate) batches: u64,
    host: f64,
    seed: f64,
}

impl Probe {
    pub(crate) fn record(&mut self, host: f32, seed: f32) {
        self.batches += 1;
        self.host += f64::from(host);
        self.seed += f64::from(seed);
    }

    /// Mean losses (host, with the seed); `None` before the first probe.
    pub(crate) fn means(&self) -> Option<(f64, f64)> {
        let batches = self.batches as f64;
        (self.batches > 0).then(|| (self.host / batches, self.seed / batches))
    }
}
