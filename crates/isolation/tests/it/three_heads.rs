//! A host that uses its slot's activation three times: f32 sums of three gradients depend on their order.

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
    fn loss(&self, grafts: &mut Grafts<B>, step: usize) -> Tensor<B, 1> {
        let h = grafts.at("mid", relu(self.stem.forward(ramp::<B, 2>([16, 8], 3 + step))));
        let head = |number: usize, h| self.heads[number].forward(h);
        let out = head(0, h.clone()) + head(1, h.clone()).tanh() + head(2, h.square());
        (out - ramp([16, 4], 5 + step)).square().mean()
    }
}

#[test]
fn three_heads_on_the_slot_equal_plain_burn_in_50_of_50_steps() {
    let seeds = [Seed::new("rider", "mid", SeedStageTraining, deep_kernel(1, 8))];
    let mut registry = registry(&seeds);
    let host = ThreeHeads::init();
    let (mut plain, mut managed) = (ThreeHeads::from_inner(host.valid()), host);
    let (mut plain_optimizer, mut optimizer) = (AdamWConfig::new().init(), AdamWConfig::new().init());
    let mut equal = 0;
    for step in 0..50 {
        let forward = |host: &ThreeHeads<B>, grafts: &mut Grafts<B>| host.loss(grafts, step);
        let found = host_pass(&managed, &forward, &cast(&seeds), &mut registry, &rng()).unwrap();
        assert_eq!((found.violations.len(), found.kernels.len()), (0, 1));
        managed = optimizer.step(1e-2, managed, found.gradients);
        let gradients = plain.loss(&mut Grafts::none(), step).backward();
        let gradients = GradientsParams::from_grads(gradients, &plain);
        plain = plain_optimizer.step(1e-2, plain, gradients);
        equal += usize::from(managed.bytes() == plain.bytes());
    }
    assert_eq!(equal, 50);
}
