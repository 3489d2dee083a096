//! The plain path on a backend that does not fuse, where it is the function itself.

use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorPrimitive};
use kasmina_blending::{BlendBackend, PlainFunction};

type B = Autodiff<Flex>;

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

fn bits<C: Backend, const D: usize>(tensor: Tensor<C, D>) -> Vec<u32> {
    tensor.into_data().iter::<f32>().map(f32::to_bits).collect()
}

fn arguments() -> (Tensor<B, 2>, Tensor<B, 1>) {
    let device = Default::default();
    let input = Tensor::from_floats([[0.5, -1.0], [2.0, 0.25], [0.0, -0.125]], &device);
    (input.require_grad(), Tensor::from_floats([0.3, -0.2, 0.7, 1.5], &device).require_grad())
}

#[test]
fn plain_path_is_the_function_where_nothing_is_fused() {
    assert!(!B::is_fused());
    let (input, parameters) = arguments();
    let expected = primitive(input.clone().matmul(parameters.clone().reshape([2, 2])).tanh());
    let plain = B::run_plain(&Layer(2), primitive(input), primitive(parameters));
    assert_eq!(bits(tensor::<B, 2>(plain)), bits(tensor::<B, 2>(expected)));
}

#[test]
fn plain_gradients_are_those_of_autodiff() {
    let (input, parameters) = arguments();
    let gradient = Tensor::<Flex, 2>::from_floats([[1.0, -3.0], [0.5, 0.1], [2.0, 0.0]], &Default::default());
    let output = input.clone().matmul(parameters.clone().reshape([2, 2])).tanh();
    let grads = (output * Tensor::from_inner(gradient.clone())).sum().backward();

    let arguments = [primitive(input.clone().inner()), primitive(parameters.clone().inner())];
    let [of_input, of_parameters] = Flex::plain_gradients(&Layer(2), arguments, primitive(gradient));
    assert_eq!(bits(tensor::<Flex, 2>(of_input)), bits(input.grad(&grads).unwrap()));
    assert_eq!(bits(tensor::<Flex, 1>(of_parameters)), bits(parameters.grad(&grads).unwrap()));
}

/// `run` uses the input alone.
#[test]
fn argument_that_does_not_matter_has_a_gradient_of_zero() {
    #[derive(Clone, Debug)]
    struct Twice;
    impl PlainFunction for Twice {
        fn run<C: Backend>(&self, input: FloatTensor<C>, _: FloatTensor<C>) -> FloatTensor<C> {
            C::float_mul_scalar(input, 2.0_f32.into())
        }
    }
    let (input, parameters) = arguments();
    let gradient = Tensor::<Flex, 2>::ones([3, 2], &Default::default());
    let arguments = [primitive(input.inner()), primitive(parameters.inner())];
    let [of_input, of_parameters] = Flex::plain_gradients(&Twice, arguments, primitive(gradient));
    assert_eq!(tensor::<Flex, 2>(of_input).to_data().to_vec::<f32>().unwrap(), [2.0; 6]);
    assert_eq!(tensor::<Flex, 1>(of_parameters).to_data().to_vec::<f32>().unwrap(), [0.0; 4]);
}
