//! A kernel as a function of its input and one tensor of parameters: the same bits, and the same gradients.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use burn::backend::{Autodiff, Flex};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use kasmina_kernel_load::{Activation, KernelModule, LayerSpec, Manifest, ShapeError, SlotContract};

use crate::common::{artifact, manifest, numbers, verified};

type B = Autodiff<Flex>;

fn kernels() -> Vec<Manifest> {
    let inner = vec![LayerSpec::linear(6, 6), LayerSpec::Activation(Activation::Silu)];
    let rows = vec![
        LayerSpec::LayerNorm { channels: 6 },
        LayerSpec::Residual { layers: vec![LayerSpec::Residual { layers: inner }, LayerSpec::Scale { channels: 6 }] },
        LayerSpec::SqueezeExcite { channels: 6, hidden: 3 },
        LayerSpec::Identity {},
        LayerSpec::Linear { channels_in: 6, channels_out: 6, bias: false },
        LayerSpec::LowRank { channels_in: 6, channels_out: 4, rank: 2 },
        LayerSpec::Activation(Activation::Gelu),
    ];
    let tokens = vec![LayerSpec::Attention { channels: 8, heads: 2, causal: false }, LayerSpec::linear(8, 8)];
    let causal = vec![LayerSpec::Attention { channels: 8, heads: 2, causal: true }, LayerSpec::linear(8, 4)];
    let conv = LayerSpec::Conv2d {
        channels_in: 4,
        channels_out: 6,
        kernel: [3, 2],
        padding: [2, 0],
        dilation: [2, 1],
        groups: 2,
        bias: true,
    };
    let images = vec![conv, LayerSpec::GroupNorm { channels: 6, groups: 3 }, LayerSpec::pointwise(6, 2)];
    vec![
        manifest(SlotContract::f32(2, 6, 4), rows),
        manifest(SlotContract::f32(3, 8, 8), tokens),
        manifest(SlotContract::f32(3, 8, 4), causal),
        manifest(SlotContract::f32(4, 4, 2), images),
        manifest(SlotContract::f32(2, 3, 3), vec![LayerSpec::Activation(Activation::Tanh)]),
    ]
}

fn input<const D: usize>(dims: [usize; D]) -> Tensor<B, D> {
    Tensor::from_data(TensorData::new(numbers(1, dims.iter().product()), dims), &Default::default()).require_grad()
}

fn bits<const D: usize>(tensor: &Tensor<Flex, D>) -> Vec<u32> {
    tensor.to_data().iter::<f32>().map(f32::to_bits).collect()
}

/// The output and all gradients, of the parameters first.
fn outcome<const D: usize>(kernel: &KernelModule<B>, x: &Tensor<B, D>, out: Tensor<B, D>) -> Vec<Vec<u32>> {
    struct Gradients<'a>(&'a mut <B as burn::tensor::backend::AutodiffBackend>::Gradients, Vec<Vec<u32>>);
    impl ModuleVisitor<B> for Gradients<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.1.push(bits(&param.val().grad(self.0).unwrap()));
        }
    }
    let values = bits(&out.clone().inner());
    let mut gradients = out.powi_scalar(2).sum().backward();
    let mut found = Gradients(&mut gradients, Vec::new());
    kernel.visit(&mut found);
    let mut found = found.1;
    found.push(bits(&x.grad(&gradients).unwrap()));
    found.push(values);
    found
}

/// Gradients, and of how many parameters there is one.
struct Found(<B as burn::tensor::backend::AutodiffBackend>::Gradients, usize);

impl ModuleVisitor<B> for Found {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.1 += usize::from(param.val().grad(&self.0).is_some());
    }
}

fn compare<const D: usize>(kernel: &KernelModule<B>, dims: [usize; D]) {
    let x = input(dims);
    let expected = outcome(kernel, &x, kernel.forward(x.clone()).unwrap());
    let apart = kernel.forward_as_function(x.clone(), |function, x, parameters| function.forward(x, parameters));
    assert_eq!(outcome(kernel, &x, apart.unwrap()), expected);
    assert_eq!(expected.len(), burn::module::list_param_ids(kernel).len() + 2);
}

#[test]
fn function_gives_the_bits_and_gradients_of_the_module() {
    for manifest in kernels() {
        let kernel = verified(&artifact(&manifest, 3)).build::<B>(&Default::default());
        let channels = manifest.contract.channels_in;
        match manifest.contract.rank {
            2 => compare(&kernel, [10, channels]),
            3 => compare(&kernel, [3, 5, channels]),
            _ => compare(&kernel, [2, channels, 6, 7]),
        }
    }
}

/// The end of a backward pass frees the nodes of every graph that no tensor holds, on whatever thread that graph is being built.
#[test]
fn gradients_arrive_while_other_threads_end_backward_passes() {
    let kernel = verified(&artifact(&kernels()[0], 3)).build::<B>(&Default::default());
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    input([1]).sum().backward();
                }
            });
        }
        let lost = (0..500).filter(|_| {
            let x = input([10, 6]);
            let apart = kernel.forward_as_function(x, |function, x, parameters| function.forward(x, parameters));
            let mut found = Found(apart.unwrap().sum().backward(), 0);
            kernel.visit(&mut found);
            found.1 < burn::module::list_param_ids(&kernel).len()
        });
        let lost = lost.count();
        ended.store(true, Ordering::Relaxed);
        assert_eq!(lost, 0, "of 500 passes");
    });
}

#[test]
fn frozen_kernel_gives_gradients_to_its_input_alone() {
    let kernel = verified(&artifact(&kernels()[0], 3)).build::<B>(&Default::default()).no_grad();
    let x = input([10, 6]);
    let out = kernel.forward_as_function(x.clone(), |function, x, parameters| {
        assert!(!parameters.is_require_grad());
        function.forward(x, parameters)
    });
    assert!(x.grad(&out.unwrap().sum().backward()).is_some());
}

#[test]
fn function_is_not_run_on_a_tensor_that_does_not_fit() {
    let kernel = verified(&artifact(&kernels()[0], 3)).build::<B>(&Default::default());
    let refused = kernel.forward_as_function(input([10, 5]), |_, _, _| unreachable!());
    assert_eq!(refused.unwrap_err(), ShapeError::Channels { axis: 1, expected: 6, got: 5 });
}
