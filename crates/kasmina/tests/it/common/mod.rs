//! A world to test in: small hosts, a library, a clock that stands still, and whoever sends the commands.

use std::{env, process::Command, time::Duration};

use burn::{
    backend::{Autodiff, Flex},
    module::{AutodiffModule, Module, ModuleMapper, ModuleVisitor, Param},
    nn::{
        BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    optim::{AdamW, AdamWConfig, GradientsParams, Optimizer, adaptor::OptimizerAdaptor},
    tensor::{Tensor, TensorData, activation::relu, backend::Backend},
};
use kasmina::{
    CommandError, CommandSender, Grafts, Receipt, Recovered, SeedManager, SeedManagerBuilder, Settings, StepReport,
    blending::BlendBackend,
    kernel_load::{
        Activation, Initialisation, KernelModule, LayerSpec, Manifest, SlotContract, doubles::MemoryLibrary,
    },
    leyline::{
        BlueprintId, SeedId, SlotId, TrainingRunId, UnixTime,
        v1::{SeedLifecycleStage, SeedOperation, TelemetryEvent},
    },
    rollback::{Blobs, Journal, doubles::MemoryStore},
    safety::{Clock, doubles::ManualClock},
    security::{CommandVerifier, KeyRing, Secret},
    telemetry::doubles::MemorySink,
};

pub type B = Autodiff<Flex>;

const ALONE: &str = "KASMINA_TEST_ALONE";

/// Whether this process runs only this test. If not, runs it in a process of its own and fails if it fails there.
///
/// Flex has one random generator for the whole process, and every manager seeds it in every step. A test that compares random
/// numbers would see the numbers of the tests that run beside it. A lock would not do: all other tests would have to take it.
pub fn alone(test: &str) -> bool {
    if env::var_os(ALONE).is_some() {
        return true;
    }
    let output = Command::new(env::current_exe().unwrap()).args(["--exact", test]).env(ALONE, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{test} did not run: {said}");
    false
}

/// What the tests need of a host.
pub trait Host<B: BlendBackend>: Module<B> {
    /// `[batch, 16]` to `[batch, 1]`.
    fn forward(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2>;
}

#[derive(Module, Debug)]
pub struct Mlp<B: Backend> {
    pub stem: Linear<B>,
    pub head: Linear<B>,
}

impl<B: Backend> Mlp<B> {
    pub fn init() -> Self {
        let device = Default::default();
        Self { stem: LinearConfig::new(16, 6).init(&device), head: LinearConfig::new(6, 1).init(&device) }
    }
}

impl<B: BlendBackend> Host<B> for Mlp<B> {
    fn forward(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        let h = relu(self.stem.forward(x.clone()));
        let h = grafts.at_with_tap("mid", x, h);
        let y = self.head.forward(h.clone());
        // A second slot, behind the first.
        grafts.at("late", h);
        y
    }
}

/// With batch normalisation, whose running statistics are part of its bytes.
#[derive(Module, Debug)]
pub struct Cnn<B: Backend> {
    pub stem: Conv2d<B>,
    pub norm: BatchNorm<B>,
    pub head: Linear<B>,
}

impl<B: Backend> Cnn<B> {
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
}

/// With dropout, which draws from the backend's random numbers.
#[derive(Module, Debug)]
pub struct Noisy<B: Backend> {
    pub mlp: Mlp<B>,
    pub dropout: Dropout,
}

impl<B: Backend> Noisy<B> {
    pub fn init() -> Self {
        Self { mlp: Mlp::init(), dropout: DropoutConfig::new(0.3).init() }
    }
}

impl<B: BlendBackend> Host<B> for Noisy<B> {
    fn forward(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        self.mlp.forward(self.dropout.forward(x), grafts)
    }
}

/// The module with weights that are the same in every run, whatever other tests draw at the same time.
pub fn determined<M: Module<B>>(module: M) -> M {
    struct Determined(u64);
    impl ModuleMapper<B> for Determined {
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

pub fn optimizer<M: AutodiffModule<B>>() -> OptimizerAdaptor<AdamW, M, B> {
    AdamWConfig::new().init()
}

/// The same values in parameters and running statistics of its own.
pub fn twin<M: AutodiffModule<B>>(module: &M) -> M {
    M::from_inner(module.valid())
}

/// Every number of the module: parameters and running statistics.
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

pub const RATE: f64 = 1e-2;

/// Whoever sends the commands.
pub fn sender() -> CommandSender {
    CommandSender::new(&Secret::new("a shared secret").unwrap(), "tamiyo").unwrap()
}

pub struct World {
    pub manager: SeedManager<B>,
    pub clock: ManualClock,
    pub library: MemoryLibrary,
    pub sink: MemorySink,
    pub sender: CommandSender,
}

pub fn seed(name: &str) -> SeedId {
    SeedId::new(name).unwrap()
}

pub fn blueprint(name: &str) -> BlueprintId {
    BlueprintId::new(name).unwrap()
}

fn builder(settings: Settings, clock: &ManualClock, library: &MemoryLibrary, sink: &MemorySink) -> SeedManagerBuilder {
    let secret = Secret::new("a shared secret").unwrap();
    SeedManager::<B>::builder(TrainingRunId::new("run-7").unwrap())
        .settings(settings)
        .verifier(CommandVerifier::new(KeyRing::of("k1", secret)))
        .kernels(library.clone())
        .clock(clock.clone())
        .sink(sink.clone())
}

impl World {
    /// What is forgotten with the process.
    pub fn new(settings: Settings) -> Self {
        Self::build(settings, |builder| builder.volatile().build(&Default::default()).unwrap())
    }

    /// What goes on from a store, and what was found there.
    pub fn recover(
        settings: Settings,
        journal: impl Journal + 'static,
        blobs: impl Blobs + 'static,
    ) -> (Self, Recovered) {
        let mut found = Recovered::default();
        let world = Self::build(settings, |builder| {
            let (manager, recovered) = builder.journal(journal, blobs).recover(&Default::default()).unwrap();
            found = recovered;
            manager
        });
        (world, found)
    }

    pub fn build(settings: Settings, finish: impl FnOnce(SeedManagerBuilder) -> SeedManager<B>) -> Self {
        let clock = ManualClock::default();
        clock.set_unix(UnixTime::from_millis(1_700_000_000_000));
        let (library, sink) = (MemoryLibrary::new(), MemorySink::default());
        let manager = finish(builder(settings, &clock, &library, &sink));
        let world = Self { manager, clock, library, sink, sender: sender() };
        world.publish("mlp", SlotContract::f32(2, 16, 6), {
            vec![LayerSpec::linear(16, 24), LayerSpec::Activation(Activation::Relu), LayerSpec::linear(24, 6)]
        });
        world.publish(
            "cnn",
            SlotContract::f32(4, 3, 3),
            vec![
                LayerSpec::Conv2d {
                    channels_in: 3,
                    channels_out: 8,
                    kernel: [3, 3],
                    padding: [1, 1],
                    dilation: [1, 1],
                    groups: 1,
                    bias: true,
                },
                LayerSpec::Activation(Activation::Relu),
                LayerSpec::pointwise(8, 3),
            ],
        );
        world.publish("late", SlotContract::f32(2, 6, 6), vec![LayerSpec::linear(6, 6)]);
        world
    }

    /// The process dies, and another comes back from the store. Clock, library and sink are those of before.
    pub fn restart(&mut self, settings: Settings, store: &MemoryStore) -> Recovered {
        let builder = |settings| builder(settings, &self.clock, &self.library, &self.sink);
        let nobody = builder(Settings::default()).volatile().build(&Default::default()).unwrap();
        drop(std::mem::replace(&mut self.manager, nobody));
        let builder = builder(settings).journal(store.clone(), store.clone());
        let (manager, recovered) = builder.recover(&Default::default()).unwrap();
        self.manager = manager;
        recovered
    }

    pub fn publish(&self, name: &str, contract: SlotContract, layers: Vec<LayerSpec>) {
        let manifest = Manifest::new(blueprint(name), contract, layers).unwrap();
        self.library.add(&manifest, &Initialisation { seed: 3, zero_last: true }).unwrap();
    }

    /// A host is known and a seed waits at each of its slots.
    pub fn attach<M: Host<B> + AutodiffModule<B>>(&mut self, host: &M) {
        self.manager.attach_host(host, |host, grafts| loss(host, 0, grafts)).unwrap();
        for (name, slot) in [("seed-1", "mid"), ("seed-2", "late"), ("seed-3", "mid")] {
            self.manager.register_seed(seed(name), SlotId::new(slot).unwrap()).unwrap();
        }
    }

    pub fn step<M: Host<B> + AutodiffModule<B>>(
        &mut self,
        host: &mut M,
        optimizer: &mut impl Optimizer<M, B>,
        step: u64,
    ) -> StepReport {
        self.manager.train_batch(host, optimizer, RATE, |host, grafts| loss(host, step, grafts)).unwrap()
    }

    pub fn germinate(&mut self, name: &str, kernel: &str) -> Result<Receipt, CommandError> {
        let wire = self.sender.germinate(&seed(name), &blueprint(kernel), self.clock.unix()).unwrap();
        self.manager.submit(&wire)
    }

    pub fn operate(&mut self, name: &str, operation: SeedOperation) -> Result<Receipt, CommandError> {
        let wire = self.sender.operate(&seed(name), operation, [], [], self.clock.unix()).unwrap();
        self.manager.submit(&wire)
    }

    pub fn graft(&mut self, name: &str, mode: &str, steps: f32) -> Result<Receipt, CommandError> {
        let parameters = [("alpha_total_steps", steps)];
        let annotations = [("blend_mode", mode), ("alpha_schedule", "linear")];
        let operation = SeedOperation::SeedOpStartGrafting;
        let wire = self.sender.operate(&seed(name), operation, parameters, annotations, self.clock.unix()).unwrap();
        self.manager.submit(&wire)
    }

    pub fn stage(&self, name: &str) -> SeedLifecycleStage {
        self.manager.stage(&seed(name)).unwrap()
    }

    pub fn wait(&mut self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// The events since the last call, in the order of their packets.
    pub fn events(&mut self) -> Vec<TelemetryEvent> {
        self.manager.flush_telemetry();
        self.sink.take().into_iter().flat_map(|packet| packet.events).collect()
    }
}

/// The reason of a command that had no effect.
pub fn refused(outcome: Result<Receipt, CommandError>) -> &'static str {
    outcome.unwrap_err().reason()
}

/// A kernel whose weights are no numbers.
pub fn spoilt(kernel: KernelModule<B>) -> KernelModule<B> {
    struct Nan;
    impl ModuleMapper<B> for Nan {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            param.map(|tensor| Tensor::full_like(&tensor.detach(), f32::NAN).require_grad())
        }
    }
    kernel.map(&mut Nan)
}
