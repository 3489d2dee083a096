//! A network of three convolutions.

use burn::{
    module::Module,
    nn::{
        Linear, LinearConfig, PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Tensor, activation::relu, backend::Backend, module::max_pool2d},
};
use kasmina::{
    Grafts,
    blending::BlendBackend,
    kernel_load::{
        SlotContract,
        blueprints::{Blueprint, Start},
    },
};

use super::{B, Device, Site};
use crate::growth::examples::Batch;

#[derive(Clone, Copy, Debug)]
pub(crate) struct CnnShape {
    /// Rows and columns of an image.
    pub(crate) side: usize,
    pub(crate) channels: [usize; 3],
}

/// Three 3x3 convolutions with ReLU. The first two are followed by pooling of 2x2, the last by the mean over its places.
#[derive(Module, Debug)]
pub(crate) struct Cnn<B: Backend> {
    first: Conv2d<B>,
    second: Conv2d<B>,
    third: Conv2d<B>,
    head: Linear<B>,
    side: usize,
}

impl CnnShape {
    /// A small one for images of this side: for 8 x 8 and for 28 x 28.
    pub(crate) const fn of(side: usize) -> Self {
        let channels = if side < 16 { [3, 6, 8] } else { [6, 12, 16] };
        Self { side, channels }
    }
}

impl CnnShape {
    pub(super) fn init(&self, device: &Device) -> Cnn<B> {
        let Self { side, channels: [one, two, three] } = *self;
        let conv = |from, to| Conv2dConfig::new([from, to], [3, 3]).with_padding(PaddingConfig2d::Same).init(device);
        let head = LinearConfig::new(three, 10).init(device);
        Cnn { first: conv(1, one), second: conv(one, two), third: conv(two, three), head, side }
    }

    /// The channels keep their proportions.
    pub(super) fn widened(&self, wider: usize, extra: usize) -> Self {
        let [one, two, three] = self.channels;
        let scaled = |channels: usize| channels + (channels * wider).div_ceil(three);
        Self { channels: [scaled(one), scaled(two), scaled(three) + extra], ..*self }
    }

    pub(super) fn sites(&self) -> Vec<Site> {
        let site = |slot, channels| {
            let contract = SlotContract::f32(4, channels, channels);
            let manifest = Blueprint::ConvResidual.for_slot(contract, Start::Zero).ok()?;
            Some(Site { slot, contract, layers: manifest.layers })
        };
        let [one, two, three] = self.channels;
        [site("early", one), site("middle", two), site("late", three)].into_iter().flatten().collect()
    }

    pub(super) fn describe(&self) -> String {
        let [one, two, three] = self.channels;
        format!("CNN of {one}, {two} and {three} channels")
    }
}

impl<B: BlendBackend> Cnn<B> {
    pub(super) fn logits(&self, batch: &Batch, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        let pixels = Tensor::<B, 2>::from_data(batch.inputs.clone(), &Default::default());
        let images = pixels.reshape([-1, 1, self.side as i32, self.side as i32]);
        let pool = |x| max_pool2d(x, [2, 2], [2, 2], [0, 0], [1, 1], false);
        let x = grafts.at("early", pool(relu(self.first.forward(images))));
        let x = grafts.at("middle", pool(relu(self.second.forward(x))));
        let x = grafts.at("late", relu(self.third.forward(x)));
        let [images, channels, ..] = x.dims();
        self.head.forward(x.mean_dim(3).mean_dim(2).reshape([images, channels]))
    }
}
