//! A training step: the host in plain Burn, with a seed in TRAINING, with one in BLENDING (the activation given as a closure
//! or, eager, as it is), and what of it the isolation checks take. The host has four layers of 512 and its slot behind the third; the seed is a bottleneck 512-64-512, so a
//! sixteenth of the host.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]
#![allow(clippy::expect_used, reason = "a bench that cannot set up has nothing to measure")]

use std::time::Duration;

use burn::{
    backend::{Autodiff, Flex},
    module::Module,
    nn::{Linear, LinearConfig},
    optim::{AdamW, AdamWConfig, GradientsParams, Optimizer, adaptor::OptimizerAdaptor},
    tensor::{Distribution, Tensor, activation::relu, backend::Backend},
};
use criterion::{Criterion, criterion_group, criterion_main};
use kasmina::{
    CommandSender, Grafts, SeedManager, Settings, StepReport,
    blending::BlendBackend,
    kernel_load::{Activation, Initialisation, LayerSpec, Manifest, SlotContract, doubles::MemoryLibrary},
    leyline::{BlueprintId, SeedId, SlotId, TrainingRunId, v1::SeedOperation::SeedOpStartGrafting},
    safety::{Clock, SystemClock},
    security::{CommandVerifier, KeyRing, Secret},
};

type B = Autodiff<Flex>;

const WIDTH: usize = 512;
const BATCH: usize = 64;
const RATE: f64 = 1e-4;

#[derive(Module, Debug)]
struct Host<B: Backend> {
    layers: Vec<Linear<B>>,
    /// Whether it gives its activation as a closure.
    lazy: bool,
}

impl<B: BlendBackend> Host<B> {
    fn loss(&self, x: &Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 1> {
        let run = |layers: &[Linear<B>], x: Tensor<B, 2>| layers.iter().fold(x, |h, layer| relu(layer.forward(h)));
        let (stem, head) = self.layers.split_at(3);
        let h = if self.lazy {
            grafts.at_lazy("late", || run(stem, x.clone()))
        } else {
            grafts.at("late", run(stem, x.clone()))
        };
        let h = run(head, h);
        (h - x.clone()).square().mean()
    }
}

struct Bench {
    host: Host<B>,
    optimizer: OptimizerAdaptor<AdamW, Host<B>, B>,
    x: Tensor<B, 2>,
}

impl Bench {
    fn new(lazy: bool) -> Self {
        let device = Default::default();
        let layers = (0..4).map(|_| LinearConfig::new(WIDTH, WIDTH).init(&device)).collect();
        let x = Tensor::random([BATCH, WIDTH], Distribution::Default, &device);
        Self { host: Host { layers, lazy }, optimizer: AdamWConfig::new().init(), x }
    }

    fn step(&mut self) {
        let gradients = self.host.loss(&self.x, &mut Grafts::none()).backward();
        let gradients = GradientsParams::from_grads(gradients, &self.host);
        self.host = self.optimizer.step(RATE, self.host.clone(), gradients);
    }

    fn managed_step(&mut self, manager: &mut SeedManager<B>) -> StepReport {
        let x = &self.x;
        let report =
            manager.train_batch(&mut self.host, &mut self.optimizer, RATE, |host, grafts| host.loss(x, grafts));
        report.expect("the loss is finite")
    }

    /// A manager with a seed in TRAINING or, `blending`, in a BLENDING that does not end.
    fn manager(&mut self, blending: bool) -> SeedManager<B> {
        let (seed, blueprint) = (SeedId::new("seed-1").expect("an id"), BlueprintId::new("bottleneck").expect("an id"));
        let layers =
            vec![LayerSpec::linear(WIDTH, 64), LayerSpec::Activation(Activation::Relu), LayerSpec::linear(64, WIDTH)];
        let contract = SlotContract::f32(2, WIDTH, WIDTH);
        let manifest = Manifest::new(blueprint.clone(), contract, layers).expect("the layers chain");
        let library = MemoryLibrary::new();
        library.add(&manifest, &Initialisation { seed: 1, zero_last: true }).expect("the manifest is valid");
        let secret = Secret::new("the bench's secret").expect("not empty");
        let (mut sender, clock) = (CommandSender::new(&secret, "bench").expect("a name"), SystemClock::new());
        let mut settings = Settings::default();
        // A noisy machine is no unstable seed.
        settings.gates.stability.max_blend_ms = 10_000;
        settings.gates.stability.max_isolation_ms = 10_000;
        let mut manager = SeedManager::<B>::builder(TrainingRunId::new("bench-1").expect("an id"))
            .settings(settings)
            .verifier(CommandVerifier::new(KeyRing::of("k1", secret)))
            .kernels(library)
            .volatile()
            .build(&Default::default())
            .expect("the settings make sense");
        let x = self.x.clone();
        manager.attach_host(&self.host, |host, grafts| host.loss(&x, grafts)).expect("a host alone");
        manager.register_seed(seed.clone(), SlotId::new("late").expect("an id")).expect("the first");
        let wire = sender.germinate(&seed, &blueprint, clock.unix()).expect("short");
        manager.submit(&wire).expect("the kernel fits");
        if blending {
            for _ in 0..10 {
                self.managed_step(&mut manager);
            }
            let parameters = [("alpha_total_steps", 16_777_216.0)];
            let annotations = [("blend_mode", "RESIDUAL")];
            let wire =
                sender.operate(&seed, SeedOpStartGrafting, parameters, annotations, clock.unix()).expect("short");
            manager.submit(&wire).expect("the seed is stable");
        }
        manager
    }
}

fn steps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("step");
    let mut bench = Bench::new(true);
    group.bench_function("host", |bencher| bencher.iter(|| bench.step()));
    let rows = [("host_training", true, false), ("host_blending", true, true), ("host_blending_eager", false, true)];
    for (name, lazy, blending) in rows {
        let mut bench = Bench::new(lazy);
        let mut manager = bench.manager(blending);
        group.bench_function(name, |bencher| bencher.iter(|| bench.managed_step(&mut manager)));
    }
    group.finish();

    let mut group = criterion.benchmark_group("isolation");
    let mut bench = Bench::new(true);
    let mut manager = bench.manager(true);
    group.bench_function("verify", |bencher| {
        bencher
            .iter_custom(|steps| (0..steps).map(|_| bench.managed_step(&mut manager).timing.verify).sum::<Duration>());
    });
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
