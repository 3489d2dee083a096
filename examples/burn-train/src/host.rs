//! A small host, and the batches that it learns from.

use burn::{
    module::Module,
    nn::{Linear, LinearConfig},
    tensor::{Tensor, activation::relu, backend::Backend},
};
use kasmina::{Grafts, blending::BlendBackend};

/// Inputs `[rows, 8]`, and what the host should say of them, `[rows, 1]`.
#[derive(Clone, Debug)]
pub struct Batch<B: Backend> {
    /// The inputs.
    pub x: Tensor<B, 2>,
    /// The targets.
    pub y: Tensor<B, 2>,
}

/// A network of 8-4-1 with one slot, `mid`.
#[derive(Module, Debug)]
pub struct Host<B: Backend> {
    stem: Linear<B>,
    head: Linear<B>,
}

impl<B: BlendBackend> Host<B> {
    /// A host with the weights that its backend draws.
    #[must_use]
    pub fn new(device: &B::Device) -> Self {
        Self { stem: LinearConfig::new(8, 4).init(device), head: LinearConfig::new(4, 1).init(device) }
    }

    /// The mean squared error on a batch, with what is grafted at the slot.
    pub fn loss(&self, batch: &Batch<B>, grafts: &mut Grafts<B>) -> Tensor<B, 1> {
        let h = relu(self.stem.forward(batch.x.clone()));
        let h = grafts.at("mid", h);
        (self.head.forward(h) - batch.y.clone()).square().mean()
    }
}
