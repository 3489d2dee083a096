//! Hosts to grow seeds on, in plain Burn, and how to look at them.

use burn::{
    backend::{Autodiff, Flex},
    module::{AutodiffModule, Module, ModuleDisplay, ModuleMapper, ModuleVisitor, Param},
    nn::{
        BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    optim::{AdamW, AdamWConfig, GradientsParams, Optimizer, adaptor::OptimizerAdaptor},
    tensor::{
        Tensor, TensorData,
        activation::relu,
        backend::{AutodiffBackend, Backend},
    },
};
use kasmina_blending::BlendBackend;
use kasmina_grown::Grown;
use kasmina_isolation::{Grafts, independent_copy};
use kasmina_kernel_load::{KernelModule, LayerSpec, Manifest, SlotContract};

use super::stock::blueprint;

/// The backend of the test world.
pub type B = Autodiff<Flex>;

/// The learning rate of its hosts.
pub const RATE: f64 = 1e-2;

/// A seed, its slot, and the kernel that fits there.
pub type Seat = (String, String, String);

/// What the test world needs of a host.
pub trait Host<B: BlendBackend>: Module<B> {
    /// `[batch, 16]` to `[batch, 1]`.
    fn forward(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2>;

    /// Its seeds.
    fn seats(&self) -> Vec<Seat> {
        seats(&[("seed-1", "mid", "mlp"), ("seed-2", "late", "late"), ("seed-3", "mid", "mlp")])
    }
}

/// A model is run as its host: its fossils are in the grafts.
impl<B: BlendBackend, H: Host<B> + ModuleDisplay> Host<B> for Grown<B, H> {
    fn forward(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        self.host.forward(x, grafts)
    }

    fn seats(&self) -> Vec<Seat> {
        self.host.seats()
    }
}

fn seats(named: &[(&str, &str, &str)]) -> Vec<Seat> {
    named.iter().map(|(seed, slot, kernel)| ((*seed).into(), (*slot).into(), (*kernel).into())).collect()
}

/// Two layers, with the slot `mid` between them and `late` behind that.
#[derive(Module, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Mlp<B: Backend> {
    pub stem: Linear<B>,
    pub head: Linear<B>,
}

impl<B: Backend> Mlp<B> {
    /// With fresh weights.
    #[must_use]
    pub fn init() -> Self {
        let device = Default::default();
        Self { stem: LinearConfig::new(16, 6).init(&device), head: LinearConfig::new(6, 1).init(&device) }
    }
}

impl<B: BlendBackend> Host<B> for Mlp<B> {
    fn forward(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        let h = relu(self.stem.forward(x.clone()));
        let h = grafts.at_with_tap("mid", x, h);
        self.head.forward(grafts.at("late", h))
    }
}

/// A convolution with batch normalisation, whose running statistics are part of its bytes.
#[derive(Module, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Cnn<B: Backend> {
    pub stem: Conv2d<B>,
    pub norm: BatchNorm<B>,
    pub head: Linear<B>,
}

impl<B: Backend> Cnn<B> {
    /// With fresh weights.
    #[must_use]
    pub fn init() -> Self {
        let device = Default::default();
        Self {
            stem: Conv2dConfig::new([1, 3], [3, 3]).with_padding(PaddingConfig2d::Same).init(&device),
            norm: BatchNormConfig::new(3).init(&device),
            head: LinearConfig::new(48, 1).init(&device),
        }
    }
}

impl<B: BlendBackend> Host<B> for Cnn<B> {
    fn forward(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        let batch = x.dims()[0];
        let h = self.stem.forward(x.reshape([batch, 1, 4, 4]));
        let h = grafts.at("mid", relu(self.norm.forward(h)));
        self.head.forward(h.reshape([batch, 48]))
    }

    fn seats(&self) -> Vec<Seat> {
        seats(&[("seed-1", "mid", "cnn"), ("seed-2", "late", "late"), ("seed-3", "mid", "cnn")])
    }
}

/// An [`Mlp`] with dropout, which draws from the backend's random numbers.
#[derive(Module, Debug)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Noisy<B: Backend> {
    pub mlp: Mlp<B>,
    pub dropout: Dropout,
}

impl<B: Backend> Noisy<B> {
    /// With fresh weights.
    #[must_use]
    pub fn init() -> Self {
        Self { mlp: Mlp::init(), dropout: DropoutConfig::new(0.3).init() }
    }
}

impl<B: BlendBackend> Host<B> for Noisy<B> {
    fn forward(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        self.mlp.forward(self.dropout.forward(x), grafts)
    }
}

/// Layers of one width with slots behind the last but one, for benchmarks: wide, deep, or with many slots.
#[derive(Module, Debug)]
pub struct Stack<B: Backend> {
    layers: Vec<Linear<B>>,
    slots: usize,
    lazy: bool,
}

impl<B: Backend> Stack<B> {
    /// `depth` layers of `width`, and `slots` slots: `slot-1` and so on.
    #[must_use]
    pub fn init(width: usize, depth: usize, slots: usize) -> Self {
        let layers = (0..depth).map(|_| LinearConfig::new(width, width).init(&Default::default())).collect();
        Self { layers, slots, lazy: false }
    }

    /// The same, giving the activation at its slots as a closure.
    #[must_use]
    pub fn lazy(self) -> Self {
        Self { lazy: true, ..self }
    }

    /// A kernel `width`-`hidden`-`width` for its slots, named `bottleneck`.
    ///
    /// # Panics
    /// If one of them is 0.
    #[must_use]
    pub fn kernel(width: usize, hidden: usize) -> Manifest {
        let layers = vec![LayerSpec::linear(width, hidden), LayerSpec::linear(hidden, width)];
        Manifest::new(blueprint("bottleneck"), SlotContract::f32(2, width, width), layers).expect("the layers chain")
    }

    /// The same with a ReLU between the layers.
    ///
    /// # Panics
    /// If one of them is 0.
    #[must_use]
    pub fn relu_kernel(width: usize, hidden: usize) -> Manifest {
        let relu = LayerSpec::Activation(kasmina_kernel_load::Activation::Relu);
        let layers = vec![LayerSpec::linear(width, hidden), relu, LayerSpec::linear(hidden, width)];
        Manifest::new(blueprint("bottleneck"), SlotContract::f32(2, width, width), layers).expect("the layers chain")
    }
}

impl<B: BlendBackend> Host<B> for Stack<B> {
    fn forward(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        let run = |layers: &[Linear<B>], x: Tensor<B, 2>| layers.iter().fold(x, |h, layer| relu(layer.forward(h)));
        let (stem, head) = self.layers.split_at(self.layers.len().saturating_sub(1));
        let mut h = if self.lazy { None } else { Some(run(stem, x.clone())) };
        for slot in 1..=self.slots {
            let name = format!("slot-{slot}");
            h = Some(match h {
                Some(h) => grafts.at(&name, h),
                None => grafts.at_lazy(&name, || run(stem, x.clone())),
            });
        }
        run(head, h.unwrap_or_else(|| run(stem, x)))
    }

    fn seats(&self) -> Vec<Seat> {
        (1..=self.slots).map(|at| (format!("seed-{at}"), format!("slot-{at}"), "bottleneck".to_owned())).collect()
    }
}

/// The module with weights that are the same in every run, whatever other tests draw at the same time.
#[must_use]
pub fn determined<C: AutodiffBackend, M: Module<C>>(module: M) -> M {
    struct Determined(u64);
    impl<B: AutodiffBackend> ModuleMapper<B> for Determined {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            let dims = param.val().dims();
            let mut next = || {
                self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (self.0 >> 40) as f32 / 2_f32.powi(24) - 0.5
            };
            let values: Vec<f32> = (0..dims.iter().product()).map(|_: usize| next()).collect();
            param.map(|tensor| Tensor::from_data(TensorData::new(values, dims), &tensor.device()).require_grad())
        }
    }
    module.map(&mut Determined(7))
}

/// A model of this host, with weights that are the same in every run. Nothing has grown into it.
#[must_use]
pub fn model_of<H: Module<B> + ModuleDisplay>(host: H) -> Grown<B, H> {
    Grown::new(determined(host))
}

/// Batches that differ from step to step and are the same in every run.
pub fn batch<B: Backend>(step: u64) -> Tensor<B, 2> {
    let values: Vec<f32> =
        (0..12 * 16).map(|i: u64| (((step * 7 + i * 37 + i * i) % 101) as f32 / 50.0) - 1.0).collect();
    Tensor::from_data(TensorData::new(values, [12, 16]), &Default::default())
}

/// The mean squared error against something that needs more than the hosts have.
pub fn loss<B: BlendBackend>(host: &impl Host<B>, step: u64, grafts: &mut Grafts<B>) -> Tensor<B, 1> {
    let x = batch::<B>(step);
    let target = x.clone().slice([0..12, 0..8]).sin().sum_dim(1) * x.clone().slice([0..12, 8..16]).sum_dim(1);
    (host.forward(x, grafts) - target).square().mean()
}

/// A fresh optimizer for hosts of this type.
#[must_use]
pub fn optimizer<M: AutodiffModule<B>>() -> OptimizerAdaptor<AdamW, M, B> {
    AdamWConfig::new().init()
}

/// The same values in parameters and running statistics of its own.
pub fn twin<M: AutodiffModule<B>>(module: &M) -> M {
    independent_copy(module)
}

/// Every number of the module: parameters and running statistics.
///
/// # Panics
/// If it has none: then two modules would be equal whatever they do.
pub fn bytes<M: AutodiffModule<B>>(module: &M) -> Vec<u8> {
    struct Bytes(Vec<u8>);
    impl<B: Backend> ModuleVisitor<B> for Bytes {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.0.extend_from_slice(param.val().into_data().as_bytes());
        }
    }
    let mut bytes = Bytes(Vec::new());
    module.valid().visit(&mut bytes);
    assert!(!bytes.0.is_empty());
    bytes.0
}

/// A step of plain Burn: what the host would do had it never heard of seeds.
pub fn control_step<M: Host<B> + AutodiffModule<B>>(host: &mut M, optimizer: &mut impl Optimizer<M, B>, step: u64) {
    let gradients = loss(host, step, &mut Grafts::none()).backward();
    *host = optimizer.step(RATE, host.clone(), GradientsParams::from_grads(gradients, host));
}

/// The kernel with weights that are NaN.
#[must_use]
pub fn spoilt(kernel: KernelModule<B>) -> KernelModule<B> {
    struct Nan;
    impl ModuleMapper<B> for Nan {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            param.map(|tensor| Tensor::full_like(&tensor.detach(), f32::NAN).require_grad())
        }
    }
    kernel.map(&mut Nan)
}
