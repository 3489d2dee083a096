//! A training step of a small transformer with 0, 1, 4 or 16 seeds, each behind a block of its own, in TRAINING or in BLENDING, beside
//! the same step of the host alone in plain Burn. The host has blocks of width 48 with four heads, 32 tokens and a batch of 16, so
//! about 28,000 parameters a block: four blocks, or sixteen for sixteen seeds. A seed is a bottleneck 48-24-48. Settings are the
//! defaults, so a blending seed is measured in every second step.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]
#![allow(clippy::expect_used, reason = "a bench that cannot set up has nothing to measure")]

use std::time::Duration;

use burn::{
    module::Module,
    nn::{
        Gelu, LayerNorm, LayerNormConfig, Linear, LinearConfig,
        attention::{MhaInput, MultiHeadAttention, MultiHeadAttentionConfig},
    },
    optim::{GradientsParams, Optimizer},
    tensor::{Distribution, Tensor, backend::Backend},
};
use criterion::{Criterion, criterion_group, criterion_main};
use kasmina::{
    Grafts, Settings,
    blending::BlendBackend,
    doubles::{Act, B, Host, Seat, Trainee, World, blueprint, seed},
    gates::doubles::AllowAll,
    kernel_load::{Activation, LayerSpec, Manifest, SlotContract},
    leyline::v1::SeedLifecycleStage::{SeedStageBlending, SeedStageTraining},
    safety::{Clock, SystemClock},
};

const WIDTH: usize = 48;
const TOKENS: usize = 32;
const BATCH: usize = 16;
const RATE: f64 = 1e-4;

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

impl<B: BlendBackend> Host<B> for Transformer<B> {
    /// `[batch * tokens, width]` to the same.
    fn forward(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        let mut h = x.reshape([BATCH, TOKENS, WIDTH]);
        for (block, number) in self.blocks.iter().zip(1..) {
            h = grafts.at(&format!("block-{number}"), block.forward(h));
        }
        self.head.forward(h).reshape([BATCH * TOKENS, WIDTH])
    }

    fn seats(&self) -> Vec<Seat> {
        let numbers = 1..=self.blocks.len();
        numbers.map(|at| (format!("seed-{at}"), format!("block-{at}"), "bottleneck".to_owned())).collect()
    }
}

/// The bottleneck with a ReLU in it.
fn kernel() -> Manifest {
    let relu = LayerSpec::Activation(Activation::Relu);
    let layers = vec![LayerSpec::linear(WIDTH, 24), relu, LayerSpec::linear(24, WIDTH)];
    Manifest::new(blueprint("bottleneck"), SlotContract::f32(3, WIDTH, WIDTH), layers).expect("the layers chain")
}

fn loss(host: &Transformer<B>, x: &Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 1> {
    (host.forward(x.clone(), grafts) - x.clone()).square().mean()
}

/// The same host twice: alone, and managed with seeds.
struct Pair {
    x: Tensor<B, 2>,
    alone: Trainee<Transformer<B>>,
    managed: Trainee<Transformer<B>>,
    world: World<SystemClock>,
}

impl Pair {
    fn new(blocks: usize, seeds: usize, blending: bool) -> Self {
        let mut settings = Settings::default();
        // A noisy machine is no unstable seed.
        settings.gates.stability.max_blend_ms = 10_000;
        settings.gates.stability.max_isolation_ms = 10_000;
        let mut world = World::with_clock(settings, SystemClock::new(), |builder| {
            builder.gatekeepers(AllowAll).volatile().build(&Default::default()).expect("the settings make sense")
        });
        world.add(&kernel());
        let x = Tensor::random([BATCH * TOKENS, WIDTH], Distribution::Normal(0.0, 1.0), &Default::default());
        let host = Transformer {
            blocks: (0..blocks).map(|_| Block::init()).collect(),
            head: LinearConfig::new(WIDTH, WIDTH).init(&Default::default()),
        };
        let (alone, managed) = (Trainee::new(host.clone()), Trainee::new(host));
        world.manager.attach_host(&managed.model, |host, grafts| loss(host, &x, grafts)).expect("a host alone");
        world.register(&managed.model.host);
        let mut pair = Self { x, alone, managed, world };
        let names: Vec<_> = (1..=seeds).map(|at| format!("seed-{at}")).collect();
        for name in &names {
            pair.world.act(name, Act::Germinate).expect("the kernel fits");
        }
        for _ in 0..4 {
            pair.step();
            pair.managed_step();
        }
        for name in names.iter().filter(|_| blending) {
            pair.world.act(name, Act::Graft(16_777_216)).expect("every gate is open");
        }
        pair
    }

    fn step(&mut self) {
        let Trainee { model, optimizer, .. } = &mut self.alone;
        let gradients = loss(&model.host, &self.x, &mut Grafts::none()).backward();
        let gradients = GradientsParams::from_grads(gradients, model);
        *model = optimizer.step(RATE, model.clone(), gradients);
    }

    fn managed_step(&mut self) {
        let (x, trainee) = (&self.x, &mut self.managed);
        let forward = |host: &Transformer<B>, grafts: &mut Grafts<B>| loss(host, x, grafts);
        let report = self.world.manager.train_batch(&mut trainee.model, &mut trainee.optimizer, RATE, forward);
        report.expect("the loss is finite");
    }
}

/// Every managed step takes turns with one of the host alone, so that both meet the same machine; each row counts its own.
fn seeds(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("seeds");
    group.sample_size(10).measurement_time(Duration::from_secs(6));
    let rows =
        [(4, 0, false), (4, 1, false), (4, 4, false), (16, 16, false), (4, 1, true), (4, 4, true), (16, 16, true)];
    for (blocks, seeds, blending) in rows {
        let mut pair = Pair::new(blocks, seeds, blending);
        let name = format!("{}_{seeds}", if blending { "blending" } else { "training" });
        let clock = SystemClock::new();
        let mut totals = [Duration::ZERO; 2];
        for (which, name) in [(0, name.clone()), (1, format!("{name}_host"))] {
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|count| {
                    let mut sum = Duration::ZERO;
                    for turn in 0..count as usize {
                        for task in [turn % 2, (turn + 1) % 2] {
                            let started = clock.monotonic();
                            if task == 0 {
                                pair.managed_step()
                            } else {
                                pair.step()
                            }
                            let took = clock.monotonic().since(started);
                            totals[task] += took;
                            sum += if task == which { took } else { Duration::ZERO };
                        }
                    }
                    sum
                });
            });
        }
        let stage = if blending { SeedStageBlending } else { SeedStageTraining };
        let there = (1..=seeds).all(|at| pair.world.manager.stage(&seed(&format!("seed-{at}"))) == Some(stage));
        assert!(there, "a seed has left its stage");
        println!("seeds/{name}: {:.3} of the host alone", totals[0].as_secs_f64() / totals[1].as_secs_f64());
    }
    group.finish();
}

criterion_group!(benches, seeds);
criterion_main!(benches);
