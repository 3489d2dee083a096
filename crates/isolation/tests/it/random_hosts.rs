//! The promise of the crate on random hosts: what a live seed does to the host's bytes (nothing), and what a tap does to them
//! (nothing that plain Burn would not, in the hosts that the promise names).

mod joint;
mod plan;

use std::{collections::BTreeMap, env, process::Command};

use burn::{
    grad_clipping::GradientClippingConfig,
    module::{AutodiffModule, Module, ModuleVisitor, Param},
    optim::{AdamWConfig, GradientsParams, Optimizer, SgdConfig, momentum::MomentumConfig},
    tensor::{Tensor, backend::Backend},
};
use kasmina_blending::{Alpha, BlendConfig};
use kasmina_isolation::{Grafts, Override, RngStream, StepRng, host_pass, learning_pass, measure, prove_pause};
use kasmina_kernel_load::{Activation, KernelModule, LayerSpec, SlotContract};
use kasmina_leyline::v1::SeedLifecycleStage::{self, *};

use self::plan::{Plan, Pool, Promise, SLOTS};
use crate::world::{B, Seed, Whole, built, cast, registry, spoilt};

/// How many hosts are tried; `KASMINA_RANDOM_HOSTS` sets another number.
fn hosts() -> u64 {
    env::var("KASMINA_RANDOM_HOSTS").map_or(300, |number| number.parse().unwrap())
}

const STEPS: usize = 6;

#[test]
fn host_bytes_are_those_of_the_same_run_without_seeds_in_every_host() {
    if !alone("random_hosts::host_bytes_are_those_of_the_same_run_without_seeds_in_every_host") {
        return;
    }
    for number in 0..hosts() {
        let mut random = Random(number);
        let Some(host) = Host::random(&mut random) else { continue };
        // A fossil is part of both runs.
        let fossils =
            if random.one_in(3) { vec![host.seed(&mut random, "fossil", SeedStageFossilized)] } else { vec![] };
        let seeds = host.seeds(&mut random);
        let without = host.managed(fossils.clone());
        let with = host.managed(fossils.into_iter().chain(seeds).collect());
        assert_eq!(with.len(), without.len(), "host {number}");
        for (step, (with, without)) in with.iter().zip(&without).enumerate() {
            assert!(with == without, "host {number}, step {step}: a seed left a trace in {:?}", host.plan);
        }
    }
}

#[test]
fn host_bytes_are_those_of_plain_burn_where_slots_see_no_difference() {
    if !alone("random_hosts::host_bytes_are_those_of_plain_burn_where_slots_see_no_difference") {
        return;
    }
    let mut counts = BTreeMap::<_, [u64; 2]>::new();
    for number in 0..hosts() {
        let mut random = Random(number);
        let Some(host) = Host::random(&mut random) else { continue };
        let seeds = host.seeds(&mut random);
        let (promise, managed) = (host.plan.promise(), host.managed(seeds));
        let same = managed == host.plain(managed.len());
        assert!(same || promise == Promise::Nothing, "host {number}: {promise:?} is broken by {:?}", host.plan);
        counts.entry(promise).or_default()[usize::from(same)] += 1;
    }
    println!("hosts with other bytes and with the same: {counts:?}");
    // The promise is not empty, and it is not too small by much: beyond it, plain Burn does differ.
    assert!(counts[&Promise::FewUses][1] >= 10 && counts[&Promise::SameForSlots][1] >= 10, "{counts:?}");
    assert!(counts[&Promise::Nothing][0] >= 3, "{counts:?}");
}

/// A host with its parameters and the optimizer that trains it.
struct Host {
    number: u64,
    plan: Plan,
    pool: Pool<B>,
    training: usize,
}

impl Host {
    /// `None` for a host without anything to learn.
    fn random(random: &mut Random) -> Option<Self> {
        let number = random.0;
        let plan = Plan::random(random);
        let (pool, training) = (plan.init(), random.below(4));
        plan.learns().then_some(Self { number, plan, pool, training })
    }

    fn seeds(&self, random: &mut Random) -> Vec<Seed> {
        let stages =
            [SeedStageTraining, SeedStageTraining, SeedStageBlending, SeedStageShadowing, SeedStageProbationary];
        let ids = ["a", "b", "c"].into_iter().take(1 + random.below(3));
        ids.map(|id| {
            let stage = stages[random.below(stages.len())];
            self.seed(random, id, stage)
        })
        .collect()
    }

    fn seed(&self, random: &mut Random, id: &str, stage: SeedLifecycleStage) -> Seed {
        let rank = self.plan.rank();
        let layer = || if rank == 4 { LayerSpec::pointwise(4, 4) } else { LayerSpec::linear(4, 4) };
        let mut layers = vec![layer()];
        for _ in 0..random.below(3) {
            layers.extend([LayerSpec::Activation(Activation::Relu), layer()]);
        }
        let kernel = built(random.next(), SlotContract::f32(rank, 4, 4), layers);
        let nan = random.one_in(6) && stage != SeedStageFossilized;
        let kernel = if nan { spoilt(kernel) } else { kernel };
        let mut seed = Seed::new(id, SLOTS[random.below(SLOTS.len())], stage, kernel);
        // A fossil without logits would refuse the host's pass.
        seed.blend = match random.below(if stage == SeedStageFossilized { 3 } else { 4 }) {
            0 => BlendConfig::convex(),
            1 => BlendConfig::residual(),
            2 => BlendConfig::channel(vec![0.9, 0.5, 0.0, 1.0]).unwrap(),
            _ => BlendConfig::confidence(4.0, 0.2, 0.1, 0.9).unwrap(),
        };
        seed.alpha = Alpha::new(0.25 * random.below(5) as f32).unwrap();
        seed.spoilt = nan;
        seed
    }

    fn rng<'a>(&self, device: &'a <B as burn::tensor::backend::BackendTypes>::Device, step: usize) -> StepRng<'a, B> {
        StepRng::new(device, Some(self.number), step as u64)
    }

    /// The bytes of the host and its fossils after every step that was taken.
    fn managed(&self, mut seeds: Vec<Seed>) -> Vec<Vec<u8>> {
        let device = Default::default();
        let mut pool = Whole::of(Pool::from_inner(self.pool.valid()), &seeds);
        let (mut registry, mut optimizer) = (registry(&seeds), optimizer(self.training));
        let mut optimizers: BTreeMap<_, _> =
            seeds.iter().map(|seed| (seed.id.clone(), AdamWConfig::new().init::<B, KernelModule<B>>())).collect();
        let mut all = Vec::new();
        for step in 0..STEPS {
            let forward = |pool: &Whole<B, Pool<B>>, grafts: &mut Grafts<B>| self.plan.loss(&pool.host, grafts, step);
            let rng = self.rng(&device, step);
            let cast = cast(&seeds);
            let found = match host_pass(&pool, &forward, &cast, &mut registry, &rng) {
                Ok(found) => found,
                Err(error) => {
                    // Some hosts diverge; then the run is over.
                    assert_eq!(error.cause.reason(), "non_finite_loss");
                    break;
                }
            };
            assert!(found.violations.is_empty() && found.trace.faults.is_empty());
            let probe = |seed: &Seed, alpha: Option<f32>| {
                let put = Override { seed: &seed.id, alpha: alpha.map(|alpha| Alpha::new(alpha).unwrap()) };
                measure(&pool, &forward, &cast, &[put], &found, &rng).loss
            };
            let live =
                |seed: &&Seed| matches!(seed.stage, SeedStageBlending | SeedStageShadowing | SeedStageProbationary);
            // Before the seeds learn, and after that.
            let before: Vec<_> = seeds.iter().filter(live).map(|seed| probe(seed, Some(1.0))).collect();
            let seen = learning_pass(&pool, &forward, &cast, &found, &registry, &rng);
            let learned = seen.map(|seen| {
                assert!(seen.violations.is_empty() && seen.faults.is_empty());
                seen.gradients
            });
            for (seed, before) in seeds.iter().filter(live).zip(before) {
                probe(seed, None);
                let bits = |loss: Option<f32>| loss.map(f32::to_bits);
                assert_eq!(bits(probe(seed, Some(1.0))), bits(before));
                if step % 3 == 0 {
                    let reached = found.trace.reached(&seed.slot);
                    let proved = prove_pause(&seed.id, &pool, &forward, &cast, &found, &rng);
                    assert_eq!(proved, reached.then_some(true));
                }
            }
            pool = optimizer(pool, found.gradients, step);
            for (id, gradients) in found.kernels.into_iter().chain(learned.unwrap_or_default()) {
                let seed = seeds.iter_mut().find(|seed| seed.id == id).unwrap();
                seed.kernel = optimizers.get_mut(&id).unwrap().step(1e-2, seed.kernel.clone(), gradients);
            }
            let fossils = seeds.iter_mut().filter(|seed| seed.stage == SeedStageFossilized);
            fossils.zip(&pool.fossils).for_each(|(seed, kernel)| seed.kernel = kernel.clone());
            // Life goes on: each live seed is in another stage now and then.
            for seed in seeds.iter_mut().filter(|_| step % 2 == 1) {
                seed.stage = next(seed.stage);
            }
            all.push(bytes(&pool));
        }
        all
    }

    /// The host's bytes after so many steps of plain Burn.
    fn plain(&self, steps: usize) -> Vec<Vec<u8>> {
        let device = Default::default();
        let mut pool = Pool::from_inner(self.pool.valid());
        let mut optimizer = optimizer(self.training);
        let step = |step: usize| {
            self.rng(&device, step).start(RngStream::Host);
            let gradients = self.plan.loss(&pool, &mut Grafts::none(), step).backward();
            let gradients = GradientsParams::from_grads(gradients, &pool);
            pool = optimizer(pool.clone(), gradients, step);
            bytes(&pool)
        };
        (0..steps).map(step).collect()
    }
}

const fn next(stage: SeedLifecycleStage) -> SeedLifecycleStage {
    match stage {
        SeedStageTraining => SeedStageBlending,
        SeedStageBlending => SeedStageShadowing,
        SeedStageShadowing => SeedStageProbationary,
        SeedStageFossilized => SeedStageFossilized,
        SeedStageProbationary
        | SeedStageUnknown
        | SeedStageDormant
        | SeedStageGerminated
        | SeedStageCulled
        | SeedStageEmbargoed
        | SeedStageResetting
        | SeedStageTerminated => SeedStageCulled,
    }
}

/// AdamW or SGD with momentum, with clipping or without, on a schedule.
fn optimizer<M: AutodiffModule<B> + 'static>(training: usize) -> Box<dyn FnMut(M, GradientsParams, usize) -> M> {
    let clipping = match training % 2 {
        0 => None,
        _ => Some(GradientClippingConfig::Norm(0.01)),
    };
    let rate = |step: usize| 1e-2 / (1 + step) as f64;
    if training < 2 {
        let mut adam = AdamWConfig::new().with_grad_clipping(clipping).init();
        Box::new(move |pool, gradients, step| adam.step(rate(step), pool, gradients))
    } else {
        let config = SgdConfig::new().with_momentum(Some(MomentumConfig::new())).with_gradient_clipping(clipping);
        let mut sgd = config.init();
        Box::new(move |pool, gradients, step| sgd.step(10.0 * rate(step), pool, gradients))
    }
}

/// Parameters and running statistics.
fn bytes<M: AutodiffModule<B>>(module: &M) -> Vec<u8> {
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

/// Splitmix64.
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let number = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// Whether this process runs only this test; if not, runs it in a process of its own. Dropout draws from the backend's random
/// numbers, which all tests of a process share.
pub(crate) fn alone(test: &str) -> bool {
    if env::var_os("KASMINA_TEST_ALONE").is_some() {
        return true;
    }
    let mut command = Command::new(env::current_exe().unwrap());
    let output = command.args(["--exact", test, "--nocapture"]).env("KASMINA_TEST_ALONE", "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{test} did not run: {said}");
    println!("{said}");
    false
}
