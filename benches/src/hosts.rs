//! The networks that seeds are grown on. Each has as many slots as it has layers, `slot-1` and so on, and a layer for each seed, four at least.

mod cnn;
mod mlp;
mod transformer;

use burn::tensor::Tensor;
use kasmina::{
    GraftBackend, Grafts,
    grown::HostModule,
    kernel_load::{Activation, LayerSpec, Manifest, SlotContract},
    leyline::BlueprintId,
};

pub(crate) use cnn::Cnn;
pub(crate) use mlp::{Demo, Mlp};
pub(crate) use transformer::Transformer;

/// The names of slots.
pub(crate) const SLOTS: [&str; 16] = [
    "slot-1", "slot-2", "slot-3", "slot-4", "slot-5", "slot-6", "slot-7", "slot-8", "slot-9", "slot-10", "slot-11",
    "slot-12", "slot-13", "slot-14", "slot-15", "slot-16",
];

/// A network with slots.
pub(crate) trait Network<B: GraftBackend>: HostModule<B> {
    /// The shape of a batch.
    fn input(&self) -> [usize; 2];

    /// Runs a batch.
    fn forward(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2>;

    /// What its seeds are: all its slots are alike.
    fn kernel(&self) -> Manifest;

    /// The channels of its slots.
    fn channels(&self) -> usize;

    /// Rows of logits that belong to a batch: as many as its slots have samples.
    fn samples(&self) -> usize {
        self.input()[0]
    }
}

/// A kernel from `channels_in` to `channels_out` channels with a ReLU in it. On images it is made of pointwise convolutions.
fn bottleneck(rank: usize, channels_in: usize, hidden: usize, channels_out: usize) -> Manifest {
    let layer = if rank == 4 { LayerSpec::pointwise } else { LayerSpec::linear };
    let relu = LayerSpec::Activation(Activation::Relu);
    let layers = vec![layer(channels_in, hidden), relu, layer(hidden, channels_out)];
    let name = BlueprintId::new("bottleneck").expect("an id");
    Manifest::new(name, SlotContract::f32(rank, channels_in, channels_out), layers).expect("the layers chain")
}
