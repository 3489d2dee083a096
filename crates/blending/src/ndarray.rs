//! Plain operations on the CPU.

use burn::backend::NdArray;
use burn::backend::ndarray::{NdArrayTensor, SharedArray};
use burn::tensor::backend::Backend;

use crate::BlendBackend;

impl<E, I, Q> BlendBackend for NdArray<E, I, Q>
where
    Self: Backend,
    NdArrayTensor: From<SharedArray<E>> + From<SharedArray<I>>,
{
}
