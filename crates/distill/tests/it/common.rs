//! Networks with three classes, and batches for them.

use std::sync::Arc;

use burn::{
    backend::{Autodiff, Flex},
    module::{Module, ModuleVisitor, Param},
    nn::{Linear, LinearConfig, loss::CrossEntropyLossConfig},
    tensor::{Int, Tensor, TensorData, activation::relu, backend::Backend},
};
use kasmina::{Grafts, blending::BlendBackend, safety::doubles::ManualClock};
use kasmina_distill::{Activations, DistillError, DistillSettings, Distillation, Lesson, Teacher};

pub(crate) type B = Autodiff<Flex>;

pub(crate) const ROWS: usize = 12;
pub(crate) const CLASSES: usize = 3;

/// Slots `mid` and `late` with six channels, if it is six wide.
#[derive(Module, Debug)]
pub(crate) struct Network<B: Backend> {
    pub(crate) stem: Linear<B>,
    pub(crate) head: Linear<B>,
}

impl<B: Backend> Network<B> {
    pub(crate) fn new(width: usize) -> Self {
        let device = Default::default();
        let network = Self {
            stem: LinearConfig::new(8, width).init(&device),
            head: LinearConfig::new(width, CLASSES).init(&device),
        };
        // Clones of a lazy parameter would be initialised with different numbers.
        network.num_params();
        network
    }
}

impl<B: BlendBackend> Network<B> {
    pub(crate) fn logits(&self, x: Tensor<B, 2>, grafts: &mut Grafts<B>) -> Tensor<B, 2> {
        let h = grafts.at("mid", relu(self.stem.forward(x)));
        self.head.forward(grafts.at("late", h))
    }

    pub(crate) fn recorded(&self, x: Tensor<B, 2>, activations: &Activations<B>) -> Tensor<B, 2> {
        self.head.forward(activations.record("mid", relu(self.stem.forward(x))))
    }
}

/// `rows * columns` numbers in [-1, 1) that depend on the seed alone.
pub(crate) fn numbers<B: Backend>(rows: usize, columns: usize, seed: u64) -> Tensor<B, 2> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    };
    let numbers: Vec<f32> = std::iter::repeat_with(next).take(rows * columns).collect();
    Tensor::from_data(TensorData::new(numbers, [rows, columns]), &Default::default())
}

pub(crate) fn batch<B: Backend>(seed: u64) -> Tensor<B, 2> {
    numbers(ROWS, 8, seed)
}

pub(crate) fn task<B: Backend>(logits: Tensor<B, 2>) -> Tensor<B, 1> {
    let device = logits.device();
    let labels = Tensor::<B, 1, Int>::arange(0..ROWS as i64, &device).remainder_scalar(CLASSES as i64);
    CrossEntropyLossConfig::new().init(&device).forward(logits, labels)
}

pub(crate) fn vec<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

pub(crate) fn bits<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<u32> {
    vec(tensor).into_iter().map(f32::to_bits).collect()
}

/// The numbers of all parameters, in their order, as bits.
pub(crate) fn weights<B: Backend, M: Module<B>>(module: &M) -> Vec<u32> {
    struct Weights(Vec<u32>);
    impl<B: Backend> ModuleVisitor<B> for Weights {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.0.extend(bits(param.val()));
        }
    }
    let mut weights = Weights(Vec::new());
    module.visit(&mut weights);
    weights.0
}

pub(crate) type Taught = Distillation<B, Network<Flex>>;

pub(crate) fn distillation(settings: DistillSettings, clock: &ManualClock) -> Taught {
    let teacher = Teacher::new(Network::new(32), None);
    Distillation::new(settings, teacher, Arc::new(clock.clone())).unwrap()
}

/// A lesson on the batch of this number.
pub(crate) fn teach(distillation: &mut Taught, number: u64) -> Lesson<B> {
    distillation.teach(number, |teacher, activations| Ok(teacher.recorded(batch(number), activations)))
}

/// A lesson in which the teacher says NaN.
pub(crate) fn spoil(distillation: &mut Taught, number: u64) -> Lesson<B> {
    distillation.teach(number, |teacher, _| Ok(teacher.logits(batch(number), &mut Grafts::none()) * f32::NAN))
}

pub(crate) fn reason<T>(outcome: Result<T, DistillError>) -> &'static str {
    outcome.map(drop).unwrap_err().reason()
}
