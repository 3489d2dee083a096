//! What a step takes at its peak, with activations that are kept and with activations that are computed again.

use std::{fs, process::Command};

use burn::{
    backend::{
        Autodiff, Flex,
        autodiff::checkpoint::strategy::{BalancedCheckpointing, CheckpointStrategy, NoCheckpointing},
    },
    module::AutodiffModule,
    nn::loss::CrossEntropyLossConfig,
    optim::{AdamWConfig, GradientsParams, Optimizer},
    tensor::{Int, Tensor, TensorData},
};
use kasmina::Grafts;
use serde::{Deserialize, Serialize};

use super::shape;
use crate::{
    failure::Failure,
    growth::{
        examples::Batch,
        hosts::{Device, Network, Shape, TransformerShape},
    },
    stopwatch::Stopwatch,
    workspace::capture,
};

/// Examples of a batch of the CNN, and sequences of one of the transformer: large enough that activations are what counts.
const IMAGES: usize = 1_024;
const SEQUENCES: usize = 256;
const STEPS: usize = 5;

/// A network and what becomes of its activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Strategy {
    CnnKept,
    CnnBalanced,
    TransformerKept,
    TransformerBalanced,
}

impl Strategy {
    const ALL: [Self; 4] = [Self::CnnKept, Self::CnnBalanced, Self::TransformerKept, Self::TransformerBalanced];

    const fn name(self) -> &'static str {
        match self {
            Self::CnnKept => "cnn-kept",
            Self::CnnBalanced => "cnn-balanced",
            Self::TransformerKept => "transformer-kept",
            Self::TransformerBalanced => "transformer-balanced",
        }
    }
}

/// What a process has seen.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Seen {
    bytes: u64,
    milliseconds: f64,
}

/// What one strategy takes.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Peak {
    pub(super) strategy: Strategy,
    /// The highest resident memory of the process, less what it had before the first step.
    pub(super) bytes: u64,
    /// The fastest step.
    pub(super) milliseconds: f64,
}

/// The peaks, each of a process of its own. Empty where the system does not tell.
pub(super) fn peaks() -> Result<Vec<Peak>, Failure> {
    let program =
        std::env::current_exe().map_err(|source| Failure::Start { program: "this program".to_owned(), source })?;
    let mut peaks = Vec::new();
    for strategy in Strategy::ALL {
        let mut command = Command::new(&program);
        // The allocator gives memory back at once, so that what is resident is what is in use.
        command.env("MALLOC_TRIM_THRESHOLD_", "0").env("MALLOC_MMAP_THRESHOLD_", "65536");
        let (success, said, errors) =
            capture(command.args(["distill", "--data", "digits", "--peak-of", strategy.name()]))?;
        if !success {
            return Err(Failure::Workspace(errors.trim().to_owned()));
        }
        if let Some(Seen { bytes, milliseconds }) = serde_json::from_str(said.trim())
            .map_err(|source| Failure::Json { what: "what a measuring process said".to_owned(), source })?
        {
            peaks.push(Peak { strategy, bytes, milliseconds });
        }
    }
    Ok(peaks)
}

/// Trains for a few steps and says how high the memory of this process has risen: JSON, `null` where the system does not tell.
pub(super) fn print_peak(strategy: Strategy) {
    let seen = match strategy {
        Strategy::CnnKept => peak::<NoCheckpointing>(&images()),
        Strategy::CnnBalanced => peak::<BalancedCheckpointing>(&images()),
        Strategy::TransformerKept => peak::<NoCheckpointing>(&sequences()),
        Strategy::TransformerBalanced => peak::<BalancedCheckpointing>(&sequences()),
    };
    println!("{}", serde_json::to_string(&seen).unwrap_or_default());
}

fn images() -> (Shape, Batch) {
    let pixels: Vec<f32> = (0..IMAGES * 784).map(|index| (index % 255) as f32 / 255.0).collect();
    let labels: Vec<i64> = (0..IMAGES as i64).map(|index| index % 10).collect();
    let inputs = TensorData::new(pixels, [IMAGES, 784]);
    (shape(28, 1), Batch { inputs, labels: TensorData::new(labels, [IMAGES]) })
}

fn sequences() -> (Shape, Batch) {
    const LENGTH: usize = 32;
    let count = SEQUENCES * LENGTH;
    let tokens = || (0..count as i64).map(|index| index % 50).collect::<Vec<i64>>();
    let shape = Shape::Transformer(TransformerShape::new(50, LENGTH, 0, 48));
    let inputs = TensorData::new(tokens(), [SEQUENCES, LENGTH]);
    (shape, Batch { inputs, labels: TensorData::new(tokens(), [count]) })
}

fn peak<C: CheckpointStrategy>((shape, batch): &(Shape, Batch)) -> Option<Seen> {
    type Student<C> = Autodiff<Flex, C>;
    let device = Device::default();
    let mut network = Network::<Student<C>>::from_inner(shape.init(&device).valid());
    let mut optimizer = AdamWConfig::new().init();
    let before = resident("VmRSS:")?;
    // From here on the peak is that of the steps.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let mut milliseconds = f64::INFINITY;
    for _ in 0..STEPS {
        let timer = Stopwatch::start();
        let logits = network.logits(batch, &mut Grafts::none());
        let labels = Tensor::<Student<C>, 1, Int>::from_data(batch.labels.clone(), &device);
        let loss = CrossEntropyLossConfig::new().init(&device).forward(logits, labels);
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(1e-3, network, gradients);
        milliseconds = f64::min(milliseconds, 1e3 * timer.seconds());
    }
    Some(Seen { bytes: resident("VmHWM:")?.saturating_sub(before), milliseconds })
}

/// Bytes of resident memory, now (`VmRSS:`) or at the peak (`VmHWM:`).
fn resident(field: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes << 10)
}
