//! The plain path: a function that runs without fusion on a backend that fuses operations.

use std::fmt::Debug;

use burn::backend::Autodiff;
use burn::tensor::TensorMetadata;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::ops::{FloatTensor, FloatTensorOps};

/// A function of two tensors that runs on any backend: what [`run_plain`](crate::BlendBackend::run_plain) runs without fusion.
///
/// Shapes are the function's own. It must be a function: no state, no random number, the same result each time, because a backward
/// pass runs it once more.
pub trait PlainFunction: Clone + Debug + Send + 'static {
    /// The result for an input and the parameters, which are one tensor of rank 1.
    fn run<B: Backend>(&self, input: FloatTensor<B>, parameters: FloatTensor<B>) -> FloatTensor<B>;
}

/// The gradients of the input and of the parameters, given the gradient of the result, by a graph of its own.
pub(crate) fn gradients<B: Backend, F: PlainFunction>(
    function: &F,
    [input, parameters]: [FloatTensor<B>; 2],
    gradient: FloatTensor<B>,
) -> [FloatTensor<B>; 2] {
    let leaf = |tensor| Autodiff::<B>::from_inner(tensor).require_grad();
    let leaves = [leaf(input), leaf(parameters)];
    let [input, parameters] = leaves.clone();
    let result = function.run::<Autodiff<B>>(input, parameters);
    // The gradient of this sum in the result is 1 times the gradient, which is the gradient to the bit.
    let weighted = Autodiff::<B>::float_mul(result, Autodiff::<B>::from_inner(gradient));
    let gradients = Autodiff::<B>::backward(Autodiff::<B>::float_sum(weighted));
    leaves.map(|leaf| {
        let zeros = || {
            let (shape, dtype, device) = (leaf.shape(), leaf.dtype(), B::float_device(&leaf.primitive));
            B::float_zeros(shape, &device, dtype.into())
        };
        Autodiff::<B>::grad(&leaf, &gradients).unwrap_or_else(zeros)
    })
}
