//! A host with all that is hard to save, and fossils.

use std::collections::BTreeMap;

use burn::backend::{Autodiff, Flex};
use burn::module::{Module, Param};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::optim::{GradientsParams, Optimizer};
use burn::tensor::activation::relu;
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Int, Tensor, TensorData};
use kasmina_blending::{BlendBackend, BlendConfig};
use kasmina_grown::{Fossil, FossilSpec, Grown, Provenance};
use kasmina_isolation::Grafts;
use kasmina_kernel_load::{
    ArtifactLimits, Digest, Digests, Initialisation, KernelModule, Manifest, SlotContract, doubles, initialise, verify,
};
use kasmina_leyline::{BlueprintId, SeedId, SlotId, TrainingRunId};

pub(crate) type Train = Autodiff<Flex>;

/// Lazy parameters, running statistics, and parameters that are not floats. Slots `mid` and `late`, four channels.
#[derive(Module, Debug)]
pub(crate) struct Host<B: Backend> {
    pub(crate) stem: Linear<B>,
    pub(crate) norm: BatchNorm<B>,
    pub(crate) head: Linear<B>,
    pub(crate) order: Param<Tensor<B, 1, Int>>,
    pub(crate) mask: Param<Tensor<B, 1, Bool>>,
}

impl<B: Backend> Host<B> {
    pub(crate) fn new() -> Self {
        let device = Default::default();
        Self {
            stem: LinearConfig::new(3, 4).init(&device),
            norm: BatchNormConfig::new(4).init(&device),
            head: LinearConfig::new(4, 2).init(&device),
            order: Param::initialized(Default::default(), Tensor::from_ints([3, 1, 2], &device)),
            mask: Param::initialized(Default::default(), Tensor::from_data(TensorData::from([true, false]), &device)),
        }
    }
}

impl<B: BlendBackend> Host<B> {
    pub(crate) fn forward(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        let h = relu(self.norm.forward(self.stem.forward(x)));
        let h = grafts.at("mid", h);
        let h = grafts.at("late", h.tanh());
        self.head.forward(h)
    }
}

pub(crate) fn spec(seed: &str, slot: &str) -> FossilSpec {
    let blueprint = BlueprintId::new("bottleneck-4").unwrap();
    FossilSpec {
        seed: SeedId::new(seed).unwrap(),
        slot: SlotId::new(slot).unwrap(),
        blend: BlendConfig::residual(),
        manifest: doubles::sample_mlp(blueprint, 4).unwrap(),
        provenance: Provenance {
            artifact: Some(Digest::of(seed.as_bytes())),
            training_run: Some(TrainingRunId::new("run-1").unwrap()),
            step: Some(10),
            verdict: BTreeMap::from([("contribution".to_owned(), "0.25".to_owned())]),
        },
    }
}

pub(crate) fn kernel<B: Backend>(manifest: &Manifest, seed: u64) -> KernelModule<B> {
    let bytes = initialise(manifest, &Initialisation { seed, zero_last: false }).unwrap();
    let limits = ArtifactLimits::default();
    verify(&bytes, &Digests::of(&bytes, &limits).unwrap(), &limits).unwrap().build(&Default::default())
}

pub(crate) fn fossil<B: Backend>(seed: &str, slot: &str) -> Fossil<B> {
    let spec = spec(seed, slot);
    let kernel = kernel(&spec.manifest, seed.len() as u64);
    Fossil::new(spec, kernel).unwrap()
}

/// A host with a fossil at each slot.
pub(crate) fn grown<B: Backend>() -> Grown<B, Host<B>> {
    let network = Grown::from_parts(Host::new(), [fossil("seed-1", "mid"), fossil("second", "late")]).unwrap();
    // Clones of a lazy parameter would be initialised with different numbers.
    network.to_bytes().unwrap();
    network
}

/// Like [`grown`], after a few steps.
pub(crate) fn trained() -> Grown<Train, Host<Train>> {
    let mut optimizer = burn::optim::AdamWConfig::new().init();
    (0..3).fold(grown(), |grown, index| step(grown, &mut optimizer, 1e-2, index))
}

/// Numbers in [-1, 1) of a linear congruential generator (Knuth's MMIX).
pub(crate) fn batch<B: Backend>(seed: u64) -> Tensor<B, 2> {
    let mut state = seed;
    let step = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    };
    let numbers: Vec<f32> = std::iter::repeat_with(step).take(5 * 3).collect();
    Tensor::from_data(TensorData::new(numbers, [5, 3]), &Default::default())
}

pub(crate) fn gradients(grown: &Grown<Train, Host<Train>>, seed: u64) -> GradientsParams {
    let out = grown.forward(|host, grafts| host.forward(batch(seed), grafts)).unwrap();
    GradientsParams::from_grads((out - 0.3).square().mean().backward(), grown)
}

pub(crate) fn step<O: Optimizer<Grown<Train, Host<Train>>, Train>>(
    grown: Grown<Train, Host<Train>>,
    optimizer: &mut O,
    rate: f64,
    seed: u64,
) -> Grown<Train, Host<Train>> {
    let gradients = gradients(&grown, seed);
    optimizer.step(rate, grown, gradients)
}

/// The outputs of inference, as bits.
pub(crate) fn answers<B: BlendBackend>(grown: &Grown<B, Host<B>>) -> Vec<u32> {
    let out = grown.forward(|host, grafts| host.forward(batch(99), grafts)).unwrap();
    out.into_data().iter::<f32>().map(f32::to_bits).collect()
}

/// The weights of the two linear layers of the fossil, and of the host's stem, as bits.
pub(crate) fn weights(grown: &Grown<Train, Host<Train>>, place: &str) -> Vec<u32> {
    let bytes = grown.to_bytes().unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let bytes = file.tensor(place).unwrap().data().to_vec();
    bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()
}

pub(crate) const STEM: &str = "host.stem.weight";
pub(crate) const FIRST: &str = "fossil.seed-1.layers.1.Linear.weight";

pub(crate) fn contract(rank: usize) -> SlotContract {
    SlotContract::f32(rank, 4, 4)
}
