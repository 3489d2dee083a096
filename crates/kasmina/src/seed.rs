//! One seed: where it stands, and what it holds while it is grafted.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use burn::optim::{AdamW, AdamWConfig, GradientsParams, Optimizer, adaptor::OptimizerAdaptor};
use kasmina_blending::{Alpha, AlphaSchedule, BlendConfig};
use kasmina_kernel_load::{KernelModule, Manifest, SlotContract};
use kasmina_leyline::{BlueprintId, SeedId, SlotId, v1::SeedLifecycleStage};
use kasmina_lifecycle::Lifecycle;
use serde::{Deserialize, Serialize};

use crate::GraftBackend;

/// A seed under the manager's care. Cloning copies handles, no weights.
#[derive(Clone)]
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
#[derive(Clone)]
pub(crate) struct Attached<B: GraftBackend> {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) kernel: KernelModule<B>,
    pub(crate) optimizer: OptimizerAdaptor<AdamW, KernelModule<B>, B>,
    pub(crate) blend: BlendConfig,
    pub(crate) schedule: AlphaSchedule,
    /// The epoch in which it was attached.
    pub(crate) epoch: u64,
    /// Batches that alpha has advanced.
    pub(crate) blended: u64,
    pub(crate) alpha: Alpha,
    pub(crate) paused: bool,
    /// Steps that FINE_TUNE still allows.
    pub(crate) fine_tune: u64,
    pub(crate) vitals: Vitals,
}

impl<B: GraftBackend> Attached<B> {
    pub(crate) fn new(manifest: Arc<Manifest>, kernel: KernelModule<B>, schedule: AlphaSchedule, epoch: u64) -> Self {
        Self {
            manifest,
            kernel,
            optimizer: AdamWConfig::new().init(),
            blend: BlendConfig::default(),
            schedule,
            epoch,
            blended: 0,
            alpha: Alpha::ZERO,
            paused: false,
            fine_tune: 0,
            vitals: Vitals::default(),
        }
    }

    pub(crate) fn blueprint(&self) -> &BlueprintId {
        &self.manifest.blueprint_id
    }

    pub(crate) fn contract(&self) -> SlotContract {
        self.manifest.contract
    }

    /// One optimizer step on the kernel.
    pub(crate) fn learn(&mut self, rate: f64, gradients: GradientsParams) {
        self.vitals.learning_rate = rate;
        self.kernel = self.optimizer.step(rate, self.kernel.clone(), gradients);
    }

    /// The next alpha of the schedule, for the batch about to be blended.
    pub(crate) fn advance_alpha(&mut self) {
        self.vitals.last_alpha = Some(self.alpha);
        self.blended += 1;
        self.alpha = self.schedule.at(self.blended);
    }

    pub(crate) fn blending_complete(&self) -> bool {
        self.alpha == Alpha::ONE
    }
}

/// What has been measured of a grafted seed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Vitals {
    /// Since it entered its stage.
    pub(crate) steps: u64,
    /// Of the last passes that it took part in, oldest first.
    pub(crate) losses: VecDeque<f32>,
    pub(crate) gradient_norm: Option<f32>,
    pub(crate) learning_rate: f64,
    pub(crate) last_alpha: Option<Alpha>,
    pub(crate) blend_latency: Latencies,
    pub(crate) verify_latency: Latencies,
    /// Since it entered its stage.
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

    /// What is counted by stage begins anew. The losses go on: at alpha 0 a blended seed has the loss of its host.
    pub(crate) fn enter_stage(&mut self) {
        self.steps = 0;
        self.probe = Probe::default();
        self.last_alpha = None;
    }
}

/// The last durations of something that is done in every step.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Latencies(VecDeque<Duration>);

impl Latencies {
    /// Enough for a median that one interruption by the system does not move.
    const WINDOW: usize = 32;

    pub(crate) fn record(&mut self, latency: Duration) {
        if self.0.len() == Self::WINDOW {
            self.0.pop_front();
        }
        self.0.push_back(latency);
    }

    /// Zero before the first.
    pub(crate) fn median(&self) -> Duration {
        let mut sorted: Vec<_> = self.0.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }
}

/// Losses of the host alone and of the host with the seed, on the same batches.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Probe {
    batches: u64,
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
