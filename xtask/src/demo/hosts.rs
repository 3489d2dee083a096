//! The networks that the demo grows: each with one slot, both too narrow for the digits.

use burn::{
    module::Module,
    nn::{
        Linear, LinearConfig, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Tensor, activation::relu, backend::Backend},
};
use kasmina::{Grafts, blending::BlendBackend};

/// The slot's name.
pub(crate) const SLOT: &str = "mid";

/// A classifier of 8x8 images that offers one slot.
pub(crate) trait Host<B: BlendBackend>: Module<B> {
    /// Logits `[batch, 10]` of `pixels`, `[batch, 64]` in 0 to 1.
    fn forward(&self, pixels: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2>;
}

/// 64 pixels, 6 hidden units, 10 digits. The seed reads the pixels and adds to the hidden units.
#[derive(Module, Debug)]
pub(crate) struct Mlp<B: Backend> {
    stem: Linear<B>,
    head: Linear<B>,
}

impl<B: Backend> Mlp<B> {
    pub(crate) fn init(device: &B::Device) -> Self {
        Self { stem: LinearConfig::new(64, 6).init(device), head: LinearConfig::new(6, 10).init(device) }
    }
}

impl<B: BlendBackend> Host<B> for Mlp<B> {
    fn forward(&self, pixels: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        let hidden = relu(self.stem.forward(pixels.clone()));
        let hidden = grafts.at_with_tap(SLOT, pixels, hidden);
        self.head.forward(hidden)
    }
}

/// Two convolutions of two channels each, max pooling, 10 digits. The seed reads and modifies the first one's output.
#[derive(Module, Debug)]
pub(crate) struct Cnn<B: Backend> {
    stem: Conv2d<B>,
    body: Conv2d<B>,
    head: Linear<B>,
}

impl<B: Backend> Cnn<B> {
    pub(crate) fn init(device: &B::Device) -> Self {
        let conv = |channels| Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Same);
        Self {
            stem: conv([1, 2]).init(device),
            body: conv([2, 2]).init(device),
            head: LinearConfig::new(32, 10).init(device),
        }
    }
}

impl<B: BlendBackend> Host<B> for Cnn<B> {
    fn forward(&self, pixels: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        let batch = pixels.dims()[0];
        let hidden = relu(self.stem.forward(pixels.reshape([batch, 1, 8, 8])));
        let hidden = grafts.at(SLOT, hidden);
        let hidden = relu(self.body.forward(hidden));
        let pooled = hidden.reshape([batch, 2, 4, 2, 4, 2]).max_dim(3).max_dim(5);
        self.head.forward(pooled.reshape([batch, 32]))
    }
}
