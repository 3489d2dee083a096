//! Hosts that use an activation three times, with a slot on it: f32 sums of three gradients depend on their order.

use burn::{
    module::{AutodiffModule, Module},
    nn::{Linear, LinearConfig},
    optim::{AdamWConfig, GradientsParams, Optimizer},
    tensor::{Tensor, activation::relu, backend::Backend},
};
use kasmina_blending::BlendBackend;
use kasmina_isolation::{Grafts, host_pass};
use kasmina_kernel_load::weights::module_to_bytes;
use kasmina_leyline::v1::SeedLifecycleStage::SeedStageTraining;

use crate::world::{B, Seed, cast, deep_kernel, ramp, registry, rng};

#[derive(Module, Debug)]
struct ThreeHeads<B: Backend> {
    stem: Linear<B>,
    heads: Vec<Linear<B>>,
}

impl ThreeHeads<B> {
    fn init() -> Self {
        let device = Default::default();
        let head = || LinearConfig::new(8, 4).init(&device);
        Self { stem: LinearConfig::new(8, 8).init(&device), heads: vec![head(), head(), head()] }
    }

    fn bytes(&self) -> Vec<u8> {
        module_to_bytes(&self.valid()).unwrap()
    }
}

impl<B: BlendBackend> ThreeHeads<B> {
    /// One head reads the activation through the slot and two past it, or all of them through it.
    fn loss(&self, grafts: &mut Grafts<B>, step: usize, all: bool) -> Tensor<B, 1> {
        let h = relu(self.stem.forward(ramp::<B, 2>([16, 8], 3 + step)));
        let slot = grafts.at("mid", h.clone());
        let h = if all { slot.clone() } else { h };
        let head = |number: usize, h| self.heads[number].forward(h);
        let out = head(0, slot) + head(1, h.clone()).tanh() + head(2, h.square());
        (out - ramp([16, 4], 5 + step)).square().mean()
    }
}

/// How many of 50 steps with a rider leave the bytes of plain Burn.
fn equal_steps(all: bool) -> usize {
    let seeds = [Seed::new("rider", "mid", SeedStageTraining, deep_kernel(1, 8))];
    let mut registry = registry(&seeds);
    let host = ThreeHeads::init();
    let (mut plain, mut managed) = (ThreeHeads::from_inner(host.valid()), host);
    let (mut plain_optimizer, mut optimizer) = (AdamWConfig::new().init(), AdamWConfig::new().init());
    let mut equal = 0;
    for step in 0..50 {
        let forward = |host: &ThreeHeads<B>, grafts: &mut Grafts<B>| host.loss(grafts, step, all);
        let found = host_pass(&managed, &forward, &cast(&seeds), &mut registry, &rng()).unwrap();
        assert_eq!((found.violations.len(), found.kernels.len()), (0, 1));
        managed = optimizer.step(1e-2, managed, found.gradients);
        let gradients = plain.loss(&mut Grafts::none(), step, all).backward();
        let gradients = GradientsParams::from_grads(gradients, &plain);
        plain = plain_optimizer.step(1e-2, plain, gradients);
        equal += usize::from(managed.bytes() == plain.bytes());
    }
    equal
}

#[test]
fn three_heads_one_through_the_slot_equal_plain_burn_in_50_of_50_steps() {
    assert_eq!(equal_steps(false), 50);
}

#[test]
fn three_heads_through_the_slot_equal_plain_burn_in_50_of_50_steps() {
    assert_eq!(equal_steps(true), 50);
}
