//! Whatever the host's graph: while its seeds live and when they are culled, its bytes are those of a managed run without seeds.

use burn::{
    module::Module,
    nn::{Linear, LinearConfig},
    tensor::{Tensor, activation::relu, backend::Backend},
};
use kasmina::{
    Grafts, Grown, Settings,
    blending::BlendBackend,
    gates::doubles::AllowAll,
    leyline::v1::{
        SeedLifecycleStage::SeedStageBlending,
        SeedOperation::{SeedOpCull, SeedOpEvaluate, SeedOpStabilize},
    },
};

use crate::common::{B, Host, World, bytes, model_of, optimizer, twin};

/// Operations of a wired host behind its stem.
const OPERATIONS: u64 = 9;

/// A host whose graph follows from a number: heads that part and meet, shared weights, slots anywhere.
#[derive(Module, Debug)]
struct Wired<B: Backend> {
    stem: Linear<B>,
    shared: Linear<B>,
    head: Linear<B>,
    number: u64,
}

impl<B: Backend> Wired<B> {
    fn init(number: u64) -> Self {
        let (device, linear) = (Default::default(), LinearConfig::new);
        let (stem, shared) = (linear(16, 6).init(&device), linear(6, 6).init(&device));
        Self { stem, shared, head: linear(6, 1).init(&device), number }
    }
}

impl<B: BlendBackend> Host<B> for Wired<B> {
    fn forward(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        let mut state = self.number;
        let mut below = |limit: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % limit
        };
        let mut values = vec![relu(self.stem.forward(x.clone()))];
        for _ in 0..OPERATIONS {
            let (a, b) = (values[below(values.len())].clone(), values[below(values.len())].clone());
            values.push(match below(7) {
                0 => self.shared.forward(a),
                1 => a.tanh(),
                2 => a.square().tanh(),
                3 => a + b,
                4 => (a * b).tanh(),
                5 => grafts.at_with_tap("mid", x.clone(), a),
                _ => grafts.at("late", a),
            });
        }
        // Both slots at least once.
        values.push(grafts.at_with_tap("mid", x, values[0].clone()));
        values.push(grafts.at("late", values[1].clone()));
        let sum = values.into_iter().reduce(|sum, value| sum + value);
        self.head.forward(sum.unwrap())
    }
}

/// The host's bytes after each step, and how many of the seeds blended.
fn life(host: &Grown<B, Wired<B>>, seeds: bool) -> (Vec<Vec<u8>>, usize) {
    let mut host = twin(host);
    let mut world = World::build(Settings::default(), |builder| {
        builder.gatekeepers(AllowAll).volatile().build(&Default::default()).unwrap()
    });
    world.attach(&host);
    let (mut optimizer, mut all, mut blended) = (optimizer(), Vec::new(), 0);
    for step in 1..=30 {
        for (seed, kernel) in [("seed-1", "mlp"), ("seed-2", "late")].into_iter().filter(|_| seeds) {
            // A seed that is culled on the way refuses what comes after, and the host must not notice that either.
            let _ = match step {
                1 => world.germinate(seed, kernel).map(drop),
                11 => world.graft(seed, "RESIDUAL", 5.0).map(drop),
                17 => world.operate(seed, SeedOpStabilize).map(drop),
                22 => world.operate(seed, SeedOpEvaluate).map(drop),
                27 => world.operate(seed, SeedOpCull).map(drop),
                _ => Ok(()),
            };
            blended += usize::from(step == 11 && world.stage(seed) == SeedStageBlending);
        }
        let report = world.step(&mut host, &mut optimizer, step);
        assert_eq!(report.violations, []);
        all.push(bytes(&host));
    }
    (all, blended)
}

#[test]
fn host_bytes_are_those_of_the_managed_run_without_seeds() {
    let mut blended = 0;
    for number in 0..24 {
        let host = model_of(Wired::init(number));
        let ((with, seeds), (without, _)) = (life(&host, true), life(&host, false));
        assert!(with == without, "a seed left a trace in host {number}");
        blended += seeds;
    }
    assert_eq!(blended, 48, "every seed lives long enough to blend");
}
