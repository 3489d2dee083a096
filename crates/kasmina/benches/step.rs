//! A training step: the host in plain Burn, with a seed in TRAINING, with one in BLENDING (the activation given as a closure
//! or, eager, as it is), and what of it the isolation checks take. The host has four layers of 512 and its slot behind the third; the
//! seed is a bottleneck 512-64-512, so a sixteenth of the host.
#![allow(missing_docs, reason = "criterion's macros generate undocumented items")]
#![allow(clippy::expect_used, reason = "a bench that cannot set up has nothing to measure")]

use std::time::Duration;

use burn::{
    optim::{GradientsParams, Optimizer},
    tensor::{Distribution, Tensor},
};
use criterion::{Criterion, criterion_group, criterion_main};
use kasmina::{
    Grafts, Settings, StepReport,
    doubles::{Act, B, Host, Stack, Trainee, World},
    safety::SystemClock,
};

const WIDTH: usize = 512;
const BATCH: usize = 64;
const RATE: f64 = 1e-4;

struct Bench {
    trainee: Trainee<Stack<B>>,
    x: Tensor<B, 2>,
}

fn loss(host: &Stack<B>, x: &Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 1> {
    (host.forward(x.clone(), grafts) - x.clone()).square().mean()
}

impl Bench {
    fn new(lazy: bool) -> Self {
        let host = Stack::init(WIDTH, 4, 1);
        let x = Tensor::random([BATCH, WIDTH], Distribution::Default, &Default::default());
        Self { trainee: Trainee::new(if lazy { host.lazy() } else { host }), x }
    }

    fn step(&mut self) {
        let Trainee { model, optimizer, .. } = &mut self.trainee;
        let gradients = loss(&model.host, &self.x, &mut Grafts::none()).backward();
        let gradients = GradientsParams::from_grads(gradients, model);
        *model = optimizer.step(RATE, model.clone(), gradients);
    }

    fn managed_step(&mut self, world: &mut World<SystemClock>) -> StepReport {
        let (x, trainee) = (&self.x, &mut self.trainee);
        let forward = |host: &Stack<B>, grafts: &mut Grafts<B>| loss(host, x, grafts);
        let report = world.manager.train_batch(&mut trainee.model, &mut trainee.optimizer, RATE, forward);
        report.expect("the loss is finite")
    }

    /// A world with a seed in TRAINING or, `blending`, in a BLENDING that does not end.
    fn world(&mut self, blending: bool) -> World<SystemClock> {
        let mut settings = Settings::default();
        // A noisy machine is no unstable seed.
        settings.gates.stability.max_blend_ms = 10_000;
        settings.gates.stability.max_isolation_ms = 10_000;
        let mut world = World::with_clock(settings, SystemClock::new(), |builder| {
            builder.volatile().build(&Default::default()).expect("the settings make sense")
        });
        world.add(&Stack::<B>::relu_kernel(WIDTH, 64));
        let x = &self.x;
        world.manager.attach_host(&self.trainee.model, |host, grafts| loss(host, x, grafts)).expect("a host alone");
        world.register(&self.trainee.model.host);
        world.act("seed-1", Act::Germinate).expect("the kernel fits");
        if blending {
            for _ in 0..10 {
                self.managed_step(&mut world);
            }
            world.act("seed-1", Act::Graft(16_777_216)).expect("the seed is stable");
        }
        world
    }
}

fn steps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("step");
    let mut bench = Bench::new(true);
    group.bench_function("host", |bencher| bencher.iter(|| bench.step()));
    let rows = [("host_training", true, false), ("host_blending", true, true), ("host_blending_eager", false, true)];
    for (name, lazy, blending) in rows {
        let mut bench = Bench::new(lazy);
        let mut world = bench.world(blending);
        group.bench_function(name, |bencher| bencher.iter(|| bench.managed_step(&mut world)));
    }
    group.finish();

    let mut group = criterion.benchmark_group("isolation");
    let mut bench = Bench::new(true);
    let mut world = bench.world(true);
    group.bench_function("verify", |bencher| {
        bencher.iter_custom(|steps| (0..steps).map(|_| bench.managed_step(&mut world).timing.verify).sum::<Duration>());
    });
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
