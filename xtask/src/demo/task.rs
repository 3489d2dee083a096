//! What the networks learn: batches of digits, the loss on one, the accuracy on many.

use burn::{
    backend::{Autodiff, Flex},
    module::{Module, ModuleVisitor, Param},
    nn::loss::CrossEntropyLossConfig,
    tensor::{Int, Tensor, TensorData, backend::Backend},
};
use kasmina::{Grafts, blending::BlendBackend};

use super::{hosts::Host, plan::BATCH};
use crate::digits::Split;

pub(super) type B = Autodiff<Flex>;

/// Pixels `[batch, 64]` and labels `[batch]`.
pub(super) struct Batch {
    pixels: TensorData,
    labels: TensorData,
}

pub(super) fn batch(split: &Split, indices: &[usize]) -> Batch {
    let pixels: Vec<f32> = indices.iter().flat_map(|index| split.images[*index]).collect();
    let labels: Vec<i64> = indices.iter().map(|index| split.labels[*index].into()).collect();
    Batch { pixels: TensorData::new(pixels, [indices.len(), 64]), labels: TensorData::new(labels, [indices.len()]) }
}

pub(super) fn whole(split: &Split) -> Batch {
    batch(split, &(0..split.labels.len()).collect::<Vec<_>>())
}

pub(super) fn loss<C: BlendBackend>(host: &impl Host<C>, batch: &Batch, grafts: &mut Grafts<C>) -> Tensor<C, 1> {
    let device = Default::default();
    let logits = host.forward(Tensor::from_data(batch.pixels.clone(), &device), grafts);
    let labels = Tensor::<C, 1, Int>::from_data(batch.labels.clone(), &device);
    CrossEntropyLossConfig::new().init(&device).forward(logits, labels)
}

pub(super) fn accuracy<C: BlendBackend>(host: &impl Host<C>, batch: &Batch, mut grafts: Grafts<C>) -> f64 {
    let device = Default::default();
    let logits = host.forward(Tensor::from_data(batch.pixels.clone(), &device), &mut grafts);
    let labels = Tensor::<C, 1, Int>::from_data(batch.labels.clone(), &device).reshape([-1, 1]);
    let right = logits.argmax(1).equal(labels).float().mean().into_data();
    right.iter::<f64>().next().unwrap_or(f64::NAN)
}

/// All parameters, one behind the other.
pub(super) fn bytes<M: Module<B>>(module: &M) -> Vec<u8> {
    struct Bytes(Vec<u8>);
    impl<B: Backend> ModuleVisitor<B> for Bytes {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.0.extend_from_slice(param.val().into_data().as_bytes());
        }
    }
    let mut bytes = Bytes(Vec::new());
    module.visit(&mut bytes);
    bytes.0
}

pub(super) fn steps_per_epoch(train: &Split) -> u64 {
    train.labels.len().div_ceil(BATCH) as u64
}
