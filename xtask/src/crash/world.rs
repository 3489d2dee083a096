//! What the process trains: a small host with two slots, a library for them, and gates that let everything pass.

use std::{error::Error, fs, path::Path};

use burn::{
    backend::{Autodiff, Flex},
    module::Module,
    nn::{Linear, LinearConfig},
    tensor::{Tensor, TensorData, activation::relu, backend::Backend},
};
use kasmina::{
    Grafts, Settings,
    blending::BlendBackend,
    kernel_load::{Activation, DirectoryLibrary, Initialisation, LayerSpec, Manifest, SlotContract, initialise},
    leyline::{
        BlueprintId,
        v1::{BlueprintDescriptor, BlueprintTier},
    },
};

pub(crate) type B = Autodiff<Flex>;

const INPUTS: usize = 8;
const HIDDEN: usize = 4;
const BATCH: usize = 6;

/// The seeds, their slots, and the kernels that fit there.
pub(crate) const SEEDS: [(&str, &str, &str); 6] = [
    ("seed-1", "mid", "bottleneck"),
    ("seed-2", "late", "square"),
    ("seed-3", "mid", "bottleneck"),
    ("seed-4", "late", "square"),
    ("seed-5", "mid", "bottleneck"),
    ("seed-6", "late", "square"),
];

#[derive(Module, Debug)]
pub(crate) struct Host<B: Backend> {
    stem: Linear<B>,
    head: Linear<B>,
}

impl<B: Backend> Host<B> {
    pub(crate) fn init(device: &B::Device) -> Self {
        Self { stem: LinearConfig::new(INPUTS, HIDDEN).init(device), head: LinearConfig::new(HIDDEN, 1).init(device) }
    }
}

/// The mean squared error on a batch of [`numbers`] numbers.
pub(crate) fn loss<C: BlendBackend>(host: &Host<C>, batch: &[f32], grafts: &mut Grafts<C>) -> Tensor<C, 1> {
    let x = Tensor::<C, 2>::from_data(TensorData::new(batch.to_vec(), [BATCH, INPUTS]), &Default::default());
    let target = x.clone().sin().sum_dim(1);
    let h = relu(host.stem.forward(x.clone()));
    let h = grafts.at_with_tap("mid", x, h);
    let h = grafts.at("late", h);
    (host.head.forward(h) - target).square().mean()
}

/// A batch that is always the same.
pub(crate) fn fixed_batch() -> Vec<f32> {
    (0..numbers()).map(|place| (place as f32).sin()).collect()
}

/// How many numbers a batch is.
pub(crate) const fn numbers() -> usize {
    BATCH * INPUTS
}

/// Every step is durable, no embargo takes time, and seeds come before their gates after a step or two.
pub(crate) fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.rollback.checkpoint_every = 1;
    settings.lifecycle.embargo_seconds = 0;
    // So that GERMINATED can be met too.
    settings.lifecycle.fast_path = false;
    settings.training.probe_every = 1;
    settings.training.sample_every = 1;
    settings.gates.stability.min_losses = 1;
    settings.gates.stability.min_steps = 1;
    // Short lives: two probes that show no harm are enough.
    let impact = &mut settings.gates.system_impact;
    (impact.min_probes, impact.min_probes_fossilize, impact.significance) = (2, 2, f64::INFINITY);
    settings
}

/// Makes the library in `directory`.
pub(crate) fn publish(directory: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(directory)?;
    let mut library = DirectoryLibrary::open_or_create(directory)?;
    let bottleneck =
        vec![LayerSpec::linear(INPUTS, 3), LayerSpec::Activation(Activation::Relu), LayerSpec::linear(3, HIDDEN)];
    for (name, channels_in, layers) in
        [("bottleneck", INPUTS, bottleneck), ("square", HIDDEN, vec![LayerSpec::linear(HIDDEN, HIDDEN)])]
    {
        let blueprint = BlueprintId::new(name)?;
        let manifest = Manifest::new(blueprint, SlotContract::f32(2, channels_in, HIDDEN), layers)?;
        let artifact = initialise(&manifest, &Initialisation { seed: 3, zero_last: true })?;
        let tier = BlueprintTier::Safe.into();
        let descriptor = BlueprintDescriptor { blueprint_id: name.to_owned(), tier, ..BlueprintDescriptor::default() };
        library.publish(&artifact, descriptor)?;
    }
    Ok(())
}
