//! Tensors with known contents.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

/// Numbers in [-2, 2) that look random and are the same in every run.
pub(crate) fn noise(count: usize, salt: u32) -> Vec<f32> {
    let mut state = salt.wrapping_mul(0x9e37_79b9) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / (1 << 22) as f32 - 2.0
    };
    (0..count).map(next).collect()
}

pub(crate) fn tensor<B: Backend, const D: usize>(shape: [usize; D], salt: u32) -> Tensor<B, D> {
    Tensor::from_data(TensorData::new(noise(shape.iter().product(), salt), shape), &Default::default())
}

pub(crate) fn values<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> Vec<f32> {
    tensor.to_data().to_vec().unwrap()
}

pub(crate) fn bits<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> Vec<u32> {
    values(tensor).into_iter().map(f32::to_bits).collect()
}
