//! What is grown, and when. Epochs and learning rates are those at which the control does well; the times of the commands were
//! found by trying.

use std::fmt;

use kasmina::{
    kernel_load::{Activation, LayerSpec, SlotContract},
    leyline::v1::SeedOperation::{self, SeedOpEvaluate, SeedOpFossilize, SeedOpStabilize, SeedOpStartGrafting},
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

/// A network, the kernel that it grows, and the times of the commands, in epochs.
pub(crate) struct Plan {
    pub(crate) name: HostName,
    pub(crate) title: &'static str,
    pub(crate) epochs: u64,
    pub(crate) learning_rate: f64,
    pub(crate) germinate: u64,
    pub(crate) commands: [(u64, SeedOperation); 4],
    pub(crate) contract: SlotContract,
    pub(crate) layers: Vec<LayerSpec>,
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
                germinate: 2,
                commands: timetable([6, 40, 42, 44]),
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
                germinate: 1,
                commands: timetable([2, 9, 10, 11]),
                contract: SlotContract::f32(4, 2, 2),
                layers: vec![convolution(2, 16), LayerSpec::Activation(Activation::Relu), convolution(16, 2)],
            },
        }
    }

    /// The epochs that blending takes.
    pub(crate) fn blending_epochs(&self) -> u64 {
        let [(start, _), (end, _), ..] = self.commands;
        end - start
    }
}

fn timetable([graft, stabilize, evaluate, fossilize]: [u64; 4]) -> [(u64, SeedOperation); 4] {
    [
        (graft, SeedOpStartGrafting),
        (stabilize, SeedOpStabilize),
        (evaluate, SeedOpEvaluate),
        (fossilize, SeedOpFossilize),
    ]
}

fn convolution(channels_in: usize, channels_out: usize) -> LayerSpec {
    let [kernel, padding, dilation] = [[3; 2], [1; 2], [1; 2]];
    LayerSpec::Conv2d { channels_in, channels_out, kernel, padding, dilation, groups: 1, bias: true }
}
