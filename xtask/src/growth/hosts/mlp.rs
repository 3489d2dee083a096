//! A perceptron with one hidden layer.

use burn::{
    module::Module,
    nn::{Linear, LinearConfig},
    tensor::{Tensor, activation::relu, backend::Backend},
};
use kasmina::{
    Grafts,
    blending::BlendBackend,
    kernel_load::{Activation, LayerSpec, SlotContract},
};

use super::{B, Device, Site};
use crate::growth::examples::Batch;

/// Hidden units of a seed that reads the pixels.
const WIDE: usize = 32;

#[derive(Clone, Copy, Debug)]
pub(crate) struct MlpShape {
    pub(crate) inputs: usize,
    pub(crate) hidden: usize,
}

/// Pixels, hidden units, ten digits.
#[derive(Module, Debug)]
pub(crate) struct Mlp<B: Backend> {
    stem: Linear<B>,
    head: Linear<B>,
}

impl MlpShape {
    /// 64-16-10.
    pub(crate) const fn digits() -> Self {
        Self { inputs: 64, hidden: 16 }
    }
}

impl MlpShape {
    pub(super) fn init(&self, device: &Device) -> Mlp<B> {
        let Self { inputs, hidden } = *self;
        Mlp { stem: LinearConfig::new(inputs, hidden).init(device), head: LinearConfig::new(hidden, 10).init(device) }
    }

    pub(super) fn widened(&self, wider: usize) -> Self {
        Self { hidden: self.hidden + wider, ..*self }
    }

    pub(super) fn sites(&self) -> Vec<Site> {
        let layers = |from: usize, wide: usize, to: usize| {
            let relu = LayerSpec::Activation(Activation::Relu);
            vec![LayerSpec::linear(from, wide), relu, LayerSpec::linear(wide, to)]
        };
        let Self { inputs, hidden } = *self;
        let contract = |from, to| SlotContract::f32(2, from, to);
        vec![
            Site { slot: "pixels", contract: contract(inputs, inputs), layers: layers(inputs, WIDE, inputs) },
            Site { slot: "wide", contract: contract(inputs, hidden), layers: layers(inputs, WIDE, hidden) },
            Site { slot: "deep", contract: contract(hidden, hidden), layers: layers(hidden, 4 * hidden, hidden) },
        ]
    }

    pub(super) fn describe(&self) -> String {
        format!("MLP {}-{}-10", self.inputs, self.hidden)
    }
}

impl<B: BlendBackend> Mlp<B> {
    pub(super) fn logits(&self, batch: &Batch, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        let pixels = Tensor::from_data(batch.inputs.clone(), &Default::default());
        let pixels = grafts.at("pixels", pixels);
        let hidden = relu(self.stem.forward(pixels.clone()));
        let hidden = grafts.at_with_tap("wide", pixels, hidden);
        self.head.forward(grafts.at("deep", hidden))
    }
}
