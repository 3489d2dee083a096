//! Real gradients of real passes: separate if the modules are separate, and found if they share a parameter.

use std::collections::BTreeSet;

use burn::{
    backend::{Autodiff, Flex},
    module::{AutodiffModule, Module, ModuleMapper, Param, ParamId},
    nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig},
    optim::GradientsParams,
    tensor::{Distribution, Tensor, TensorData, backend::Backend},
};
use kasmina_isolation::*;
use kasmina_leyline::SeedId;

type B = Autodiff<Flex>;

#[derive(Module, Debug)]
struct Net<B: Backend> {
    linear: Linear<B>,
    norm: BatchNorm<B>,
}

impl<B: Backend> Net<B> {
    fn init() -> Self {
        let device = Default::default();
        Self { linear: LinearConfig::new(4, 3).init(&device), norm: BatchNormConfig::new(3).init(&device) }
    }

    fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let h: Tensor<B, 3> = self.linear.forward(x).unsqueeze_dim(2);
        self.norm.forward(h).squeeze_dim(2)
    }

    /// The running mean and variance.
    fn running(&self) -> Vec<TensorData> {
        vec![self.norm.running_mean.value_sync().into_data(), self.norm.running_var.value_sync().into_data()]
    }
}

fn batch() -> Tensor<B, 2> {
    Tensor::random([8, 4], Distribution::Normal(0.0, 1.0), &Default::default())
}

/// Replaces the weight by another parameter, id and all.
struct Share(Param<Tensor<B, 2>>);

impl ModuleMapper<B> for Share {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        if param.val().dims()[..] != self.0.val().dims()[..] {
            return param;
        }
        let shared = Tensor::from_primitive(self.0.val().into_primitive());
        Param::initialized(self.0.id, shared)
    }
}

fn linear() -> Linear<B> {
    LinearConfig::new(4, 3).init(&Default::default())
}

#[test]
fn separate_modules_get_their_own_gradients() {
    let (host, kernel) = (linear(), linear());
    let loss = (host.forward(batch()) * kernel.forward(batch())).mean();
    let mut ledger = GradientLedger::new(loss.backward());
    assert_eq!(ledger.present(&host).len(), 2);
    let seed = ledger.take(&kernel).unwrap();
    let host_gradients = ledger.take(&host).unwrap();
    assert_eq!((seed.len(), host_gradients.len()), (2, 2));
    assert!(ledger.present(&host).is_empty() && ledger.present(&kernel).is_empty());
}

#[test]
fn gradient_of_a_shared_tensor_is_gone_once_it_was_taken() {
    let host = linear();
    let kernel = linear().map(&mut Share(Param::initialized(ParamId::new(), host.weight.val())));
    let loss = (host.forward(batch()) * kernel.forward(batch())).mean();
    let mut ledger = GradientLedger::new(loss.backward());
    let before = ledger.present(&host);
    assert!(before.contains(&host.weight.id));
    ledger.take(&kernel).unwrap();
    let after = ledger.present(&host);
    assert_eq!(before.difference(&after).collect::<Vec<_>>(), [&host.weight.id]);
}

#[test]
fn second_module_with_the_same_id_is_refused() {
    let host = linear();
    let kernel = linear().map(&mut Share(Param::initialized(host.weight.id, linear().weight.val())));
    let loss = (host.forward(batch()) * kernel.forward(batch())).mean();
    let mut ledger = GradientLedger::new(loss.backward());
    ledger.take(&host).unwrap();
    assert_eq!(ledger.take(&kernel).unwrap_err(), BTreeSet::from([host.weight.id]));
}

#[test]
fn frozen_twin_gets_no_gradient_and_moves_no_statistics() {
    let host: Net<B> = Net::init();
    host.forward(batch());
    let (twin, kernel) = (frozen_twin(&host), linear());
    let before = host.running();
    let x = kernel.weight.val().slice([0..4, 0..1]).transpose() + batch();
    let loss = twin.forward(x).powi_scalar(3).mean();
    let ledger = GradientLedger::new(loss.backward());
    assert_eq!(ledger.present(&kernel).len(), 1, "the gradient passes through the twin");
    assert!(ledger.present(&host).is_empty() && ledger.present(&twin).is_empty());
    assert_eq!(host.running(), before);
    assert_ne!(twin.running(), before, "the twin's own statistics do move");
    let (x, host, twin) = (batch().inner(), host.valid(), frozen_twin(&host).valid());
    assert_eq!(host.forward(x.clone()).into_data(), twin.forward(x).into_data());
}

#[test]
fn norm_and_cosine_match_the_gradients() {
    let module = linear();
    let gradients = |scale: f32, bias: f32| {
        let mut gradients = GradientsParams::new();
        let weight = Tensor::<Flex, 2>::full([4, 3], scale, &Default::default());
        gradients.register(module.weight.id, weight);
        gradients.register(module.bias.as_ref().unwrap().id, Tensor::<Flex, 1>::full([3], bias, &Default::default()));
        gradients
    };
    let (a, b) = (gradients(2.0, 1.0), gradients(-3.0, 1.0));
    // 12 weights of 2 and 3 biases of 1
    assert!((gradient_norm::<B, _>(&module, &a) - 51_f32.sqrt()).abs() < 1e-5);
    assert_eq!(gradient_norm::<B, _>(&module, &GradientsParams::new()), 0.0);
    let weight = BTreeSet::from([module.weight.id]);
    let all = BTreeSet::from([module.weight.id, module.bias.as_ref().unwrap().id]);
    assert!((overlap::<B, _>(&module, &a, &b, &weight).unwrap().cosine + 1.0).abs() < 1e-6);
    let expected = (12.0 * 2.0 * -3.0 + 3.0) / (51_f32.sqrt() * 111_f32.sqrt());
    let found = overlap::<B, _>(&module, &a, &b, &all).unwrap();
    assert!((found.cosine - expected).abs() < 1e-6 && (found.dot_product + 69.0).abs() < 1e-4, "{found:?}");
    assert_eq!(overlap::<B, _>(&module, &a, &gradients(0.0, 0.0), &all), None);
    assert_eq!(overlap::<B, _>(&module, &a, &GradientsParams::new(), &all), None);
}

#[test]
fn third_violation_of_a_seed_escalates() {
    let (a, b) = (SeedId::new("a").unwrap(), SeedId::new("b").unwrap());
    let mut log = ViolationLog::default();
    assert!(!log.record(&a) && !log.record(&a) && !log.record(&b));
    assert!(log.record(&a) && log.record(&a));
    assert_eq!((log.count(&a), log.count(&b)), (4, 1));
    log.clear(&a);
    assert!(!log.record(&a));
}
