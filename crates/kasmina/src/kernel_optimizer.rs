//! The optimizers of seeds, as settings name them.

use burn::optim::{
    AdamConfig, AdamWConfig, GradientsParams, Optimizer, SgdConfig, decay::WeightDecayConfig, momentum::MomentumConfig,
};
use kasmina_blending::GraftBackend;
use kasmina_kernel_load::{
    KernelModule,
    weights::{WeightsError, optimizer_from_bytes, optimizer_to_bytes},
};
use serde::{Deserialize, Serialize};

/// The optimizer that each seed gets of its own when its kernel is attached.
///
/// As text: `{ name = "sgd", momentum = 0.9 }`. Every number has the default that Burn has for it; where Burn has none, 0.
#[allow(missing_docs, reason = "the names are the field's")]
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "name")]
pub enum SeedOptimizer {
    #[serde(rename = "adamw")]
    AdamW {
        #[serde(default = "beta_1")]
        beta_1: f32,
        #[serde(default = "beta_2")]
        beta_2: f32,
        #[serde(default = "epsilon")]
        epsilon: f32,
        #[serde(default = "weight_decay")]
        weight_decay: f32,
    },
    Adam {
        #[serde(default = "beta_1")]
        beta_1: f32,
        #[serde(default = "beta_2")]
        beta_2: f32,
        #[serde(default = "epsilon")]
        epsilon: f32,
    },
    Sgd {
        /// Without Nesterov's correction and without dampening. 0 is plain SGD.
        #[serde(default)]
        momentum: f64,
        #[serde(default)]
        weight_decay: f32,
    },
}

impl Default for SeedOptimizer {
    fn default() -> Self {
        Self::AdamW { beta_1: beta_1(), beta_2: beta_2(), epsilon: epsilon(), weight_decay: weight_decay() }
    }
}

const fn beta_1() -> f32 {
    0.9
}

const fn beta_2() -> f32 {
    0.999
}

const fn epsilon() -> f32 {
    1e-5
}

const fn weight_decay() -> f32 {
    1e-4
}

impl SeedOptimizer {
    /// An optimizer that has not stepped yet.
    pub(crate) fn init<B: GraftBackend>(self) -> Box<dyn KernelOptimizer<B>> {
        match self {
            Self::AdamW { beta_1, beta_2, epsilon, weight_decay } => Box::new(
                AdamWConfig::new()
                    .with_beta_1(beta_1)
                    .with_beta_2(beta_2)
                    .with_epsilon(epsilon)
                    .with_weight_decay(weight_decay)
                    .init(),
            ),
            Self::Adam { beta_1, beta_2, epsilon } => {
                Box::new(AdamConfig::new().with_beta_1(beta_1).with_beta_2(beta_2).with_epsilon(epsilon).init())
            }
            Self::Sgd { momentum, weight_decay } => {
                let momentum = (momentum > 0.0).then_some(MomentumConfig { momentum, dampening: 0.0, nesterov: false });
                let decay = (weight_decay > 0.0).then(|| WeightDecayConfig::new(weight_decay));
                Box::new(SgdConfig::new().with_momentum(momentum).with_weight_decay(decay).init())
            }
        }
    }

    /// The first number that is out of its range, with what it must be.
    pub(crate) fn out_of_range(self) -> Option<(&'static str, f64, &'static str)> {
        let share = |value: f64| (0.0..1.0).contains(&value);
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let not_negative = |value: f64| value.is_finite() && value >= 0.0;
        const SHARE: &str = "must be in [0, 1)";
        const POSITIVE: &str = "must be finite and above 0";
        const NOT_NEGATIVE: &str = "must be finite and not below 0";
        let checks = match self {
            Self::AdamW { beta_1, beta_2, epsilon, weight_decay } => vec![
                ("training.optimizer.beta_1", beta_1.into(), SHARE, share(beta_1.into())),
                ("training.optimizer.beta_2", beta_2.into(), SHARE, share(beta_2.into())),
                ("training.optimizer.epsilon", epsilon.into(), POSITIVE, positive(epsilon.into())),
                (
                    "training.optimizer.weight_decay",
                    weight_decay.into(),
                    NOT_NEGATIVE,
                    not_negative(weight_decay.into()),
                ),
            ],
            Self::Adam { beta_1, beta_2, epsilon } => vec![
                ("training.optimizer.beta_1", beta_1.into(), SHARE, share(beta_1.into())),
                ("training.optimizer.beta_2", beta_2.into(), SHARE, share(beta_2.into())),
                ("training.optimizer.epsilon", epsilon.into(), POSITIVE, positive(epsilon.into())),
            ],
            Self::Sgd { momentum, weight_decay } => vec![
                ("training.optimizer.momentum", momentum, SHARE, share(momentum)),
                (
                    "training.optimizer.weight_decay",
                    weight_decay.into(),
                    NOT_NEGATIVE,
                    not_negative(weight_decay.into()),
                ),
            ],
        };
        checks.into_iter().find_map(|(key, value, demand, holds)| (!holds).then_some((key, value, demand)))
    }
}

/// A seed's optimizer, whatever its type. A clone copies handles to its state.
pub(crate) trait KernelOptimizer<B: GraftBackend>: Send {
    fn step(&mut self, learning_rate: f64, kernel: KernelModule<B>, gradients: GradientsParams) -> KernelModule<B>;

    fn to_bytes(&self) -> Result<Vec<u8>, WeightsError>;

    /// The same kind of optimizer with the state from `bytes`.
    fn with_state(&self, bytes: Vec<u8>, device: &B::Device) -> Result<Box<dyn KernelOptimizer<B>>, WeightsError>;

    fn boxed(&self) -> Box<dyn KernelOptimizer<B>>;
}

impl<B: GraftBackend, O: Optimizer<KernelModule<B>, B> + 'static> KernelOptimizer<B> for O {
    fn step(&mut self, learning_rate: f64, kernel: KernelModule<B>, gradients: GradientsParams) -> KernelModule<B> {
        Optimizer::step(self, learning_rate, kernel, gradients)
    }

    fn to_bytes(&self) -> Result<Vec<u8>, WeightsError> {
        optimizer_to_bytes(self)
    }

    fn with_state(&self, bytes: Vec<u8>, device: &B::Device) -> Result<Box<dyn KernelOptimizer<B>>, WeightsError> {
        Ok(Box::new(optimizer_from_bytes(self.clone(), bytes, "a kernel's optimizer", device)?))
    }

    fn boxed(&self) -> Box<dyn KernelOptimizer<B>> {
        Box::new(self.clone())
    }
}
