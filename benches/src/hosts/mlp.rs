//! Networks of linear layers.

use burn::{
    module::Module,
    nn::{Linear, LinearConfig},
    tensor::{Tensor, activation::relu, backend::Backend},
};
use kasmina::{GraftBackend, Grafts, kernel_load::Manifest};

use super::{Network, SLOTS, bottleneck};

const BATCH: usize = 64;

/// Layers of one width, each with a ReLU. A seed is a bottleneck of an eighth of the width.
#[derive(Module, Debug)]
pub(crate) struct Mlp<B: Backend> {
    layers: Vec<Linear<B>>,
    width: usize,
    /// The number of the layer that the first slot is behind. Layers are counted from 1.
    first: usize,
    /// How many layers have a slot behind them, from that one on.
    slots: usize,
    /// Whether an activation is given to its slot as a closure.
    lazy: bool,
}

impl<B: Backend> Mlp<B> {
    pub(crate) fn init(width: usize, depth: usize, device: &B::Device) -> Self {
        let layers = (0..depth).map(|_| LinearConfig::new(width, width).init(device)).collect();
        Self { layers, width, first: 1, slots: depth, lazy: true }
    }

    /// With one slot, behind this layer.
    pub(crate) fn with_slot_behind(self, first: usize) -> Self {
        Self { first, slots: 1, ..self }
    }

    /// Giving its activations as they are.
    pub(crate) fn eager(self) -> Self {
        Self { lazy: false, ..self }
    }
}

impl<B: GraftBackend> Network<B> for Mlp<B> {
    fn input(&self) -> [usize; 2] {
        [BATCH, self.width]
    }

    fn forward(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        let run = |layers: &[Linear<B>], h: Tensor<B, 2>| layers.iter().fold(h, |h, layer| relu(layer.forward(h)));
        // What leads to the first slot belongs to that slot's closure.
        let (mut done, mut h) = (0, x);
        for (slot, behind) in SLOTS.iter().zip(self.first..).take(self.slots) {
            let layers = &self.layers[done..behind];
            h = if self.lazy { grafts.at_lazy(slot, || run(layers, h)) } else { grafts.at(slot, run(layers, h)) };
            done = behind;
        }
        run(&self.layers[done..], h)
    }

    fn kernel(&self) -> Manifest {
        bottleneck(2, self.width, self.width / 8, self.width)
    }

    fn channels(&self) -> usize {
        self.width
    }
}

/// The multilayer perceptron of `cargo xtask demo`: 64 pixels, 6 hidden units, 10 digits. A seed reads the pixels and adds to the hidden units.
#[derive(Module, Debug)]
pub(crate) struct Demo<B: Backend> {
    stem: Linear<B>,
    head: Linear<B>,
}

impl<B: Backend> Demo<B> {
    pub(crate) fn init(device: &B::Device) -> Self {
        Self { stem: LinearConfig::new(64, 6).init(device), head: LinearConfig::new(6, 10).init(device) }
    }
}

impl<B: GraftBackend> Network<B> for Demo<B> {
    fn input(&self) -> [usize; 2] {
        [BATCH, 64]
    }

    fn forward(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        let hidden = relu(self.stem.forward(x.clone()));
        self.head.forward(grafts.at_with_tap(SLOTS[0], x, hidden))
    }

    fn kernel(&self) -> Manifest {
        bottleneck(2, 64, 24, 6)
    }

    fn channels(&self) -> usize {
        6
    }
}
