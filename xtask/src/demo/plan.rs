//! What is grown, and when. Epochs and learning rates are those at which the control does well; the times of the orders were
//! found by trying.

use std::{collections::BTreeMap, fmt};

use kasmina::{
    blending::{AlphaSchedule, BlendConfig},
    commands::Order,
    kernel_load::{Activation, LayerSpec, SlotContract},
    leyline::{
        BlueprintId, SeedId,
        v1::SeedLifecycleStage::{
            self, SeedStageBlending, SeedStageDormant, SeedStageProbationary, SeedStageShadowing, SeedStageTraining,
        },
    },
};

/// The networks of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum HostName {
    /// 64-6-10
    Mlp,
    /// Two convolutions of two channels
    Cnn,
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mlp => "mlp",
            Self::Cnn => "cnn",
        })
    }
}

/// A network, the kernel that it grows, and the times of the orders.
pub(crate) struct Plan {
    pub(crate) name: HostName,
    pub(crate) title: &'static str,
    pub(crate) epochs: u64,
    pub(crate) learning_rate: f64,
    pub(crate) times: Times,
    pub(crate) contract: SlotContract,
    pub(crate) layers: Vec<LayerSpec>,
}

/// The epochs before which the orders are given.
pub(crate) struct Times {
    germinate: u64,
    graft: u64,
    stabilize: u64,
    evaluate: u64,
    fossilize: u64,
}

/// Images of the training part that nobody learns from: G4 is shown the accuracy on them. The test images decide nothing.
pub(crate) const VALIDATION: usize = 180;

/// Examples in a batch.
pub(crate) const BATCH: usize = 32;

impl Plan {
    pub(crate) fn of(name: HostName) -> Self {
        match name {
            HostName::Mlp => Self {
                name,
                title: "An MLP 64-6-10 grows a seed 64-32-6 beside its first layer",
                epochs: 60,
                learning_rate: 0.005,
                times: Times { germinate: 2, graft: 6, stabilize: 40, evaluate: 42, fossilize: 44 },
                contract: SlotContract::f32(2, 64, 6),
                layers: vec![
                    LayerSpec::linear(64, 32),
                    LayerSpec::Activation(Activation::Relu),
                    LayerSpec::linear(32, 6),
                ],
            },
            HostName::Cnn => Self {
                name,
                title: "A CNN of two channels grows a seed of sixteen between its convolutions",
                epochs: 16,
                learning_rate: 0.005,
                times: Times { germinate: 1, graft: 2, stabilize: 9, evaluate: 10, fossilize: 12 },
                contract: SlotContract::f32(4, 2, 2),
                layers: vec![convolution(2, 16), LayerSpec::Activation(Activation::Relu), convolution(16, 2)],
            },
        }
    }

    /// The orders that are due before an epoch.
    pub(crate) fn orders(
        &self,
        epoch: u64,
        steps_per_epoch: u64,
        seed: &SeedId,
        blueprint: &BlueprintId,
    ) -> impl Iterator<Item = Order> {
        let script = self.script(steps_per_epoch, seed, blueprint);
        script.into_iter().filter(move |(due, ..)| *due == epoch).map(|(.., order)| order)
    }

    /// The order that a seed in this stage waits for, if it is due after `steps` steps.
    pub(crate) fn next(
        &self,
        stage: SeedLifecycleStage,
        steps: u64,
        steps_per_epoch: u64,
        seed: &SeedId,
        blueprint: &BlueprintId,
    ) -> Option<Order> {
        let mut script = self.script(steps_per_epoch, seed, blueprint).into_iter();
        let (.., order) = script.find(|(due, from, _)| *from == stage && due * steps_per_epoch <= steps)?;
        // A seed that was culled is not given a second life: the end of its embargo depends on the clock.
        let too_late = stage == SeedStageDormant && steps > (self.times.germinate + 1) * steps_per_epoch;
        (!too_late).then_some(order)
    }

    fn script(
        &self,
        steps_per_epoch: u64,
        seed: &SeedId,
        blueprint: &BlueprintId,
    ) -> [(u64, SeedLifecycleStage, Order); 5] {
        let Times { germinate, graft, stabilize, evaluate, fossilize } = self.times;
        let (seed, blueprint) = (|| seed.clone(), blueprint.clone());
        let (tier, parameters, lr_scale) = (None, BTreeMap::new(), 1.0);
        let schedule = AlphaSchedule::Linear { total_steps: (stabilize - graft) * steps_per_epoch };
        [
            (germinate, SeedStageDormant, Order::Germinate { seed: seed(), blueprint, tier, parameters, lr_scale }),
            (graft, SeedStageTraining, Order::StartGrafting { seed: seed(), blend: BlendConfig::residual(), schedule }),
            (stabilize, SeedStageBlending, Order::Stabilize { seed: seed() }),
            (evaluate, SeedStageShadowing, Order::Evaluate { seed: seed() }),
            (fossilize, SeedStageProbationary, Order::Fossilize { seed: seed() }),
        ]
    }
}

fn convolution(channels_in: usize, channels_out: usize) -> LayerSpec {
    let [kernel, padding, dilation] = [[3; 2], [1; 2], [1; 2]];
    LayerSpec::Conv2d { channels_in, channels_out, kernel, padding, dilation, groups: 1, bias: true }
}
