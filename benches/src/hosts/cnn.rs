//! A convolutional network.

use burn::{
    module::Module,
    nn::{
        Linear, LinearConfig, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Tensor, activation::relu, backend::Backend},
};
use kasmina::{GraftBackend, Grafts, kernel_load::Manifest};

use super::{Network, SLOTS, bottleneck};

const BATCH: usize = 32;
const COLOURS: usize = 3;
const SIDE: usize = 16;
const CHANNELS: usize = 32;

/// Convolutions of 3x3 on 32 channels of 16x16, each with a ReLU and a slot, then a mean over the image. A seed is a bottleneck of pointwise
/// convolutions, 32-16-32.
#[derive(Module, Debug)]
pub(crate) struct Cnn<B: Backend> {
    stem: Conv2d<B>,
    body: Vec<Conv2d<B>>,
    head: Linear<B>,
}

impl<B: Backend> Cnn<B> {
    pub(crate) fn init(depth: usize, device: &B::Device) -> Self {
        let conv = |channels| Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Same).init(device);
        Self {
            stem: conv([COLOURS, CHANNELS]),
            body: (0..depth).map(|_| conv([CHANNELS, CHANNELS])).collect(),
            head: LinearConfig::new(CHANNELS, 10).init(device),
        }
    }
}

impl<B: GraftBackend> Network<B> for Cnn<B> {
    fn input(&self) -> [usize; 2] {
        [BATCH, COLOURS * SIDE * SIDE]
    }

    fn forward(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        let mut h = relu(self.stem.forward(x.reshape([BATCH, COLOURS, SIDE, SIDE])));
        for (slot, layer) in SLOTS.iter().zip(&self.body) {
            h = grafts.at_lazy(slot, || relu(layer.forward(h)));
        }
        let h: Tensor<B, 2> = h.mean_dim(3).mean_dim(2).reshape([BATCH, CHANNELS]);
        self.head.forward(h)
    }

    fn kernel(&self) -> Manifest {
        bottleneck(4, CHANNELS, CHANNELS / 2, CHANNELS)
    }

    fn channels(&self) -> usize {
        CHANNELS
    }
}
