//! A host with two slots, one after the other, and kernels that fit them.

use std::sync::Arc;

use burn::{
    backend::{Autodiff, Flex},
    module::{AutodiffModule, Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    nn::{Linear, LinearConfig},
    optim::GradientsParams,
    tensor::{Tensor, TensorData, activation::relu, backend::Backend},
};
use kasmina_blending::{Alpha, BlendBackend, BlendConfig};
use kasmina_isolation::{Cast, Grafts, Participant, StepRng};
use kasmina_kernel_load::{
    ArtifactLimits, Digests, Initialisation, KernelModule, LayerSpec, Manifest, SlotContract, initialise, verify,
    weights::module_to_bytes,
};
use kasmina_leyline::{BlueprintId, SeedId, SlotId, v1::SeedLifecycleStage};
use kasmina_registry::{Registry, parameter_ids};
use kasmina_safety::doubles::ManualClock;

pub(crate) type B = Autodiff<Flex>;

#[derive(Module, Debug)]
pub(crate) struct Host<B: Backend> {
    pub(crate) stem: Linear<B>,
    pub(crate) head: Linear<B>,
}

impl Host<B> {
    pub(crate) fn init() -> Self {
        let device = Default::default();
        let host = Self { stem: LinearConfig::new(5, 4).init(&device), head: LinearConfig::new(4, 1).init(&device) };
        host.map(&mut Ramp)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        module_to_bytes(&self.valid()).unwrap()
    }
}

impl<B: BlendBackend> Host<B> {
    /// The loss on the batch. Slots: "mid" behind the stem, "late" behind a tanh of that.
    pub(crate) fn loss(&self, grafts: &mut Grafts<B>) -> Tensor<B, 1> {
        let x = batch::<B>();
        let h = grafts.at("mid", relu(self.stem.forward(x.clone())));
        let h = grafts.at("late", h.tanh());
        (self.head.forward(h) - x.sin().sum_dim(1)).square().mean()
    }
}

/// Weights that are the same in every run. The backend's random numbers are shared by the whole process.
struct Ramp;

impl ModuleMapper<B> for Ramp {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let id = param.id;
        let dims = param.val().dims();
        Param::initialized(id, ramp::<B, D>(dims, 7).require_grad())
    }
}

pub(crate) fn batch<B: Backend>() -> Tensor<B, 2> {
    ramp([6, 5], 3)
}

pub(crate) fn ramp<B: Backend, const D: usize>(dims: [usize; D], steps: usize) -> Tensor<B, D> {
    let values: Vec<f32> =
        (0..dims.iter().product()).map(|index: usize| (index * steps % 23) as f32 / 11.0 - 1.0).collect();
    Tensor::from_data(TensorData::new(values, dims), &Default::default())
}

/// A linear kernel for `channels` channels.
pub(crate) fn kernel(seed: u64, channels: usize) -> KernelModule<B> {
    built(seed, SlotContract::f32(2, channels, channels), vec![LayerSpec::linear(channels, channels)])
}

/// A kernel of five layers, which is deeper in the graph than most hosts before their slots.
pub(crate) fn deep_kernel(seed: u64, channels: usize) -> KernelModule<B> {
    let linear = || LayerSpec::linear(channels, channels);
    let relu = || LayerSpec::Activation(kasmina_kernel_load::Activation::Relu);
    built(seed, SlotContract::f32(2, channels, channels), vec![linear(), relu(), linear(), relu(), linear()])
}

/// A kernel for 4 channels that gives zeros.
pub(crate) fn neutral() -> KernelModule<B> {
    initialised(Initialisation { seed: 1, zero_last: true }, SlotContract::f32(2, 4, 4), vec![LayerSpec::linear(4, 4)])
}

pub(crate) fn built(seed: u64, contract: SlotContract, layers: Vec<LayerSpec>) -> KernelModule<B> {
    initialised(Initialisation { seed, zero_last: false }, contract, layers)
}

fn initialised(how: Initialisation, contract: SlotContract, layers: Vec<LayerSpec>) -> KernelModule<B> {
    let manifest = Manifest::new(BlueprintId::new("bp").unwrap(), contract, layers).unwrap();
    let bytes = initialise(&manifest, &how).unwrap();
    let limits = ArtifactLimits::default();
    verify(&bytes, &Digests::of(&bytes, &limits).unwrap(), &limits).unwrap().build(&Default::default())
}

/// A seed with everything that it holds.
#[derive(Clone)]
pub(crate) struct Seed {
    pub(crate) id: SeedId,
    pub(crate) slot: SlotId,
    pub(crate) stage: SeedLifecycleStage,
    pub(crate) kernel: KernelModule<B>,
    pub(crate) blend: BlendConfig,
    pub(crate) alpha: Alpha,
    pub(crate) paused: bool,
    pub(crate) learns: bool,
    /// Whether its weights are NaN from the beginning.
    pub(crate) spoilt: bool,
}

impl Seed {
    pub(crate) fn new(id: &str, slot: &str, stage: SeedLifecycleStage, kernel: KernelModule<B>) -> Self {
        Self {
            id: seed(id),
            slot: SlotId::new(slot).unwrap(),
            stage,
            kernel,
            blend: BlendConfig::default(),
            alpha: Alpha::new(0.5).unwrap(),
            paused: false,
            learns: true,
            spoilt: false,
        }
    }
}

pub(crate) fn seed(id: &str) -> SeedId {
    SeedId::new(id).unwrap()
}

pub(crate) fn cast(seeds: &[Seed]) -> Cast<'_, B> {
    fn participant(seed: &Seed) -> Participant<'_, B> {
        Participant {
            seed: &seed.id,
            slot: &seed.slot,
            stage: seed.stage,
            kernel: &seed.kernel,
            blend: &seed.blend,
            alpha: seed.alpha,
            paused: seed.paused,
            learns: seed.learns,
        }
    }
    Cast::new(seeds.iter().map(participant), Arc::new(ManualClock::default()))
}

/// A host with the kernels of its fossils.
#[derive(Module, Debug)]
pub(crate) struct Whole<B: Backend, H: Module<B>> {
    pub(crate) host: H,
    pub(crate) fossils: Vec<KernelModule<B>>,
}

impl<H: Module<B>> Whole<B, H> {
    /// The kernels of those that are fossils become part of the host.
    pub(crate) fn of(host: H, seeds: &[Seed]) -> Self {
        let fossils = seeds.iter().filter(|seed| seed.stage == SeedLifecycleStage::SeedStageFossilized);
        Self { host, fossils: fossils.map(|seed| seed.kernel.clone()).collect() }
    }
}

/// Who owns what before the first pass. The kernels of fossils are the host's.
pub(crate) fn registry(seeds: &[Seed]) -> Registry {
    let mut registry = Registry::default();
    for seed in seeds.iter().filter(|seed| seed.stage != SeedLifecycleStage::SeedStageFossilized) {
        registry.register_seed(&seed.id, parameter_ids(&seed.kernel)).unwrap();
    }
    registry
}

/// No seed: nothing here draws random numbers.
pub(crate) fn rng() -> StepRng<'static, B> {
    static DEVICE: std::sync::OnceLock<<B as burn::tensor::backend::BackendTypes>::Device> = std::sync::OnceLock::new();
    StepRng::new(DEVICE.get_or_init(Default::default), None, 0)
}

/// How a kernel shares a parameter with its host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum How {
    ById,
    ByTensor,
}

/// The kernel with this parameter in place of its own of the same shape.
pub(crate) fn share(kernel: KernelModule<B>, parameter: &Param<Tensor<B, 2>>, how: How) -> KernelModule<B> {
    struct Share(Param<Tensor<B, 2>>);
    impl ModuleMapper<B> for Share {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            if param.val().dims()[..] != self.0.val().dims()[..] {
                return param;
            }
            Param::initialized(self.0.id, Tensor::from_primitive(self.0.val().into_primitive()))
        }
    }
    let id = if how == How::ById { parameter.id } else { ParamId::new() };
    kernel.map(&mut Share(Param::initialized(id, parameter.val())))
}

/// The kernel with NaN weights.
pub(crate) fn spoilt(kernel: KernelModule<B>) -> KernelModule<B> {
    struct Nan;
    impl ModuleMapper<B> for Nan {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            param.map(|tensor| Tensor::full_like(&tensor.detach(), f32::NAN).require_grad())
        }
    }
    kernel.map(&mut Nan)
}

/// The one weight of a linear kernel.
pub(crate) fn weight(kernel: &KernelModule<B>) -> Param<Tensor<B, 2>> {
    struct Find(Option<Param<Tensor<B, 2>>>);
    impl ModuleVisitor<B> for Find {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            if D == 2 {
                let value = Tensor::from_primitive(param.val().into_primitive());
                self.0 = Some(Param::initialized(param.id, value));
            }
        }
    }
    let mut find = Find(None);
    kernel.visit(&mut find);
    find.0.unwrap()
}

/// The gradients of the kernel's parameters, in their order.
pub(crate) fn gradients_of(kernel: &KernelModule<B>, gradients: &GradientsParams) -> Vec<TensorData> {
    struct Of<'a>(&'a GradientsParams, Vec<TensorData>);
    impl ModuleVisitor<B> for Of<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.1.extend(self.0.get::<Flex, D>(param.id).map(Tensor::into_data));
        }
    }
    let mut of = Of(gradients, Vec::new());
    kernel.visit(&mut of);
    of.1
}
