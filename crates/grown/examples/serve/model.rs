//! The host, and how it is trained.

use std::error::Error;

use burn::backend::{Autodiff, Flex};
use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::optim::{AdamWConfig, GradientsParams, Optimizer};
use burn::tensor::activation::relu;
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor};
use kasmina_blending::{BlendBackend, BlendConfig};
use kasmina_grown::{Fossil, FossilSpec, Grown, Provenance};
use kasmina_isolation::Grafts;
use kasmina_kernel_load::{Activation, Initialisation, LayerSpec, Manifest, SlotContract};
use kasmina_leyline::{BlueprintId, SeedId, SlotId};

/// The backend of the training.
pub(crate) type Train = Autodiff<Flex>;

/// Three numbers in, two out.
#[derive(Module, Debug)]
pub(crate) struct Host<B: Backend> {
    stem: Linear<B>,
    norm: BatchNorm<B>,
    head: Linear<B>,
}

impl<B: BlendBackend> Host<B> {
    pub(crate) fn new(device: &B::Device) -> Self {
        Self {
            stem: LinearConfig::new(3, 8).init(device),
            norm: BatchNormConfig::new(8).init(device),
            head: LinearConfig::new(8, 2).init(device),
        }
    }

    pub(crate) fn forward(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        let h = relu(self.norm.forward(self.stem.forward(x)));
        self.head.forward(grafts.at("mid", h))
    }
}

/// Trains a host for ten steps, then with a fossil for ten more. In a managed run, the manager makes the fossil.
pub(crate) fn train() -> Result<Grown<Train, Host<Train>>, Box<dyn Error>> {
    let device = Default::default();
    let mut network = Grown::new(Host::<Train>::new(&device));
    let mut optimizer = AdamWConfig::new().init();
    for step in 0..20 {
        if step == 10 {
            network.push(fossil(&device)?)?;
        }
        let x = Tensor::<Train, 2>::random([16, 3], Distribution::Default, &device);
        let y = Tensor::cat(vec![x.clone().sum_dim(1), x.clone().prod_dim(1)], 1);
        let loss = (network.forward(|host, grafts| host.forward(x, grafts))? - y).square().mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        network = optimizer.step(1e-2, network, gradients);
    }
    Ok(network)
}

fn fossil<B: Backend>(device: &B::Device) -> Result<Fossil<B>, Box<dyn Error>> {
    let layers = vec![LayerSpec::linear(8, 4), LayerSpec::Activation(Activation::Gelu), LayerSpec::linear(4, 8)];
    let manifest = Manifest::new(BlueprintId::new("bottleneck-8")?, SlotContract::f32(2, 8, 8), layers)?;
    let (seed, slot, blend) = (SeedId::new("seed-1")?, SlotId::new("mid")?, BlendConfig::residual());
    let spec = FossilSpec { seed, slot, blend, manifest, provenance: Provenance::default() };
    Ok(Fossil::fresh(spec, &Initialisation { seed: 7, zero_last: true }, device)?)
}
