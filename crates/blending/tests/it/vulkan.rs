//! The plain path on a device that fuses: `cargo test -p kasmina-blending --features vulkan`, on a GPU or on llvmpipe.

use burn::backend::{Autodiff, Vulkan};
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorPrimitive};
use kasmina_blending::{BlendBackend, PlainFunction};

type B = Autodiff<Vulkan>;

/// `tanh(x W)`, with `W` square.
#[derive(Clone, Debug)]
struct Layer(usize);

impl PlainFunction for Layer {
    fn run<C: Backend>(&self, input: FloatTensor<C>, parameters: FloatTensor<C>) -> FloatTensor<C> {
        let weight = tensor::<C, 1>(parameters).reshape([self.0, self.0]);
        primitive(tensor::<C, 2>(input).matmul(weight).tanh())
    }
}

fn tensor<C: Backend, const D: usize>(primitive: FloatTensor<C>) -> Tensor<C, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

fn primitive<C: Backend, const D: usize>(tensor: Tensor<C, D>) -> FloatTensor<C> {
    tensor.into_primitive().tensor()
}

fn numbers<C: Backend, const D: usize>(tensor: Tensor<C, D>) -> Vec<f32> {
    tensor.into_data().to_vec().unwrap()
}

#[test]
fn plain_path_agrees_with_the_fused_one_forward_and_back() {
    assert!(B::is_fused());
    let device = Default::default();
    let input = Tensor::<B, 2>::from_floats([[0.5, -1.0], [2.0, 0.25], [0.0, -0.125]], &device).require_grad();
    let parameters = Tensor::<B, 1>::from_floats([0.3, -0.2, 0.7, 1.5], &device).require_grad();
    let passes = |output: Tensor<B, 2>| {
        let grads = (output.clone() * 3.0).sum().backward();
        let of_input = numbers(input.grad(&grads).unwrap());
        [numbers(output), of_input, numbers(parameters.grad(&grads).unwrap())]
    };
    let fused = passes(input.clone().matmul(parameters.clone().reshape([2, 2])).tanh());
    // Two nodes of the plain path in one pass, one behind the other, and both with the same parameters.
    let plain = || B::run_plain(&Layer(2), primitive(input.clone()), primitive(parameters.clone()));
    let once = passes(tensor(plain()));
    for (fused, plain) in fused.iter().zip(&once) {
        assert_eq!(fused.len(), plain.len());
        assert!(fused.iter().zip(plain).all(|(one, other)| (one - other).abs() < 1e-5), "{fused:?} {plain:?}");
    }
    let twice = passes(tensor(B::run_plain(&Layer(2), plain(), primitive(parameters.clone()))));
    let weight = parameters.clone().reshape([2, 2]);
    let expected = passes(input.clone().matmul(weight.clone()).tanh().matmul(weight).tanh());
    for (fused, plain) in expected.iter().zip(&twice) {
        assert!(fused.iter().zip(plain).all(|(one, other)| (one - other).abs() < 1e-5), "{fused:?} {plain:?}");
    }
}
