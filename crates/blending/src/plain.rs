//! The plain path: a function that runs without fusion on a backend that fuses operations.

use std::any::Any;
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{self, Sender};
use std::thread;

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::ops::{FloatTensor, FloatTensorOps};
use burn::tensor::{Shape, Tensor, TensorMetadata, TensorPrimitive};

/// A function of two tensors that runs on any backend: what [`run_plain`](crate::BlendBackend::run_plain) runs without fusion.
///
/// Shapes are the function's own. It must be a function: no state, no random number, the same result each time, because a backward
/// pass runs it once more.
pub trait PlainFunction: Clone + Debug + Send + 'static {
    /// The result for an input and the parameters, which are one tensor of rank 1.
    fn run<B: Backend>(&self, input: FloatTensor<B>, parameters: FloatTensor<B>) -> FloatTensor<B>;
}

/// The gradients of the input and of the parameters, given the gradient of the result, by a graph of its own.
///
/// It is called in a backward pass, and has one of its own. At its end, a backward pass of Burn locks every graph, and that of the outer
/// pass is locked until that one is done. So the inner pass runs on a thread of its own, which hands the gradients over when it
/// has them, and comes to its end when the outer pass has.
pub(crate) fn gradients<B: Backend, F: PlainFunction>(
    function: &F,
    [input, parameters]: [FloatTensor<B>; 2],
    gradient: FloatTensor<B>,
) -> [FloatTensor<B>; 2] {
    let (function, shape, dtype) = (function.clone(), input.shape(), input.dtype());
    let device = B::float_device(&input);
    let (count, all) = (shape.num_elements(), shape.num_elements() + parameters.shape().num_elements());
    // One leaf, so that there is one gradient to wait for, whatever the function makes of its arguments.
    let joint =
        Tensor::cat(vec![tensor::<B>(B::float_reshape(input, Shape::new([count]))), tensor::<B>(parameters)], 0);
    let (sender, receiver) = mpsc::channel();
    let inner = shape.clone();
    thread::spawn(move || {
        let outcome =
            catch_unwind(AssertUnwindSafe(|| backward::<B, F>(&function, joint, inner, gradient, sender.clone())));
        // A receiver that is gone has what it waited for.
        match outcome {
            Ok(true) => {}
            Ok(false) => drop(sender.send(Ok(B::float_zeros(Shape::new([all]), &device, dtype.into())))),
            Err(panic) => drop(sender.send(Err(panic))),
        }
    });
    let joint = match receiver.recv() {
        Ok(Ok(joint)) => tensor::<B>(joint),
        Ok(Err(panic)) => resume_unwind(panic),
        Err(gone) => resume_unwind(Box::new(gone)),
    };
    let of_input = primitive(joint.clone().slice(0..count));
    [B::float_reshape(of_input, shape), primitive(joint.slice(count..all))]
}

/// Sends the gradient of both arguments, one after the other in a tensor of rank 1. Returns whether the result depends on them.
fn backward<B: Backend, F: PlainFunction>(
    function: &F,
    joint: Tensor<B, 1>,
    shape: Shape,
    gradient: FloatTensor<B>,
    sender: Sender<Delivered<B>>,
) -> bool {
    let (count, all) = (shape.num_elements(), joint.shape().num_elements());
    let leaf = Autodiff::<B>::from_inner(primitive(joint)).require_grad();
    let delivering = match Deliver.prepare::<NoCheckpointing>([leaf.node.clone()]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(sender, leaf.primitive.clone()),
        OpsKind::UnTracked(prep) => prep.finish(leaf.primitive.clone()),
    };
    let joint = tensor::<Autodiff<B>>(delivering);
    let input = Autodiff::<B>::float_reshape(primitive(joint.clone().slice(0..count)), shape);
    let result = function.run::<Autodiff<B>>(input, primitive(joint.slice(count..all)));
    if !result.is_tracked() {
        return false;
    }
    // The gradient of this sum in the result is 1 times the gradient, which is the gradient to the bit.
    let weighted = Autodiff::<B>::float_mul(result, Autodiff::<B>::from_inner(gradient));
    drop(Autodiff::<B>::backward(Autodiff::<B>::float_sum(weighted)));
    true
}

type Delivered<B> = Result<FloatTensor<B>, Box<dyn Any + Send>>;

/// Sends its gradient, and gives its parent none.
#[derive(Debug)]
struct Deliver;

impl<B: Backend> Backward<B, 1> for Deliver {
    type State = Sender<Delivered<B>>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        // A receiver that is gone waits for nothing.
        let _ = ops.state.send(Ok(grads.consume::<B>(&ops.node)));
    }
}

fn tensor<B: Backend>(primitive: FloatTensor<B>) -> Tensor<B, 1> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

fn primitive<B: Backend>(tensor: Tensor<B, 1>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use std::time::Duration;

    use burn::backend::{Autodiff, Flex};
    use burn::tensor::backend::Backend;
    use burn::tensor::ops::FloatTensor;

    use super::*;

    type Train = Autodiff<Flex>;

    #[derive(Clone, Debug)]
    struct Product;

    impl PlainFunction for Product {
        fn run<B: Backend>(&self, input: FloatTensor<B>, parameters: FloatTensor<B>) -> FloatTensor<B> {
            B::float_mul(input, parameters)
        }
    }

    /// An operation whose backward pass has a backward pass of its own.
    #[derive(Debug)]
    struct Outer;

    impl Backward<Flex, 2> for Outer {
        type State = [FloatTensor<Flex>; 2];

        fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
            let gradient = grads.consume::<Flex>(&ops.node);
            let gradients = gradients::<Flex, Product>(&Product, ops.state, gradient);
            for (parent, gradient) in ops.parents.into_iter().flatten().zip(gradients) {
                grads.register::<Flex>(parent.id, gradient);
            }
        }
    }

    #[test]
    fn backward_pass_in_a_backward_pass_ends() {
        let (done, outcome) = mpsc::channel();
        // On a thread, so that a pass that does not end fails the test.
        thread::spawn(move || {
            let leaf = |values: [f32; 3]| Tensor::<Train, 1>::from_floats(values, &Default::default()).require_grad();
            let (x, w) = (leaf([1.0, 2.0, 3.0]), leaf([0.5, -1.0, 4.0]));
            let [a, b] = [&x, &w].map(|it| primitive(it.clone()));
            let state = [a.primitive.clone(), b.primitive.clone()];
            let OpsKind::Tracked(prep) = Outer.prepare::<NoCheckpointing>([a.node, b.node]).compute_bound().stateful()
            else {
                return;
            };
            let output = Flex::float_mul(state[0].clone(), state[1].clone());
            let y = tensor::<Train>(prep.finish(state, output));
            let grads = (y * 2.0).sum().backward();
            let numbers = |it: Tensor<Flex, 1>| it.into_data().to_vec::<f32>().unwrap();
            done.send([x.grad(&grads).map(numbers), w.grad(&grads).map(numbers)]).unwrap();
        });
        let [of_x, of_w] = outcome.recv_timeout(Duration::from_secs(60)).expect("the passes wait for each other");
        assert_eq!((of_x.unwrap(), of_w.unwrap()), (vec![1.0, -2.0, 8.0], vec![2.0, 4.0, 6.0]));
    }

    #[test]
    #[should_panic(expected = "out of memory")]
    fn panic_of_the_function_is_that_of_its_caller() {
        #[derive(Clone, Debug)]
        struct Broken;
        impl PlainFunction for Broken {
            fn run<B: Backend>(&self, _: FloatTensor<B>, _: FloatTensor<B>) -> FloatTensor<B> {
                std::panic::panic_any("out of memory")
            }
        }
        let one = || primitive(Tensor::<Flex, 1>::ones([2], &Default::default()));
        let _ = gradients::<Flex, Broken>(&Broken, [one(), one()], one());
    }
}
