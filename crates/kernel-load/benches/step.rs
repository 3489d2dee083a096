//! A training step while kernels are loaded: a transformer of four blocks of width 48 with four heads, 32 tokens and a batch of 16, in
//! plain Burn, alone and while up to 100 loads of 10 MB are in flight. The trainer polls once a step.
//!
//! The two take turns: some steps alone, then 100 loads are asked for, and the steps until the last of them has arrived count. Criterion
//! is told what each step took.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark measures time and may fail loudly"
)]

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use burn::backend::{Autodiff, Flex};
use burn::module::{AutodiffModule, Module};
use burn::nn::attention::{MhaInput, MultiHeadAttention, MultiHeadAttentionConfig};
use burn::nn::{Gelu, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, Optimizer};
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use kasmina_kernel_load::doubles::{sample_descriptor, sample_mlp};
use kasmina_kernel_load::{
    Artifact, ArtifactLimits, Digests, Fetched, Initialisation, KernelLibrary, KernelLoadManager, LibraryError,
    LoadRequest, LoadSettings, Purpose, Requested, initialise,
};
use kasmina_leyline::v1::BlueprintDescriptor;
use kasmina_leyline::{BlueprintId, Monotonic, TrainingRunId, UnixTime};

type B = Autodiff<Flex>;

const WIDTH: usize = 48;
const TOKENS: usize = 32;
const BATCH: usize = 16;
const BLOCKS: usize = 4;
const LOADS: usize = 100;
/// Channels of a kernel whose file has 10 MB.
const CHANNELS: usize = 1_581;
/// Steps alone before each 100 loads.
const ALONE: usize = 30;
const ROUNDS: usize = 4;
const NOW: Monotonic = Monotonic::ORIGIN;

#[derive(Module, Debug)]
struct Block<B: Backend> {
    before_attention: LayerNorm<B>,
    attention: MultiHeadAttention<B>,
    before_mlp: LayerNorm<B>,
    up: Linear<B>,
    gelu: Gelu,
    down: Linear<B>,
}

#[derive(Module, Debug)]
struct Transformer<B: Backend> {
    blocks: Vec<Block<B>>,
    head: Linear<B>,
}

impl<B: Backend> Block<B> {
    fn init() -> Self {
        let device = Default::default();
        Self {
            before_attention: LayerNormConfig::new(WIDTH).init(&device),
            attention: MultiHeadAttentionConfig::new(WIDTH, 4).with_dropout(0.0).init(&device),
            before_mlp: LayerNormConfig::new(WIDTH).init(&device),
            up: LinearConfig::new(WIDTH, 4 * WIDTH).init(&device),
            gelu: Gelu::new(),
            down: LinearConfig::new(4 * WIDTH, WIDTH).init(&device),
        }
    }

    fn forward(&self, h: Tensor<B, 3>) -> Tensor<B, 3> {
        let input = MhaInput::self_attn(self.before_attention.forward(h.clone()));
        let h = h + self.attention.forward(input).context;
        let mlp = self.up.forward(self.before_mlp.forward(h.clone()));
        h + self.down.forward(self.gelu.forward(mlp))
    }
}

impl<B: Backend> Transformer<B> {
    fn init() -> Self {
        let head = LinearConfig::new(WIDTH, WIDTH).init(&Default::default());
        Self { blocks: (0..BLOCKS).map(|_| Block::init()).collect(), head }
    }

    fn forward(&self, x: Tensor<B, 3>) -> Tensor<B, 3> {
        self.head.forward(self.blocks.iter().fold(x, |h, block| block.forward(h)))
    }
}

/// One file of 10 MB, which is read anew for every load, and passes for as many kernels as are asked for.
struct Alike {
    file: PathBuf,
    /// Where the name of its blueprint is.
    name_at: usize,
    digests: Vec<Digests>,
}

impl Alike {
    fn new(file: PathBuf) -> Self {
        let bytes = initialise(&sample_mlp(blueprint(0), CHANNELS).unwrap(), &Initialisation::default()).unwrap();
        let name = blueprint(0);
        let name_at = bytes.windows(name.as_str().len()).position(|it| it == name.as_str().as_bytes()).unwrap();
        fs::write(&file, &bytes).unwrap();
        let mut alike = Self { file, name_at, digests: Vec::new() };
        alike.digests = (0..LOADS)
            .map(|index| Digests::of(&alike.read(&blueprint(index)), &ArtifactLimits::default()).unwrap())
            .collect();
        alike
    }

    fn read(&self, blueprint: &BlueprintId) -> Vec<u8> {
        let mut bytes = fs::read(&self.file).unwrap();
        let name = blueprint.as_str().as_bytes();
        bytes[self.name_at..self.name_at + name.len()].copy_from_slice(name);
        bytes
    }
}

impl KernelLibrary for Alike {
    fn descriptor(&self, blueprint: &BlueprintId) -> Result<BlueprintDescriptor, LibraryError> {
        Ok(sample_descriptor(blueprint))
    }

    fn fetch(&self, blueprint: &BlueprintId) -> Result<Fetched, LibraryError> {
        let index: usize = blueprint.as_str().strip_prefix("bp-").unwrap().parse().unwrap();
        Ok(Fetched::Here(Artifact { bytes: self.read(blueprint), digests: self.digests[index] }))
    }
}

fn blueprint(index: usize) -> BlueprintId {
    BlueprintId::new(format!("bp-{index:03}")).unwrap()
}

fn beside_loads(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let mut group = criterion.benchmark_group("step_beside_loads");
    group.sample_size(10).warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_millis(500));
    let settings = LoadSettings { cache_bytes: 0, ..LoadSettings::default() };
    let manager = KernelLoadManager::new(Alike::new(directory.path().join("kernel")), &settings);
    let mut step = step();
    for _ in 0..ALONE {
        step();
    }
    let (mut alone, mut beside, mut loading) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut timed = |rows: &mut Vec<Duration>| {
            let started = Instant::now();
            step();
            let arrived = manager.poll(NOW);
            rows.push(started.elapsed());
            arrived.into_iter().filter(|arrival| arrival.outcome.is_ok()).count()
        };
        for _ in 0..ALONE {
            timed(&mut alone);
        }
        let started = Instant::now();
        for index in 0..LOADS {
            let run = TrainingRunId::new("bench").unwrap();
            let request = LoadRequest::new(blueprint(index), Purpose::Prefetch, run, UnixTime::default());
            assert!(matches!(manager.request(request, NOW).unwrap(), Requested::Pending(_)));
        }
        let mut left = LOADS;
        while left > 0 {
            left -= timed(&mut beside);
        }
        loading.push(started.elapsed());
    }
    let seconds = |times: &[Duration]| times.iter().sum::<Duration>().as_secs_f64() / times.len() as f64;
    let ratio = seconds(&beside) / seconds(&alone);
    let mut sorted = (alone.clone(), beside.clone());
    sorted.0.sort();
    sorted.1.sort();
    let median = sorted.1[sorted.1.len() / 2].as_secs_f64() / sorted.0[sorted.0.len() / 2].as_secs_f64();
    println!(
        "step_beside_loads: {} steps of {:.2} ms alone, {} beside loads: {ratio:.3} of it (median {median:.3}); {LOADS} loads in {:.2} s",
        alone.len(),
        seconds(&alone) * 1e3,
        beside.len(),
        seconds(&loading)
    );
    replay(&mut group, "alone", &alone);
    replay(&mut group, "beside", &beside);
    group.finish();
}

/// Tells criterion what was measured, again and again.
fn replay(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, values: &[Duration]) {
    let mut next = values.iter().cycle();
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| (&mut next).take(iterations as usize).sum());
    });
}

fn step() -> impl FnMut() {
    let x = Tensor::<B, 3>::random([BATCH, TOKENS, WIDTH], Distribution::Normal(0.0, 1.0), &Default::default());
    let mut model = Transformer::<B>::init();
    let mut optimizer = AdamConfig::new().init();
    move || {
        let loss = (model.forward(x.clone()) - x.clone()).square().mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-4, model.clone(), gradients);
        // The optimizer's work is done when a weight can be read.
        let _ = model.valid().head.weight.val().into_data();
    }
}

criterion_group!(benches, beside_loads);
criterion_main!(benches);
